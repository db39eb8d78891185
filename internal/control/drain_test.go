package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

// drained moves a message from one house to another.
func (h *house) drainTo(to Taker) *Drain {
	return &Drain{From: h.client, To: to, Name: "unix:/other.sock", Node: "host.example"}
}

func (h *house) tasks(t *testing.T, id mail.ID) []spool.TaskInfo {
	t.Helper()
	list, err := h.spool.MessageTasks(id)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		t.Fatal(err)
	}
	return list
}

func (h *house) all(t *testing.T) (list []spool.TaskInfo) {
	t.Helper()
	for task, err := range h.spool.Tasks(spool.TaskID{}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, task)
	}
	return list
}

func TestDrainMovesAMessageWithAllThatIsKnown(t *testing.T) {
	here, there := newHouse(t), newHouse(t)
	body := "Subject: caf\xe9\r\nFrom: bob@far.example\r\nX-Long: " + strings.Repeat("x", 2000) + "\r\n\r\n.\r\nFrom me\r\n"
	id := here.submit(t, Submission{
		From: "bob@far.example", Recipients: []string{"x@a.example", "y@b.example", "z@b.example"},
		EnvID: "e1", Ret: "hdrs", Notify: []string{"failure", "delay"},
	}, body)
	tasks := here.tasks(t, id)
	if err := here.spool.Hold(tasks[0].ID); err != nil {
		t.Fatal(err)
	}
	text := here.stored(t, id)

	n, err := here.drainTo(there.client).Message(t.Context(), id)
	if err != nil || n != 2 {
		t.Fatalf("%d tasks moved, %v; want 2", n, err)
	}
	if left := here.all(t); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
	got := there.all(t)
	if len(got) != 2 {
		t.Fatalf("%d tasks arrived, want 2", len(got))
	}
	if s := there.stored(t, got[0].ID.Message); s != text {
		t.Errorf("arrived as\n%q\nwas\n%q", s, text)
	}
	for i, task := range got {
		was := tasks[i]
		want := spool.Queued
		if i == 0 {
			want = spool.Held
		}
		if task.State != want || task.Destination != was.Destination || fmt.Sprint(task.Recipients) != fmt.Sprint(was.Recipients) {
			t.Errorf("task %d arrived as %+v, was %+v", i, task, was)
		}
		if life := task.Expires.Sub(task.Queued); life > time.Hour || life < 50*time.Minute {
			t.Errorf("task %d has %v to live, of an hour", i, life)
		}
		env := was.Envelope
		env.Arrived = task.Envelope.Arrived
		if task.Envelope != env {
			t.Errorf("envelope %+v, was %+v", task.Envelope, env)
		}
	}
	if log := here.log.String(); !strings.Contains(log, `reason="drained to unix:/other.sock as `+got[0].ID.Message.String()) {
		t.Errorf("the end here is not on record:\n%s", log)
	}
	if log := there.log.String(); !strings.Contains(log, "was="+id.String()) {
		t.Errorf("the beginning there is not on record:\n%s", log)
	}
}

// breaker breaks off after the other has taken a parcel, a number of times.
type breaker struct {
	Taker
	times int
}

func (b *breaker) Take(ctx context.Context, p Parcel, content io.Reader) (string, error) {
	name, err := b.Taker.Take(ctx, p, content)
	if b.times--; b.times >= 0 && err == nil {
		return "", errors.New("the line is cut")
	}
	return name, err
}

// What was taken, but not known to be, stays held and is taken no second time.
func TestDrainBrokenOffDoublesNothing(t *testing.T) {
	here, there := newHouse(t), newHouse(t)
	id := here.submit(t, Submission{Recipients: []string{"x@a.example", "y@b.example"}}, "\nhi")
	d := here.drainTo(&breaker{there.client, 2})
	for range 2 {
		if _, err := d.Message(t.Context(), id); err == nil || errors.Is(err, ErrUntaken) {
			t.Fatalf("got %v, want an error that says nothing of what was taken", err)
		}
		for _, task := range here.tasks(t, id) {
			if task.State != spool.Held {
				t.Errorf("a task is %s after the line was cut", task.State)
			}
		}
	}
	// Some of it may be gone already: a crash between two removals.
	if _, err := here.spool.Remove(here.tasks(t, id)[0].ID); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Message(t.Context(), id); err != nil || n != 1 {
		t.Fatalf("again: %d, %v", n, err)
	}
	got := there.all(t)
	if len(got) != 2 || len(here.all(t)) != 0 {
		t.Errorf("%d tasks there, %d here; want 2 and 0", len(got), len(here.all(t)))
	}
	for _, task := range got {
		if task.State != spool.Queued {
			t.Errorf("a task arrived %s", task.State)
		}
	}
}

func TestDrainLeavesWhatIsNotTaken(t *testing.T) {
	here, there := newHouse(t), newHouse(t)
	large := here.submit(t, Submission{Recipients: []string{"x@a.example"}}, "\n"+strings.Repeat("large\n", 30000))
	there.server.opt.MaxSize = 1000
	d := here.drainTo(there.client)
	if _, err := d.Message(t.Context(), large); !errors.Is(err, ErrUntaken) {
		t.Errorf("too large for the other: %v", err)
	}
	if got := here.tasks(t, large); len(got) != 1 || got[0].State != spool.Queued {
		t.Errorf("a refused message is %+v", got)
	}
	if n := len(there.all(t)); n != 0 || there.spool.Staging() != 0 {
		t.Errorf("%d tasks and %d bodies are left of what was refused", n, there.spool.Staging())
	}

	// One of two tasks is being delivered: nothing of the message moves.
	if _, err := here.spool.Remove(here.tasks(t, large)[0].ID); err != nil {
		t.Fatal(err)
	}
	busy := here.submit(t, Submission{Recipients: []string{"x@a.example", "y@b.example"}}, "\nhi")
	leases, _, err := here.spool.Lease(spool.Claim{Max: 1, Lifetime: time.Hour})
	if err != nil || len(leases) != 1 {
		t.Fatal(leases, err)
	}
	if _, err := d.Message(t.Context(), busy); !errors.Is(err, ErrBusy) {
		t.Errorf("being delivered: %v", err)
	}
	for _, task := range here.tasks(t, busy) {
		if task.State == spool.Held {
			t.Errorf("task %s stays held", task.ID)
		}
	}
	if _, err := d.Message(t.Context(), mail.ID{1}); !errors.As(err, new(*Error)) {
		t.Errorf("of nothing: %v", err)
	}
}

// Tasks that need no next hop are done here: another node would send them to
// the wrong people. Neither are they rerouted.
func TestDrainAndRerouteLeaveTasksOfOurOwn(t *testing.T) {
	here, there := newHouse(t), newHouse(t)
	here.server.opt.HasRoute = func(string) bool { return true }
	for _, route := range []string{accept.LocalRoute, accept.NoticeRoute, accept.ExpandedRoute, accept.RelayedRoute, accept.ArchiveRoute} {
		own := func(k *spool.Task) {
			k.Destination = spool.Destination{Route: route}
			if route == accept.ArchiveRoute {
				k.Destination.Domain = "journal@far.example"
			}
		}
		id := here.put(t, "", "x@a.example", 1, own)
		if _, err := here.drainTo(there.client).Message(t.Context(), id.Message); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("%s: drained with %v", route, err)
		}
		for _, dry := range []bool{true, false} {
			out, err := here.client.Do(t.Context(), VerbReroute, Selection{IDs: []string{id.String()}, To: "mx", DryRun: dry}, nil)
			if err != nil || out.Failed != 1 || out.Failures[0].Code != CodeConflict {
				t.Errorf("%s: rerouted, dry run %t: %+v, %v", route, dry, out, err)
			}
		}
		if got := here.tasks(t, id.Message); len(got) != 1 || got[0].State != spool.Queued || got[0].Destination.Route != route {
			t.Errorf("%s: left as %+v", route, got)
		}
	}
	if got := there.all(t); len(got) != 0 {
		t.Errorf("arrived: %+v", got)
	}
}

// A dead task is not tried by the drain, and arrives held.
func TestDrainOfADeadTask(t *testing.T) {
	here, there := newHouse(t), newHouse(t)
	id := here.submit(t, Submission{From: "<>", Recipients: []string{"x@a.example"}}, "\nhi")
	leases, _, err := here.spool.Lease(spool.Claim{Max: 1, Lifetime: time.Hour})
	if err != nil || len(leases) != 1 {
		t.Fatal(leases, err)
	}
	if err := here.spool.Settle(t.Context(), leases[0], spool.Settlement{Results: []spool.Result{{}}, Dead: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := here.drainTo(&refuser{}).Message(t.Context(), id); !errors.Is(err, ErrUntaken) {
		t.Fatal(err)
	}
	if got := here.tasks(t, id); got[0].State != spool.Dead {
		t.Errorf("a dead task that was refused is %s", got[0].State)
	}
	if _, err := here.drainTo(there.client).Message(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := there.all(t); len(got) != 1 || got[0].State != spool.Held {
		t.Errorf("arrived as %+v", got)
	}
}

type refuser struct{}

func (refuser) Take(context.Context, Parcel, io.Reader) (string, error) { return "", ErrUntaken }

// A recipient who is elsewhere for the one may be here for the other.
func TestParcelForSomebodyHere(t *testing.T) {
	h := newHouse(t)
	p := Parcel{ID: mail.ID{1}, Once: "x", Envelope: Envelope{From: mail.MustParseAddress("bob@far.example")}, Tasks: []ParcelTask{{
		From:       mail.MustParseAddress("owner@list.example"),
		Recipients: []Recipient{{To: mail.MustParseAddress("alice@here.example")}, {To: mail.MustParseAddress("x@a.example")}},
		TryIn:      3600, ExpireIn: 7200,
	}}}
	const text = "Subject: s\r\n\r\nhi\r\n"
	if _, err := h.client.PutParcel(t.Context(), p, strings.NewReader(text), int64(len(text))); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, task := range h.all(t) {
		got = append(got, fmt.Sprintf("%s from %s to %s in %v", task.Destination, task.Envelope.From, task.Recipients[0].To, task.Due.Sub(task.Queued).Round(time.Second)))
	}
	want := "[local delivery from owner@list.example to alice@here.example in 1h0m0s mx/a.example from owner@list.example to x@a.example in 1h0m0s]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

func TestParcelsThatMakeNoSense(t *testing.T) {
	h := newHouse(t)
	good := Parcel{ID: mail.ID{1}, Once: "x", Tasks: []ParcelTask{{Recipients: []Recipient{{To: mail.MustParseAddress("x@a.example")}}}}}
	for name, change := range map[string]func(*Parcel){
		"no ID":         func(p *Parcel) { p.ID = mail.ID{} },
		"no name":       func(p *Parcel) { p.Once = "" },
		"long name":     func(p *Parcel) { p.Once = strings.Repeat("x", maxPackedOnce+1) },
		"no tasks":      func(p *Parcel) { p.Tasks = nil },
		"no recipients": func(p *Parcel) { p.Tasks = []ParcelTask{{}} },
		"negative":      func(p *Parcel) { p.Tasks[0].ExpireIn = -1 },
		"never":         func(p *Parcel) { p.Tasks[0].ExpireIn = maxSeconds + 1 },
		"notify":        func(p *Parcel) { p.Tasks[0].Recipients[0].Notify = []string{"maybe"} },
		"ret":           func(p *Parcel) { p.Envelope.Ret = "half" },
		"addr":          func(p *Parcel) { p.Envelope.Addr = "here" },
		"priority":      func(p *Parcel) { p.Envelope.Priority = 10 },
	} {
		p := good
		p.Tasks = []ParcelTask{{Recipients: []Recipient{good.Tasks[0].Recipients[0]}}}
		change(&p)
		_, err := h.client.PutParcel(t.Context(), p, strings.NewReader("\r\n"), 2)
		t.Run(name, func(t *testing.T) { wantCode(t, err, CodeBadRequest) })
	}
	for _, body := range []string{"", "{}", "{}\n", "rubbish\n\n", `{"idd":1}` + "\n"} {
		resp, err := h.client.http.Post("http://restante/v1/parcels", "", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%q: status %d", body, resp.StatusCode)
		}
	}
	if n := len(h.all(t)); n != 0 || h.spool.Staging() != 0 {
		t.Errorf("%d tasks and %d bodies are left", n, h.spool.Staging())
	}
}
