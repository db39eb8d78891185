package relay

import (
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// refs are the messages that a settlement brings with it, by what they are for.
type refs struct {
	failed, late, passed, noticed, released mail.ID
	// buried tells that failed is a dead letter, and no report.
	buried bool
}

// story is what a settlement adds to the story of its message: the hosts that
// were turned to, and what it means for whom. It is made last, when it is
// known who has an end.
func (r *Runner) story(l spool.Lease, v *verdict, s *spool.Settlement) []spool.Event {
	t := teller{l: l, v: v, s: s}
	if s.Destination.Outcome == spool.Unreached {
		t.due = r.opt.Now().Add(s.Destination.Backoff)
	} else if !s.KeepDue {
		t.due = r.opt.Now().Add(s.Delay)
	}
	for _, i := range v.attempted {
		t.result(i, contactOf(v.contacts, s.Results[i].Status))
	}
	next := 0
	for i := range l.Task.Recipients {
		if next < len(v.attempted) && v.attempted[next] == i {
			next++
		} else if s.Results[i].Ended { // of others only an end is new
			t.result(i, -1)
		}
	}
	t.parked()
	list := t.contacts()
	list = append(list, t.events...)
	t.events = nil
	t.notice(spool.EventWarned, v.late, v.refs.late)
	t.notice(spool.EventReported, v.passed, v.refs.passed)
	return append(list, t.events...)
}

// teller makes the events of one settlement.
type teller struct {
	l      spool.Lease
	v      *verdict
	s      *spool.Settlement
	due    time.Time
	events []spool.Event
	// told are the contacts that an event about recipients tells of.
	told map[int]bool
}

// result tells what became of a recipient, who was decided upon by a contact;
// -1 is none. Those of whom the same is to be told share an event.
func (t *teller) result(i, contact int) {
	result, rcpt := t.s.Results[i], t.l.Task.Recipients[i]
	e := spool.Event{Status: result.Status, To: []mail.Address{rcpt.To}}
	switch class := result.Status.Class(); {
	case !result.Ended:
		if t.s.Dead {
			return // parked tells
		}
		if e.Kind, e.Due = spool.EventDeferred, t.due; class == mail.Permanent {
			e.Text = "the report of it cannot be made yet"
		}
	case slices.Contains(t.v.noticed, i):
		e.Kind, e.Ref = notices[t.l.Task.Destination.Route].event, t.v.refs.noticed
		e.Text = "the sender is told"
	case slices.Contains(t.v.released, i) || slices.Contains(t.v.archived, i):
		e.Kind, e.Ref = spool.EventReleasedAs, t.v.refs.released
	case result.Status.Code == 0:
		e.Kind, e.Text = spool.EventRerouted, strings.TrimPrefix(result.Status.Text, "rerouted to ")
		e.Status = mail.Status{}
	case class == mail.Delivered:
		e.Kind = spool.EventDelivered
	default:
		e.Kind, e.Text = spool.EventBounced, "no report was asked for"
		if slices.Contains(t.v.failed, i) {
			e.Ref, e.Text = t.v.refs.failed, ""
			if t.v.refs.buried {
				e.Text = "kept as a dead letter"
			}
		}
	}
	t.add(e, contact)
}

// maxAlike is how many events are looked at for one that says the same.
const maxAlike = 32

// add adds an event, or its recipient to one that says the same.
func (t *teller) add(e spool.Event, contact int) {
	if t.v.tried && e.Kind != spool.EventRerouted {
		e.Attempt = t.l.Task.Attempts + 1
	}
	if contact >= 0 {
		c := &t.v.contacts[contact]
		e.Host, e.Addr, e.TLS, e.Verified, e.Took = c.Host, c.Addr, c.TLS, c.Verified, c.Took
		if e.Kind == spool.EventDelivered {
			e.QueueID = c.QueueID
		}
		if t.told == nil {
			t.told = make(map[int]bool)
		}
		t.told[contact] = true
	}
	for i := len(t.events) - 1; i >= max(0, len(t.events)-maxAlike); i-- {
		o := &t.events[i]
		if o.Kind == e.Kind && o.Status == e.Status && o.Addr == e.Addr && o.Text == e.Text && o.Ref == e.Ref {
			o.To = append(o.To, e.To...)
			return
		}
	}
	t.events = append(t.events, e)
}

// parked tells of what can neither be delivered nor returned.
func (t *teller) parked() {
	if !t.s.Dead {
		return
	}
	for i, result := range t.s.Results {
		if !result.Ended {
			t.add(spool.Event{Kind: spool.EventParked, Status: result.Status, To: []mail.Address{t.l.Task.Recipients[i].To}},
				contactOf(t.v.contacts, result.Status))
		}
	}
}

// contacts tells of the hosts that no other event tells of.
func (t *teller) contacts() (list []spool.Event) {
	for i, c := range t.v.contacts {
		if !t.told[i] {
			list = append(list, spool.Event{
				At: c.Began, Kind: spool.EventTried, Attempt: t.l.Task.Attempts + 1,
				Host: c.Host, Addr: c.Addr, TLS: c.TLS, Verified: c.Verified, Took: c.Took, Status: c.Status,
			})
		}
	}
	return list
}

// notice tells that the sender is told something of recipients.
func (t *teller) notice(kind spool.EventKind, about []int, ref mail.ID) {
	if ref.IsZero() || len(about) == 0 {
		return
	}
	e := spool.Event{Kind: kind, Ref: ref}
	for _, i := range about {
		e.To = append(e.To, t.l.Task.Recipients[i].To)
	}
	t.events = append(t.events, e)
}

// contactOf is the contact that a status comes from: the last with those words,
// or of that host, else the last of all; -1 if there is none.
func contactOf(contacts []Contact, s mail.Status) int {
	best := len(contacts) - 1
	for i := len(contacts) - 1; i >= 0; i-- {
		c := &contacts[i]
		if c.Status == s {
			return i
		}
		if s.Remote != "" && strings.HasPrefix(s.Remote, c.Host+" ") && !strings.HasPrefix(s.Remote, contacts[best].Host+" ") {
			best = i
		}
	}
	return best
}
