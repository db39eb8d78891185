package spool

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"restante/internal/mail"
)

// This file is what engines have in common when they keep and tell stories. It
// does no I/O.

// KeepEvents adds events to those kept of a task, or of a message, within the
// bounds. It changes kept.
func KeepEvents(kept []Event, add ...Event) []Event {
	for _, e := range add {
		e.clip()
		kept = append(kept, e)
	}
	for excess := countOpen(kept) - StoryEvents; excess > 0; excess-- {
		kept = omitOne(kept)
	}
	return kept
}

func countOpen(list []Event) (n int) {
	for i := range list {
		if list[i].open() {
			n++
		}
	}
	return n
}

// open tells that the event is nobody's end and may be dropped.
func (e *Event) open() bool { return !e.Kind.End() && e.Kind != EventOmitted }

// omitOne drops the oldest event behind the first quarter.
func omitOne(list []Event) []Event {
	seen, marker := 0, -1
	for i := range list {
		if list[i].Kind == EventOmitted {
			marker = i
			continue
		}
		if !list[i].open() {
			continue
		}
		if seen++; seen <= StoryEvents/4 {
			continue
		}
		if marker >= 0 {
			list[marker].Count++
			return slices.Delete(list, i, i+1)
		}
		list[i] = Event{At: list[i].At, Kind: EventOmitted, Task: list[i].Task, Count: 1}
		return list
	}
	return list
}

// clip brings an event within the bounds.
func (e *Event) clip() {
	for _, s := range []*string{&e.Host, &e.Addr, &e.TLS, &e.Verified, &e.QueueID, &e.By, &e.Text, &e.Status.Text, &e.Status.Remote} {
		*s = clipText(*s)
	}
	if n := len(e.To) - StoryList; n > 0 && !e.Kind.End() && e.Kind != EventQueued && e.Kind != EventAccepted {
		e.To, e.More = slices.Clone(e.To[:StoryList]), e.More+n
	}
}

func clipText(s string) string {
	if len(s) <= StoryText {
		return s
	}
	const dots = "…"
	cut := StoryText - len(dots)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + dots
}

// Dated returns events in which those without a time have this one.
func Dated(events []Event, at time.Time) []Event {
	events = slices.Clone(events)
	for i := range events {
		if events[i].At.IsZero() {
			events[i].At = at
		}
	}
	return events
}

// Opening is what a story begins with, of a message that is committed at a
// time: its own events, and one for each of its tasks, which have these IDs.
func (m *Message) Opening(ids []TaskID, at time.Time) []Event {
	list := make([]Event, 0, len(m.Events)+len(m.Tasks))
	for _, e := range m.Events {
		if e.At.IsZero() {
			e.At = at
		}
		e.clip()
		list = append(list, e)
	}
	for i, t := range m.Tasks {
		list = append(list, t.queued(ids[i], at))
	}
	return list
}

// queued is the event of a new task.
func (t *Task) queued(id TaskID, at time.Time) Event {
	e := Event{At: at, Kind: EventQueued, Task: id, Text: t.Destination.String(), To: make([]mail.Address, len(t.Recipients))}
	for i, r := range t.Recipients {
		e.To[i] = r.To
	}
	if t.Delay > 0 {
		e.Due = at.Add(t.Delay)
	}
	if t.Held {
		e.Text += ", held"
	}
	e.clip()
	return e
}

// Story is what a settlement adds to the story of its task, whose recipients
// are those, at a time. moved are the IDs of the tasks in Moved; their events
// are theirs.
func (s *Settlement) Story(id TaskID, rcpts []RecipientState, moved []TaskID, at time.Time) (events, theirs []Event) {
	told := make(map[mail.Address]bool)
	for _, e := range s.Events {
		e.Task = id
		if e.At.IsZero() {
			e.At = at
		}
		if e.Kind.End() {
			for _, to := range e.To {
				told[to] = true
			}
		}
		events = append(events, e)
	}
	for i, r := range s.Results {
		if r.Ended && i < len(rcpts) && !told[rcpts[i].To] {
			events = append(events, Event{At: at, Kind: r.end(), Task: id, To: []mail.Address{rcpts[i].To}, Status: r.Status})
		}
	}
	for i := range s.Moved {
		theirs = append(theirs, s.Moved[i].queued(moved[i], at))
	}
	return events, theirs
}

// end is the kind of a result that nobody has told more of.
func (r *Result) end() EventKind {
	switch {
	case r.Status.Code == 0:
		return EventRerouted
	case r.Status.Class() == mail.Delivered:
		return EventDelivered
	}
	return EventBounced
}

// AdminStory is what an administrator's verb adds to the story of a task. One
// that removes it always says so.
func AdminStory(t TaskInfo, remove bool, events []Event, at time.Time) []Event {
	if remove && !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == EventRemoved }) {
		events = append(slices.Clone(events), Event{Kind: EventRemoved})
	}
	list := make([]Event, 0, len(events))
	for _, e := range events {
		e.Task = t.ID
		if e.At.IsZero() {
			e.At = at
		}
		if e.Kind == EventRemoved && len(e.To) == 0 {
			for _, r := range t.Recipients {
				e.To = append(e.To, r.To)
			}
		}
		list = append(list, e)
	}
	return list
}

// Tell makes the rest of a story of its events, which are in no order between
// one task and another, and of the tasks that the message has.
func (s *Story) Tell(tasks []TaskInfo) {
	slices.SortStableFunc(s.Events, func(a, b Event) int { return a.At.Compare(b.At) })
	s.Open, s.Ended = len(tasks) > 0, time.Time{}
	index := make(map[mail.Address]int)
	at := func(to mail.Address) *StoryRecipient {
		i, ok := index[to]
		if !ok {
			i = len(s.Recipients)
			index[to] = i
			s.Recipients = append(s.Recipients, StoryRecipient{To: to, State: StateLost})
		}
		return &s.Recipients[i]
	}
	for i := range s.Events {
		e := &s.Events[i]
		for _, to := range e.To {
			at(to).follow(e)
		}
	}
	for _, t := range tasks {
		for _, r := range t.Recipients {
			rcpt := at(r.To)
			rcpt.State, rcpt.Task, rcpt.Destination = StoryState(t.State.String()), t.ID, t.Destination.String()
			rcpt.At, rcpt.QueueID, rcpt.Last = time.Time{}, "", cmp.Or(r.Last, rcpt.Last)
			if rcpt.Due = t.Due; t.State != Queued {
				rcpt.Due = time.Time{}
			}
		}
	}
	for _, r := range s.Recipients {
		if !s.Open && r.At.After(s.Ended) {
			s.Ended = r.At
		}
	}
}

// follow takes a recipient through one event about it.
func (r *StoryRecipient) follow(e *Event) {
	if e.Status != (mail.Status{}) {
		r.Last = e.Status
	}
	if e.Kind == EventQueued {
		r.Destination, _, _ = strings.Cut(e.Text, ",")
	}
	if !e.Task.Message.IsZero() {
		r.Task = e.Task
	}
	switch e.Kind {
	case EventRewritten:
		if r.State == StateLost {
			r.State, r.At = StateExpanded, e.At
		}
		return
	case EventDelivered:
		r.State, r.QueueID = StateDelivered, e.QueueID
	case EventDeposited:
		r.State = StateDeposited
	case EventBounced:
		r.State = StateBounced
	case EventRemoved:
		r.State = StateRemoved
	case EventReleasedAs:
		r.State = StateReleased
	default:
		return
	}
	r.At, r.Due = e.At, time.Time{}
}

// Matches tells whether a story, which was told, is one that is searched for.
func (q *Search) Matches(s *Story) bool {
	switch {
	case !q.Since.IsZero() && s.Arrived.Before(q.Since), !q.Until.IsZero() && s.Arrived.After(q.Until):
		return false
	case q.Sender != nil && s.From.Key() != q.Sender.Key():
		return false
	}
	about, addr := q.Names()
	whole := about == "" || s.MessageID == about || !addr.IsNull() && s.From.Key() == addr
	if q.Recipient == nil && whole && len(q.States) == 0 {
		return true
	}
	for _, r := range s.Recipients {
		named := (q.Recipient == nil || r.To.Key() == q.Recipient.Key()) && (whole || r.To.Key() == addr)
		if named && (len(q.States) == 0 || slices.Contains(q.States, r.State)) {
			return true
		}
	}
	return false
}

// Names reads About: as a Message-ID, and as the key of an address, which is
// null if it cannot be one.
func (q *Search) Names() (messageID string, addr mail.Address) {
	messageID = BareMessageID(q.About)
	if a, err := mail.ParseAddress(messageID); err == nil {
		addr = a.Key()
	}
	return messageID, addr
}

// BareMessageID takes the angle brackets and the space around them off a
// Message-ID.
func BareMessageID(s string) string {
	s = strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(s, "<"); ok {
		s, _, _ = strings.Cut(rest, ">")
	}
	return clipText(s)
}
