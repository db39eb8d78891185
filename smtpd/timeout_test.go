package smtpd

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file run in a bubble where time passes when nobody has
// anything to do.

func TestIdleClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.want("220 *")
		begin := time.Now()
		c.want("421 4.4.2 *")
		if d := time.Since(begin); d != 5*time.Minute {
			t.Errorf("closed after %v", d)
		}
		c.want("")
	})
}

// A command has its time as a whole: octets now and then do not prolong it.
func TestSlowCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.want("220 *")
		begin := time.Now()
		var slow sync.WaitGroup
		slow.Go(func() {
			for c.write("N") {
				time.Sleep(time.Minute)
			}
		})
		c.want("421 4.4.2 *")
		if d := time.Since(begin); d > 6*time.Minute {
			t.Errorf("closed after %v", d)
		}
		c.conn.Close()
		slow.Wait()
	})
}

// go-smtp sets one deadline for each command: a DATA that lasts longer fails
// in the middle, and its remaining lines are run as commands. Here a body may
// last as long as it keeps coming.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.transaction()
		c.ask("DATA", "354 *")
		for range 30 {
			time.Sleep(2 * time.Minute)
			c.write("RSET\r\n")
		}
		c.ask(".", "250 2.0.0 Accepted as *")
	})
}

// When a body stops coming, the connection ends, and whatever comes of it
// later is not run.
func TestBodyStops(t *testing.T) {
	for _, begin := range []string{"DATA\r\n", "BDAT 1000 LAST\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			h := openPipe(t, nil)
			defer h.close()
			c := h.dial()
			c.transaction()
			c.write(begin + "Subject: x\r\n\r\nhello\r\n")
			if strings.HasPrefix(begin, "DATA") {
				c.want("354 *")
			}
			time.Sleep(4 * time.Minute)
			c.write("MAIL FROM:<evil@x.example>\r\nRCPT TO:<alice@local.example>\r\n.\r\n")
			c.want("421 4.4.2 *")
			c.want("")
			if strings.Contains(h.log.String(), "accepted") {
				t.Error("half a message was accepted")
			}
		})
	}
}

func TestTransferTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.transaction()
		c.ask("DATA", "354 *")
		begin := time.Now()
		var slow sync.WaitGroup
		slow.Go(func() {
			for c.write("x\r\n") {
				time.Sleep(time.Minute)
			}
		})
		c.want("421 4.4.2 *")
		if d := time.Since(begin); d != 2*time.Hour {
			t.Errorf("closed after %v", d)
		}
		c.conn.Close()
		slow.Wait()
	})
}

// A client that does not take its replies costs its own connection.
func TestClientDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.connect()
		defer c.Close()
		begin := time.Now()
		for time.Since(begin) < time.Hour {
			if _, err := c.Write([]byte("NOOP\r\n")); err != nil {
				break
			}
		}
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("closed after %v", d)
		}
	})
}
