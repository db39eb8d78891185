package remote

import (
	"errors"
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
)

// transaction is one MAIL, RCPT… and message for a part of the recipients.
type transaction struct {
	*delivery
	s        *session
	batch    []int
	accepted []int
	refused  bool // MAIL was
	dsn      bool
	// used are the EHLO keywords that MAIL had parameters of.
	used []string
	// answered tells that there was a reply to anything of it.
	answered bool
}

// run ends with every recipient of the batch decided, or left pending: for
// the next transaction if the next hop had too many or would not have the
// parameters of an extension, else for another host, with a fault.
func (t *transaction) run() error {
	t.dsn = t.s.offers("DSN")
	begun, reused := t.begun, t.s.sent > 0
	t.begun, t.s.dirty = true, true
	t.s.sent++
	var err error
	if t.chunked() {
		err = t.byChunk()
	} else {
		err = t.byData()
	}
	if err != nil && reused && !t.answered {
		// It died while it was kept. The message had no part in that.
		t.begun = begun
	}
	return err
}

// chunked tells whether the message goes by BDAT. It does if it is one chunk:
// then it can go along with the envelope, which saves a round trip, and there
// is no chunk after one that was refused. A longer one would gain nothing.
func (t *transaction) chunked() bool {
	return t.s.offers("CHUNKING") && !t.s.route.NoChunking && t.job.Body.Size() <= block && !t.converted()
}

// converted tells whether the message goes in 7 bits.
func (t *transaction) converted() bool { return t.seven != nil && t.s.narrow() }

// envelope sends MAIL and RCPT, all at once where PIPELINING (RFC 2920)
// allows, and then what tail puts in the same flight. That is not called
// without PIPELINING.
func (t *transaction) envelope(tail func() error) error {
	w := t.s.wire
	if !t.pipelining() {
		for n := 0; n <= len(t.batch) && !t.refused; n++ {
			err := w.put(t.command(n))
			if err == nil {
				err = w.flush()
			}
			if err != nil {
				return t.s.broken(t.verb(n), err)
			}
			if err := t.hear(n); err != nil {
				return err
			}
		}
		return nil
	}
	for n := 0; n <= len(t.batch); n++ {
		if err := w.put(t.command(n)); err != nil {
			return t.s.broken(t.verb(n), err)
		}
	}
	if err := tail(); err != nil {
		return err
	}
	cause := w.flush()
	for n := 0; n <= len(t.batch); n++ {
		// Replies may be there though the next hop has gone in the meantime.
		if err := t.hear(n); err != nil {
			return err
		}
	}
	if cause != nil {
		return t.early(cause)
	}
	return nil
}

func (t *transaction) pipelining() bool { return t.s.offers("PIPELINING") }

// command is MAIL, or a RCPT from 1 on.
func (t *transaction) command(n int) string {
	if n == 0 {
		return t.mailCommand()
	}
	return t.rcptCommand(t.batch[n-1])
}

func (*transaction) verb(n int) string {
	if n == 0 {
		return "MAIL"
	}
	return "RCPT"
}

// hear takes the reply to a command of the envelope.
func (t *transaction) hear(n int) error {
	rep, err := t.s.wire.read(t.s.wire.limit.Command)
	if err != nil {
		if t.answered && t.pipelining() && timedOut(err) {
			// It may have thrown away what came with the first command.
			t.s.distrust("PIPELINING")
		}
		err = t.s.broken(t.verb(n), err)
		if !t.answered && t.s.done > 0 {
			return again(err) // it had its share, and says nothing
		}
		return err
	}
	t.answered = true
	switch {
	case rep.code == 421:
		return t.left(t.verb(n), rep)
	case n == 0 && t.s.exhausted(rep):
		return t.s.fault(soft("MAIL: ", rep.status(t.s.remote)))
	case n == 0:
		t.afterMail(rep)
		return nil
	}
	return t.afterRcpt(t.batch[n-1], rep)
}

// left makes a fault of a 421 to a command. After messages that were taken it
// only means that this connection has had its share.
func (t *transaction) left(verb string, rep reply) error {
	err := t.s.fault(soft(verb+": ", rep.status(t.s.remote)))
	if t.s.done > 0 {
		return again(err)
	}
	return err
}

func (t *transaction) afterMail(rep reply) {
	if rep.is(2) {
		return
	}
	t.refused = true
	if t.strip(rep) {
		return
	}
	for _, i := range t.batch {
		t.decide(i, t.refusal(rep))
	}
}

// strip is called when MAIL was refused, and tells whether that was for its
// parameters, which then are not used any more on this session: those that the
// reply names, or else those that are dispensable, or else all. What the
// message cannot do without is then as if it had never been offered.
func (t *transaction) strip(rep reply) bool {
	status := rep.status("")
	if rep.code != 501 && rep.code != 504 && rep.code != 555 || status.Enhanced[1] == 1 || len(t.used) == 0 {
		return false // X.1.X is about the address
	}
	named := func(keyword string) bool { return speaksOf(status.Text, keyword) }
	dispensable := func(keyword string) bool {
		switch keyword {
		case "8BITMIME", "SMTPUTF8", "REQUIRETLS":
			return false
		}
		return keyword != "DELIVERBY" || !t.job.Envelope.By.Return
	}
	unwanted := t.used
	for _, choose := range []func(string) bool{named, dispensable} {
		if slices.ContainsFunc(t.used, choose) {
			unwanted = slices.DeleteFunc(slices.Clone(t.used), func(k string) bool { return !choose(k) })
			break
		}
	}
	for _, k := range unwanted {
		delete(t.s.ext, k)
	}
	return true
}

// speaksOf tells whether a reply speaks of the parameters of an extension.
func speaksOf(text, keyword string) bool {
	words := strings.FieldsFunc(strings.ToUpper(text), func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z')
	})
	params := []string{keyword}
	switch keyword {
	case "8BITMIME":
		params = append(params, "BODY")
	case "DELIVERBY":
		params = append(params, "BY")
	case "DSN":
		params = append(params, "RET", "ENVID", "NOTIFY", "ORCPT")
	}
	if keyword == "DELIVERBY" && !slices.Contains(words, keyword) {
		// "refused by policy" speaks of no parameter.
		return strings.Contains(strings.ToUpper(text), "BY=")
	}
	return slices.ContainsFunc(params, func(p string) bool { return slices.Contains(words, p) })
}

func (t *transaction) afterRcpt(i int, rep reply) error {
	switch {
	case t.refused: // it answers a RCPT without a MAIL
	case rep.is(2):
		t.accepted = append(t.accepted, i)
	case len(t.accepted) > 0 && tooMany(rep):
		// RFC 5321 section 4.5.3.1.10: the rest goes in another transaction.
	case t.pipelining() && sequence(rep):
		return t.disorder("RCPT", "PIPELINING", rep)
	case t.stripDSN(i, rep):
	default:
		t.decide(i, t.refusal(rep))
	}
	return nil
}

// tooMany tells whether a RCPT was refused only since there were others.
func tooMany(rep reply) bool {
	e := rep.status("").Enhanced
	return rep.code == 452 && (e == [3]int{} || e == [3]int{4, 5, 3})
}

// sequence tells whether a reply says that a command came where it must not,
// which is never so with ours, or that it is not known.
func sequence(rep reply) bool { return rep.code == 503 && protocol(rep) }

// protocol tells whether a refusal is of the protocol and not of a policy, as
// far as it says so.
func protocol(rep reply) bool {
	e := rep.status("").Enhanced
	return e == [3]int{} || e[1] == 5
}

// disorder gives a session up whose next hop loses its way over an extension
// that it offers. The next connection to it does without.
func (t *transaction) disorder(verb, keyword string, rep reply) error {
	t.s.distrust(keyword)
	t.s.close()
	return again(t.s.fault(soft(verb+", with "+keyword+" as offered: ", rep.status(t.s.remote))))
}

// stripDSN tells whether a RCPT was refused for its parameters (RFC 3461), and
// then leaves the recipient for a transaction without DSN.
func (t *transaction) stripDSN(i int, rep reply) bool {
	if !t.dsn || rep.code != 501 && rep.code != 504 && rep.code != 555 || rep.status("").Enhanced[1] == 1 {
		return false
	}
	r := t.job.Recipients[i]
	if notify(r.Notify) == "" && r.Original == "" {
		return false
	}
	delete(t.s.ext, "DSN")
	return true
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

// byData sends the message with DATA.
func (t *transaction) byData() error {
	w := t.s.wire
	if err := t.envelope(func() error { return w.put("DATA") }); err != nil || t.s.gone {
		return err
	}
	if !t.pipelining() {
		if len(t.accepted) == 0 {
			return nil
		}
		err := w.put("DATA")
		if err == nil {
			err = w.flush()
		}
		if err != nil {
			return t.s.broken("DATA", err)
		}
	}
	rep, err := w.read(w.limit.Command)
	switch {
	case err != nil:
		return t.s.broken("DATA", err)
	case rep.code == 421:
		return t.left("DATA", rep)
	case len(t.accepted) == 0 && rep.code == 354:
		// RFC 2920 section 3.1: nobody is there to receive anything, and a
		// single dot is the way out.
		if rep, err = w.ask("."); err != nil {
			return t.s.broken("empty DATA", err)
		}
		t.s.dirty = !rep.is(2)
		return nil
	case len(t.accepted) == 0:
		return nil
	case rep.code == 354:
		return t.body()
	case t.pipelining() && sequence(rep):
		return t.disorder("DATA", "PIPELINING", rep)
	}
	t.decideAccepted(t.refusal(rep))
	return nil
}

// body sends the message after 354.
func (t *transaction) body() error {
	w, err := t.s.wire, error(nil)
	if t.converted() {
		err = w.sendMessage(t.seven)
	} else {
		err = w.sendBody(t.job.Body, t.job.Body.Size())
	}
	switch {
	case err == nil:
		return t.verdicts()
	case isOwn(err):
		return t.own(err)
	}
	return t.early(err)
}

// own ends a transaction whose message cannot be read.
func (t *transaction) own(err error) error {
	t.s.close()
	t.decideAccepted(transient(3, 0, clean(err.Error(), maxText)))
	return err
}

// byChunk sends the message with BDAT, along with the envelope if the next hop
// pipelines. With LMTP it comes after it: how many replies there are to a
// message without recipients is not clear.
func (t *transaction) byChunk() error {
	w := t.s.wire
	chunk := func() error { return w.putChunk(t.job.Body, t.job.Body.Size()) }
	together := t.pipelining() && !t.s.route.LMTP
	tail := chunk
	if !together {
		tail = func() error { return nil }
	}
	if err := t.envelope(tail); isOwn(err) {
		return t.own(err)
	} else if err != nil || t.s.gone {
		return err
	}
	switch {
	case !together && len(t.accepted) == 0:
		return nil
	case !together:
		if err := chunk(); err != nil {
			return t.own(err)
		}
		if err := w.flush(); err != nil {
			return t.early(err)
		}
	case len(t.accepted) == 0:
		// The next hop has nobody to give it to, and says so.
		rep, err := w.read(w.limit.Command)
		if err != nil {
			return t.s.broken("BDAT", err)
		}
		t.s.gone, t.s.dirty = rep.code == 421, !rep.is(2)
		return nil
	}
	return t.verdicts()
}

// unknown tells whether a reply says that BDAT is not known, or not in this
// place.
func unknown(rep reply) bool {
	switch rep.code {
	case 500, 501, 502, 503, 504:
		return protocol(rep)
	}
	return false
}

// verdicts takes what the next hop says of the whole message: once, or with
// LMTP for each recipient it accepted, in order (RFC 2033 section 4.2).
func (t *transaction) verdicts() error {
	w := t.s.wire
	if !t.s.route.LMTP {
		return t.verdict(t.accepted, w.limit.End)
	}
	for n := range t.accepted {
		if err := t.verdict(t.accepted[n:n+1], w.limit.End); err != nil {
			// The fault is that of all who have no word yet.
			t.lost(t.accepted[n:], err)
			return err
		}
	}
	return nil
}

// verdict takes one reply to the end of the message, for some recipients.
func (t *transaction) verdict(about []int, within time.Duration) error {
	rep, err := t.s.wire.read(within)
	if err != nil {
		// It may have the message: another host must not get it now, but
		// nobody has said that it was delivered.
		err = t.s.broken("after the end of the message, which may have been delivered", err)
		t.lost(about, err)
		return err
	}
	if t.chunked() && unknown(rep) {
		return t.disorder("BDAT", "CHUNKING", rep)
	}
	if t.s.exhausted(rep) {
		return t.s.fault(soft("message refused: ", rep.status(t.s.remote)))
	}
	t.s.dirty = false
	t.s.done++
	status := rep.status(t.s.remote)
	if rep.is(2) {
		t.silent = t.silent || !t.dsn
		t.untimed = t.untimed || !t.s.offers("DELIVERBY")
		t.said(status)
	} else {
		// Even 421 is about this message now, but the session is over with it.
		t.s.gone = t.s.gone || rep.code == 421
		status = t.refusal(rep)
	}
	for _, i := range about {
		t.decide(i, status)
	}
	return nil
}

// lost gives recipients the status of a fault.
func (t *transaction) lost(about []int, err error) {
	if f := (*fault)(nil); errors.As(err, &f) {
		for _, i := range about {
			t.decide(i, f.status)
		}
	}
}

// early is called when the next hop stopped taking what is sent. A refusal that
// it may have sent before it did so counts; without one the connection is broken.
func (t *transaction) early(cause error) error {
	const patience = time.Second
	// Whatever it says, the end of data must never be sent on this connection.
	defer t.s.close()
	if len(t.accepted) == 0 {
		// Everybody is decided, or to be asked for again.
		t.s.gone = true
		return nil
	}
	rep, err := t.s.wire.read(patience)
	if err == nil && (rep.is(4) || rep.is(5)) && rep.code != 421 {
		t.s.gone = true
		t.decideAccepted(t.refusal(rep))
		return nil
	}
	return t.s.broken("sending the message", cause)
}
