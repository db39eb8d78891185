package control

import (
	"errors"
	"net/http"
	"strings"

	"restante/internal/mail"
	"restante/spool"
)

const (
	// batch is how many tasks a verb with All takes at a time: the list is
	// never changed while it is being read.
	batch = 256
	// maxFailures bounds what an Outcome tells.
	maxFailures = 100
)

// getQueue streams the tasks that pass the filter, by ID, as one JSON array.
func (s *Server) getQueue(w http.ResponseWriter, r *http.Request) error {
	f, err := filterFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	m, err := f.compile()
	if err != nil {
		return err
	}
	backoffs, err := s.backoffs()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	l := NewList(w)
	looked := 0
	for t, err := range s.opt.Queue.Tasks(spool.TaskID{}) {
		if err != nil && l.count == 0 {
			return err
		}
		if err != nil {
			// Too late for a status. The array stays open, so that nobody
			// takes it for the whole.
			s.opt.Logger.Error("queue listing broke off", "error", err)
			return nil
		}
		if looked++; looked%batch == 0 {
			if r.Context().Err() != nil {
				return nil // the peer has gone
			}
			s.prolongWrite(w)
		}
		if !m.match(t) {
			continue
		}
		if err := l.Add(viewTask(t, backoffs[t.Destination])); err != nil {
			return nil // the peer has gone, or takes nothing any more
		}
	}
	s.prolongWrite(w)
	_ = l.End()
	return nil
}

// backoffs are the destinations that are left alone at the moment.
func (s *Server) backoffs() (map[spool.Destination]*Backoff, error) {
	m := make(map[spool.Destination]*Backoff)
	now := s.opt.Now()
	for d, err := range s.opt.Queue.Destinations() {
		if err != nil {
			return nil, err
		}
		m[d.Destination] = viewBackoff(d, now)
	}
	return m, nil
}

// verb is one of the four, as the queue does it.
type verb struct {
	name Verb
	past string
	do   func(spool.TaskID) error
	// states are those that All takes; nil is all.
	states []spool.State
}

func (s *Server) verb(r *http.Request) (verb, bool) {
	q := s.opt.Queue
	by := peerOf(r.Context()).Name
	told := func(kind spool.EventKind, do func(spool.TaskID, ...spool.Event) error) func(spool.TaskID) error {
		return func(id spool.TaskID) error { return do(id, spool.Event{Kind: kind, By: by}) }
	}
	switch Verb(r.PathValue("verb")) {
	case VerbRetry:
		return verb{VerbRetry, "retried", told(spool.EventRetried, q.Retry), []spool.State{spool.Queued, spool.Dead}}, true
	case VerbHold:
		return verb{VerbHold, "held", told(spool.EventHeld, q.Hold), []spool.State{spool.Queued, spool.Leased, spool.Dead}}, true
	case VerbRelease:
		return verb{VerbRelease, "released", told(spool.EventReleased, q.Release), []spool.State{spool.Held}}, true
	case VerbRemove:
		return verb{VerbRemove, "removed", func(id spool.TaskID) error { return s.remove(r, id) }, nil}, true
	}
	return verb{}, false
}

// remove ends a task; that is one of the ends a recipient can have, and so is
// written down with all there is to know.
func (s *Server) remove(r *http.Request, id spool.TaskID) error {
	t, err := s.opt.Queue.Remove(id, spool.Event{Kind: spool.EventRemoved, By: peerOf(r.Context()).Name})
	if err != nil {
		return err
	}
	for _, rcpt := range t.Recipients {
		s.log(r, "recipient removed", "id", t.ID.String(), "from", t.Envelope.From.String(),
			"to", rcpt.To.String(), "status", rcpt.Last.String())
	}
	return nil
}

func (s *Server) postQueue(w http.ResponseWriter, r *http.Request) error {
	v, ok := s.verb(r)
	if !ok {
		return errorf(CodeNotFound, "no such verb: retry, hold, release and remove are")
	}
	var sel Selection
	if err := s.readJSON(w, r, &sel); err != nil {
		return err
	}
	filtered := sel.Filter.query().Encode() != ""
	switch {
	case sel.All == (len(sel.IDs) > 0):
		return errorf(CodeBadRequest, "give either ids or all")
	case filtered && !sel.All:
		return errorf(CodeBadRequest, "a filter goes with all")
	}
	a := action{verb: v, server: s, request: r}
	var err error
	if sel.All {
		err = a.all(sel.Filter)
	} else {
		err = a.ids(sel.IDs)
	}
	if err != nil {
		return err
	}
	s.prolongWrite(w)
	writeJSON(w, http.StatusOK, a.out)
	return nil
}

// action is one verb being done to many tasks.
type action struct {
	verb
	server  *Server
	request *http.Request
	out     Outcome
}

func (a *action) ids(ids []string) error {
	for _, text := range ids {
		if err := a.request.Context().Err(); err != nil {
			return err
		}
		tasks, err := a.server.expand(text)
		if err != nil {
			a.failed(text, err)
			continue
		}
		for _, id := range tasks {
			a.one(id)
		}
	}
	return nil
}

// expand turns the text of a message's or a task's ID into tasks.
func (s *Server) expand(text string) ([]spool.TaskID, error) {
	text = strings.ToUpper(text)
	if strings.Contains(text, ".") {
		id, err := spool.ParseTaskID(text)
		if err != nil {
			return nil, &Error{Message: err.Error(), Code: CodeBadRequest}
		}
		return []spool.TaskID{id}, nil
	}
	id, err := mail.ParseID(text)
	if err != nil {
		return nil, err
	}
	tasks, err := s.opt.Queue.MessageTasks(id)
	if err != nil {
		return nil, err
	}
	ids := make([]spool.TaskID, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID
	}
	return ids, nil
}

func (a *action) all(f Filter) error {
	m, err := f.compile()
	if err != nil {
		return err
	}
	states := matcher{states: a.states}
	var after spool.TaskID
	ids := make([]spool.TaskID, 0, batch)
	for {
		ids = ids[:0]
		for t, err := range a.server.opt.Queue.Tasks(after) {
			if err != nil {
				return err
			}
			after = t.ID
			if m.match(t) && states.match(t) {
				ids = append(ids, t.ID)
			}
			if len(ids) == batch {
				break
			}
		}
		for _, id := range ids {
			if err := a.request.Context().Err(); err != nil {
				return err
			}
			a.one(id)
		}
		if len(ids) < batch {
			return nil
		}
	}
}

func (a *action) one(id spool.TaskID) {
	err := a.do(id)
	if a.verb.name == VerbRetry && errors.Is(err, spool.ErrLeased) {
		err = nil // it is being tried, as was asked
	}
	if err != nil {
		a.failed(id.String(), err)
		return
	}
	a.out.Done++
	a.server.log(a.request, "task "+a.past, "id", id.String())
}

func (a *action) failed(id string, err error) {
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
