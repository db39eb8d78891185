package accept_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

// TestTermsOfATask: what the envelope asks for decides when a task is due,
// when it warns and when it expires.
func TestTermsOfATask(t *testing.T) {
	now := time.Date(2024, 2, 3, 12, 0, 0, 0, time.UTC)
	const never = time.Duration(-1)
	for _, c := range []struct {
		name              string
		env               mail.Envelope
		due, warn, expire time.Duration
	}{
		{"nothing", mail.Envelope{}, 0, time.Hour, 24 * time.Hour},
		{"held", mail.Envelope{HoldUntil: now.Add(time.Hour)}, time.Hour, 2 * time.Hour, 25 * time.Hour},
		{"held until a time that is past", mail.Envelope{HoldUntil: now.Add(-time.Hour)}, 0, time.Hour, 24 * time.Hour},
		{"returned by", mail.Envelope{By: mail.By{At: now.Add(90 * time.Minute), Return: true}}, 0, time.Hour, 90 * time.Minute},
		{"returned before the warning", mail.Envelope{By: mail.By{At: now.Add(30 * time.Minute), Return: true}}, 0, never, 30 * time.Minute},
		{"returned later than ever", mail.Envelope{By: mail.By{At: now.Add(100 * time.Hour), Return: true}}, 0, time.Hour, 24 * time.Hour},
		{"told by", mail.Envelope{By: mail.By{At: now.Add(2 * time.Hour)}}, 0, 2 * time.Hour, 24 * time.Hour},
		{"told of what is late already", mail.Envelope{By: mail.By{At: now.Add(-time.Hour)}}, 0, time.Millisecond, 24 * time.Hour},
		{"held, and returned by", mail.Envelope{HoldUntil: now.Add(time.Hour), By: mail.By{At: now.Add(2 * time.Hour), Return: true}}, time.Hour, never, 2 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := spooltest.NewMemory(spooltest.MemoryOptions{Now: func() time.Time { return now }})
			a := accept.New(accept.Options{
				Intake: store, Directory: directory{}, Now: func() time.Time { return now },
				Route: func(w accept.Way) spool.Destination { return spool.Destination{Route: "mx", Domain: w.To.Domain} },
				Warn:  time.Hour, Expire: 24 * time.Hour,
			})
			m, err := a.Begin(c.env, rcpts("x@there.example"))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(m, text)
			r, err := m.Commit(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			tasks, err := store.MessageTasks(r.ID)
			if err != nil || len(tasks) != 1 {
				t.Fatal(tasks, err)
			}
			for what, x := range map[string]struct {
				got  time.Time
				want time.Duration
			}{"due": {tasks[0].Due, c.due}, "warns": {tasks[0].Warns, c.warn}, "expires": {tasks[0].Expires, c.expire}} {
				if x.want == never && x.got.IsZero() || x.want != never && x.got.Equal(now.Add(x.want)) {
					continue
				}
				t.Errorf("%s %v from now, want %v", what, x.got.Sub(now), x.want)
			}
		})
	}
}

// TestHeldMailIsNotDeposited: the mailbox gets it when its time has come.
func TestHeldMailIsNotDeposited(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	m, err := newAcceptor(store).Begin(mail.Envelope{HoldUntil: time.Now().Add(time.Hour)}, rcpts("alice@here.example", "bob@here.example", "x@there.example"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(m, text)
	r, err := m.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := store.MessageTasks(r.ID)
	if err != nil || len(r.Deposited) != 0 || len(tasks) != 2 ||
		tasks[0].Destination.Route != accept.LocalRoute || len(tasks[0].Recipients) != 2 {
		t.Errorf("%d deposits, tasks %+v, %v", len(r.Deposited), tasks, err)
	}
}

// TestNoticeOfDelivery: who asks for it gets a task for the report.
func TestNoticeOfDelivery(t *testing.T) {
	sender := mail.MustParseAddress("me@else.example")
	for _, c := range []struct {
		name   string
		from   mail.Address
		notify mail.Notify
		want   int
	}{
		{"asked for", sender, mail.NotifySuccess | mail.NotifyFailure, 1},
		{"not asked for", sender, mail.NotifyFailure, 0},
		{"nothing said", sender, 0, 0},
		{"never", sender, mail.NotifyNever, 0},
		{"nobody to tell", mail.Address{}, mail.NotifySuccess, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := spooltest.NewMemory(spooltest.MemoryOptions{})
			m, err := newAcceptor(store).Begin(mail.Envelope{From: c.from}, []mail.Recipient{{To: mail.MustParseAddress("alice@here.example"), Notify: c.notify}})
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(m, text)
			r, err := m.Commit(context.Background())
			if err != nil || len(r.Deposited) != 1 || len(r.Tasks) != c.want {
				t.Fatalf("%+v, %v", r, err)
			}
			for _, id := range r.Tasks {
				tasks, err := store.MessageTasks(id.Message)
				if err != nil || tasks[0].Destination.Route != accept.NoticeRoute || !tasks[0].Warns.IsZero() || !tasks[0].Expires.IsZero() {
					t.Errorf("%+v, %v", tasks, err)
				}
			}
		})
	}
}

func TestOnce(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	a := newAcceptor(store)
	commit := func(key byte) (mail.ID, error) {
		m, err := a.Begin(mail.Envelope{}, rcpts("alice@here.example"))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Abort()
		io.WriteString(m, text)
		m.Once([32]byte{key}, time.Hour)
		r, err := m.Commit(context.Background())
		return r.ID, err
	}
	first, err := commit(1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = commit(1)
	if d := (*spool.DuplicateError)(nil); !errors.As(err, &d) || d.ID != first {
		t.Errorf("the second gave %v", err)
	}
	if _, err = commit(2); err != nil {
		t.Error(err)
	}
}
