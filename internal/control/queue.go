package control

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"restante/spool"
)

// getQueue streams the tasks that pass the filter as one JSON array: by ID, or
// in the order asked for.
func (s *Server) getQueue(w http.ResponseWriter, r *http.Request) error {
	l, err := listingFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	walk, err := s.walk(l.Filter)
	if err != nil {
		return err
	}
	walk.pause = func() error { s.prolongWrite(w); return nil }
	w.Header().Set("Content-Type", "application/json")
	list := NewList(w)
	add := func(t *spool.TaskInfo) error {
		if err := list.Add(walk.view(t)); err != nil {
			return errGone
		}
		if list.count == l.Limit {
			return errEnough
		}
		return nil
	}
	if l.byKey() {
		err = walk.sorted(r.Context(), l, add)
	} else {
		err = walk.each(r.Context(), l.After, add)
	}
	if err != nil && list.count == 0 {
		return err
	}
	if err != nil {
		// Too late for a status. The array stays open, so that nobody takes it
		// for the whole.
		if r.Context().Err() == nil && err != errGone {
			s.opt.Logger.Error("queue listing broke off", "error", err)
		}
		return nil
	}
	s.prolongWrite(w)
	_ = list.End()
	return nil
}

// errGone tells that the peer has gone, or takes nothing any more.
var errGone = errorf(CodeUnavailable, "nobody takes the answer")

// getCensus answers GET /v1/queue/count and /v1/queue/ages.
func (s *Server) getCensus(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	by := By(q.Get("by"))
	q.Del("by")
	limit, err := takeLimit(q)
	if err != nil {
		return err
	}
	f, err := filterFromQuery(q)
	if err != nil {
		return err
	}
	walk, err := s.walk(f)
	if err != nil {
		return err
	}
	walk.pause = func() error { s.prolongWrite(w); return nil }
	var answer any
	switch r.PathValue("verb") {
	case "count":
		answer, err = walk.count(r.Context(), by, limit)
	case "ages":
		answer, err = walk.ages(r.Context(), by, limit)
	default:
		return errorf(CodeNotFound, "no such resource")
	}
	if err != nil {
		return err
	}
	s.prolongWrite(w)
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// takeLimit takes the parameter limit out of a query; 0 if there is none.
func takeLimit(q url.Values) (int, error) {
	text := q.Get("limit")
	q.Del("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0, errorf(CodeBadRequest, "limit: %q is no number above 0", text)
	}
	return n, nil
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

// Count counts the tasks that a filter lets through, by destination or route;
// at most limit groups are told, all if it is 0.
func (c *Client) Count(ctx context.Context, f Filter, by By, limit int) (Count, error) {
	var n Count
	err := c.call(ctx, "GET", "/v1/queue/count", censusQuery(f, by, limit), nil, &n)
	return n, err
}

// Ages counts them by age; see Count.
func (c *Client) Ages(ctx context.Context, f Filter, by By, limit int) (Ages, error) {
	var a Ages
	err := c.call(ctx, "GET", "/v1/queue/ages", censusQuery(f, by, limit), nil, &a)
	return a, err
}

func censusQuery(f Filter, by By, limit int) url.Values {
	q := f.query()
	if by != "" {
		q.Set("by", string(by))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}
