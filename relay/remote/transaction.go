package remote

import "restante/internal/mail"

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
		return t.unreadable(err)
	}
	return t.early(err)
}

// unreadable ends a transaction whose message cannot be read.
func (t *transaction) unreadable(err error) error {
	t.s.close()
	t.decideAccepted(transient(3, 0, mail.Line(err.Error(), maxText)))
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
		return t.unreadable(err)
	} else if err != nil || t.s.gone {
		return err
	}
	switch {
	case !together && len(t.accepted) == 0:
		return nil
	case !together:
		if err := chunk(); err != nil {
			return t.unreadable(err)
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
		if rep.code != 503 && unknown(rep) {
			// It reads the message as commands now.
			t.s.distrust("CHUNKING")
			t.s.close()
			t.s.gone = true
		}
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
