package badger

import (
	"errors"
	"time"

	"restante/spool"
)

// Copy implements spool.Mailboxes. More than entryStep entries take several
// transactions; when one fails, what the earlier ones copied is taken back.
func (e *Engine) Copy(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask) (spool.Copied, error) {
	out, err := e.transfer(from, uids, to, lost, false)
	if err != nil && len(out.Target) > 0 {
		_, undo := e.remove(to, out.Target, false)
		err = errors.Join(err, undo)
	}
	return out, err
}

// Move implements spool.Mailboxes. More than entryStep entries take several
// transactions; each leaves every message in exactly one of the mailboxes, and
// when one fails, those before it have moved.
func (e *Engine) Move(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask) (spool.Copied, error) {
	return e.transfer(from, uids, to, lost, true)
}

func (e *Engine) transfer(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask, move bool) (out spool.Copied, err error) {
	if err := e.enter(); err != nil {
		return out, err
	}
	defer e.leave()
	target, err := e.MailboxByID(to)
	if err == nil {
		_, err = e.MailboxByID(from)
	}
	if err != nil {
		return out, err
	}
	out.UIDValidity = target.UIDValidity
	err = inSteps(uids, func(uids []spool.UID) error {
		var part spool.Copied
		err := e.do(func(t *tx) (err error) {
			part, err = t.transfer(from, uids, to, lost, move, e.opt.Now())
			return err
		}, func() {
			if len(part.Target) > 0 {
				e.watch.notify([]spool.MailboxID{to})
			}
			if len(part.Target) > 0 && move {
				e.watch.notify([]spool.MailboxID{from})
			}
		})
		if err == nil {
			out.Source = append(out.Source, part.Source...)
			out.Target = append(out.Target, part.Target...)
		}
		return err
	})
	return out, err
}

func (t *tx) transfer(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask, move bool, now time.Time) (out spool.Copied, err error) {
	if _, err := t.row(from); err != nil {
		return out, err
	}
	entries, err := t.present(from, uids)
	if err != nil || len(entries) == 0 {
		return out, err
	}
	m, err := t.row(to)
	if err != nil {
		return out, err
	}
	m.ModSeq++
	index := t.index(to)
	for _, n := range entries {
		out.Source = append(out.Source, n.UID)
		if err := t.ref(n.Message, 1); err != nil {
			return out, err
		}
		n.Flags = n.Flags.Without(lost)
		if err := t.addEntry(&m, index, &n, now); err != nil {
			return out, err
		}
		out.Target = append(out.Target, n.UID)
	}
	if err := errors.Join(index.flush(), t.setRow(&m)); err != nil || !move {
		return out, err
	}
	if m, err = t.row(from); err != nil { // again: it may be the same mailbox
		return out, err
	}
	m.ModSeq++
	index = t.index(from)
	for i := range entries {
		if err := t.removeEntry(&m, index, &entries[i], now); err != nil {
			return out, err
		}
	}
	return out, errors.Join(index.flush(), t.setRow(&m))
}
