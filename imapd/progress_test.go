package imapd

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

// TestProgressOfVerbs: while the spool is at work its client hears that the command is
// not forgotten (RFC 9585), and what the command tells follows.
func TestProgressOfVerbs(t *testing.T) {
	for _, c := range []struct{ command, op, last string }{
		{"UID COPY 1 Archive", "copy", "x OK [COPYUID"},
		{"MOVE 1 Archive", "move", "* OK [COPYUID"},
		{"EXPUNGE", "expunge", "* 1 EXPUNGE"},
		{"CLOSE", "expunge", "x OK CLOSE"},
		{"RENAME INBOX Before", "arrange", "x OK RENAME"},
		{"DELETE Archive", "arrange", "x OK DELETE"},
	} {
		t.Run(c.command, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(o *Options) { o.progress = time.Millisecond })
			h.deposit("alice", "INBOX", "", "Subject: x\r\n\r\nx\r\n", spool.Flags{System: spool.Deleted}, true)
			conn := h.dial()
			r := bufio.NewReader(conn)
			told := func(want string) {
				t.Helper()
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						t.Fatalf("waiting for %s: %v", want, err)
					}
					if strings.HasPrefix(line, want) {
						return
					}
				}
			}
			fmt.Fprint(conn, "a LOGIN alice secret\r\nb SELECT INBOX\r\n")
			told("b OK")
			release := make(chan struct{})
			h.store.Hook(func(op spooltest.Op) error {
				if string(op) == c.op {
					<-release
				}
				return nil
			})
			fmt.Fprintf(conn, "x %s\r\n", c.command)
			told(`* OK [INPROGRESS ("x" NIL NIL)] `)
			told(`* OK [INPROGRESS ("x" NIL NIL)] `)
			close(release)
			told(c.last)
		})
	}
}

// TestPanicOfAVerb costs the session in which it happens, as any other.
func TestPanicOfAVerb(t *testing.T) {
	h := newHouse(t, nil)
	h.deposit("alice", "INBOX", "", "Subject: x\r\n\r\nx\r\n", spool.Flags{System: spool.Deleted}, true)
	one, two := h.client(nil), h.client(nil)
	if _, err := one.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	h.store.Hook(func(op spooltest.Op) error {
		if op == spooltest.OpExpunge {
			panic("poison")
		}
		return nil
	})
	if err := one.Expunge().Close(); err == nil {
		t.Error("expunge succeeded")
	}
	if err := two.Noop().Wait(); err != nil {
		t.Errorf("another session: %v", err)
	}
	if !strings.Contains(h.log.String(), "poison") {
		t.Error("the panic was not logged")
	}
}
