package resend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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
