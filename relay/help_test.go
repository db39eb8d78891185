package relay

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

const letter = "From: ann@home.test\r\nSubject: hello\r\nMessage-ID: <1@home.test>\r\n\r\na few words\r\n"

// household is a directory: home.test is local, and everybody lives there but
// "gone", who was an account once.
type household struct{}

func (household) IsLocal(domain string) bool { return domain == "home.test" }

func (household) Resolve(to mail.Address, _ func(accept.Step)) (accept.Targets, error) {
	there := accept.Forward{To: mail.MustParseAddress("dora@one.test")}
	switch to.Local {
	case "gone":
		return accept.Targets{}, mail.ErrNoSuchUser
	case "team":
		return accept.Targets{Accounts: []string{"bob", "carl"}, Forwards: []accept.Forward{there}}, nil
	case "moved":
		return accept.Targets{Forwards: []accept.Forward{there}}, nil
	case "list":
		there.Sender = mail.MustParseAddress("owner@home.test")
		return accept.Targets{Forwards: []accept.Forward{there}}, nil
	}
	return accept.Targets{Accounts: []string{to.Local}}, nil
}

// world is a runner with all that is around it.
type world struct {
	*testing.T
	*spooltest.Memory
	routes   *Routes
	acceptor *accept.Acceptor
	courier  *fakeCourier
	runner   *Runner
	stop     func()
}

// times are when tasks made by send warn and expire, and what is archived.
type times struct {
	warn, expire time.Duration
	archive      []archive.Rule
}

func newWorld(t *testing.T, at times, change func(*Options)) *world {
	t.Helper()
	routes, err := NewRoutes(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Memory: spooltest.NewMemory(spooltest.MemoryOptions{}), routes: routes, courier: &fakeCourier{}}
	w.acceptor = accept.New(accept.Options{
		Intake: w.Memory, Directory: household{}, Route: routes.Destination,
		Warn: at.warn, Expire: at.expire, Mailboxes: w.Memory,
		Archive: at.archive,
	})
	opt := Options{
		Queue: w.Memory, Bodies: w.Memory, Reports: w.acceptor, Routes: routes, Courier: w.courier,
		Hostname: "relay.test",
		Schedule: Schedule{Jitter: -1},
	}
	if change != nil {
		change(&opt)
	}
	w.runner = New(opt)
	return w
}

// start runs the runner until the test ends or stop is called, which waits.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.runner.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("Run: %v", err)
		}
	})
}

// send puts a message into the queue.
func (w *world) send(from string, rcpts ...mail.Recipient) mail.ID {
	w.Helper()
	env := mail.Envelope{}
	if from != "" {
		env.From = mail.MustParseAddress(from)
	}
	m, err := w.acceptor.Begin(env, rcpts)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := m.Write([]byte(letter)); err != nil {
		w.Fatal(err)
	}
	receipt, err := m.Commit(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	return receipt.ID
}

func rcpt(address string) mail.Recipient {
	return mail.Recipient{To: mail.MustParseAddress(address)}
}

// tasks are those in the queue.
func (w *world) tasks() []spool.TaskInfo {
	w.Helper()
	var list []spool.TaskInfo
	for t, err := range w.Tasks(spool.TaskID{}) {
		if err != nil {
			w.Fatal(err)
		}
		list = append(list, t)
	}
	return list
}

func (w *world) wantTasks(n int) []spool.TaskInfo {
	w.Helper()
	list := w.tasks()
	if len(list) != n {
		w.Fatalf("%d tasks in the queue, want %d: %+v", len(list), n, list)
	}
	return list
}

// inbox are the messages in an account's INBOX.
func (w *world) inbox(account string) []string {
	w.Helper()
	return w.mailbox(account, spool.Inbox)
}

// mailbox are the messages in a mailbox, as it shows them.
func (w *world) mailbox(account, name string) []string {
	w.Helper()
	box, err := w.Mailbox(account, name)
	if err != nil {
		return nil
	}
	var list []string
	for e, err := range w.Entries(box.ID, 1, 0) {
		if err != nil {
			w.Fatal(err)
		}
		body, err := w.OpenBody(e.Message)
		if err != nil {
			w.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
		if err != nil {
			w.Fatal(err)
		}
		body.Close()
		list = append(list, string(e.Prefix)+string(text))
	}
	return list
}

// wantReports checks how many reports an account has, and what is in the last.
func (w *world) wantReports(account string, n int, words ...string) {
	w.Helper()
	list := w.inbox(account)
	if len(list) != n {
		w.Fatalf("%d reports for %s, want %d:\n%s", len(list), account, n, strings.Join(list, "\n=====\n"))
	}
	for _, word := range words {
		if !strings.Contains(list[n-1], word) {
			w.Errorf("the report has no %q:\n%s", word, list[n-1])
		}
	}
}

// fakeCourier delivers as a function says.
type fakeCourier struct {
	mu      sync.Mutex
	deliver func(ctx context.Context, job Job) Outcome
	jobs    []Job
	at      []time.Time
	active  map[string]int
	most    map[string]int
	// now are those in progress, total is the most there were.
	now, total int
}

func (c *fakeCourier) Deliver(ctx context.Context, job Job) Outcome {
	key := job.Route.Name + "/" + job.Domain
	c.mu.Lock()
	c.jobs, c.at = append(c.jobs, job), append(c.at, time.Now())
	if c.active == nil {
		c.active, c.most = make(map[string]int), make(map[string]int)
	}
	c.active[key]++
	c.now++
	c.total = max(c.total, c.now)
	c.most[key] = max(c.most[key], c.active[key])
	deliver := c.deliver
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.active[key]--
		c.now--
		c.mu.Unlock()
	}()
	if deliver == nil {
		return all(job, accepted)
	}
	return deliver(ctx, job)
}

func (c *fakeCourier) set(f func(ctx context.Context, job Job) Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deliver = f
}

func (c *fakeCourier) attempts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.jobs)
}

// always is a courier function with one answer for all.
func always(s mail.Status) func(context.Context, Job) Outcome {
	return func(_ context.Context, job Job) Outcome { return all(job, s) }
}

func all(job Job, s mail.Status) Outcome {
	out := Outcome{Reach: spool.Reached, Remote: "mx", Promised: true}
	for range job.Recipients {
		out.Results = append(out.Results, s)
	}
	return out
}

// dead is a destination that does not answer.
func dead(_ context.Context, job Job) Outcome {
	out := all(job, refused)
	out.Reach, out.Fault = spool.Unreached, refused
	return out
}

var (
	accepted   = mail.Status{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "ok", Remote: "mx"}
	greylisted = mail.Status{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "greylisted", Remote: "mx"}
	busy       = mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: "cannot take it now", Remote: "mx"}
	unknown    = mail.Status{Code: 550, Enhanced: [3]int{5, 1, 1}, Text: "no such user", Remote: "mx"}
	refused    = mail.Status{Code: 451, Enhanced: [3]int{4, 4, 1}, Text: "connection refused", Remote: "mx"}
)
