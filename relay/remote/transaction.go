package remote

import (
	"errors"
	"fmt"
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
	seven  *sevenbit.Message
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
// still pending then can be tried elsewhere.
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
		t := transaction{delivery: d, s: s, batch: d.pending[:min(len(d.pending), s.maxRecipients())]}
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

// maxRecipients is how many recipients the next hop takes at a time, if it
// says so (RFC 9422) and that is less than what everybody has to take.
func (s *session) maxRecipients() int {
	for word := range strings.FieldsSeq(s.ext["LIMITS"]) {
		name, value, _ := strings.Cut(word, "=")
		if n, err := strconv.Atoi(value); strings.EqualFold(name, "RCPTMAX") && err == nil && n > 0 {
			return min(n, maxRecipients)
		}
	}
	return maxRecipients
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
	if limit, err := strconv.ParseInt(strings.TrimSpace(s.ext["SIZE"]), 10, 64); err == nil && limit > 0 && d.job.Body.Size() > limit {
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
		d.decideAll(s.own(permanent(554, 6, 3, "next hop does not take 8-bit text, and the message "+clean(err.Error(), maxText))))
		return false
	case err != nil:
		d.decideAll(transient(3, 0, clean(err.Error(), maxText)))
		return false
	}
	d.seven = m
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

// transaction is one MAIL, RCPT…, DATA for a part of the recipients.
type transaction struct {
	*delivery
	s        *session
	batch    []int
	accepted []int
	refused  bool // MAIL was
	dsn      bool
}

// run ends with every recipient of the batch decided, or left pending: for
// the next transaction if the next hop had too many, else for another host,
// with a fault.
func (t *transaction) run() error {
	t.dsn = t.s.offers("DSN")
	t.begun, t.s.dirty = true, true
	t.s.sent++
	commands := make([]string, 0, len(t.batch)+2)
	commands = append(commands, t.mailCommand())
	for _, i := range t.batch {
		commands = append(commands, t.rcptCommand(i))
	}
	commands = append(commands, "DATA")
	goAhead, err := t.envelope(commands)
	if err != nil {
		return err
	}
	if !goAhead {
		return nil
	}
	return t.body()
}

// envelope sends the commands, all at once where PIPELINING (RFC 2920) allows,
// and tells whether the body is wanted.
func (t *transaction) envelope(commands []string) (bool, error) {
	pipelining := t.s.offers("PIPELINING")
	if pipelining {
		for _, c := range commands {
			if err := t.s.wire.put(c); err != nil {
				return false, t.s.broken("sending the envelope", err)
			}
		}
		if err := t.s.wire.flush(); err != nil {
			return false, t.s.broken("sending the envelope", err)
		}
	}
	for n, command := range commands {
		verb := command[:4]
		last := n == len(commands)-1
		var rep reply
		var err error
		switch {
		case pipelining:
			rep, err = t.s.wire.read(t.s.wire.limit.Command)
		case t.refused || last && len(t.accepted) == 0:
			return false, nil
		default:
			rep, err = t.s.wire.ask(command)
		}
		if err != nil {
			return false, t.s.broken(verb, err)
		}
		if rep.code == 421 || n == 0 && t.s.exhausted(rep) {
			return false, t.s.fault(soft(verb+": ", rep.status(t.s.remote)))
		}
		switch {
		case n == 0:
			t.afterMail(rep)
		case !last:
			t.afterRcpt(t.batch[n-1], rep)
		default:
			return t.afterData(rep)
		}
	}
	return false, nil
}

func (t *transaction) afterMail(rep reply) {
	if rep.is(2) {
		return
	}
	t.refused = true
	for _, i := range t.batch {
		t.decide(i, t.refusal(rep))
	}
}

func (t *transaction) afterRcpt(i int, rep reply) {
	switch {
	case t.refused: // it answers a RCPT without a MAIL
	case rep.is(2):
		t.accepted = append(t.accepted, i)
	case len(t.accepted) > 0 && tooMany(rep):
		// RFC 5321 section 4.5.3.1.10: the rest goes in another transaction.
	default:
		t.decide(i, t.refusal(rep))
	}
}

// tooMany tells whether a RCPT was refused only since there were others.
func tooMany(rep reply) bool {
	e := rep.status("").Enhanced
	return rep.code == 452 && (e == [3]int{} || e == [3]int{4, 5, 3})
}

func (t *transaction) afterData(rep reply) (bool, error) {
	switch {
	case len(t.accepted) == 0 && rep.code == 354:
		// RFC 2920 section 3.1: nobody is there to receive anything, and a
		// single dot is the way out.
		rep, err := t.s.wire.ask(".")
		if err != nil {
			return false, t.s.broken("empty DATA", err)
		}
		t.s.dirty = !rep.is(2)
		return false, nil
	case len(t.accepted) == 0:
		return false, nil
	case rep.code == 354:
		return true, nil
	}
	t.decideAccepted(t.refusal(rep))
	return false, nil
}

// refusal is the status of a reply that should have been positive. What is
// neither 4xx nor 5xx makes no sense, and nothing final is concluded from it.
func (t *transaction) refusal(rep reply) mail.Status {
	s := rep.status(t.s.remote)
	if !rep.is(4) && !rep.is(5) {
		s = soft("unexpected reply ", s)
	}
	t.said(s)
	return s
}

func (t *transaction) decideAccepted(s mail.Status) {
	for _, i := range t.accepted {
		t.decide(i, s)
	}
}

// body sends the message and takes the verdict on it.
func (t *transaction) body() error {
	w := t.s.wire
	send := func() error { return w.sendBody(t.job.Body, t.job.Body.Size()) }
	if t.seven != nil && t.s.narrow() {
		send = func() error { return w.sendMessage(t.seven) }
	}
	if err := send(); err != nil {
		own := bodyError{}
		if errors.As(err, &own) {
			t.s.close()
			t.decideAccepted(transient(3, 0, clean(own.Error(), maxText)))
			return err
		}
		return t.early(err)
	}
	rep, err := w.read(w.limit.End)
	if err != nil {
		// It may have the message: another host must not get it now, but
		// nobody has said that it was delivered.
		fault := t.s.broken("after the end of the message, which may have been delivered", err)
		t.lost(fault)
		return fault
	}
	t.s.dirty = false
	if rep.is(2) {
		t.silent = t.silent || !t.dsn
		t.untimed = t.untimed || !t.s.offers("DELIVERBY")
		status := rep.status(t.s.remote)
		t.said(status)
		t.decideAccepted(status)
		return nil
	}
	if t.s.exhausted(rep) {
		return t.s.fault(soft("message refused: ", rep.status(t.s.remote)))
	}
	// Even 421 is about this message now, but the session is over with it.
	t.s.gone = rep.code == 421
	t.decideAccepted(t.refusal(rep))
	return nil
}

// lost gives the accepted recipients the status of a fault.
func (t *transaction) lost(err error) {
	if f := (*fault)(nil); errors.As(err, &f) {
		for _, i := range t.accepted {
			t.decide(i, f.status)
		}
	}
}

// early is called when the next hop stopped taking the body. A refusal that it
// may have sent before it did so counts; without one the connection is broken.
func (t *transaction) early(cause error) error {
	const patience = time.Second
	rep, err := t.s.wire.read(patience)
	// Whatever it says, the end of data must never be sent on this connection.
	t.s.close()
	if err == nil && (rep.is(4) || rep.is(5)) && rep.code != 421 {
		t.s.gone = true
		t.decideAccepted(t.refusal(rep))
		return nil
	}
	return t.s.broken("DATA", cause)
}
