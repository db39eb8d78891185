package badger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"restante/spool"
)

// maxInlineTogether is how many octets of bodies may be records in one
// transaction, which has to fit into a memtable; more go to the segments.
const maxInlineTogether = 512 << 10

var errTogether = errors.New("spool: no messages, or too many, to be committed together")

// CommitAll makes several messages durable in one transaction.
func (e *Engine) CommitAll(ctx context.Context, list []spool.Staging, replaced spool.Place) ([]spool.Receipt, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.leave()
	if err := e.room(); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > spool.MaxTogether {
		return nil, errTogether
	}
	inline := 0
	all := make([]*commitment, 0, len(list))
	undo := func(err error) {
		for _, c := range all {
			c.undo(err)
		}
	}
	for _, one := range list {
		s, ours := one.Staged.(*staged)
		if !ours || s.e != e {
			undo(errTogether)
			return nil, fmt.Errorf("spool: a message of another spool: %w", errTogether)
		}
		if inline += len(s.buf) + len(one.Message.Head); inline > maxInlineTogether {
			s.apart = true
		}
		c, err := s.prepare(one.Message)
		if err != nil {
			undo(err)
			return nil, err
		}
		c.once = true
		all = append(all, c)
	}
	done := e.submit(func(t *tx) error {
		for _, c := range all {
			if err := c.run(t); err != nil {
				return err
			}
		}
		return t.replace(replaced, e.opt.Now())
	}, func() {
		for _, c := range all {
			c.after()
		}
		if replaced != (spool.Place{}) {
			e.watch.notify([]spool.MailboxID{replaced.Mailbox})
		}
	})
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		// The operation goes on; if it succeeds the messages are there.
		go func() {
			if err := <-done; err != nil {
				undo(err)
			}
		}()
		return nil, fmt.Errorf("%w: %w", spool.ErrUncertain, context.Cause(ctx))
	}
	if err != nil {
		undo(err)
		return nil, fmt.Errorf("spool: commit: %w", err)
	}
	receipts := make([]spool.Receipt, len(all))
	for i, c := range all {
		receipts[i] = c.receipt
	}
	return receipts, nil
}

// replace removes the entry that new ones stand for, if there is one.
func (t *tx) replace(p spool.Place, now time.Time) error {
	if p == (spool.Place{}) {
		return nil
	}
	gone, err := t.remove(p.Mailbox, []spool.UID{p.UID}, false, now)
	if err == nil && len(gone) == 0 {
		err = fmt.Errorf("mailbox %d, UID %d: %w", p.Mailbox, p.UID, spool.ErrNotFound)
	}
	return err
}
