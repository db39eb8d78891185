package accept_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/mail"
	"restante/internal/screen"
	"restante/spool"
	"restante/spool/spooltest"
)

var alice = mail.MustParseAddress("alice@here.example")

func journal(change func(*archive.Rule)) func(*accept.Options) {
	rule := archive.Rule{Name: "journal", Account: alice, Mailbox: "Journal"}
	if change != nil {
		change(&rule)
	}
	return func(o *accept.Options) { o.Archive = []archive.Rule{rule} }
}

// copies are the messages in a mailbox of alice's, prefix and all.
func (h *house) copies(mailbox string) []string {
	h.Helper()
	box, err := h.Mailbox("alice@here.example", mailbox)
	if errors.Is(err, spool.ErrNoMailbox) {
		return nil
	}
	if err != nil {
		h.Fatal(err)
	}
	var list []string
	for e, err := range h.Entries(box.ID, 1, 0) {
		if err != nil {
			h.Fatal(err)
		}
		list = append(list, string(e.Prefix)+h.stored(e.Message))
	}
	return list
}

// The copy has the message as it was stored, and all of its recipients, which
// the others do not see.
func TestArchiveCopy(t *testing.T) {
	h := newHouse(t, journal(nil))
	s := submission("bob@here.example", "bob@here.example", "hidden@there.example")
	s.Complete = true
	s.Envelope.Ret, s.Envelope.EnvID = mail.ReturnHeaders, "QQ"
	s.Recipients[1].Notify = mail.NotifyDelay
	r, err := h.take(s, "From: bob@here.example\r\nBcc: hidden@there.example\r\n"+text)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(h.stored(r.ID), "hidden") {
		t.Error("what others get tells of the Bcc")
	}
	list := h.copies("Journal")
	if len(list) != 1 || !strings.HasSuffix(list[0], h.stored(r.ID)) {
		t.Fatalf("copies %q", list)
	}
	kept, err := archive.Parse([]byte(list[0]))
	if err != nil {
		t.Fatal(err)
	}
	if kept.Message != r.ID || kept.Rule != "journal" || kept.Envelope.From != s.Envelope.From || kept.Envelope.EnvID != "QQ" ||
		kept.Envelope.Ret != mail.ReturnHeaders || len(kept.Recipients) != 2 || kept.Recipients[0].Route != archive.LocalRoute ||
		kept.Recipients[1].To != s.Recipients[1].To || kept.Recipients[1].Route != "mx" || kept.Recipients[1].Notify != mail.NotifyDelay {
		t.Errorf("kept %+v", kept)
	}
	if info, err := h.Stat(r.ID); err != nil || info.References != 3 {
		t.Errorf("the body has %d references, want 3 of one body; %v", info.References, err)
	}
}

func TestWhatIsArchived(t *testing.T) {
	out := journal(func(r *archive.Rule) { r.Directions = archive.Out })
	for _, c := range []struct {
		name   string
		change func(*accept.Options)
		s      func(*accept.Submission)
		want   int
	}{
		{"ours, to elsewhere", out, func(s *accept.Submission) { s.Complete = true }, 1},
		{"from outside", out, func(s *accept.Submission) { s.Screened = true }, 0},
		{"from outside, into", journal(func(r *archive.Rule) { r.Directions = archive.In }), func(s *accept.Submission) { s.Screened = true }, 1},
		{"a report", journal(nil), func(*accept.Submission) {}, 0},
		{"sent again", journal(nil), func(s *accept.Submission) { s.Complete, s.Again = true, true }, 0},
		{"with the field", journal(func(r *archive.Rule) { r.Header, r.Value = "subject", "HELLO" }), func(s *accept.Submission) { s.Complete = true }, 1},
		{"without the field", journal(func(r *archive.Rule) { r.Header = "X-Project" }), func(s *accept.Submission) { s.Complete = true }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, c.change)
			s := submission("me@else.example", "bob@here.example", "x@there.example")
			c.s(&s)
			h.taken(s, "From: me@else.example\r\n"+text)
			if got := h.copies("Journal"); len(got) != c.want {
				t.Errorf("%d copies, want %d", len(got), c.want)
			}
		})
	}
}

// What is refused, or thrown away, is not archived; quarantine leaves the copy
// where it belongs.
func TestArchiveAndScreens(t *testing.T) {
	for _, c := range []struct {
		name    string
		verdict screen.Verdict
		want    int
	}{
		{"accepted", screen.Verdict{}, 1},
		{"refused", screen.Verdict{Refuse: mail.Status{Code: 550, Text: "no"}}, 0},
		{"discarded", screen.Verdict{Discard: true}, 0},
		{"quarantined", screen.Verdict{Quarantine: "odd"}, 1},
		{"with another body", screen.Verdict{Body: io.NopCloser(strings.NewReader("another\r\n"))}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, func(o *accept.Options) {
				journal(nil)(o)
				o.Screens = []screen.Screen{&fakeScreen{verdict: c.verdict}}
			})
			s := submission("carol@there.example", "bob@here.example")
			s.Screened = true
			r, err := h.take(s, text)
			if _, refused := errors.AsType[*accept.RefusedError](err); err != nil && !refused {
				t.Fatal(err)
			}
			list := h.copies("Journal")
			if len(list) != c.want {
				t.Fatalf("%d copies, want %d", len(list), c.want)
			}
			if c.want == 0 {
				return
			}
			if kept, err := archive.Parse([]byte(list[0])); err != nil || kept.Message != r.ID || !strings.HasSuffix(list[0], h.stored(r.ID)) {
				t.Errorf("%v, %+v", err, kept)
			}
		})
	}
}

// What cannot be archived is not accepted.
func TestNothingEscapesTheArchive(t *testing.T) {
	h := newHouse(t, journal(func(r *archive.Rule) { r.Account = mail.MustParseAddress("nobody@here.example") }))
	s := submission("bob@here.example", "x@there.example")
	s.Complete = true
	if _, err := h.take(s, text); err == nil {
		t.Error("accepted without its copy")
	}
	h = newHouse(t, journal(nil))
	h.Fail(spool.ErrFull, spooltest.OpArrange)
	if _, err := h.take(s, text); !errors.Is(err, spool.ErrFull) {
		t.Errorf("accepted without its copy: %v", err)
	}
	h.Fail(nil, spooltest.OpArrange)
	if _, err := h.take(s, text); err != nil || len(h.copies("Journal")) != 1 {
		t.Errorf("%v, %d copies", err, len(h.copies("Journal")))
	}
}

func TestArchiveByMonth(t *testing.T) {
	h := newHouse(t, journal(func(r *archive.Rule) { r.Monthly = true }))
	s := submission("bob@here.example", "x@there.example")
	s.Complete = true
	h.taken(s, text)
	if got := h.copies("Journal/2026-11"); len(got) != 1 {
		t.Errorf("%d copies", len(got))
	}
	if subs, err := h.Subscriptions("alice@here.example"); err != nil || strings.Join(subs, " ") != "Journal/2026-11" {
		t.Errorf("subscriptions %v, %v", subs, err)
	}
}

// A copy for an address is a task of the same commit, with all recipients.
func TestArchiveToAnAddress(t *testing.T) {
	h := newHouse(t, journal(func(r *archive.Rule) { r.Account, r.To = mail.Address{}, mail.MustParseAddress("vault@far.example") }))
	s := submission("bob@here.example", "alice@here.example", "x@there.example")
	s.Complete = true
	r, err := h.take(s, text)
	if err != nil {
		t.Fatal(err)
	}
	want := "queued mx/there.example from <bob@here.example> to x@there.example; " +
		"queued archive copy/vault@far.example from <bob@here.example> to vault@far.example,vault@far.example"
	if got := h.tasksOf(r.ID); got != want {
		t.Errorf("tasks are\n%s\nwant\n%s", got, want)
	}
}

// Who is sent again is not signed: a domain of ours in From would be vouched
// for that nobody has proven.
func TestSentAgainIsNotSigned(t *testing.T) {
	h := newHouse(t, func(o *accept.Options) { o.Signers = []accept.Signer{fakeSigner{name: "X-Signed"}} })
	s := submission("carol@there.example", "bob@here.example")
	s.Trusted, s.Again = true, true
	h.wantStored("sent again", s, text, text)
}

// A screen that mistrusts the sender leaves a mark on the envelope.
func TestUnverifiedIsKept(t *testing.T) {
	h := newHouse(t, func(o *accept.Options) {
		o.Screens = []screen.Screen{&fakeScreen{verdict: screen.Verdict{Unverified: true, Add: []mail.Address{alice}}}}
	})
	s := submission("carol@there.example", "bob@here.example")
	s.Screened = true
	r, err := h.take(s, text)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := h.Stat(r.ID); err != nil || !info.Envelope.Unverified {
		t.Errorf("%+v, %v", info, err)
	}
}
