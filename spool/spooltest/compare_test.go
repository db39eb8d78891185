package spooltest

import (
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func TestCompareMemory(t *testing.T) {
	Compare(t, openMemory, 0, 1)
	Compare(t, openMemory, 0, 0)
}

// crooked is an engine with one fault.
type crooked struct {
	spool.Store
	fault string
}

func (c crooked) Copy(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask) (spool.Copied, error) {
	out, err := c.Store.Copy(from, uids, to, lost)
	if c.fault == "copies lose their flags" {
		c.Flag(to, out.Target, spool.FlagSet, spool.Flags{}, spool.ModSeqUnbounded)
	}
	return out, err
}

func (c crooked) Flag(id spool.MailboxID, uids []spool.UID, op spool.FlagOp, f spool.Flags, since spool.ModSeq) (spool.Flagging, error) {
	if c.fault == "bound ignored" {
		since = spool.ModSeqUnbounded
	}
	return c.Store.Flag(id, uids, op, f, since)
}

func (c crooked) Changes(id spool.MailboxID, since spool.ModSeq) ([]spool.Change, spool.ModSeq, error) {
	changes, upTo, err := c.Store.Changes(id, since)
	if c.fault == "a change is lost" && len(changes) > 1 {
		changes = changes[1:]
	}
	return changes, upTo, err
}

func (c crooked) Lease(claim spool.Claim) ([]spool.Lease, time.Duration, error) {
	if c.fault == "leases are short" {
		claim.Lifetime /= 2
	}
	return c.Store.Lease(claim)
}

func (c crooked) Retry(id spool.TaskID, story ...spool.Event) error {
	if c.fault == "retry does nothing" {
		return nil
	}
	return c.Store.Retry(id, story...)
}

func (c crooked) Stat(id mail.ID) (spool.Info, error) {
	info, err := c.Store.Stat(id)
	if c.fault == "references miscounted" && info.References > 2 {
		info.References--
	}
	return info, err
}

// TestCompareFinds shows that a comparison fails when it should.
func TestCompareFinds(t *testing.T) {
	for _, fault := range []string{
		"", "copies lose their flags", "bound ignored", "a change is lost",
		"leases are short", "retry does nothing", "references miscounted",
	} {
		clock := NewClock()
		h := openMemory(t, clock.Now)
		w := newWorld(clock, Harness{
			Store:  crooked{h.Store, fault},
			Reopen: func(t *testing.T) spool.Store { return crooked{h.Reopen(t), fault} },
		}, 7)
		err := w.run(t, 1500)
		if (err == nil) != (fault == "") {
			t.Errorf("engine where %q: the comparison says %v", fault, err)
		}
	}
}
