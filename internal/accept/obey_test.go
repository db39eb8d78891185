package accept_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/screen"
	"restante/spool"
)

// screened has one screen look at a message for alice and for one elsewhere.
func screened(t *testing.T, f *fakeScreen) (*house, accept.Submission) {
	h := newHouse(t, func(o *accept.Options) { o.Screens = []screen.Screen{f} })
	s := submission("carol@there.example", "alice@here.example", "x@there.example")
	s.Screened, s.Trace = true, received
	return h, s
}

func (h *house) nothingStored() {
	h.Helper()
	for task, err := range h.Tasks(spool.TaskID{}) {
		h.Errorf("there is a task: %+v, %v", task, err)
	}
	for _, account := range []string{"alice@here.example", "bob@here.example"} {
		if list, _ := h.ListMailboxes(account); len(list) > 0 {
			h.Errorf("%s has mail", account)
		}
	}
}

func TestScreenRefuses(t *testing.T) {
	no := mail.Status{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "spam"}
	later := &fakeScreen{}
	first := &fakeScreen{verdict: screen.Verdict{Refuse: no, Discard: true}}
	h := newHouse(t, func(o *accept.Options) { o.Screens = []screen.Screen{first, later} })
	s := submission("carol@there.example", "alice@here.example")
	s.Screened = true
	_, err := h.take(s, text)
	var refused *accept.RefusedError
	if !errors.As(err, &refused) || refused.Status != no {
		t.Errorf("got %v", err)
	}
	if first.closed != 1 || later.closed != 1 {
		t.Errorf("closed %d and %d times", first.closed, later.closed)
	}
	h.nothingStored()
	s.Screened = false
	if _, err := h.take(s, text); err != nil {
		t.Errorf("unscreened: %v", err)
	}
}

func TestScreenFails(t *testing.T) {
	for _, f := range []*fakeScreen{{err: io.ErrUnexpectedEOF}, {refuse: io.ErrUnexpectedEOF}} {
		h, s := screened(t, f)
		if _, err := h.take(s, text); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
		h.nothingStored()
	}
}

func TestScreenDiscards(t *testing.T) {
	for _, v := range []screen.Verdict{
		{Discard: true},
		{Remove: []mail.Address{mail.MustParseAddress("alice@here.example"), mail.MustParseAddress("x@there.example")}},
	} {
		h, s := screened(t, &fakeScreen{verdict: v})
		if r, err := h.take(s, text); err != nil || r.ID.IsZero() {
			t.Errorf("got %v, %v", r, err)
		}
		h.nothingStored()
	}
}

func TestQuarantine(t *testing.T) {
	for _, c := range []struct {
		name string
		have func(h *house)
		want string
	}{
		{"no mailbox yet", func(*house) {}, "Junk"},
		{"one of that use", func(h *house) { h.CreateMailbox("alice@here.example", "Spam", spool.UseJunk) }, "Spam"},
		{"one of that name", func(h *house) { h.CreateMailbox("alice@here.example", "Junk", spool.UseNone) }, "Junk"},
	} {
		h, s := screened(t, &fakeScreen{verdict: screen.Verdict{Quarantine: "it smells"}})
		c.have(h)
		r, err := h.take(s, text)
		if err != nil {
			t.Fatal(c.name, err)
		}
		box, err := h.MailboxByID(r.Deposited[0].Mailbox)
		if err != nil || box.Name != c.want || c.name == "no mailbox yet" && box.Use != spool.UseJunk {
			t.Errorf("%s: in %q (%s), %v", c.name, box.Name, box.Use, err)
		}
		e, err := h.Entry(r.Deposited[0].Mailbox, r.Deposited[0].UID)
		if err != nil || len(e.Flags.Keywords) != 1 || e.Flags.Keywords[0] != "$Junk" {
			t.Errorf("%s: flags %v, %v", c.name, e.Flags, err)
		}
		if got := h.tasksOf(r.ID); got != "held mx/there.example from <carol@there.example> to x@there.example" {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestScreenEdits(t *testing.T) {
	edits := []screen.Edit{
		{Op: screen.Append, Name: "X-Last", Value: "1"},
		{Op: screen.Insert, Name: "X-First", Value: "2", Index: 0},
		{Op: screen.Change, Name: "subject", Value: "[spam] x", Index: 1},
		{Op: screen.Change, Name: "X-New", Value: "3\r\n\tmore", Index: 1},
		{Op: screen.Delete, Name: "To", Index: 2},
		{Op: screen.Delete, Name: "To", Index: 9},
	}
	h, s := screened(t, &fakeScreen{verdict: screen.Verdict{Edits: edits}})
	s.Trace = nil
	h.wantStored("edits", s, "To: a\r\nSubject: x\r\nTo: b\r\n\r\nbody\r\n",
		"X-First: 2\r\nTo: a\r\nSubject: [spam] x\r\nX-Last: 1\r\nX-New: 3\r\n\tmore\r\n\r\nbody\r\n")
}

// A change of Content-Type that does not fit the body that has gone by is left
// out; any other is made, and the structure follows it.
func TestScreenChangesContentType(t *testing.T) {
	const body = "\r\n--b\r\n\r\nx\r\n--b--\r\n"
	for value, want := range map[string]string{
		"text/plain":                    "text/plain",
		"multipart/related; boundary=b": "multipart/related; boundary=b",
		"multipart/mixed; boundary=c":   "multipart/mixed; boundary=b",
		"message/rfc822":                "multipart/mixed; boundary=b",
	} {
		v := screen.Verdict{Edits: []screen.Edit{{Op: screen.Change, Name: "Content-Type", Index: 1, Value: value}}}
		h, s := screened(t, &fakeScreen{verdict: v})
		s.Trace = nil
		h.wantStored(value, s, "Content-Type: multipart/mixed; boundary=b\r\n"+body, "Content-Type: "+want+"\r\n"+body)
	}
}

func TestScreenReplacesBody(t *testing.T) {
	closed := new(closing)
	closed.Reader = strings.NewReader("another bödy\r\n")
	v := screen.Verdict{Body: closed, Edits: []screen.Edit{{Op: screen.Change, Name: "Content-Type", Index: 1, Value: "text/plain; charset=utf-8"}}}
	f := &fakeScreen{verdict: v}
	h := newHouse(t, func(o *accept.Options) {
		o.Screens = []screen.Screen{f}
		o.Signers = []accept.Signer{fakeSigner{name: "X-Signed"}}
	})
	s := submission("alice@here.example", "bob@here.example", "x@there.example")
	s.Trusted, s.Screened, s.Complete, s.Trace = true, true, true, received
	r, err := h.take(s, "From: a\r\nDate: b\r\nMessage-ID: c\r\nContent-Type: multipart/mixed; boundary=b\r\nSubject: x\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "X-Signed: x/0/\"another bödy\\r\\n\"\r\n" + received(r.ID) + "From: a\r\nDate: b\r\nMessage-ID: c\r\nContent-Type: text/plain; charset=utf-8\r\nSubject: x\r\n\r\nanother bödy\r\n"
	if got := h.stored(r.ID); got != want {
		t.Errorf("stored is\n%s\nwant\n%s", got, want)
	}
	if !closed.done || f.body != "--b\r\n\r\nx\r\n--b--\r\n" {
		t.Errorf("closed: %v; the screen saw %q", closed.done, f.body)
	}
	if tasks, _ := h.MessageTasks(r.ID); len(tasks) != 1 || !tasks[0].Envelope.EightBit {
		t.Errorf("tasks %+v", tasks)
	}
}

type closing struct {
	io.Reader
	done bool
}

func (c *closing) Close() error {
	c.done = true
	return nil
}

func TestScreenRedirects(t *testing.T) {
	from := mail.MustParseAddress("other@there.example")
	v := screen.Verdict{
		From:   &from,
		Add:    []mail.Address{mail.MustParseAddress("bob@here.example"), mail.MustParseAddress("nobody@here.example"), mail.MustParseAddress("y@far.example")},
		Remove: []mail.Address{mail.MustParseAddress("Alice@here.example"), mail.MustParseAddress("z@far.example")},
	}
	h, s := screened(t, &fakeScreen{verdict: v})
	m, err := h.Submit(s)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, text)
	m.Envelope().EightBit = true
	r, err := m.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := "queued mx/there.example from <other@there.example> to x@there.example; queued mx/far.example from <other@there.example> to y@far.example"
	if got := h.tasksOf(r.ID); got != want {
		t.Errorf("tasks %s\nwant  %s", got, want)
	}
	if tasks, _ := h.MessageTasks(r.ID); !tasks[0].Envelope.EightBit {
		t.Error("what was known of the body is forgotten")
	}
	if len(r.Deposited) != 1 {
		t.Fatalf("%d deposits", len(r.Deposited))
	}
	if box, err := h.MailboxByID(r.Deposited[0].Mailbox); err != nil || box.Account != "bob@here.example" {
		t.Errorf("deposited to %v, %v", box.Account, err)
	}
	h.stored(r.ID)
}
