package spooltest

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"restante/internal/mail"
	"restante/spool"
)

func (w *world) createBoth(account, name string) error {
	use := pick(w, []spool.Use{spool.UseNone, spool.UseSent, spool.UseTrash})
	_, em := w.model.CreateMailbox(account, name, use)
	_, eo := w.other.CreateMailbox(account, name, use)
	w.note("  %s %q", account, name)
	if err := w.alike(em, eo); err != nil {
		return err
	}
	return w.pairBoxes(account)
}

func (w *world) create() error {
	return w.createBoth(pick(w, accounts()), pick(w, mailboxNames()))
}

// rename compares only whether it was done: which of several reasons against
// it is named is not promised.
func (w *world) rename() error {
	account, from, to := pick(w, accounts()), pick(w, mailboxNames()), pick(w, mailboxNames())
	em := w.model.RenameMailbox(account, from, to)
	eo := w.other.RenameMailbox(account, from, to)
	w.note("  %s %q to %q: %v", account, from, to, em)
	if (em == nil) != (eo == nil) {
		return fmt.Errorf("the model's error is %v, the engine's %v", em, eo)
	}
	return w.pairAll()
}

func (w *world) delete() error {
	account, name := pick(w, accounts()), pick(w, mailboxNames())
	w.note("  %s %q", account, name)
	return w.alike(w.model.DeleteMailbox(account, name), w.other.DeleteMailbox(account, name))
}

func (w *world) deleteAccount() error {
	account := pick(w, accounts())
	if w.often(70) {
		return nil // else no mailbox would ever fill
	}
	if err := w.alike(w.model.DeleteAccount(account), w.other.DeleteAccount(account)); err != nil {
		return err
	}
	return w.createBoth(account, spool.Inbox)
}

func (w *world) subscribe() error {
	account, name, on := pick(w, accounts()), pick(w, mailboxNames()), w.often(60)
	return w.alike(w.model.Subscribe(account, name, on), w.other.Subscribe(account, name, on))
}

// pairAll pairs what is new in all mailboxes.
func (w *world) pairAll() error {
	for _, account := range accounts() {
		if err := w.pairBoxes(account); err != nil {
			return err
		}
		list, err := w.model.ListMailboxes(account)
		if err != nil {
			return err
		}
		for _, b := range list {
			if err := w.pairEntries(b.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// pairBoxes pairs the mailboxes of an account by their names.
func (w *world) pairBoxes(account string) error {
	model, err := w.model.ListMailboxes(account)
	if err != nil {
		return err
	}
	other, err := w.other.ListMailboxes(account)
	if err != nil {
		return err
	}
	if len(model) != len(other) {
		return fmt.Errorf("mailboxes of %s: %+v, of the engine %+v", account, model, other)
	}
	for i, m := range model {
		o := other[i]
		if m.Name != o.Name || m.Use != o.Use || o.Account != account {
			return fmt.Errorf("mailbox %+v is to the engine %+v", m, o)
		}
		if known, ok := w.boxes[m.ID]; ok && known != o.ID {
			return fmt.Errorf("mailbox %+v had ID %d in the engine, now %d", m, known, o.ID)
		}
		if w.uids[m.ID] == nil {
			w.uids[m.ID] = make(map[spool.UID]spool.UID)
		}
		w.boxes[m.ID] = o.ID
	}
	return nil
}

// gather collects a sequence.
func gather[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var list []T
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (w *world) bothEntries(id spool.MailboxID) (model, other []spool.Entry, err error) {
	if model, err = gather(w.model.Entries(id, 0, 0)); err != nil {
		return nil, nil, err
	}
	if other, err = gather(w.other.Entries(w.boxes[id], 0, 0)); err != nil {
		return nil, nil, err
	}
	if len(model) != len(other) {
		return nil, nil, fmt.Errorf("mailbox %d has %d entries, in the engine %d", id, len(model), len(other))
	}
	return model, other, nil
}

// pairEntries pairs the UIDs of a mailbox by their order. A UID that was given
// before must stay with its partner for ever.
func (w *world) pairEntries(id spool.MailboxID) error {
	model, other, err := w.bothEntries(id)
	if err != nil {
		return err
	}
	for i, m := range model {
		if known, ok := w.uids[id][m.UID]; ok && known != other[i].UID {
			return fmt.Errorf("mailbox %d: UID %d was %d in the engine and is %d", id, m.UID, known, other[i].UID)
		}
		w.uids[id][m.UID] = other[i].UID
	}
	return nil
}

func (w *world) sameUIDs(id spool.MailboxID, model, other []spool.UID) error {
	want := make([]spool.UID, 0, len(model))
	for _, uid := range model {
		want = append(want, w.uids[id][uid])
	}
	if !slices.Equal(want, other) {
		return fmt.Errorf("UIDs %v, which are the engine's %v, are told by it as %v", model, want, other)
	}
	return nil
}

func (w *world) sameEntry(id spool.MailboxID, m, o spool.Entry) error {
	slices.Sort(m.Flags.Keywords)
	slices.Sort(o.Flags.Keywords)
	if w.uids[id][m.UID] != o.UID || w.messages[m.Message] != o.Message || showFlags(m.Flags) != showFlags(o.Flags) ||
		!m.InternalDate.Equal(o.InternalDate) || !m.Saved.Equal(o.Saved) ||
		string(m.Prefix) != string(o.Prefix) || m.Size != o.Size {
		return fmt.Errorf("entry %+v\nis to the engine %+v", m, o)
	}
	return nil
}

// state compares all there is.
func (w *world) state() error {
	if err := w.pairAll(); err != nil {
		return err
	}
	for _, account := range accounts() {
		if err := w.sameAccount(account); err != nil {
			return err
		}
	}
	if err := w.sameQueue(); err != nil {
		return err
	}
	return w.sameMessages()
}

func (w *world) sameAccount(account string) error {
	model, err := w.model.ListMailboxes(account)
	if err != nil {
		return err
	}
	for _, m := range model {
		if err := w.sameBox(m); err != nil {
			return fmt.Errorf("mailbox %s %q: %w", account, m.Name, err)
		}
	}
	sm, em := w.model.Subscriptions(account)
	so, eo := w.other.Subscriptions(account)
	slices.Sort(sm)
	slices.Sort(so)
	if em != nil || eo != nil || !slices.Equal(sm, so) {
		return fmt.Errorf("subscriptions %v, %v, of the engine %v, %v", sm, em, so, eo)
	}
	return nil
}

func (w *world) sameBox(m spool.Mailbox) error {
	model, other, err := w.bothEntries(m.ID)
	if err != nil {
		return err
	}
	o, err := w.other.MailboxByID(w.boxes[m.ID])
	if err != nil {
		return err
	}
	if byName, err := w.other.Mailbox(m.Account, m.Name); err != nil || byName != o {
		return fmt.Errorf("by name it is %+v, %w, by ID %+v", byName, err, o)
	}
	view, err := w.other.Overview(o.ID)
	if err != nil {
		return err
	}
	for _, fault := range append(auditMailbox(o, other), auditOverview(view, o, other)...) {
		return fmt.Errorf("the engine's row %+v: %s", o, fault)
	}
	if m.Messages != o.Messages || m.Unseen != o.Unseen || m.Deleted != o.Deleted || m.Size != o.Size {
		return fmt.Errorf("row %+v is to the engine %+v", m, o)
	}
	for i := range model {
		if err := w.sameEntry(m.ID, model[i], other[i]); err != nil {
			return err
		}
	}
	points := append(w.points[m.ID], point{m.ModSeq, o.ModSeq})
	w.points[m.ID] = points[max(0, len(points)-8):]
	return nil
}

func (w *world) sameQueue() error {
	tm, em := gather(w.model.Tasks(spool.TaskID{}))
	to, eo := gather(w.other.Tasks(spool.TaskID{}))
	if em != nil || eo != nil || len(tm) != len(to) {
		return fmt.Errorf("%d tasks, %v, of the engine %d, %v", len(tm), em, len(to), eo)
	}
	byID := make(map[spool.TaskID]spool.TaskInfo)
	for i, o := range to {
		if i > 0 && compareTaskIDs(to[i-1].ID, o.ID) >= 0 {
			return fmt.Errorf("the engine lists task %s before %s", to[i-1].ID, o.ID)
		}
		byID[o.ID] = o
	}
	for _, m := range tm {
		if err := w.sameTask(m, byID[w.tasks[m.ID]]); err != nil {
			return err
		}
	}
	if err := errors.Join(auditCounts(w.model), auditCounts(w.other)); err != nil {
		return err
	}
	dm, em := gather(w.model.Destinations())
	do, eo := gather(w.other.Destinations())
	if em != nil || eo != nil || len(dm) != len(do) {
		return fmt.Errorf("destinations %+v, %v, of the engine %+v, %v", dm, em, do, eo)
	}
	for _, m := range dm {
		i := slices.IndexFunc(do, func(o spool.DestinationInfo) bool { return o.Destination == m.Destination })
		if i < 0 {
			return fmt.Errorf("the engine lacks destination %+v", m)
		}
		if err := sameDestination(m, do[i]); err != nil {
			return err
		}
	}
	return nil
}

// sameMessages compares the messages that live, and forgets those that have
// ended on both sides but for a few.
func (w *world) sameMessages() error {
	var keep []mail.ID
	w.idle()
	for _, id := range w.history {
		im, em := w.model.Stat(id)
		io, eo := w.other.Stat(w.messages[id])
		if kind(em) != kind(eo) || im.References != io.References {
			return fmt.Errorf("message %s has %d references, %v, in the engine %d, %v", id, im.References, em, io.References, eo)
		}
		if em == nil || w.often(50) {
			keep = append(keep, id)
		}
	}
	w.history = keep
	return nil
}
