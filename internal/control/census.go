package control

import (
	"cmp"
	"context"
	"time"

	"restante/spool"
)

// By is what GET /v1/queue/count and /v1/queue/ages put into one group.
type By string

// The groups. Senders and recipients are taken by their domains.
const (
	ByDestination By = "destination"
	ByRoute       By = "route"
	BySender      By = "sender"
	ByRecipient   By = "recipient"
)

// Count is how many tasks there are.
type Count struct {
	// Tasks are all those that the filter lets through, States the same by state.
	Tasks  int            `json:"tasks"`
	States map[string]int `json:"states"`
	// Groups are those with the most tasks; Others is how many are left out.
	Groups []CountGroup `json:"groups"`
	Others int          `json:"others,omitempty"`
}

// CountGroup is one destination or route.
type CountGroup struct {
	Name   string         `json:"name"`
	Tasks  int            `json:"tasks"`
	States map[string]int `json:"states"`
	// NextTry is when something of it will be tried next; zero if that is not
	// known: it would need the tasks to be read, or no timer runs for any.
	NextTry time.Time `json:"next_try,omitzero"`
	// Backoff is the destination's. In is how many destinations of a route are
	// in back-off.
	Backoff *Backoff `json:"backoff,omitempty"`
	In      int      `json:"in_backoff,omitempty"`
}

// count counts by destination or route. Where the filter asks for nothing else
// the counts that the spool keeps are used, and no task is read.
func (w *walk) count(ctx context.Context, by By, limit int) (Count, error) {
	if by != "" && by != ByDestination && by != ByRoute {
		return Count{}, errorf(CodeBadRequest, "by: tasks are counted by destination or by route")
	}
	c := Count{States: map[string]int{}, Groups: []CountGroup{}}
	groups := make(map[string]*CountGroup)
	group := func(d spool.Destination) *CountGroup {
		name := d.String()
		if by == ByRoute {
			name = d.Route
		}
		g := groups[name]
		if g == nil {
			g = &CountGroup{Name: name, States: map[string]int{}}
			groups[name] = g
		}
		return g
	}
	add := func(d spool.Destination, s spool.State, n int) *CountGroup {
		g := group(d)
		c.Tasks += n
		c.States[s.String()] += n
		g.Tasks += n
		g.States[s.String()] += n
		return g
	}
	var err error
	if w.match.counts {
		err = w.tally(ctx, add)
	} else {
		err = w.each(ctx, spool.TaskID{}, func(t *spool.TaskInfo) error {
			g := add(t.Destination, t.State, 1)
			g.sooner(nextTry(t, w.backoffs[t.Destination]))
			return nil
		})
	}
	if err != nil {
		return c, err
	}
	for d, b := range w.backoffs {
		if !w.match.destination(d) {
			continue
		}
		g := group(d)
		if g.Tasks == 0 && !w.match.counts {
			continue // it has nothing that was asked for
		}
		if by == ByRoute {
			g.In++
		} else {
			g.Backoff = b
		}
		g.sooner(b.Until)
	}
	for _, g := range groups {
		if g.Tasks > 0 || !g.NextTry.IsZero() {
			c.Groups = append(c.Groups, *g)
		}
	}
	byTasks(c.Groups, func(g CountGroup) int { return g.Tasks }, func(g CountGroup) string { return g.Name })
	if limit > 0 && limit < len(c.Groups) {
		c.Others = len(c.Groups) - limit
		c.Groups = c.Groups[:limit]
	}
	return c, nil
}

func (g *CountGroup) sooner(t time.Time) {
	if !t.IsZero() && (g.NextTry.IsZero() || t.Before(g.NextTry)) {
		g.NextTry = t
	}
}

// tally takes the counts of the spool.
func (w *walk) tally(ctx context.Context, add func(spool.Destination, spool.State, int) *CountGroup) error {
	list, err := w.server.opt.Queue.TaskCounts(ctx)
	if err != nil {
		return err
	}
	for _, d := range list {
		if !w.match.destination(d.Destination) {
			continue
		}
		for state, n := range d.Tasks {
			if n > 0 && w.match.wants(spool.State(state)) {
				add(d.Destination, spool.State(state), n)
			}
		}
	}
	return nil
}

// Ages is how old the tasks are: as Postfix's qshape shows it.
type Ages struct {
	// Bounds are the upper ends of the columns in seconds, each twice the one
	// before; the last column, of all that is older, has none.
	Bounds []int64 `json:"bounds"`
	// Total is all tasks. Groups are those with the most, Others the sum of
	// those left out, if there are any.
	Total  AgeRow   `json:"total"`
	Groups []AgeRow `json:"groups"`
	Others *AgeRow  `json:"others,omitempty"`
}

// AgeRow is the tasks of one group, by age.
type AgeRow struct {
	Name  string `json:"name"`
	Tasks int    `json:"tasks"`
	// Ages has one more element than Bounds.
	Ages   []int     `json:"ages"`
	Oldest time.Time `json:"oldest,omitzero"`
}

const (
	// ageColumns double from 5 minutes on: to 1,280 minutes, and all above.
	firstAge   = 5 * time.Minute
	ageColumns = 10
	// maxGroups bounds the groups that are told apart; what comes later under
	// another name is among the others.
	maxGroups = 50_000
	// usualGroups are told if nobody asks for another number.
	usualGroups = 20
)

// ages makes the histogram.
func (w *walk) ages(ctx context.Context, by By, limit int) (Ages, error) {
	name, err := grouping(by)
	if err != nil {
		return Ages{}, err
	}
	a := Ages{Total: newAgeRow("total"), Groups: []AgeRow{}}
	for i := range ageColumns - 1 {
		a.Bounds = append(a.Bounds, int64(firstAge<<i/time.Second))
	}
	others := newAgeRow("others")
	groups := make(map[string]*AgeRow)
	now := w.server.opt.Now()
	err = w.each(ctx, spool.TaskID{}, func(t *spool.TaskInfo) error {
		key := name(t)
		row := groups[key]
		if row == nil && len(groups) < maxGroups {
			fresh := newAgeRow(key)
			row = &fresh
			groups[key] = row
		}
		if row == nil {
			row = &others
		}
		row.add(t.Queued, now)
		a.Total.add(t.Queued, now)
		return nil
	})
	if err != nil {
		return a, err
	}
	for _, row := range groups {
		a.Groups = append(a.Groups, *row)
	}
	byTasks(a.Groups, func(r AgeRow) int { return r.Tasks }, func(r AgeRow) string { return r.Name })
	if limit = cmp.Or(limit, usualGroups); len(a.Groups) > limit {
		for _, row := range a.Groups[limit:] {
			others.join(row)
		}
		a.Groups = a.Groups[:limit]
	}
	if others.Tasks > 0 {
		a.Others = &others
	}
	return a, nil
}

// grouping returns the name of a task's group.
func grouping(by By) (func(*spool.TaskInfo) string, error) {
	switch by {
	case "", ByDestination:
		return func(t *spool.TaskInfo) string { return t.Destination.String() }, nil
	case ByRoute:
		return func(t *spool.TaskInfo) string { return t.Destination.Route }, nil
	case BySender:
		return func(t *spool.TaskInfo) string {
			if t.Envelope.From.IsNull() {
				return "<>"
			}
			return t.Envelope.From.Domain
		}, nil
	case ByRecipient:
		return func(t *spool.TaskInfo) string { return t.Recipients[0].To.Domain }, nil
	}
	return nil, errorf(CodeBadRequest, "by: %q is none of destination, route, sender and recipient", by)
}

func newAgeRow(name string) AgeRow { return AgeRow{Name: name, Ages: make([]int, ageColumns)} }

func (r *AgeRow) add(arrived, now time.Time) {
	column := 0
	for end := firstAge; column < ageColumns-1 && now.Sub(arrived) >= end; end *= 2 {
		column++
	}
	r.Tasks++
	r.Ages[column]++
	r.older(arrived)
}

func (r *AgeRow) join(other AgeRow) {
	r.Tasks += other.Tasks
	for i, n := range other.Ages {
		r.Ages[i] += n
	}
	r.older(other.Oldest)
}

func (r *AgeRow) older(t time.Time) {
	if !t.IsZero() && (r.Oldest.IsZero() || t.Before(r.Oldest)) {
		r.Oldest = t
	}
}
