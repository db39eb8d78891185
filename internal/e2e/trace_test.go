package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"

	"restante/internal/standin"
)

// story is one of trace --json.
type story struct {
	ID, From   string
	MessageID  string `json:"message_id"`
	Open       bool
	Recipients []struct {
		To, State string
		QueueID   string `json:"queue_id"`
	}
	Events []struct {
		Kind, Host, Addr, TLS, Verified, By, Text, Ref string
		QueueID                                        string `json:"queue_id"`
		To                                             []string
		Attempt                                        int
		Seconds                                        float64
		Status                                         struct {
			Code int
			Text string
		}
	}
}

// plot is the story in short.
func (s *story) plot() string {
	var list []string
	for _, e := range s.Events {
		list = append(list, e.Kind)
	}
	return strings.Join(list, " ")
}

// traced asks for stories through the command.
func (d *daemon) traced(args ...string) []story {
	d.t.Helper()
	r := d.run("", append([]string{"trace", "--json"}, args...)...)
	var list []story
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		d.t.Fatalf("trace %v: %v\n%s%s", args, err, r.stdout, r.stderr)
	}
	return list
}

// TestTrace follows a message that is deferred once and then delivered, in the
// story that is told of it.
func TestTrace(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{TLS: standin.STARTTLS})
	hop.Next(
		standin.Script{{At: standin.Rcpt, Code: 451, Text: "4.3.0 not now"}},
		standin.Script{{At: standin.EndOfData, Code: 250, Text: "2.0.0 Ok: queued as 4Zx1Abc"}},
	)
	route := strings.Replace(away(hop), `tls = "none"`, "tls = \"required\"\nverify = false", 1)
	d := newDaemon(t, route, quick(""))
	text, err := d.submission(alice).mail([]byte(letter("trace")), alice, "carol@example.net")
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`\b[0-9A-V]{16}\b`).FindString(text)
	d.emptied()
	d.restart()
	list := d.traced(id)
	if len(list) != 1 {
		t.Fatalf("trace %s tells of %d messages", id, len(list))
	}
	s := list[0]
	if got := s.plot(); got != "accepted queued deferred delivered" {
		t.Fatalf("the story is: %s", got)
	}
	first, late, end := s.Events[0], s.Events[2], s.Events[3]
	if first.By != alice || first.Addr != "127.0.0.1" || first.TLS == "" || first.Text != "ESMTPSA; authenticated" || first.To[0] != "carol@example.net" {
		t.Errorf("accepted: %+v", first)
	}
	if late.Attempt != 1 || late.Status.Code != 451 || late.Addr != hop.Addr() || late.TLS == "" || late.Seconds <= 0 {
		t.Errorf("deferred: %+v", late)
	}
	if end.Attempt != 2 || end.Status.Code != 250 || end.QueueID != "4Zx1Abc" || end.Addr != hop.Addr() {
		t.Errorf("delivered: %+v", end)
	}
	if r := s.Recipients[0]; s.Open || r.State != "delivered" || r.QueueID != "4Zx1Abc" || s.From != alice {
		t.Errorf("the end: %+v", s)
	}
	for _, args := range [][]string{
		{"<" + s.MessageID + ">"}, {s.MessageID}, {"carol@example.net"}, {alice}, {"--in", "delivered", "--since", "1h"},
		{"--sender", alice, "--recipient", "Carol@example.net", "--limit", "5"},
	} {
		if list := d.traced(args...); len(list) != 1 || list[0].ID != id {
			t.Errorf("trace %v tells of %d messages", args, len(list))
		}
	}
	has(t, d.must("", "trace", id), "deferred", "451 4.3.0 not now", "carol@example.net", "delivered", "4Zx1Abc", "attempt 2", "TLS1.3")
	if r := d.run("", "trace", "nobody@example.net"); r.code != 1 || r.stdout != "" {
		t.Errorf("a trace of nothing ends with %d: %s", r.code, r.stdout)
	}
	// The log calls it by the same name.
	has(t, d.log.String(), "id="+id, "task="+id+".0")
}

// TestTraceCollected follows messages into a mailbox and out of it.
func TestTraceCollected(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	d.send(letter("one"), alice, bob)
	d.send(letter("two"), alice, bob)
	d.inbox(bob, 2) // fetches both
	list := d.traced(bob)
	if len(list) != 2 || len(list[0].Recipients) != 1 || list[0].Recipients[0].State != "deposited" {
		t.Fatalf("traced: %+v", list)
	}
	var s story
	eventually(t, "it is told who has collected it", func() bool {
		s = d.traced(list[0].ID)[0]
		return s.plot() == "accepted deposited collected"
	})
	if e := s.Events[2]; e.By != bob || e.Text != bob+"/INBOX" || e.Addr != "127.0.0.1" {
		t.Errorf("collected: %+v", e)
	}
	d.inbox(bob, 2) // again, which is not told
	has(t, d.must("", "trace", bob), "SENDER", list[0].ID, list[1].ID, "2 messages")
	if got := d.traced(list[0].ID)[0].plot(); got != "accepted deposited collected" {
		t.Errorf("collected twice: %s", got)
	}
	// One is deleted, and at once it is told by whom.
	c := d.imap(bob, password, nil)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	first := d.traced(bob)[1].ID // the newest is told first
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	s = d.traced(first)[0]
	if e := s.Events[len(s.Events)-1]; e.Kind != "expunged" || e.By != bob || e.Text != bob+"/INBOX" || e.Addr != "127.0.0.1" {
		t.Errorf("expunged: %s, %+v", s.plot(), e)
	}
}

// TestTraceRemoved has an administrator end a message.
func TestTraceRemoved(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	hop.Always(later)
	d := newDaemon(t, away(hop), slow)
	d.send(letter("remove"), alice, "carol@example.net")
	got := d.one("queued")
	d.must("", "queue", "hold", got.ID)
	d.must("", "queue", "remove", got.ID)
	s := d.traced(got.Message)[0]
	if got := s.plot(); got != "accepted queued deferred held removed" {
		t.Fatalf("the story is: %s", got)
	}
	if e := s.Events[4]; e.By == "" || fmt.Sprint(e.To) != "[carol@example.net]" || s.Recipients[0].State != "removed" || s.Open {
		t.Errorf("removed: %+v", s)
	}
	d.configure(away(hop), slow, "[history]\nkeep = \"0s\"\n")
	d.signal(syscall.SIGHUP)
	eventually(t, "what is not kept is forgotten", func() bool { return d.run("", "trace", got.Message).code == 1 })
}
