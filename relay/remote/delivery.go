package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/internal/sevenbit"
	"restante/relay"
)

// maxRecipients is how many recipients one transaction has: what RFC 5321
// section 4.5.3.1.8 has every server take.
const maxRecipients = 100

// delivery is one job while it is worked on.
type delivery struct {
	ctx     context.Context
	job     *relay.Job
	results []mail.Status
	pending []int // recipients without a result, by index
	needs   needs
	// begun tells that an envelope was sent.
	begun bool
	// silent tells that a next hop took a recipient without DSN.
	silent bool
	// untimed tells that one took a recipient without DELIVERBY.
	untimed bool
	now     func() time.Time
	// seven is the message for a next hop without 8BITMIME, once there was one.
	seven  io.WriterTo
	remote string
	tls    string
	// whole is the route of which job.Route is one host's part, host that
	// host; nil and "" if the route is not divided.
	whole *relay.Route
	host  string
	// retry is when the first of the hosts that were passed over for their
	// limits has room again.
	retry time.Duration
	// contacts are the hosts so far, dialled the addresses that were.
	contacts []relay.Contact
	dialled  int
}

// needs is what a message asks of a next hop.
type needs struct {
	utf8Header bool
	utf8From   bool
}

// decide gives a recipient its result.
func (d *delivery) decide(i int, s mail.Status) { d.results[i] = s }

// settle takes out of pending what has a result.
func (d *delivery) settle() {
	left := d.pending[:0]
	for _, i := range d.pending {
		if d.results[i].Code == 0 {
			left = append(left, i)
		}
	}
	d.pending = left
}

// decideAll gives all that are pending one result.
func (d *delivery) decideAll(s mail.Status) {
	for _, i := range d.pending {
		d.decide(i, s)
	}
	d.settle()
}

// run has a session deliver to all that are pending, in as many transactions
// as it takes. An error is a fault, and the session is of no more use; who is
// still pending then can be tried elsewhere. It ends, since each transaction
// decides on somebody or finds an extension that is not to be used.
func (d *delivery) run(s *session) error {
	d.remote, d.tls = s.remote, s.tls
	for {
		d.refuse(s)
		if len(d.pending) == 0 {
			return nil
		}
		if s.dirty {
			if err := s.reset(); err != nil {
				return err
			}
		}
		if len(d.pending) > 0 && s.sent >= s.maxTransactions() {
			s.quit(quitTime)
			return again(s.fault(transient(4, 2, "next hop takes no more messages on this connection")))
		}
		t := transaction{delivery: d, s: s, batch: s.batch(d)}
		err := t.run()
		d.settle()
		if err == nil && s.gone && len(d.pending) > 0 {
			err = s.fault(transient(4, 2, "next hop ended the session"))
		}
		if err != nil {
			return err
		}
	}
}

// limit is what the next hop says of one of its limits (RFC 9422), or most.
func (s *session) limit(name string, most int) int {
	for word := range strings.FieldsSeq(s.ext["LIMITS"]) {
		n, value, _ := strings.Cut(word, "=")
		if v, err := strconv.Atoi(value); strings.EqualFold(n, name) && err == nil && v > 0 {
			return min(v, most)
		}
	}
	return most
}

// maxTransactions is how many messages one connection has.
func (s *session) maxTransactions() int {
	return s.limit("MAILMAX", cmp.Or(s.route.MaxMessages, maxUses))
}

// batch is who is in the next transaction: the first of those pending, as many
// as the next hop takes at a time, of as many domains.
func (s *session) batch(d *delivery) []int {
	list := d.pending[:min(len(d.pending), s.limit("RCPTMAX", maxRecipients))]
	most := s.limit("RCPTDOMAINMAX", len(list))
	if most == len(list) {
		return list
	}
	domains := make(map[string]bool)
	for n, i := range list {
		if domains[d.job.Recipients[i].To.Domain] = true; len(domains) > most {
			return list[:n]
		}
	}
	return list
}

// refuse decides what this next hop cannot be given for want of an extension.
func (d *delivery) refuse(s *session) {
	env := &d.job.Envelope
	if env.RequireTLS && !(s.certain && s.offers("REQUIRETLS")) {
		// RFC 8689 section 4.2.1.
		d.decideAll(s.own(permanent(550, 7, 30, "REQUIRETLS was asked for and cannot be had on the way to the next hop")))
		return
	}
	if env.By.Return {
		if why := s.late(env.By.At.Sub(d.now())); why != (mail.Status{}) {
			d.decideAll(why)
			return
		}
	}
	if limit := s.maxSize(); limit > 0 && d.job.Body.Size() > limit {
		d.decideAll(s.own(permanent(552, 3, 4, fmt.Sprintf("message of %d octets is larger than the %d the next hop takes", d.job.Body.Size(), limit))))
		return
	}
	if s.narrow() && env.EightBit && !d.convert(s) {
		return
	}
	for _, i := range d.pending {
		to := d.job.Recipients[i].To
		switch {
		case !sendable(to.String()) || !sendable(env.From.String()):
			d.decide(i, permanent(553, 1, 3, "address cannot be sent in an SMTP command"))
		case s.offers("SMTPUTF8"):
		case d.needs.utf8Header || d.needs.utf8From || !to.IsASCII():
			d.decide(i, s.own(permanent(553, 6, 7, "message needs SMTPUTF8, which the next hop does not offer")))
		}
	}
	d.settle()
}

// maxSize is the limit of SIZE (RFC 1870), 0 if there is none.
func (s *session) maxSize() int64 {
	limit := strings.TrimSpace(s.ext["SIZE"])
	if limit == "" {
		return 0
	}
	n, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// narrow tells that a next hop takes 7 bits only; SMTPUTF8 is not to be had
// without 8BITMIME (RFC 6531 section 3.1).
func (s *session) narrow() bool { return !s.offers("8BITMIME") && !s.offers("SMTPUTF8") }

// convert makes the message ready for a next hop that takes 7 bits only (RFC
// 6152 section 3), or decides that it cannot go there.
func (d *delivery) convert(s *session) bool {
	if d.seven != nil {
		return true
	}
	m, err := sevenbit.New(d.job.Body, d.job.Body.Size())
	switch {
	case errors.Is(err, sevenbit.ErrCannot):
		d.decideAll(s.own(permanent(554, 6, 3, "next hop does not take 8-bit text, and the message "+mail.Line(err.Error(), maxText))))
		return false
	case err != nil:
		d.decideAll(transient(3, 0, mail.Line(err.Error(), maxText)))
		return false
	}
	if d.seven, err = signedAgain(d.ctx, d.job, m); err != nil {
		d.decideAll(transient(3, 0, mail.Line(err.Error(), maxText)))
		return false
	}
	return true
}

// late tells why a message that is to be returned when the time left is over
// (RFC 2852) cannot go this way.
func (s *session) late(left time.Duration) mail.Status {
	least, err := strconv.ParseInt(strings.TrimSpace(s.ext["DELIVERBY"]), 10, 64)
	switch {
	case left < time.Second:
		return permanent(550, 4, 7, "delivery time expired")
	case !s.offers("DELIVERBY"):
		return s.own(permanent(550, 3, 3, "message is to be returned if it is late, which the next hop does not offer to do"))
	case err == nil && least > 0 && left < time.Duration(min(least, 999999999))*time.Second:
		return s.own(permanent(550, 4, 7, fmt.Sprintf("message is to be delivered within %d seconds, and the next hop asks for %d", int64(left.Seconds()), least)))
	}
	return mail.Status{}
}

// own adds the host to a status that we conclude from what it offers.
func (s *session) own(status mail.Status) mail.Status {
	status.Remote = s.remote
	return status
}

func sendable(address string) bool {
	return strings.IndexFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}
