package control

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

// Verb is what an administrator can do to tasks.
type Verb string

// The verbs; see spool.Queue for what each of them does.
const (
	VerbRetry   Verb = "retry"
	VerbHold    Verb = "hold"
	VerbRelease Verb = "release"
	VerbRemove  Verb = "remove"
	VerbReroute Verb = "reroute"
	VerbUnpin   Verb = "unpin"
)

// Selection says which tasks a verb is for: those of IDs, or all that the
// filter lets through. One of the two must be given.
type Selection struct {
	// IDs are queue IDs (all tasks of the message) or task IDs ("ID.N").
	IDs    []string `json:"ids,omitempty"`
	All    bool     `json:"all,omitempty"`
	Filter Filter   `json:"filter,omitzero"`
	// DryRun has nothing done: the Outcome tells what would be, in Plan.
	DryRun bool `json:"dry_run,omitempty"`
	// To is where reroute sends the tasks: "route/domain", or a route, which then
	// finds the next hop as usual. It keeps them there.
	To string `json:"to,omitempty"`
	// Reason goes into the record of what is done, at most 200 octets.
	Reason string `json:"reason,omitempty"`
	// Progress has the answer come in lines.
	Progress bool `json:"progress,omitempty"`
}

// Outcome is what a verb did.
type Outcome struct {
	// Done and Failed count tasks.
	Done   int `json:"done"`
	Failed int `json:"failed"`
	// Failures tells why, for the first hundred that failed.
	Failures []Failure `json:"failures,omitempty"`
	// Plan is there after a dry run.
	Plan *Plan `json:"plan,omitempty"`
}

// Failure is one ID that a verb could not be done to.
type Failure struct {
	ID string `json:"id"`
	Error
}

// Progress is how far a verb has come.
type Progress struct {
	// Done and Failed count tasks; Looked those that were looked at to find them.
	Done   int `json:"done"`
	Failed int `json:"failed"`
	Looked int `json:"looked,omitempty"`
}

const (
	// batch is how many tasks a verb takes at a time: the list is never changed
	// while it is being read.
	batch = 256
	// hands is how many tasks are changed at a time, so that the spool can make
	// them durable together.
	hands = 32
	// maxFailures bounds what an Outcome tells.
	maxFailures = 100
	// maxReason bounds Selection.Reason, in octets.
	maxReason = 200
	// tellEvery is how often a verb says how far it has come.
	tellEvery = time.Second
)

// verb is one of the verbs, as the queue does it.
type verb struct {
	name Verb
	past string
	do   func(*spool.TaskInfo) error
	// states are those that All takes; nil is all.
	states []spool.State
	// can tells why it cannot be done to a task; nil is always.
	can func(*spool.TaskInfo) error
}

func (s *Server) verb(r *http.Request, sel Selection) (verb, bool) {
	q := s.opt.Queue
	event := func(kind spool.EventKind) spool.Event {
		return spool.Event{Kind: kind, By: peerOf(r.Context()).Name, Text: sel.Reason}
	}
	told := func(kind spool.EventKind, do func(spool.TaskID, ...spool.Event) error) func(*spool.TaskInfo) error {
		return func(t *spool.TaskInfo) error { return do(t.ID, event(kind)) }
	}
	switch Verb(r.PathValue("verb")) {
	case VerbRetry:
		return verb{VerbRetry, "retried", told(spool.EventRetried, q.Retry), []spool.State{spool.Queued, spool.Leased, spool.Dead}, nil}, true
	case VerbHold:
		return verb{VerbHold, "held", told(spool.EventHeld, q.Hold), []spool.State{spool.Queued, spool.Leased, spool.Dead}, nil}, true
	case VerbRelease:
		return verb{VerbRelease, "released", told(spool.EventReleased, q.Release), []spool.State{spool.Held}, nil}, true
	case VerbReroute:
		sel.Reason = strings.TrimSuffix(sel.To+", "+sel.Reason, ", ")
		return verb{VerbReroute, "rerouted to " + sel.To, func(t *spool.TaskInfo) error {
			return q.Reroute(t.ID, destination(sel.To), event(spool.EventMoved))
		}, nil, reroutable}, true
	case VerbUnpin:
		return verb{VerbUnpin, "given back to the rules", told(spool.EventUnpinned, q.Unpin), nil, unpinnable}, true
	case VerbRemove:
		return verb{VerbRemove, "removed", func(t *spool.TaskInfo) error {
			return s.remove(r, t.ID, sel.Reason, event(spool.EventRemoved))
		}, nil, nil}, true
	}
	return verb{}, false
}

// remove ends a task; that is one of the ends a recipient can have, and so is
// written down with all there is to know.
func (s *Server) remove(r *http.Request, id spool.TaskID, reason string, story spool.Event) error {
	t, err := s.opt.Queue.Remove(id, story)
	if err != nil {
		return err
	}
	for _, rcpt := range t.Recipients {
		about := []any{"id", t.ID.Message.String(), "task", t.ID.String(), "from", t.Envelope.From.String(), "to", rcpt.To.String(), "status", rcpt.Last.String()}
		if reason != "" {
			about = append(about, "reason", reason)
		}
		s.log(r, "recipient removed", about...)
	}
	return nil
}

func (s *Server) postQueue(w http.ResponseWriter, r *http.Request) error {
	if _, ok := s.verb(r, Selection{}); !ok {
		return errorf(CodeNotFound, "no such verb: retry, hold, release, reroute, unpin and remove are")
	}
	var sel Selection
	if err := s.readJSON(w, r, &sel); err != nil {
		return err
	}
	v, _ := s.verb(r, sel)
	switch {
	case sel.All == (len(sel.IDs) > 0):
		return errorf(CodeBadRequest, "give either ids or all")
	case !sel.Filter.IsZero() && !sel.All:
		return errorf(CodeBadRequest, "a filter goes with all")
	case len(sel.Reason) > maxReason || strings.ContainsFunc(sel.Reason, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errorf(CodeBadRequest, "reason: one line of at most %d octets is expected", maxReason)
	case (v.name == VerbReroute) != (sel.To != ""):
		return errorf(CodeBadRequest, "to: reroute, and nothing else, needs a destination")
	}
	if d := destination(sel.To); sel.To != "" && (s.opt.HasRoute == nil || !s.opt.HasRoute(d.Route)) {
		return errorf(CodeBadRequest, "to: there is no route %q", d.Route)
	}
	walk, err := s.walk(sel.Filter)
	if err != nil {
		return err
	}
	a := &action{verb: v, server: s, request: r, walk: walk, teller: &teller{server: s, w: w, on: sel.Progress}}
	walk.pause = a.tell
	if sel.DryRun {
		a.planned = newPlanner()
	}
	if sel.All {
		err = a.all()
	} else {
		err = a.ids(sel.IDs)
	}
	if a.planned != nil {
		a.out.Plan = a.planned.plan()
	}
	return a.teller.end(a.out, err)
}

// reroutable tells why a task cannot go another way: what needs no next hop
// would be sent to the wrong people by one.
func reroutable(t *spool.TaskInfo) error {
	if accept.OwnRoute(t.Destination.Route) {
		return errorf(CodeConflict, "a task of %s has no next hop, and cannot have another", t.Destination.Route)
	}
	return nil
}

// unpinnable tells why there is no reroute to undo.
func unpinnable(t *spool.TaskInfo) error {
	if !t.Pinned {
		return errorf(CodeConflict, "the task was not rerouted")
	}
	return nil
}

// destination reads "route/domain" or "route".
func destination(s string) spool.Destination {
	route, domain, _ := strings.Cut(s, "/")
	return spool.Destination{Route: route, Domain: strings.ToLower(domain)}
}

// action is one verb being done to many tasks.
type action struct {
	verb
	server  *Server
	request *http.Request
	walk    *walk
	teller  *teller
	planned *planner // of a dry run, nil otherwise

	mu  sync.Mutex // guards out
	out Outcome
}

func (a *action) tell() error {
	a.mu.Lock()
	p := Progress{Done: a.out.Done, Failed: a.out.Failed, Looked: a.walk.looked}
	a.mu.Unlock()
	return a.teller.progress(p)
}

// ids does the verb to tasks that were named.
func (a *action) ids(ids []string) error {
	for part := range slices.Chunk(ids, batch) {
		if err := a.request.Context().Err(); err != nil {
			return err
		}
		var tasks []spool.TaskInfo
		for _, text := range part {
			found, err := a.server.expand(text)
			if err != nil {
				a.failed(text, err)
			}
			tasks = append(tasks, found...)
		}
		if err := a.some(tasks); err != nil {
			return err
		}
	}
	return nil
}

// expand turns the text of a message's or a task's ID into tasks.
func (s *Server) expand(text string) ([]spool.TaskInfo, error) {
	text = strings.ToUpper(text)
	var only *spool.TaskID
	if strings.Contains(text, ".") {
		id, err := spool.ParseTaskID(text)
		if err != nil {
			return nil, &Error{Message: err.Error(), Code: CodeBadRequest}
		}
		only, text = &id, id.Message.String()
	}
	id, err := mail.ParseID(text)
	if err != nil {
		return nil, err
	}
	tasks, err := s.opt.Queue.MessageTasks(id)
	if err != nil || only == nil {
		return tasks, err
	}
	tasks = slices.DeleteFunc(tasks, func(t spool.TaskInfo) bool { return t.ID != *only })
	if len(tasks) == 0 {
		return nil, spool.ErrNotFound
	}
	return tasks, nil
}

// all does the verb to all that the filter lets through, a batch at a time.
func (a *action) all() error {
	if a.name == VerbRetry {
		if err := a.awaken(); err != nil {
			return err
		}
	}
	ctx := a.request.Context()
	states := matcher{states: a.states}
	var after spool.TaskID
	for {
		tasks := make([]spool.TaskInfo, 0, batch)
		err := a.walk.each(ctx, after, func(t *spool.TaskInfo) error {
			if !states.wants(t.State) || a.name == VerbUnpin && !t.Pinned {
				return nil
			}
			if tasks = append(tasks, *t); len(tasks) == batch {
				return errEnough
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(tasks) == 0 {
			return nil
		}
		after = tasks[len(tasks)-1].ID
		if err := a.some(tasks); err != nil {
			return err
		}
	}
}

// awaken ends the back-offs of the destinations that are meant, if the filter
// is about destinations only: also of those that nothing waits for just now.
func (a *action) awaken() error {
	if !a.walk.match.counts || !a.walk.match.wants(spool.Queued) {
		return nil
	}
	for d := range a.walk.backoffs {
		if !a.walk.match.destination(d) {
			continue
		}
		if a.planned != nil {
			a.planned.backoffs++
			continue
		}
		if err := a.server.opt.Queue.EndBackoff(d); err != nil {
			return err
		}
		a.server.log(a.request, "back-off ended", "destination", d.String())
		delete(a.walk.backoffs, d)
	}
	return nil
}

// some does the verb to some tasks, several at a time.
func (a *action) some(tasks []spool.TaskInfo) error {
	places := make(chan struct{}, hands)
	var work sync.WaitGroup
	for i := range tasks {
		if a.request.Context().Err() != nil {
			break
		}
		t := &tasks[i]
		if a.planned != nil {
			a.foresee(t)
			continue
		}
		places <- struct{}{}
		work.Go(func() {
			a.one(t)
			<-places
		})
	}
	work.Wait()
	if err := a.request.Context().Err(); err != nil {
		return err
	}
	return a.tell()
}

// foresee is one in a dry run.
func (a *action) foresee(t *spool.TaskInfo) {
	switch {
	case t.State == spool.Leased && a.name != VerbRetry:
		a.planned.leased++
	case t.State == spool.Held && a.name == VerbRetry:
		a.failed(t.ID.String(), errorf(CodeConflict, "the task is held: release it"))
	case a.can != nil && a.can(t) != nil:
		a.failed(t.ID.String(), a.can(t))
	default:
		a.planned.add(t)
	}
}

func (a *action) one(t *spool.TaskInfo) {
	var err error
	if a.can != nil {
		err = a.can(t)
	}
	if err == nil && !a.tried(t) {
		err = a.do(t)
	}
	if a.name == VerbRetry && errors.Is(err, spool.ErrLeased) {
		err = nil // it is being tried, as was asked
	}
	if err != nil {
		a.failed(t.ID.String(), err)
		return
	}
	a.mu.Lock()
	a.out.Done++
	a.mu.Unlock()
	a.server.log(a.request, "task "+a.past, "id", t.ID.Message.String(), "task", t.ID.String())
}

// tried tells that a task is being tried, or is due already and nothing keeps
// it: then there is nothing to write for a retry, which may be of very many.
func (a *action) tried(t *spool.TaskInfo) bool {
	if a.name != VerbRetry {
		return false
	}
	return t.State == spool.Leased ||
		t.State == spool.Queued && !t.Due.After(a.server.opt.Now()) && a.walk.backoffs[t.Destination] == nil
}

func (a *action) failed(id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out.Failed++
	if len(a.out.Failures) == maxFailures {
		return
	}
	e := *toError(err)
	switch {
	case errors.Is(err, spool.ErrNotFound):
		e.Message = "not in the queue"
	case errors.Is(err, spool.ErrLeased):
		e.Message = "being delivered at this moment"
	}
	a.out.Failures = append(a.out.Failures, Failure{ID: id, Error: e})
}
