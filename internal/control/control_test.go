package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/directory"
	"restante/internal/logbuffer"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

// house is a server on a real socket, with all that is behind it.
type house struct {
	spool  *spooltest.Memory
	server *Server
	client *Client
	log    *logbuffer.Buffer
}

func newHouse(t *testing.T) *house {
	t.Helper()
	// A test's own directory may be too deep for a socket.
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &house{spool: spooltest.NewMemory(spooltest.MemoryOptions{}), log: &logbuffer.Buffer{}}
	logger := slog.New(slog.NewTextHandler(h.log, nil))
	dirs, err := directory.Open(directory.Options{
		Path:    filepath.Join(dir, "accounts.json"),
		Domains: []string{"here.example"},
		Aliases: map[string][]string{"root@here.example": {"alice@here.example"}},
		Static:  []directory.Static{{Name: "fixed@here.example", Password: "secret"}},
		Logger:  logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dirs.Add("alice@here.example", "wonderland"); err != nil {
		t.Fatal(err)
	}
	h.server = New(Options{
		Queue: h.spool, Bodies: h.spool, Stories: h.spool, Mailboxes: h.spool, Accounts: dirs,
		Accept: accept.New(accept.Options{Intake: h.spool, Directory: dirs, Expire: time.Hour, Route: func(w accept.Way) spool.Destination {
			return spool.Destination{Route: "mx", Domain: w.To.Domain}
		}}),
		Listeners: func() []Listener { return []Listener{{"smtp", "127.0.0.1:2525"}} },
		Backup:    fakeBackup,
		Intake:    h.spool,
		Version:   "v0", StateDir: dir, Hostname: "host.example", Origin: "here.example",
		MaxSize: 1 << 20, Logger: logger,
	})
	l, err := Listen(SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.server.Serve(context.Background(), l) }()
	h.client = NewClient(SocketPath(dir))
	t.Cleanup(func() {
		h.client.Close()
		if err := errors.Join(h.server.Shutdown(context.Background()), <-done); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) submit(t *testing.T, sub Submission, body string) mail.ID {
	t.Helper()
	got, err := h.client.Submit(t.Context(), sub, strings.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	return got.ID
}

func (h *house) queue(t *testing.T, f Filter) []Task {
	t.Helper()
	var list []Task
	for task, err := range h.client.Queue(t.Context(), f) {
		if err != nil {
			t.Fatalf("queue: %v", err)
		}
		list = append(list, task)
	}
	return list
}

// stored returns a message as the spool has it.
func (h *house) stored(t *testing.T, id mail.ID) string {
	t.Helper()
	b, err := h.spool.OpenBody(id)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wantCode(t *testing.T, err error, code Code) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want code %s", err, code)
	}
}

func TestQueueIsListedWithWhatIsKnown(t *testing.T) {
	h := newHouse(t)
	h.submit(t, Submission{From: "bob@far.example", Recipients: []string{"x@a.example", "y@b.example"}}, "Subject: s\n\nhi\n")
	h.submit(t, Submission{From: "<>", Recipients: []string{"z@a.example"}}, "Subject: s\n\nhi\n")

	leases, _, err := h.spool.Lease(spool.Claim{Max: 1, Lifetime: time.Hour})
	if err != nil || len(leases) != 1 {
		t.Fatal(leases, err)
	}
	failed := leases[0].Task.Destination.String()
	status := mail.Status{Code: 451, Text: "no route", Remote: "mx.a.example"}
	err = h.spool.Settle(t.Context(), leases[0], spool.Settlement{
		Attempted: true, KeepDue: true,
		Results:     []spool.Result{{}},
		Destination: spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour, Status: status},
	})
	if err != nil {
		t.Fatal(err)
	}

	all := h.queue(t, Filter{})
	if len(all) != 3 {
		t.Fatalf("%d tasks, want 3", len(all))
	}
	for _, task := range all {
		waits := time.Until(task.NextTry) > 30*time.Minute
		if task.Destination == failed && (!waits || task.Last() == nil || task.Last().Text != "no route") {
			t.Errorf("task of the unreached destination: next try %v, last %v", task.NextTry, task.Last())
		}
		if task.Destination != failed && waits {
			t.Errorf("task of %s waits until %v", task.Destination, task.NextTry)
		}
	}
	for _, c := range []struct {
		name string
		f    Filter
		want int
	}{
		{"domain", Filter{Destination: "a.example"}, 2},
		{"whole destination", Filter{Destination: "mx/b.example"}, 1},
		{"route", Filter{Destination: "mx"}, 3},
		{"sender", Filter{Sender: "Bob@far.example"}, 2},
		{"sender's domain", Filter{Sender: "@far.example"}, 2},
		{"null sender", Filter{Sender: "<>"}, 1},
		{"recipient", Filter{Recipient: "y@b.example"}, 1},
		{"state", Filter{States: []spool.State{spool.Queued}}, 3},
		{"other states", Filter{States: []spool.State{spool.Held, spool.Dead}}, 0},
		{"nothing", Filter{Destination: "c.example"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := h.queue(t, c.f); len(got) != c.want {
				t.Errorf("%d tasks, want %d", len(got), c.want)
			}
		})
	}

	st, err := h.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Queue == nil || st.Queue.Tasks != 3 || st.Queue.States["queued"] != 3 || len(st.Queue.Destinations) != 2 ||
		st.Queue.Destinations[0].Destination != "mx/a.example" || st.Queue.Destinations[0].Tasks != 2 {
		t.Errorf("status of the queue: %+v", st.Queue)
	}
	if len(st.Listeners) != 1 || st.Listeners[0].Addr != "127.0.0.1:2525" || st.PID != os.Getpid() {
		t.Errorf("status: %+v", st)
	}
}

func TestVerbs(t *testing.T) {
	h := newHouse(t)
	two := h.submit(t, Submission{Recipients: []string{"x@a.example", "y@b.example"}}, "\nhi")
	one := h.submit(t, Submission{Recipients: []string{"x@a.example"}}, "\nhi")
	do := func(v Verb, sel Selection, done, failed int) Outcome {
		t.Helper()
		out, err := h.client.Do(t.Context(), v, sel, nil)
		if err != nil || out.Done != done || out.Failed != failed {
			t.Errorf("%s %+v: %+v, %v; want %d done, %d failed", v, sel, out, err, done, failed)
		}
		return out
	}
	held := func() int { return len(h.queue(t, Filter{States: []spool.State{spool.Held}})) }

	do(VerbHold, Selection{IDs: []string{two.String()}}, 2, 0)
	tasks, err := h.spool.MessageTasks(one)
	if err != nil || len(tasks) != 1 {
		t.Fatal(tasks, err)
	}
	do(VerbHold, Selection{IDs: []string{strings.ToLower(tasks[0].ID.String())}}, 1, 0)
	if held() != 3 {
		t.Errorf("%d held, want 3", held())
	}
	do(VerbRelease, Selection{All: true, Filter: Filter{Destination: "b.example"}}, 1, 0)
	if held() != 2 {
		t.Errorf("%d held, want 2", held())
	}
	do(VerbRetry, Selection{All: true}, 1, 0)

	leases, _, err := h.spool.Lease(spool.Claim{Max: 1, Lifetime: time.Hour})
	if err != nil || len(leases) != 1 {
		t.Fatal(leases, err)
	}
	out := do(VerbRemove, Selection{All: true}, 2, 1)
	if len(out.Failures) != 1 || out.Failures[0].Code != CodeLeased || out.Failures[0].ID != leases[0].Task.ID.String() {
		t.Errorf("failures: %+v", out.Failures)
	}
	if log := h.log.String(); !strings.Contains(log, "recipient removed") || !strings.Contains(log, "to=x@a.example") || !strings.Contains(log, "by=") {
		t.Errorf("removal is not on record:\n%s", log)
	}
	out = do(VerbRemove, Selection{IDs: []string{one.String(), "rubbish", "A.B"}}, 0, 3)
	if out.Failures[0].Code != CodeNotFound || out.Failures[1].Code != CodeBadRequest || out.Failures[2].Code != CodeBadRequest {
		t.Errorf("failures: %+v", out.Failures)
	}
	for _, sel := range []Selection{{}, {All: true, IDs: []string{"x"}}, {IDs: []string{"x"}, Filter: Filter{Sender: "a.example"}}, {All: true, Filter: Filter{Sender: "a b"}}} {
		_, err := h.client.Do(t.Context(), VerbRemove, sel, nil)
		wantCode(t, err, CodeBadRequest)
	}
	_, err = h.client.Do(t.Context(), "explode", Selection{All: true}, nil)
	wantCode(t, err, CodeNotFound)
}

func TestVerbOnMoreThanOneBatch(t *testing.T) {
	h := newHouse(t)
	const n = 2*batch + 10
	for range n {
		h.submit(t, Submission{Recipients: []string{"x@a.example"}}, "\nhi")
	}
	out, err := h.client.Do(t.Context(), VerbRemove, Selection{All: true}, nil)
	if err != nil || out.Done != n {
		t.Errorf("%+v, %v; want %d done", out, err, n)
	}
	if left := h.queue(t, Filter{}); len(left) != 0 {
		t.Errorf("%d tasks left", len(left))
	}
}

func TestBrokenListIsNotTakenForComplete(t *testing.T) {
	h := newHouse(t)
	h.submit(t, Submission{Recipients: []string{"x@a.example", "y@b.example"}}, "\nhi")
	h.server.opt.Queue = breaking{h.spool}
	var err error
	var n int
	for _, e := range h.client.Queue(t.Context(), Filter{}) {
		if err = e; err == nil {
			n++
		}
	}
	if n != 1 || err == nil {
		t.Errorf("%d tasks, error %v; want 1 and an error", n, err)
	}
}

// breaking is a queue whose listing fails after the first task.
type breaking struct{ *spooltest.Memory }

func (b breaking) Tasks(after spool.TaskID) iter.Seq2[spool.TaskInfo, error] {
	return func(yield func(spool.TaskInfo, error) bool) {
		for t, err := range b.Memory.Tasks(after) {
			if yield(t, err) {
				yield(spool.TaskInfo{}, spool.ErrCorrupt)
			}
			return
		}
	}
}

func TestMessageIsShown(t *testing.T) {
	h := newHouse(t)
	id := h.submit(t, Submission{
		From: "bob@far.example", Recipients: []string{"x@a.example", "alice"}, EnvID: "e1", Ret: "hdrs", Notify: []string{"failure", "delay"},
	}, "Subject: caf\xe9\nFrom: bob@far.example\n\nthe body\n")
	m, err := h.client.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != id || m.References != 2 || len(m.Tasks) != 1 || m.Envelope.From.String() != "bob@far.example" ||
		m.Envelope.EnvID != "e1" || m.Envelope.Ret != "hdrs" || m.Envelope.Protocol != "local" || !m.Envelope.EightBit ||
		!slices.Equal(m.Tasks[0].Recipients[0].Notify, []string{"failure", "delay"}) {
		t.Errorf("%+v", m)
	}
	if !strings.Contains(m.Header, "Subject: caf\uFFFD\r\n") || strings.Contains(m.Header, "the body") || m.HeaderCut {
		t.Errorf("header %q", m.Header)
	}
	_, err = h.client.Message(t.Context(), mail.ID{1})
	wantCode(t, err, CodeNotFound)
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/", "", 404},
		{"GET", "/v2/queue", "", 404},
		{"PUT", "/v1/queue", "", 405},
		{"GET", "/v1/queue?sate=held", "", 400},
		{"GET", "/v1/queue?state=hold", "", 400},
		{"POST", "/v1/queue/hold", `{"all":true,"filter":{"sendr":"x"}}`, 400},
		{"POST", "/v1/queue/hold", `{"all":true}{}`, 400},
		{"POST", "/v1/queue/hold", `{"ids":["` + strings.Repeat("x", maxJSON) + `"]}`, 413},
		{"GET", "/v1/messages/xyz", "", 400},
		{"POST", "/v1/messages", "", 400},
		{"POST", "/v1/messages?to=x@a.example&form=a", "", 400},
		{"POST", "/v1/messages?to=x@a.example&from=a%0d%0ab", "", 400},
		{"POST", "/v1/messages?to=x@a.example&notify=sometimes", "", 400},
		{"POST", "/v1/messages?to=x@a.example&notify=never&notify=delay", "", 400},
		{"POST", "/v1/messages?to=x@a.example&ret=half", "", 400},
		{"POST", "/v1/messages?to=nobody", "", 422},
		{"DELETE", "/v1/accounts/alice?purge=1", "", 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://restante"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.client.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var e Error
		err = json.NewDecoder(resp.Body).Decode(&e)
		resp.Body.Close()
		if resp.StatusCode != c.status || err != nil || e.Message == "" || codeStatus[e.Code] != c.status {
			t.Errorf("%s %s: %d %+v %v, want %d", c.method, c.path, resp.StatusCode, e, err, c.status)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := SocketPath(dir)
	c := NewClient(path)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("a second daemon took the socket of the first")
	}
	// What a kill leaves behind: the file without a listener.
	l.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	l.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dead socket: %v", err)
	}
	l, err = Listen(path)
	if err != nil {
		t.Fatalf("a dead daemon's socket is in the way: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	l.Close()
}
