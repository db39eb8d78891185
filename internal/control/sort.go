package control

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"

	"restante/spool"
)

// Sort is an order of GET /v1/queue.
type Sort string

// The orders. The oldest comes first where nothing else is asked for; what is
// equal in the others is ordered so.
const (
	SortAge         Sort = "age"
	SortSize        Sort = "size"        // the largest first
	SortDue         Sort = "due"         // the next to be tried first; what no timer runs for last
	SortDestination Sort = "destination" // by name
	SortAttempts    Sort = "attempts"    // the most first
)

// Sorts are all orders.
func Sorts() []Sort { return []Sort{SortAge, SortSize, SortDue, SortDestination, SortAttempts} }

// Listing is what to list, and how.
type Listing struct {
	Filter
	// Sort is an order, "" for SortAge. In another order no more than 100,000
	// tasks are listed: without a Limit a longer list is refused.
	Sort Sort
	// Limit ends the list after so many tasks, unless it is 0.
	Limit int
	// After has the list begin behind a task, in the order of age; zero is from
	// the first on. With Limit a long list can be read in parts.
	After spool.TaskID
}

// byKey tells that the order is another than that of the IDs.
func (l Listing) byKey() bool { return l.Sort != "" && l.Sort != SortAge }

func (l Listing) query() url.Values {
	q := l.Filter.query()
	if l.Sort != "" {
		q.Set("sort", string(l.Sort))
	}
	if l.Limit > 0 {
		q.Set("limit", strconv.Itoa(l.Limit))
	}
	if l.After != (spool.TaskID{}) {
		q.Set("after", l.After.String())
	}
	return q
}

func listingFromQuery(q url.Values) (l Listing, err error) {
	l.Sort = Sort(q.Get("sort"))
	q.Del("sort")
	if l.Sort != "" && !slices.Contains(Sorts(), l.Sort) {
		return l, errorf(CodeBadRequest, "sort: %q is none of %v", l.Sort, Sorts())
	}
	if l.Limit, err = takeLimit(q); err != nil {
		return l, err
	}
	if after := q.Get("after"); after != "" {
		if l.After, err = spool.ParseTaskID(after); err != nil || l.byKey() {
			return l, errorf(CodeBadRequest, "after: the ID of a task is expected, and the order of age")
		}
	}
	q.Del("after")
	l.Filter, err = filterFromQuery(q)
	return l, err
}

// maxSorted bounds what is held in memory to be sorted: some 10 MB.
const maxSorted = 100_000

// sorted calls add with the first tasks in an order. While it looks through the
// queue it holds no more of them than their places; a task that has ended
// before its turn comes is passed over.
func (w *walk) sorted(ctx context.Context, l Listing, add func(*spool.TaskInfo) error) error {
	keep := l.Limit
	if keep > maxSorted {
		return errorf(CodeBadRequest, "limit: no more than %d tasks are sorted", maxSorted)
	}
	if keep == 0 {
		keep = maxSorted
	}
	var h places
	err := w.each(ctx, spool.TaskID{}, func(t *spool.TaskInfo) error {
		p := w.place(t, l.Sort)
		switch {
		case len(h) < keep:
			heap.Push(&h, p)
		case l.Limit == 0:
			return errorf(CodeBadRequest, "no more than %d tasks are sorted: give a limit, or filter them", maxSorted)
		case p.before(h[0]):
			h[0] = p
			heap.Fix(&h, 0)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(h, place.compare)
	return w.fetch(ctx, h, add)
}

// fetch reads the tasks again.
func (w *walk) fetch(ctx context.Context, list []place, add func(*spool.TaskInfo) error) error {
	for i, p := range list {
		if i%breath == breath-1 {
			if err := cmp.Or(ctx.Err(), w.pause()); err != nil {
				return err
			}
		}
		tasks, err := w.server.opt.Queue.MessageTasks(p.id.Message)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, t := range tasks {
			if t.ID != p.id {
				continue
			}
			if err := add(&t); errors.Is(err, errEnough) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// place is where a task belongs in an order: by number, text, and ID.
type place struct {
	number int64
	text   string
	id     spool.TaskID
}

func (w *walk) place(t *spool.TaskInfo, by Sort) place {
	p := place{id: t.ID}
	switch by {
	case SortSize:
		p.number = -t.Size
	case SortAttempts:
		p.number = -int64(t.Attempts)
	case SortDestination:
		p.text = t.Destination.String()
	case SortDue:
		p.number = math.MaxInt64
		if v := nextTry(t, w.backoffs[t.Destination]); !v.IsZero() {
			p.number = v.UnixMilli()
		}
		if t.State == spool.Leased {
			p.number = 0
		}
	}
	return p
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.number, q.number), cmp.Compare(p.text, q.text),
		bytes.Compare(p.id.Message[:], q.id.Message[:]), cmp.Compare(p.id.N, q.id.N))
}

func (p place) before(q place) bool { return p.compare(q) < 0 }

// places is a heap with the last place on top.
type places []place

func (h places) Len() int           { return len(h) }
func (h places) Less(i, j int) bool { return h[j].before(h[i]) }
func (h places) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *places) Push(x any)        { *h = append(*h, x.(place)) }

func (h *places) Pop() any {
	old := *h
	p := old[len(old)-1]
	*h = old[:len(old)-1]
	return p
}
