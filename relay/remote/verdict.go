package remote

import (
	"errors"
	"time"
)

// verdicts takes what the next hop says of the whole message: once, or with
// LMTP for each recipient it accepted, in order (RFC 2033 section 4.2).
func (t *transaction) verdicts() error {
	w := t.s.wire
	if !t.s.route.LMTP {
		return t.verdict(t.accepted, w.limit.End)
	}
	for n := range t.accepted {
		err := t.verdict(t.accepted[n:n+1], w.limit.End)
		if isAgain(err) {
			return err // it has not read the message
		}
		if err != nil {
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
	first := t.s.dirty // no other recipient has had an answer
	if first && t.chunked() && unknown(rep) {
		return t.disorder("BDAT", "CHUNKING", rep)
	}
	if !t.s.route.LMTP && t.s.exhausted(rep) {
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
