package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// Stories is what the API needs of spool.Stories.
type Stories interface {
	Story(id mail.ID) (spool.Story, error)
	Search(q spool.Search) iter.Seq2[spool.Story, error]
}

// DefaultTraces is how many stories a Trace without a limit yields.
const DefaultTraces = 100

// Trace says which stories are wanted; what is empty lets everything through.
type Trace struct {
	// About is a queue ID, a task's ID, a Message-ID, or the address of a
	// sender or recipient.
	About string
	// Sender and Recipient are addresses; "<>" is the sender of reports.
	Sender, Recipient string
	// Since and Until bound the arrival.
	Since, Until time.Time
	States       []spool.StoryState
	// Limit is how many there are at most, the newest; 0 is DefaultTraces,
	// negative is no limit.
	Limit int
}

// query writes it as the parameters of GET /v1/trace.
func (t Trace) query() url.Values {
	q := url.Values{}
	for name, text := range map[string]string{"about": t.About, "sender": t.Sender, "recipient": t.Recipient} {
		if text != "" {
			q.Set(name, text)
		}
	}
	for name, at := range map[string]time.Time{"since": t.Since, "until": t.Until} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	for _, s := range t.States {
		q.Add("state", string(s))
	}
	if t.Limit != 0 {
		q.Set("limit", strconv.Itoa(t.Limit))
	}
	return q
}

// traceFromQuery is query's inverse.
func traceFromQuery(q url.Values) (t Trace, err error) {
	for name, list := range q {
		if len(list) > 1 && name != "state" {
			return t, errorf(CodeBadRequest, "%s is given twice", name)
		}
		switch text := list[0]; name {
		case "about":
			t.About = text
		case "sender":
			t.Sender = text
		case "recipient":
			t.Recipient = text
		case "since":
			t.Since, err = time.Parse(time.RFC3339Nano, text)
		case "until":
			t.Until, err = time.Parse(time.RFC3339Nano, text)
		case "state":
			for _, s := range list {
				t.States = append(t.States, spool.StoryState(s))
			}
		case "limit":
			t.Limit, err = strconv.Atoi(text)
		default:
			return t, errorf(CodeBadRequest, "unknown parameter %q", name)
		}
		if err != nil {
			return t, errorf(CodeBadRequest, "%s: %v", name, err)
		}
	}
	return t, nil
}

// search makes a spool.Search of it, or the ID that it is about.
func (t Trace) search() (id mail.ID, q spool.Search, err error) {
	if len(t.States) > 0 {
		known := spool.StoryStates()
		for _, s := range t.States {
			if !slices.Contains(known, s) {
				return id, q, errorf(CodeBadRequest, "unknown state %q: %s are", s, join(known))
			}
		}
	}
	q = spool.Search{Since: t.Since, Until: t.Until, States: t.States, About: t.About}
	for _, a := range []struct {
		name, text string
		to         **mail.Address
	}{{"sender", t.Sender, &q.Sender}, {"recipient", t.Recipient, &q.Recipient}} {
		if a.text == "" {
			continue
		}
		addr := mail.Address{}
		if text := strings.Trim(a.text, "<>"); text != "" {
			if addr, err = mail.ParseAddress(text); err != nil {
				return id, q, errorf(CodeBadRequest, "%s: %v", a.name, err)
			}
		}
		*a.to = &addr
	}
	text, _, _ := strings.Cut(strings.ToUpper(t.About), ".")
	if found, err := mail.ParseID(text); err == nil {
		return found, q, nil
	}
	if t.About != "" && !strings.Contains(t.About, "@") {
		return id, q, errorf(CodeBadRequest, "%q is no queue ID, Message-ID or address", t.About)
	}
	return id, q, nil
}

func join(states []spool.StoryState) string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// getTrace streams the stories that are wanted, the newest first, as one JSON
// array.
func (s *Server) getTrace(w http.ResponseWriter, r *http.Request) error {
	t, err := traceFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	id, q, err := t.search()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	l := NewList(w)
	if !id.IsZero() {
		story, err := s.opt.Stories.Story(id)
		if errors.Is(err, spool.ErrNotFound) {
			return errorf(CodeNotFound, "%s: no such message is known, or none any more", id)
		}
		if err != nil {
			return err
		}
		_ = l.Add(ViewStory(story))
		_ = l.End()
		return nil
	}
	if t.Limit == 0 {
		t.Limit = DefaultTraces
	}
	for story, err := range s.opt.Stories.Search(q) {
		if err != nil && l.count == 0 && story.ID.IsZero() {
			return err
		}
		if err != nil {
			s.opt.Logger.Error("a story cannot be read", "id", story.ID, "error", err)
			if story.ID.IsZero() {
				return nil // the array stays open, so that nobody takes it for the whole
			}
			continue
		}
		s.prolongWrite(w)
		if r.Context().Err() != nil || l.Add(ViewStory(story)) != nil {
			return nil // the peer has gone
		}
		if l.count == t.Limit {
			break
		}
	}
	s.prolongWrite(w)
	_ = l.End()
	return nil
}

// Trace iterates over the stories that are wanted, the newest first. An error
// ends it.
func (c *Client) Trace(ctx context.Context, t Trace) iter.Seq2[Story, error] {
	return func(yield func(Story, error) bool) {
		resp, err := c.send(ctx, "GET", "/v1/trace", t.query(), nil, nil)
		if err != nil {
			yield(Story{}, err)
			return
		}
		defer resp.Body.Close()
		d := json.NewDecoder(resp.Body)
		if _, err := d.Token(); err != nil {
			yield(Story{}, fmt.Errorf("trace: %w", err))
			return
		}
		for d.More() {
			var s Story
			if err := d.Decode(&s); err != nil {
				yield(Story{}, fmt.Errorf("trace broke off: %w", err))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
		if _, err := d.Token(); err != nil {
			yield(Story{}, fmt.Errorf("trace broke off: %w", err))
		}
	}
}

// ParseMoment reads a time as people write it: an age ("90m", "2d") before now,
// a day ("2026-11-30", in now's time zone), a day and a time ("2026-11-30
// 14:05", with or without seconds), or RFC 3339.
func ParseMoment(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if age, err := parseAge(s); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339Nano} {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: an age as in 2h or 3d, a day as in %s, that with a time, or RFC 3339", s, now.Format("2006-01-02"))
}
