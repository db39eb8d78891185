package milter

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	mt "restante/internal/milter/miltertest"
)

// failures are filters that fail, each in its own way.
func failures() map[string]mt.Options {
	e := func(acts ...mt.Act) mt.Options { return mt.Options{Answer: at('E', acts...)} }
	var flood, empty, fields []mt.Act
	for range maxChanges + 1 {
		empty = append(empty, mt.Say('b'))
		flood = append(flood, mt.Say('+', "<a@example.org>\x00"))
	}
	for range 20 {
		fields = append(fields, mt.AddHeader("X", strings.Repeat("x", 60000)))
	}
	return map[string]mt.Options{
		"closes at once":          {Negotiation: []mt.Act{mt.Drop}},
		"no negotiation":          {Negotiation: []mt.Act{mt.Say('c')}},
		"half a negotiation":      {Negotiation: []mt.Act{mt.Say('O', "\x00\x00\x00\x06")}},
		"version 1":               {Version: 1},
		"version 7":               {Version: 7},
		"asks for what is not":    {Protocol: 1 << 28},
		"closes at MAIL":          {Answer: at('M', mt.Drop)},
		"closes in the body":      {Answer: at('B', mt.Drop)},
		"closes at the end":       e(mt.Drop),
		"closes after a change":   e(mt.AddHeader("A", "b"), mt.Drop),
		"closes after a new body": e(mt.Say('b', strings.Repeat("x", 2*inMemory)), mt.Drop),
		"half a packet":           e(mt.Raw("\x00\x00\x00\x09hA"), mt.Drop),
		"an endless packet":       e(mt.Raw("\xff\xff\xff\xffh")),
		"a packet of nothing":     e(mt.Raw("\x00\x00\x00\x00")),
		"an unknown letter":       e(mt.Say('!')),
		"a change too early":      {Answer: at('H', mt.AddHeader("A", "b"), mt.Say('c'))},
		"skips the header":        {Answer: at('L', mt.Say('s'))},
		"gives up":                {Answer: at('C', mt.Say('f'))},
		"a bad reply":             e(mt.Reply("250 fine")),
		"a reply of two codes":    e(mt.Reply("550-a\r\n450 b")),
		"an empty reply":          e(mt.Reply("")),
		"no name":                 e(mt.AddHeader("", "b")),
		"a name with a colon":     e(mt.AddHeader("A: b\r\nX", "b")),
		"no index":                e(mt.Say('m', "\x00")),
		"a bad address":           e(mt.Say('+', "<a@example.org> NOTIFY=x\x00")),
		"a null recipient":        e(mt.Say('+', "<>\x00")),
		"a flood of recipients":   e(flood...),
		"a flood of bodies":       e(empty...),
		"a flood of fields":       e(fields...),
		"a body without end":      e(mt.Say('b', strings.Repeat("x", 60000)), mt.Say('b', strings.Repeat("x", 60000))),
	}
}

func TestFailures(t *testing.T) {
	for name, opt := range failures() {
		t.Run(name, func(t *testing.T) {
			f := mt.New(t, opt)
			for _, mode := range []Failure{Tempfail, Accept} {
				v, err := judged(client(t, f, Options{OnFailure: mode, MaxBody: 100000}), message(), strings.Repeat("x", 2*maxData))
				if (err != nil) != (mode == Tempfail) {
					t.Errorf("mode %v: error %v", mode, err)
				}
				if v.Refuse.Code != 0 || v.Discard || v.Edits != nil || v.Add != nil || v.Body != nil {
					t.Errorf("mode %v: a verdict was made of it: %+v", mode, v)
				}
			}
			if n := len(f.Sessions(t)); n != 2 { // and all are closed
				t.Errorf("%d sessions, want 2", n)
			}
		})
	}
}

// TestNobodyThere is a filter that does not run.
func TestNobodyThere(t *testing.T) {
	const addr = "127.0.0.1:1"
	for mode, fails := range map[Failure]bool{Tempfail: true, Accept: false} {
		c := New(Options{Name: "gone", Network: "tcp", Address: addr, OnFailure: mode})
		if _, err := judged(c, message(), "x"); (err != nil) != fails {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

// TestTimeouts are filters that say nothing at some step.
func TestTimeouts(t *testing.T) {
	for _, code := range "OCHMRTLNBE" {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			opt := mt.Options{Answer: at(byte(code), mt.Hang)}
			if code == 'O' {
				opt = mt.Options{Negotiation: []mt.Act{mt.Hang}}
			}
			f := mt.New(t, opt)
			_, err := judged(client(t, f, Options{Timeout: 50 * time.Millisecond}), message(), "x")
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the error is %v", err)
			}
			f.Sessions(t)
		})
	}
}

// TestEndless reports progress, or changes something, for ever.
func TestEndless(t *testing.T) {
	for name, act := range map[string]mt.Act{"progress": mt.Say('p'), "changes": mt.Say('e', "<>\x00"), "empty bodies": mt.Say('b')} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := mt.New(t, mt.Options{Answer: at('E', mt.Forever(act))})
			if v, err := judged(client(t, f, Options{Timeout: 30 * time.Millisecond}), message(), "x"); err == nil {
				t.Errorf("a verdict was made of it: %+v", v)
			}
			f.Sessions(t)
		})
	}
}

// TestSlow is a filter that is slow at every step, though never too slow for one.
func TestSlow(t *testing.T) {
	const timeout = 100 * time.Millisecond
	slow := func(c mt.Command) []mt.Act {
		late := make(chan struct{})
		time.AfterFunc(timeout/2, func() { close(late) })
		return []mt.Act{mt.Wait(late), mt.Say('c')}
	}
	m := message()
	for range 2 * patience {
		m.Recipients = append(m.Recipients, m.Recipients[0])
	}
	f := mt.New(t, mt.Options{Answer: slow})
	if _, err := judged(client(t, f, Options{Timeout: timeout}), m, "x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	f.Sessions(t)
}

// TestCancelled: whoever gives up gets no verdict, not even from a filter whose
// failures are forgiven.
func TestCancelled(t *testing.T) {
	for _, code := range "OME" {
		t.Run(string(code), func(t *testing.T) {
			there := make(chan struct{})
			reached := func(c mt.Command) []mt.Act {
				if c.Code == byte(code) {
					close(there)
					return []mt.Act{mt.Hang}
				}
				return nil
			}
			opt := mt.Options{Answer: reached}
			if code == 'O' {
				close(there)
				opt = mt.Options{Negotiation: []mt.Act{mt.Hang}}
			}
			f := mt.New(t, opt)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() {
				<-there
				cancel()
			}()
			j, err := client(t, f, Options{OnFailure: Accept}).Begin(ctx, message())
			if err == nil {
				_, err = j.Verdict(ctx)
			}
			if err == nil {
				t.Error("no error")
			}
			f.Sessions(t)
		})
	}
}

// TestNoRoomForTheBody is our own failure: the message must not go on with the
// body that the filter wanted replaced.
func TestNoRoomForTheBody(t *testing.T) {
	f := mt.New(t, mt.Options{Answer: at('E', mt.Say('b', strings.Repeat("x", 2*inMemory)), mt.Say('c'))})
	_, err := judged(client(t, f, Options{OnFailure: Accept, Dir: t.TempDir() + "/missing"}), message())
	if !errors.Is(err, errStore) {
		t.Errorf("the error is %v", err)
	}
}
