package smtpd

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func withGreetDelay(o *Options) { o.RefuseEarly, o.GreetDelay = true, 250*time.Millisecond }

// The greeting is held back for so long and no longer.
func TestGreetDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, withGreetDelay)
		defer h.close()
		begin := time.Now()
		c := h.dial()
		c.want("220 *")
		if d := time.Since(begin); d != 250*time.Millisecond {
			t.Errorf("greeted after %v", d)
		}
		// The deadline of the wait is not that of the next command.
		time.Sleep(4 * time.Minute)
		c.ask("HELO client.example", "250 *")
	})
}

// An early talker is sent away at once.
func TestEarlyTalker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, withGreetDelay)
		defer h.close()
		begin := time.Now()
		c := h.dial()
		time.Sleep(100 * time.Millisecond)
		c.write("EHLO spam.example\r\n")
		c.want("554 5.5.1 You must wait for the greeting")
		c.want("")
		if d := time.Since(begin); d != 100*time.Millisecond {
			t.Errorf("refused after %v", d)
		}
		if strings.Contains(h.log.String(), "ERROR") {
			t.Error(h.log.String())
		}
	})
}

// Neither a client that goes away meanwhile nor a shutdown waits for it.
func TestGreetDelayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, func(o *Options) { o.RefuseEarly, o.GreetDelay = true, time.Hour })
		gone := h.connect()
		gone.Close()
		synctest.Wait()
		if n := len(h.srv.conns); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		c := h.dial()
		synctest.Wait()
		begin := time.Now()
		if err := h.srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		for range c.replies {
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the shutdown took %v", d)
		}
	})
}

// Nonsense is answered at once for some time, and then slowly.
func TestErrorDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.want("220 *")
		for i := range 20 {
			want := time.Duration(0)
			if i >= freeErrors {
				want = time.Second
			}
			if d := timed(func() { c.ask("NONSENSE", "500 *") }); d != want {
				t.Errorf("refusal %d came after %v", i+1, d)
			}
		}
		c.ask("NONSENSE", "500 *")
		c.want("421 4.7.0 *")
	})
}

// What is right is not slow for what was wrong before.
func TestErrorDelayIsForErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openPipe(t, nil)
		defer h.close()
		c := h.dial()
		c.want("220 *")
		for range 10 {
			c.ask("NONSENSE", "500 *")
		}
		if d := timed(func() { c.ask("NOOP", "250 *") }); d != 0 {
			t.Errorf("a good command was answered after %v", d)
		}
	})
}
