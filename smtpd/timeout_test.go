package smtpd

import (
	"fmt"
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
		if d := time.Since(begin); d != time.Minute {
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
		h := openPipe(t, func(o *Options) { o.Limits.MinRate = -1 })
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
		h := openPipe(t, func(o *Options) {
			o.Limits.MinRate = -1
			o.Limits.TransferTimeout = 2 * time.Hour
		})
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

// An envelope that never comes to its message does not keep a connection, even
// if each command comes in time.
func TestEnvelopeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.transaction()
		begin := time.Now()
		var slow sync.WaitGroup
		slow.Go(func() {
			for c.write("RCPT TO:<alice@local.example>\r\n") {
				time.Sleep(4 * time.Minute)
			}
		})
		for strings.HasPrefix(<-c.replies, "250") {
		}
		if d := time.Since(begin); d != 30*time.Minute {
			t.Errorf("closed after %v", d)
		}
		c.conn.Close()
		slow.Wait()
	})
}

// A new transaction has its time anew.
func TestEnvelopeTimeoutBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.want("220 *")
		c.ask("HELO client.example", "250 *")
		for range 20 {
			c.ask("MAIL FROM:<carol@remote.example>", "250 *")
			time.Sleep(4 * time.Minute)
			c.ask("RSET", "250 *")
			time.Sleep(4 * time.Minute)
		}
		c.ask("QUIT", "221 *")
	})
}

// What comes slower than MinRate over a whole window ends; what comes faster in
// the average goes on, however long it stalls within one.
func TestMinRate(t *testing.T) {
	for _, test := range []struct {
		name    string
		octets  int // in each burst
		pause   time.Duration
		bursts  int
		chunked bool
		slow    bool
	}{
		{"dribbling", 1, 2 * time.Second, 1000, false, true},
		{"just too slow", 9000, 100 * time.Second, 100, false, true},
		{"just fast enough", 11000, 100 * time.Second, 100, false, false},
		{"a link of 1200 baud", 120, time.Second, 3000, false, false},
		{"chunks of one octet", 1, 2 * time.Second, 1000, true, true},
		{"chunks fast enough", 11000, 100 * time.Second, 100, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openPipe(t, nil)
				defer h.close()
				c := h.dial()
				c.transaction()
				begin := time.Now()
				var sending sync.WaitGroup
				sending.Go(func() {
					burst, end := strings.Repeat("x", test.octets), "\r\n.\r\n"
					if test.chunked {
						burst, end = fmt.Sprintf("BDAT %d\r\n", test.octets)+burst, "BDAT 0 LAST\r\n"
					} else {
						c.write("DATA\r\n\r\n")
					}
					for range test.bursts {
						time.Sleep(test.pause)
						if !c.write(burst) {
							return
						}
					}
					c.write(end)
				})
				var last string
				for last = range c.replies {
					if strings.Contains(last, "Accepted") {
						break
					}
				}
				d := time.Since(begin)
				switch {
				case test.slow && !strings.HasPrefix(last, "421 4.4.2 Too slow"), !test.slow && !strings.Contains(last, "Accepted"):
					t.Errorf("after %v: %q", d, last)
				case test.slow && d > 8*time.Minute:
					t.Errorf("ended only after %v", d)
				}
				c.conn.Close()
				sending.Wait()
			})
		})
	}
}

// Commands that lead to nothing end a connection at some time; messages in
// between let it go on.
func TestJunkCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.want("220 *")
		c.ask("HELO client.example", "250 *")
		for range 3 {
			for range 90 {
				c.ask("NOOP", "250 *")
			}
			c.ask("MAIL FROM:<carol@remote.example>", "250 *")
			c.ask("RCPT TO:<alice@local.example>", "250 *")
			c.ask("DATA", "354 *")
			c.ask("\r\nhello\r\n.", "250 *")
		}
		n := 0
		for ; n < 1000; n++ {
			if c.write([]string{"NOOP\r\n", "RSET\r\n", "VRFY x\r\n"}[n%3]); !strings.HasPrefix(<-c.replies, "25") {
				break
			}
		}
		if n != maxJunk+20 {
			t.Errorf("ended after %d commands", n)
		}
		c.want("")
	})
}
