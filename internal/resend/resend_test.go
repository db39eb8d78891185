package resend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/dsn"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

const letter = "From: ann@home.example\r\nSubject: hello\r\n\r\n.a few wörds\r\n--report-x--\r\n\r\n"

type household struct{}

func (household) IsLocal(domain string) bool { return domain == "home.example" }

func (household) Resolve(to mail.Address, _ func(accept.Step)) (accept.Targets, error) {
	if to.Local == "gone" {
		return accept.Targets{}, mail.ErrNoSuchUser
	}
	return accept.Targets{Accounts: []string{to.Local}}, nil
}

type world struct {
	*testing.T
	*spooltest.Memory
	acceptor *accept.Acceptor
	sender   *Sender
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, Memory: spooltest.NewMemory(spooltest.MemoryOptions{})}
	w.acceptor = accept.New(accept.Options{
		Intake: w.Memory, Directory: household{}, Mailboxes: w.Memory,
		Route: func(way accept.Way) spool.Destination {
			return spool.Destination{Route: strings.TrimSuffix(way.To.Domain, ".example"), Domain: way.To.Domain}
		},
		Archive: []archive.Rule{{Name: "all", Account: address("keeper"), Mailbox: "Journal", Monthly: true}},
	})
	w.sender = New(Options{Mailboxes: w.Memory, Bodies: w.Memory, Accept: w.acceptor, DeadLetters: address("admin")})
	return w
}

func address(s string) mail.Address {
	if !strings.Contains(s, "@") {
		s += "@home.example"
	}
	return mail.MustParseAddress(s)
}

// bury puts a dead letter where they are.
func (w *world) bury(c archive.Copy) {
	w.Helper()
	m, err := w.acceptor.File(mail.Envelope{}, accept.Drawer{Owner: address("admin"), Mailbox: archive.DeadLetters}, c.Fields())
	if err != nil {
		w.Fatal(err)
	}
	d := &dsn.Report{
		Action: dsn.Failed, Hostname: "x.example", ID: m.ID(), Original: c.Message, Envelope: c.Envelope, Now: time.Now(),
		Message: strings.NewReader(letter), Size: int64(len(letter)), DeadLetter: true, To: address("admin"),
	}
	for _, r := range c.Recipients {
		d.Recipients = append(d.Recipients, dsn.Recipient{Recipient: r.Recipient, Status: mail.Status{Code: 550, Text: r.Reason}})
	}
	if _, err := d.Write(m); err != nil {
		w.Fatal(err)
	}
	if _, err := m.Commit(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// queued are the messages in the queue, as "from -> to: text".
func (w *world) queued() (list []string) {
	w.Helper()
	for t, err := range w.Tasks(spool.TaskID{}) {
		if err != nil {
			w.Fatal(err)
		}
		var to []string
		for _, r := range t.Recipients {
			to = append(to, r.To.String())
		}
		list = append(list, fmt.Sprintf("%s -> %s: %s", t.Envelope.From, strings.Join(to, ","), w.text(t.ID.Message)))
	}
	return list
}

func (w *world) text(id mail.ID) string {
	w.Helper()
	body, err := w.OpenBody(id)
	if err != nil {
		w.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}

func lost(from string, to ...string) archive.Copy {
	c := archive.Copy{Message: mail.ID{1}}
	if from != "" {
		c.Envelope.From = address(from)
	}
	for _, s := range to {
		c.Recipients = append(c.Recipients, archive.Recipient{
			Recipient: mail.Recipient{To: address(s), Notify: mail.NotifyFailure}, Reason: "550 5.1.1 no such user (mx)",
		})
	}
	return c
}

func TestLetters(t *testing.T) {
	w := newWorld(t)
	for range w.sender.Letters() {
		t.Error("a letter, and none was filed")
	}
	w.bury(lost("", "b@one.example"))
	forged := lost("eve@two.example", "b@one.example", "c@one.example")
	forged.Envelope.Unverified = true
	w.bury(forged)
	box, err := w.Mailbox("admin", archive.DeadLetters)
	if err != nil {
		t.Fatal(err)
	}
	// Something else that somebody has put there.
	m, err := w.acceptor.File(mail.Envelope{}, accept.Drawer{Owner: address("admin"), Mailbox: archive.DeadLetters}, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, letter)
	if _, err := m.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	var list []Letter
	for l, err := range w.sender.Letters() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	if len(list) != 2 || list[0].UID != 1 || !list[0].From.IsNull() || list[1].Unverified != true || len(list[1].Recipients) != 2 ||
		list[1].Recipients[1].Reason != "550 5.1.1 no such user (mx)" {
		t.Fatalf("letters %+v", list)
	}
	l, err := w.sender.Letter(2)
	if err != nil || l.Header != "From: ann@home.example\r\nSubject: hello\r\n\r\n" {
		t.Errorf("%+v, %v", l, err)
	}
	for _, uid := range []spool.UID{3, 99} {
		if _, err := w.sender.Letter(uid); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("letter %d: %v", uid, err)
		}
	}
	if l, err := w.sender.RemoveLetter(1); err != nil || l.Recipients[0].To != address("b@one.example") {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := w.Entry(box.ID, 1); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("the removed letter: %v", err)
	}
	if _, err := w.Entry(box.ID, 2); err != nil {
		t.Errorf("the other letter: %v", err)
	}
}

// The message goes again as it was, octet for octet, and once.
func TestResend(t *testing.T) {
	w := newWorld(t)
	w.bury(lost("eve@two.example", "b@one.example", "c@one.example"))
	sent, err := w.sender.Resend(context.Background(), 1, nil, false)
	if err != nil || sent.Recipients != 2 {
		t.Fatalf("%+v, %v", sent, err)
	}
	want := []string{"eve@two.example -> b@one.example,c@one.example: " + letter}
	if got := w.queued(); !slices.Equal(got, want) {
		t.Errorf("queued %q, want %q", got, want)
	}
	if tasks, _ := w.MessageTasks(sent.ID); len(tasks) != 1 || tasks[0].Recipients[0].Notify != mail.NotifyFailure || tasks[0].Envelope.Client.Protocol != "resend" {
		t.Errorf("tasks %+v", tasks)
	}
	if _, err := w.sender.Resend(context.Background(), 1, nil, false); !errors.Is(err, ErrSent) {
		t.Errorf("a second time: %v", err)
	}
	if l, err := w.sender.Letter(1); err != nil || !l.Resent {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := w.sender.Resend(context.Background(), 1, []mail.Address{address("d@one.example")}, true); err != nil {
		t.Fatal(err)
	}
	if got := w.queued(); len(got) != 2 || got[1] != "eve@two.example -> d@one.example: "+letter {
		t.Errorf("queued %q", got)
	}
	if _, err := w.Mailbox("keeper", "Journal"); err == nil {
		t.Error("what was sent again was archived")
	}
}

// Where the mark cannot be set the spool knows.
func TestResendOnceWithoutTheMark(t *testing.T) {
	w := newWorld(t)
	w.bury(lost("", "b@one.example"))
	w.Fail(spool.ErrReadOnly, spooltest.OpFlag)
	if _, err := w.sender.Resend(context.Background(), 1, nil, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sender.Resend(context.Background(), 1, nil, false); !errors.Is(err, ErrSent) {
		t.Errorf("a second time: %v", err)
	}
	if got := w.queued(); len(got) != 1 {
		t.Errorf("queued %q", got)
	}
}

func TestResendToNobody(t *testing.T) {
	w := newWorld(t)
	w.bury(lost("", "b@one.example"))
	if _, err := w.sender.Resend(context.Background(), 1, []mail.Address{address("gone")}, false); !errors.Is(err, mail.ErrNoSuchUser) {
		t.Errorf("%v", err)
	}
	if l, err := w.sender.Letter(1); err != nil || l.Resent {
		t.Errorf("%+v, %v", l, err)
	}
	s := New(Options{Mailboxes: w, Bodies: w, Accept: w.acceptor, DeadLetters: address("gone")})
	if _, err := s.Letter(1); !errors.Is(err, ErrNoPlace) {
		t.Errorf("%v", err)
	}
}

// archived takes mail in, which is archived by the rule.
func (w *world) archived(from string, to ...string) {
	w.Helper()
	s := accept.Submission{Envelope: mail.Envelope{From: address(from)}, Complete: true, Trusted: true}
	for _, r := range to {
		s.Recipients = append(s.Recipients, mail.Recipient{To: address(r)})
	}
	m, err := w.acceptor.Submit(s)
	if err != nil {
		w.Fatal(err)
	}
	fmt.Fprintf(m, "From: %s\r\nDate: x\r\nMessage-ID: <x@x>\r\nDKIM-Signature: v=1\r\n\r\nto %s\r\n", from, strings.Join(to, " "))
	if _, err := m.Commit(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// clear empties the queue.
func (w *world) clear() {
	w.Helper()
	var ids []spool.TaskID
	for t, err := range w.Tasks(spool.TaskID{}) {
		if err != nil {
			w.Fatal(err)
		}
		ids = append(ids, t.ID)
	}
	for _, id := range ids {
		if _, err := w.Remove(id); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) replay(r Replay) (Counts, []Item) {
	w.Helper()
	r.Owner, r.Mailbox = address("keeper"), "Journal"
	var items []Item
	counts, err := w.sender.Replay(context.Background(), r, func(i Item, _ Counts) { items = append(items, i) })
	if err != nil {
		w.Fatal(err)
	}
	return counts, items
}

func TestReplayFilters(t *testing.T) {
	for _, c := range []struct {
		name string
		r    Replay
		want []string // "from -> to"
	}{
		{"all", Replay{}, []string{"ann@home.example -> b@one.example", "ann@home.example -> c@two.example", "bob@home.example -> d@one.example"}},
		{"by route", Replay{Route: "one"}, []string{"ann@home.example -> b@one.example", "bob@home.example -> d@one.example"}},
		{"by sender", Replay{Sender: "bob@home.example"}, []string{"bob@home.example -> d@one.example"}},
		{"by recipient", Replay{Recipient: "two.example"}, []string{"ann@home.example -> c@two.example"}},
		{"to others", Replay{Route: "two", To: []mail.Address{address("z@three.example")}}, []string{"ann@home.example -> z@three.example"}},
		{"too late", Replay{Since: time.Now().Add(time.Hour)}, nil},
		{"too early", Replay{Until: time.Now().Add(-time.Hour)}, nil},
		{"in time", Replay{Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour), Sender: "bob@home.example"}, []string{"bob@home.example -> d@one.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.archived("ann", "b@one.example", "c@two.example")
			w.archived("bob", "d@one.example")
			w.clear()
			dry := c.r
			dry.DryRun = true
			if counts, items := w.replay(dry); len(w.queued()) != 0 || counts.Sent != len(items) {
				t.Fatalf("a dry run: %+v, queued %q", counts, w.queued())
			}
			w.replay(c.r)
			var got []string
			for _, q := range w.queued() {
				got = append(got, strings.TrimSpace(strings.SplitN(q, ": ", 2)[0]))
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("queued %q, want %q", got, c.want)
			}
			// The same again sends nothing.
			w.clear()
			if counts, _ := w.replay(c.r); counts.Sent != 0 || len(w.queued()) != 0 {
				t.Errorf("again: %+v", counts)
			}
		})
	}
}

// A replay that is broken off, and started again as it was, sends each once.
func TestReplayBrokenOff(t *testing.T) {
	w := newWorld(t)
	const n = 600 // more than two pages
	for i := range n {
		w.archived("ann", fmt.Sprintf("x%d@one.example", i))
	}
	w.clear()
	faults := []spooltest.Op{spooltest.OpCommit, spooltest.OpCommitted, spooltest.OpCreate}
	total := 0
	for round := range 20 {
		var calls atomic.Int64
		op := faults[round%len(faults)]
		w.Hook(func(o spooltest.Op) error {
			if o == op && calls.Add(1) == 37 {
				return fmt.Errorf("injected: %w", spool.ErrUncertain)
			}
			return nil
		})
		counts, err := w.sender.Replay(context.Background(), Replay{Owner: address("keeper"), Mailbox: "Journal"}, func(Item, Counts) {})
		total += counts.Sent
		if err == nil {
			break
		}
		if !errors.Is(err, spool.ErrUncertain) {
			t.Fatal(err)
		}
	}
	w.Hook(nil)
	counts, _ := w.replay(Replay{})
	seen := make(map[string]int)
	for _, q := range w.queued() {
		seen[strings.SplitN(q, ": ", 2)[0]]++
	}
	for to, times := range seen {
		if times != 1 {
			t.Errorf("%s: %d times", to, times)
		}
	}
	if len(seen) != n || counts.Before != n {
		t.Errorf("%d of %d were sent, %d marked; %d counted", len(seen), n, counts.Before, total)
	}
}

// Another name is another replay; those who have left get nothing.
func TestReplayNames(t *testing.T) {
	w := newWorld(t)
	w.archived("ann", "b@one.example", "leaver")
	w.clear()
	w.sender.opt.Accept = leaving{w.acceptor}
	for _, name := range []string{"", "second", "Third_3"} {
		counts, items := w.replay(Replay{Name: name})
		if counts.Sent != 1 || len(items) != 1 || len(items[0].Unknown) != 1 || len(items[0].To) != 1 || items[0].ID.IsZero() {
			t.Errorf("%q: %+v, %+v", name, counts, items)
		}
	}
	if counts, items := w.replay(Replay{Name: "fourth", Recipient: "leaver@home.example"}); counts.Failed != 1 || items[0].Error == "" {
		t.Errorf("%+v, %+v", counts, items)
	}
	for _, r := range []Replay{{Name: "a b"}, {Name: strings.Repeat("x", 41)}, {Since: time.Unix(2e9, 0), Until: time.Unix(1e9, 0)}} {
		r.Owner, r.Mailbox = address("keeper"), "Journal"
		if _, err := w.sender.Replay(context.Background(), r, nil); !errors.Is(err, ErrReplay) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := w.sender.Replay(context.Background(), Replay{Owner: address("keeper"), Mailbox: "Nothing"}, nil); !errors.Is(err, spool.ErrNoMailbox) {
		t.Error(err)
	}
}

// leaving is an acceptor in a house that leaver has left.
type leaving struct{ *accept.Acceptor }

func (l leaving) Check(to mail.Address) error {
	if to.Local == "leaver" {
		return mail.ErrNoSuchUser
	}
	return l.Acceptor.Check(to)
}
