package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// line is one line of an answer that comes in lines; one of its fields is there.
type line struct {
	Progress *Progress `json:"progress,omitempty"`
	Outcome  *Outcome  `json:"outcome,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}

// teller tells the peer how far a long request has come, in lines of JSON, if
// it wants to know.
type teller struct {
	server *Server
	w      http.ResponseWriter
	on     bool
	begun  bool
	last   time.Time
}

// progress says so about once a second. An error tells that the peer has gone.
func (t *teller) progress(p Progress) error {
	t.server.prolongWrite(t.w)
	now := time.Now()
	if t.last.IsZero() {
		t.last = now
	}
	if !t.on || now.Sub(t.last) < tellEvery {
		return nil
	}
	t.last = now
	return t.say(line{Progress: &p})
}

func (t *teller) say(l line) error {
	if !t.begun {
		t.w.Header().Set("Content-Type", "application/x-ndjson")
		t.begun = true
	}
	t.server.prolongWrite(t.w)
	if err := json.NewEncoder(t.w).Encode(l); err != nil {
		return errGone
	}
	if err := http.NewResponseController(t.w).Flush(); err != nil {
		return errGone
	}
	return nil
}

// end gives the outcome, or why there is none.
func (t *teller) end(out Outcome, err error) error {
	switch {
	case err == nil && t.on:
		_ = t.say(line{Outcome: &out}) // whoever has gone needs none
	case err == nil:
		t.server.prolongWrite(t.w)
		writeJSON(t.w, http.StatusOK, out)
	case !t.begun:
		return err
	default:
		_ = t.say(line{Error: toError(err)})
	}
	return nil
}

// post sends in as JSON; the caller closes the body of the answer.
func (c *Client) post(ctx context.Context, path string, in any) (*http.Response, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, "POST", path, nil, bytes.NewReader(b), nil)
}

// Do does a verb to the tasks selected. Single failures are in the Outcome.
// Unless it is nil, progress is called about once a second while it lasts. When
// ctx ends, what has been done stays done, and the Outcome tells how much that
// was when last heard of.
func (c *Client) Do(ctx context.Context, v Verb, sel Selection, progress func(Progress)) (Outcome, error) {
	sel.Progress = true
	return c.lines(ctx, "/v1/queue/"+url.PathEscape(string(v)), sel, progress)
}

func (c *Client) lines(ctx context.Context, path string, in any, progress func(Progress)) (out Outcome, err error) {
	err = follow(ctx, c, path, in, func(l *line) (last bool, err error) {
		switch {
		case l.Error != nil:
			return true, l.Error
		case l.Outcome != nil:
			out = *l.Outcome
			return true, nil
		case l.Progress != nil:
			out.Done, out.Failed = l.Progress.Done, l.Progress.Failed
			if progress != nil {
				progress(*l.Progress)
			}
		}
		return false, nil
	})
	return out, err
}

// errBrokenOff tells that an answer in lines had no last one.
var errBrokenOff = errors.New("the daemon broke off")

// follow posts a request whose answer comes in lines of JSON, and hands them over
// as they come, until one is said to be the last.
func follow[L any](ctx context.Context, c *Client, path string, in any, take func(*L) (last bool, err error)) error {
	resp, err := c.post(ctx, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var l L
		err := d.Decode(&l)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return errBrokenOff
		case err != nil:
			return fmt.Errorf("%w: %w", errBrokenOff, err)
		}
		if last, err := take(&l); last || err != nil {
			return err
		}
	}
}

// Plan is what a verb would be done to.
type Plan struct {
	Tasks int `json:"tasks"`
	// Messages are those that the tasks are of, Octets their size, each message
	// counted once.
	Messages int   `json:"messages"`
	Octets   int64 `json:"octets"`
	// Leased are tasks that are being delivered at this moment, and could not
	// be changed now; they are not among Tasks.
	Leased int `json:"leased,omitempty"`
	// Backoffs is how many destinations' back-off would end, if the destinations
	// were chosen and not their tasks.
	Backoffs int `json:"backoffs,omitempty"`
	// Destinations are those with the most tasks; Others is how many are left out.
	Destinations []PlanDestination `json:"destinations"`
	Others       int               `json:"others,omitempty"`
}

// PlanDestination is one destination of a Plan. Octets counts a message once
// for each destination.
type PlanDestination struct {
	Destination string `json:"destination"`
	Tasks       int    `json:"tasks"`
	Octets      int64  `json:"octets"`
}

// maxPlanned bounds Plan.Destinations.
const maxPlanned = 20

// planner counts what a verb would be done to.
type planner struct {
	tasks, messages  int
	leased, backoffs int
	octets           int64
	last             mail.ID
	destinations     map[spool.Destination]*PlanDestination
}

func newPlanner() *planner {
	return &planner{destinations: make(map[spool.Destination]*PlanDestination)}
}

// add adds a task; those of one message must come one after the other.
func (p *planner) add(t *spool.TaskInfo) {
	p.tasks++
	if t.ID.Message != p.last {
		p.last = t.ID.Message
		p.messages++
		p.octets += t.Size
	}
	d := p.destinations[t.Destination]
	if d == nil {
		d = &PlanDestination{Destination: t.Destination.String()}
		p.destinations[t.Destination] = d
	}
	d.Tasks++
	d.Octets += t.Size
}

func (p *planner) plan() *Plan {
	out := &Plan{
		Tasks: p.tasks, Messages: p.messages, Octets: p.octets, Leased: p.leased, Backoffs: p.backoffs,
		Destinations: make([]PlanDestination, 0, len(p.destinations)),
	}
	for _, d := range p.destinations {
		out.Destinations = append(out.Destinations, *d)
	}
	byTasks(out.Destinations, func(d PlanDestination) int { return d.Tasks }, func(d PlanDestination) string { return d.Destination })
	if len(out.Destinations) > maxPlanned {
		out.Others = len(out.Destinations) - maxPlanned
		out.Destinations = out.Destinations[:maxPlanned]
	}
	return out
}
