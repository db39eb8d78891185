package spooltest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"restante/internal/mail"
	"restante/spool"
)

// stagedPair is the same body on its way into both.
type stagedPair struct{ model, other spool.Staged }

func (p stagedPair) abort() {
	p.model.Abort()
	p.other.Abort()
}

func (w *world) stage() (p stagedPair, err error) {
	if p.model, err = w.model.Create(); err != nil {
		return p, err
	}
	if p.other, err = w.other.Create(); err != nil {
		return p, err
	}
	n := w.rng.IntN(400)
	if w.often(3) {
		n = w.rng.IntN(300_000)
	}
	body := noise(n, uint64(w.step))
	_, err = io.MultiWriter(p.model, p.other).Write(body)
	return p, err
}

// someMessage has at least one deposit or task, and one deposit in ten goes
// to a mailbox that may be missing.
func (w *world) someMessage() spool.Message {
	m := spool.Message{Envelope: mail.Envelope{
		From:     mail.Address{Local: pick(w, []string{"r", "s", "t"}), Domain: "example.org"},
		EnvID:    fmt.Sprintf("step %d", w.step),
		Priority: w.rng.IntN(3) - 1,
	}}
	if w.often(50) {
		m.Structure = fmt.Appendf(nil, "structure %d", w.step)
	}
	for w.often(60) {
		d := spool.Deposit{Account: pick(w, accounts()), Flags: w.someFlags()}
		if w.often(10) {
			d.Mailbox = pick(w, mailboxNames())
		} else if list, err := w.model.ListMailboxes(d.Account); err == nil && len(list) > 0 && w.often(70) {
			d.Mailbox = pick(w, list).Name
		}
		if w.often(50) {
			d.Prefix = fmt.Appendf(nil, "Prefix: %d\r\n", w.step)
			d.InternalDate = w.clock.Now().Add(-w.someDuration())
		}
		m.Deposits = append(m.Deposits, d)
	}
	for w.often(40) || len(m.Deposits)+len(m.Tasks) == 0 {
		m.Tasks = append(m.Tasks, w.someTask())
	}
	return m
}

func (w *world) commit() error {
	p, err := w.stage()
	if err != nil {
		return err
	}
	defer p.abort()
	m := w.someMessage()
	rm, em := p.model.Commit(context.Background(), m)
	ro, eo := p.other.Commit(context.Background(), m)
	w.note("  %s: %d deposits, %d tasks", p.model.ID(), len(m.Deposits), len(m.Tasks))
	if err := w.alike(em, eo); err != nil || em != nil {
		return err
	}
	if ro.ID != p.other.ID() || len(ro.Tasks) != len(rm.Tasks) || len(ro.Deposited) != len(rm.Deposited) {
		return fmt.Errorf("receipt %+v is from the engine %+v", rm, ro)
	}
	w.pairMessage(rm.ID, ro.ID)
	for i, id := range rm.Tasks {
		w.tasks[id] = ro.Tasks[i]
	}
	if err := w.pairAll(); err != nil {
		return err
	}
	for i, d := range rm.Deposited {
		o := ro.Deposited[i]
		if w.boxes[d.Mailbox] != o.Mailbox || w.uids[d.Mailbox][d.UID] != o.UID {
			return fmt.Errorf("deposit %+v went in the engine to %+v", d, o)
		}
	}
	return nil
}

func (w *world) pairMessage(model, other mail.ID) {
	w.messages[model] = other
	w.history = append(w.history, model)
}

// body compares a message that may have ended.
func (w *world) body() error {
	if len(w.history) == 0 {
		return nil
	}
	id := pick(w, w.history)
	return w.sameMessage(id)
}

func (w *world) sameMessage(id mail.ID) error {
	w.idle()
	im, em := w.model.Stat(id)
	io, eo := w.other.Stat(w.messages[id])
	if err := w.alike(em, eo); err != nil || em != nil {
		return err
	}
	if io.ID != w.messages[id] || !sameEnvelope(io.Envelope, im.Envelope) || io.Size != im.Size ||
		io.Hash != im.Hash || io.References != im.References {
		return fmt.Errorf("message %+v is to the engine %+v", im, io)
	}
	sm, em := w.model.Structure(id)
	so, eo := w.other.Structure(w.messages[id])
	if err := w.alike(em, eo); err != nil {
		return err
	}
	if !bytes.Equal(sm, so) || (sm == nil) != (so == nil) {
		return fmt.Errorf("structure %q is to the engine %q", sm, so)
	}
	return w.sameBody(id)
}

func (w *world) sameBody(id mail.ID) error {
	bm, err := w.model.OpenBody(id)
	if err != nil {
		return err
	}
	defer bm.Close()
	bo, err := w.other.OpenBody(w.messages[id])
	if err != nil {
		return err
	}
	defer bo.Close()
	want, err := io.ReadAll(io.NewSectionReader(bm, 0, bm.Size()))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.NewSectionReader(bo, 0, bo.Size()))
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("body of %d octets is read as %d, or others; error %w", len(want), len(got), err)
	}
	return nil
}

func (w *world) someFlags() spool.Flags {
	some, fewer := w.rng.IntN(32), w.rng.IntN(32)
	f := spool.Flags{System: spool.SystemFlags(some & fewer)}
	for w.often(35) {
		f.Keywords = append(f.Keywords, pick(w, []string{"alpha", "Alpha", "beta", "BETA", "$Junk", "$junk"}))
	}
	return f
}

// someBox returns a mailbox of the model.
func (w *world) someBox() spool.Mailbox {
	for {
		list, err := w.model.ListMailboxes(pick(w, accounts()))
		if err == nil && len(list) > 0 {
			return pick(w, list)
		}
	}
}

// someUIDs returns UIDs of a mailbox on both sides, ascending, at times with
// one that is not there.
func (w *world) someUIDs(b spool.Mailbox) (model, other []spool.UID) {
	share := pick(w, []int{5, 30, 100})
	for e, err := range w.model.Entries(b.ID, 0, 0) {
		if err == nil && w.often(share) {
			model = append(model, e.UID)
			other = append(other, w.uids[b.ID][e.UID])
		}
	}
	if w.often(10) {
		const never = 1 << 31
		model, other = append(model, never), append(other, never)
	}
	return model, other
}

// somePoint returns a modseq that both mailboxes had at the same time.
func (w *world) somePoint(b spool.Mailbox) point {
	if list := w.points[b.ID]; len(list) > 0 && w.often(90) {
		return pick(w, list)
	}
	return point{}
}

func (w *world) flag() error {
	b := w.someBox()
	um, uo := w.someUIDs(b)
	op, f := pick(w, []spool.FlagOp{spool.FlagSet, spool.FlagAdd, spool.FlagRemove}), w.someFlags()
	p := point{spool.ModSeqUnbounded, spool.ModSeqUnbounded}
	if w.often(40) {
		p = w.somePoint(b)
	}
	w.note("  %q %v op %d %s unchanged since %d", b.Name, um, op, showFlags(f), p.model)
	fm, em := w.model.Flag(b.ID, um, op, f, p.model)
	fo, eo := w.other.Flag(w.boxes[b.ID], uo, op, f, p.other)
	if err := w.alike(em, eo); err != nil {
		return err
	}
	if len(fm.Changed) != len(fo.Changed) {
		return fmt.Errorf("%d entries are changed, by the engine %d", len(fm.Changed), len(fo.Changed))
	}
	for i := range fm.Changed {
		if err := w.sameEntry(b.ID, fm.Changed[i], fo.Changed[i]); err != nil {
			return err
		}
	}
	return w.sameUIDs(b.ID, fm.Modified, fo.Modified)
}

func (w *world) expunge() error {
	b := w.someBox()
	um, uo := w.someUIDs(b)
	if w.often(30) {
		um, uo = nil, nil
	}
	if um == nil && w.often(50) {
		um, uo = []spool.UID{}, []spool.UID{}
	}
	rm, em := w.model.Expunge(b.ID, um)
	ro, eo := w.other.Expunge(w.boxes[b.ID], uo)
	w.note("  %q: %v of %v", b.Name, rm, um)
	if err := w.alike(em, eo); err != nil {
		return err
	}
	return w.sameUIDs(b.ID, rm, ro)
}

// empty takes everything out of the fullest mailbox, so that long runs do not
// drown in mail.
func (w *world) empty() error {
	var full spool.Mailbox
	for range 10 {
		if b := w.someBox(); b.Messages >= full.Messages {
			full = b
		}
	}
	w.note("  %q", full.Name)
	var um, uo []spool.UID
	for e, err := range w.model.Entries(full.ID, 0, 0) {
		if err != nil {
			return err
		}
		um, uo = append(um, e.UID), append(uo, w.uids[full.ID][e.UID])
	}
	_, em := w.model.Flag(full.ID, um, spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	_, eo := w.other.Flag(w.boxes[full.ID], uo, spool.FlagAdd, flags(spool.Deleted), spool.ModSeqUnbounded)
	if err := w.alike(em, eo); err != nil {
		return err
	}
	rm, em := w.model.Expunge(full.ID, nil)
	ro, eo := w.other.Expunge(w.boxes[full.ID], nil)
	if err := w.alike(em, eo); err != nil {
		return err
	}
	return w.sameUIDs(full.ID, rm, ro)
}

func (w *world) transfer(move bool) error {
	from, to := w.someBox(), w.someBox()
	um, uo := w.someUIDs(from)
	if !move && len(um) > 5 {
		um, uo = um[:5], uo[:5]
	}
	var lost spool.FlagMask
	if w.often(20) {
		lost = spool.FlagMask{System: spool.SystemFlags(w.rng.IntN(32)), Keywords: w.often(50)}
	}
	var cm, co spool.Copied
	var em, eo error
	if move {
		cm, em = w.model.Move(from.ID, um, to.ID, lost)
		co, eo = w.other.Move(w.boxes[from.ID], uo, w.boxes[to.ID], lost)
	} else {
		cm, em = w.model.Copy(from.ID, um, to.ID, lost)
		co, eo = w.other.Copy(w.boxes[from.ID], uo, w.boxes[to.ID], lost)
	}
	w.note("  %v of %d %q to %d %q without %+v", cm.Source, from.ID, from.Name, to.ID, to.Name, lost)
	if err := w.alike(em, eo); err != nil {
		return err
	}
	if err := w.sameUIDs(from.ID, cm.Source, co.Source); err != nil {
		return err
	}
	if err := w.pairEntries(to.ID); err != nil {
		return err
	}
	return w.sameUIDs(to.ID, cm.Target, co.Target)
}

// changes compares what happened in a mailbox since a common point.
func (w *world) changes() error {
	b := w.someBox()
	p := w.somePoint(b)
	cm, _, em := w.model.Changes(b.ID, p.model)
	co, upTo, eo := w.other.Changes(w.boxes[b.ID], p.other)
	w.note("  %q since %d: %v", b.Name, p.model, cm)
	if err := w.alike(em, eo); err != nil {
		return err
	}
	for _, fault := range auditChanges(co, p.other, upTo) {
		return fmt.Errorf("%s: %v since %d up to %d", fault, co, p.other, upTo)
	}
	other := make(map[spool.UID]bool)
	for _, c := range co {
		other[c.UID] = c.Expunged
	}
	for _, c := range cm {
		expunged, ok := other[w.uids[b.ID][c.UID]]
		if !ok || expunged != c.Expunged {
			return fmt.Errorf("the engine lacks the change %+v; its UID is %d; it has %v", c, w.uids[b.ID][c.UID], co)
		}
	}
	if len(cm) != len(co) {
		return fmt.Errorf("%d changes, %d of the engine: %v", len(cm), len(co), slices.Clone(co))
	}
	return nil
}
