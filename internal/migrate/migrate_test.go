package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/control"
	"restante/spool"
)

// daemon is a daemon as far as import and export see it.
type daemon struct {
	boxes []control.Mailbox
	mail  map[string][]stored
	once  map[string]bool
	// refuse answers a deposit with an error; nil for none.
	refuse func(text []byte) error
}

type stored struct {
	flags []string
	date  time.Time
	text  string
}

func newDaemon() *daemon {
	return &daemon{mail: make(map[string][]stored), once: make(map[string]bool)}
}

func (d *daemon) Mailboxes(context.Context, string) ([]control.Mailbox, error) {
	list := slices.Clone(d.boxes)
	for i := range list {
		list[i].UIDValidity, list[i].Messages = 7, uint32(len(d.mail[list[i].Name]))
	}
	return list, nil
}

func (d *daemon) MakeMailbox(_ context.Context, _ string, m control.Mailbox) (control.Mailbox, error) {
	if err := spool.CheckName(m.Name); err != nil {
		return m, err
	}
	if !slices.ContainsFunc(d.boxes, func(b control.Mailbox) bool { return b.Name == m.Name }) {
		d.boxes = append(d.boxes, m)
	}
	return m, nil
}

func (d *daemon) Deposit(_ context.Context, _ string, p control.Deposit, body io.Reader, size int64) (control.Deposited, error) {
	text, err := io.ReadAll(body)
	if err == nil && size >= 0 && int64(len(text)) != size {
		err = fmt.Errorf("%d octets, not %d", len(text), size)
	}
	if err == nil && d.refuse != nil {
		err = d.refuse(text)
	}
	if err != nil {
		return control.Deposited{}, err
	}
	if d.once[p.Once] {
		return control.Deposited{Before: true}, nil
	}
	d.once[p.Once] = true
	d.mail[p.Mailbox] = append(d.mail[p.Mailbox], stored{slices.Sorted(slices.Values(p.Flags)), p.Date, string(text)})
	return control.Deposited{}, nil
}

func (d *daemon) Mail(_ context.Context, _, mailbox string, _ spool.UID) iter.Seq2[control.Mail, error] {
	return func(yield func(control.Mail, error) bool) {
		for i, m := range d.mail[mailbox] {
			if !yield(control.Mail{UID: spool.UID(i + 1), Flags: m.flags, Date: m.date, Size: int64(len(m.text))}, nil) {
				return
			}
		}
	}
}

func (d *daemon) MailContent(_ context.Context, _, mailbox string, uid spool.UID) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(d.mail[mailbox][uid-1].text)), nil
}

// full is a daemon with odd names, flags and texts.
func full() *daemon {
	d := newDaemon()
	at := func(n int) time.Time { return time.Date(2011, 2, 3, 4, 5, n, 0, time.UTC) }
	for name, list := range map[string][]stored{
		"INBOX": {
			{[]string{`\Seen`}, at(1), "Subject: one\r\n\r\none\r\n"},
			{[]string{"$Forwarded", `\Answered`, `\Deleted`, `\Draft`, `\Flagged`}, at(2), "Subject: two\r\n\r\nFrom two at 10:00\r\n>From\r\n\r\n"},
			{nil, at(2), "Subject: same\r\n\r\n"},
			{nil, at(2), "Subject: same\r\n\r\n"},
		},
		"Sent":              {{[]string{"$label1", "Zwölf"[:1] + "x", `\Seen`}, at(3), "Subject: sent\r\n\r\n" + strings.Repeat("long ", 30000) + "\r\n"}},
		"INBOX/Below":       {{nil, at(4), "Subject: below\r\n\r\nx\r\n"}},
		"Entwürfe/a.b/.c\\": {{nil, at(5), "Subject: odd\r\n\r\nx\r\n"}},
		"x.mbox/..":         {{nil, at(6), "Subject: mbox\r\n\r\nx\r\n"}},
	} {
		d.MakeMailbox(context.Background(), "", control.Mailbox{Name: name})
		d.mail[name] = list
	}
	slices.SortFunc(d.boxes, func(a, b control.Mailbox) int { return spool.CompareNames(a.Name, b.Name) })
	return d
}

func importAll(t *testing.T, d *daemon, src Source, journal string) (Counts, []string, error) {
	t.Helper()
	j, err := OpenJournal(journal, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	n, err := (&Import{Source: src, Target: d, Journal: j, Tell: func(s string) { told = append(told, s) }}).Run(t.Context())
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return n, told, err
}

// same compares what two daemons hold; the order of messages counts.
func same(t *testing.T, got, want *daemon) {
	t.Helper()
	for name, list := range want.mail {
		if !slices.EqualFunc(got.mail[name], list, func(a, b stored) bool {
			return slices.Equal(a.flags, b.flags) && a.date.Equal(b.date) && a.text == b.text
		}) {
			t.Errorf("%s: got %.500v, want %.500v", name, got.mail[name], list)
		}
	}
	for name := range got.mail {
		if want.mail[name] == nil {
			t.Errorf("%s is new", name)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for kind, c := range map[string]struct {
		sink func(string) Sink
		open func(string) (Source, error)
	}{
		"maildir": {NewMaildir, OpenMaildir},
		"mbox":    {NewMbox, OpenMbox},
	} {
		t.Run(kind, func(t *testing.T) {
			from, dir := full(), t.TempDir()
			path := filepath.Join(dir, "out")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			n, err := (&Export{Store: from, Sink: c.sink(path)}).Run(t.Context())
			if err != nil || n.Taken != 8 || n.Failed > 0 {
				t.Fatalf("export: %+v, %v", n, err)
			}
			if n, err := (&Export{Store: from, Sink: c.sink(path)}).Run(t.Context()); err != nil || n.Taken != 0 {
				t.Errorf("export again: %+v, %v", n, err)
			}
			if list, _ := filepath.Glob(filepath.Join(dir, "*")); len(list) != 1 {
				t.Errorf("something left the directory: %q", list)
			}
			src, err := c.open(path)
			if err != nil {
				t.Fatal(err)
			}
			to := newDaemon()
			if n, told, err := importAll(t, to, src, filepath.Join(dir, "j")); err != nil || n.Taken != 8 || n.Failed > 0 {
				t.Fatalf("import: %+v, %v, %q", n, err, told)
			}
			same(t, to, from)
			// Again, and by a daemon that has forgotten the deposits' names.
			to.once = make(map[string]bool)
			if n, _, err := importAll(t, to, src, filepath.Join(dir, "j")); err != nil || n.Taken+n.Before != 0 {
				t.Errorf("import again: %+v, %v", n, err)
			}
			same(t, to, from)
		})
	}
}

// TestInterruptedImports ends runs after each message; nothing is taken twice,
// and a run that could not write its journal down is helped by the daemon.
func TestInterruptedImports(t *testing.T) {
	from, dir := full(), t.TempDir()
	if _, err := (&Export{Store: from, Sink: NewMaildir(dir)}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src, err := OpenMaildir(dir)
	if err != nil {
		t.Fatal(err)
	}
	to, journal := newDaemon(), filepath.Join(t.TempDir(), "deep", "j")
	stop := errors.New("stop")
	for run := range 20 {
		left := 1
		to.refuse = func([]byte) error {
			if left--; left < 0 {
				return stop
			}
			return nil
		}
		_, _, err := importAll(t, to, src, journal)
		if err == nil {
			break
		}
		if !errors.Is(err, stop) || run == 19 {
			t.Fatalf("run %d: %v", run, err)
		}
		if run == 3 {
			// The last lines were not written down, and one is broken off.
			b, err := os.ReadFile(journal)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(journal, b[:len(b)-40], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	same(t, to, from)
}

func TestWhatCannotBeTakenIsToldAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"cur/1.a.x:2,S": "Subject: a\n\n", "new/2.b.x": "Subject: too large\n\n", "cur/3.c.x:2,": "Subject: c\n\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere/at/all", filepath.Join(dir, "cur", "4.d.x:2,")); err != nil {
		t.Fatal(err)
	}
	src, err := OpenMaildir(dir)
	if err != nil {
		t.Fatal(err)
	}
	to, journal := newDaemon(), filepath.Join(t.TempDir(), "j")
	to.refuse = func(text []byte) error {
		if bytes.Contains(text, []byte("too large")) {
			return &control.Error{Code: control.CodeTooLarge, Message: "larger than it may be"}
		}
		return nil
	}
	n, told, err := importAll(t, to, src, journal)
	if err != nil || n.Taken != 2 || n.Failed != 2 || !strings.Contains(strings.Join(told, "\n"), "2.b.x is passed over: larger") {
		t.Errorf("%+v, %v, %q", n, err, told)
	}
	to.refuse = nil
	if n, _, err := importAll(t, to, src, journal); err != nil || n.Taken != 1 || n.Failed != 1 {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestJournalsAreNotMixedUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := OpenJournal(path, "one", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path, "one", false); err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("used twice: %v", err)
	}
	if err := errors.Join(j.Add("p", "k"), j.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path, "two", false); err == nil || !strings.Contains(err.Error(), "another account") {
		t.Errorf("of another: %v", err)
	}
	if j, err = OpenJournal(path, "one", true); err != nil || !j.Has("p", "k") || j.Has("p", "l") || j.Has("pk", "") {
		t.Errorf("%v", err)
	}
	j.Close()
	if err := os.WriteFile(path, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path, "one", false); err == nil {
		t.Error("a file that is no journal was taken")
	}
	if b, _ := os.ReadFile(path); string(b) != "something else\n" {
		t.Errorf("it was changed: %q", b)
	}
}

func TestNames(t *testing.T) {
	have := []control.Mailbox{{Name: "INBOX"}, {Name: "Sent", Use: spool.UseSent}}
	n := Names{Map: map[string]string{"Lists": "Old/Lists", "Lists/x": "X"}, Skip: []string{"Junk"}}
	for _, c := range []struct {
		f         Folder
		name, why string
	}{
		{Folder{Name: "INBOX"}, "INBOX", ""},
		{Folder{Name: "Sent Items", Use: spool.UseSent}, "Sent", ""},
		{Folder{Name: "Lists/a"}, "Old/Lists/a", ""},
		{Folder{Name: "Lists/x/y"}, "X/y", ""},
		{Folder{Name: "Listsb"}, "Listsb", ""},
		{Folder{Name: "Junk/a"}, "", "not asked for"},
		{Folder{Name: "All", LeftOut: "virtual"}, "", "virtual"},
		{Folder{Name: "a*b//c\x01/"}, "a_b/c_", ""},
		{Folder{Name: "inbox/x"}, "INBOX/x", ""},
		{Folder{Name: strings.Repeat("x", 2000)}, "", "spool: invalid mailbox name"},
	} {
		name, why := n.target(c.f, have)
		if name != c.name || !strings.HasPrefix(why, c.why) || (why == "") != (c.why == "") {
			t.Errorf("%q: %q %q", c.f.Name, name, why)
		}
	}
	if err := n.check([]Folder{{Name: "Lists/x"}}); err == nil {
		t.Error("a folder that is not there was not noticed")
	}
	folders := []Folder{{Name: "Spam"}, {Name: "Deleted Items"}, {Name: "Papierkorb", Use: spool.UseTrash}}
	guessUses(folders)
	if folders[0].Use != spool.UseJunk || folders[1].Use != spool.UseNone {
		t.Errorf("%+v", folders)
	}
}
