package spool

import (
	"hash/fnv"
	"time"

	"restante/internal/mail"
)

// The order inside a destination. It is made of three rules, so that neither a
// large sender nor an urgent one has the destination for himself:
//
//   - Higher priority (RFC 6710) goes first; but one lease of every AgedTurn
//     goes to what is the most urgent, and waiting makes urgent (Urgency).
//   - Among tasks of one priority the senders take turns, told apart by Share:
//     whoever has 100,000 messages waiting, another's single one is among the
//     next few.
//   - What one sender has of one priority goes by its due time.
//
// Only what is due takes part, so a retry that is not does not block anything.

// Shares is how many senders of a destination are told apart. Two with the same
// Share have its turns together: that is one pair in so many. It divides 256.
const Shares = 64

// The bounds of mail.Envelope.Priority.
const minPriority, maxPriority = -9, 9

// AgedTurn is which lease of a destination goes by urgency: so much of it no
// stream of higher priorities can take from those that have waited.
const AgedTurn = 4

// PriorityWorth is how much longer a task must have waited to be as urgent as
// one of the next priority.
const PriorityWorth = 10 * time.Minute

// Urgency compares tasks of different priorities that have been due for some
// time: the greater goes first.
func Urgency(priority int, due time.Duration) time.Duration {
	return due + time.Duration(clamp(priority))*PriorityWorth
}

// Share tells by which turns of a destination a message goes: those of its
// account, or without one of its reverse-path; reports have those of <>.
// Engines store it with the task: it is never asked again.
func Share(env *mail.Envelope) uint8 {
	h := fnv.New32a()
	if env.Client.Account != "" {
		h.Write([]byte("account " + env.Client.Account))
	} else {
		h.Write([]byte(env.From.Local + "@" + env.From.Domain))
	}
	v := h.Sum32()
	return uint8((v ^ v>>16) % Shares)
}

// Head is the first due task that one sender has of one priority.
type Head struct {
	Priority int
	Share    uint8
	Due      time.Time
}

// Rota tells whose turn it is inside one destination. The zero value begins.
// Engines need not keep it longer than the destination has something queued.
type Rota struct {
	leases uint8
	last   [maxPriority - minPriority + 1]uint8 // the share served last
}

// Aged tells whether the next lease goes by urgency, so that Next compares the
// due times of heads.
func (r *Rota) Aged() bool { return (r.leases+1)%AgedTurn == 0 }

// Next returns which of the heads, of which there is at least one, goes next.
func (r *Rota) Next(heads []Head, now time.Time) int {
	priority := heads[0].Priority
	aged := r.Aged()
	most := Urgency(priority, now.Sub(heads[0].Due))
	for _, h := range heads[1:] {
		u := Urgency(h.Priority, now.Sub(h.Due))
		if !aged && h.Priority > priority || aged && (u > most || u == most && h.Priority > priority) {
			priority, most = h.Priority, u
		}
	}
	best, first := -1, uint8(0)
	for i, h := range heads {
		// How many shares come before it, after the one that was served last.
		turn := (h.Share - r.last[line(priority)] - 1) % Shares
		if h.Priority == priority && (best < 0 || turn < first) {
			best, first = i, turn
		}
	}
	return best
}

// Took notes that a head was leased.
func (r *Rota) Took(h Head) {
	r.leases = (r.leases + 1) % AgedTurn
	r.last[line(h.Priority)] = h.Share
}

func clamp(priority int) int { return min(max(priority, minPriority), maxPriority) }

func line(priority int) int { return clamp(priority) - minPriority }
