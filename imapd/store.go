package imapd

import (
	"fmt"
	"slices"

	"restante/imapd/wire"
	"restante/spool"
)

// storeBatch is how many messages are flagged at a time.
const storeBatch = 10_000

var errReadOnly = no(codeReadOnly, "Mailbox was opened read-only")

// storing is what a STORE asks for.
type storing struct {
	op     spool.FlagOp
	silent bool
	flags  spool.Flags
	// unchangedSince leaves alone what has changed since; conditional tells that
	// it was given.
	unchangedSince spool.ModSeq
	conditional    bool
}

// parseStore reads STORE.
func (s *session) parseStore(d *wire.Decoder, c call) action {
	d.Space()
	set := d.Set()
	d.Space()
	q := storing{unchangedSince: spool.ModSeqUnbounded}
	if d.TryList(func() {
		if word := d.Word(); d.Err() == nil && word != "UNCHANGEDSINCE" {
			d.Fail("Unknown modifier of STORE")
		}
		d.Space()
		q.unchangedSince, q.conditional = spool.ModSeq(d.Number64()), true
	}) {
		d.Space()
	}
	switch word := d.Word(); word {
	case "FLAGS", "FLAGS.SILENT":
		q.op, q.silent = spool.FlagSet, word != "FLAGS"
	case "+FLAGS", "+FLAGS.SILENT":
		q.op, q.silent = spool.FlagAdd, word != "+FLAGS"
	case "-FLAGS", "-FLAGS.SILENT":
		q.op, q.silent = spool.FlagRemove, word != "-FLAGS"
	default:
		d.Fail("Unknown item of STORE")
	}
	d.Space()
	list := storeFlags(d)
	return func() error {
		var err error
		if q.flags, err = parseFlags(list); err != nil {
			return err
		}
		if q.conditional {
			s.enable(condstore)
		}
		return s.storeFlags(set, c.uid, &q)
	}
}

// storeFlags changes flags.
func (s *session) storeFlags(set wire.Set, byUID bool, q *storing) error {
	uids, err := s.resolve(set, byUID)
	if err != nil {
		return err
	}
	if s.box.readOnly {
		return errReadOnly
	}
	if err := s.box.allow(q); err != nil {
		return err
	}
	q.flags.Keywords = s.box.spelled(q.flags.Keywords)
	uids = s.limited(uids)
	done := 0
	var modified []spool.UID
	for batch := range slices.Chunk(uids, storeBatch) {
		out, err := s.flag(batch, q)
		if err != nil {
			return s.failure("store", err)
		}
		done += len(out.Changed) + len(out.Modified)
		modified = append(modified, out.Modified...)
		s.stored(&out, q, byUID)
	}
	if len(modified) > 0 {
		return s.modified(modified, byUID)
	}
	return some(byUID, len(uids), done)
}

// modified is the reply to a conditional STORE that left messages alone.
func (s *session) modified(uids []spool.UID, byUID bool) error {
	set := numberSet(uids)
	if !byUID {
		var seqs []uint32
		for _, uid := range uids {
			if seq, ok := s.box.view.Seq(uid); ok {
				seqs = append(seqs, seq)
			}
		}
		set = numberSet(seqs)
	}
	e := ok(fmt.Sprintf("MODIFIED %s", set))
	return e
}

// stored tells the client of flags that it has set.
func (s *session) stored(out *spool.Flagging, q *storing, byUID bool) {
	for _, e := range out.Changed {
		s.box.note(e.Flags)
	}
	s.tellKeywords()
	for i, e := range out.Changed {
		if q.silent && !s.box.view.Knows(e.UID, out.Before[i]) {
			// Of what others have changed meanwhile the client must be told, even
			// with .SILENT (RFC 9051 section 6.4.6): the next poll does.
			continue
		}
		s.box.view.Own([]spool.Entry{e})
		if q.silent && !s.has(condstore) {
			continue
		}
		seq, _ := s.box.view.Seq(e.UID)
		s.beginFetch(seq, e.UID)
		if !s.has(uidonly) && (byUID || s.has(qresync)) {
			s.out.Raw("UID ").Number32(uint32(e.UID)).Raw(" ")
		}
		switch {
		case q.silent: // RFC 7162 section 3.1.3
			s.out.Raw("MODSEQ (").Number(uint64(e.ModSeq)).Raw(")")
		case s.has(condstore):
			s.writeFlags(s.out.Raw("FLAGS "), &e).Raw(" MODSEQ (").Number(uint64(e.ModSeq)).Raw(")")
		default:
			s.writeFlags(s.out.Raw("FLAGS "), &e)
		}
		s.out.Raw(")").CRLF()
	}
}

// parseCopy reads COPY and MOVE.
func (s *session) parseCopy(d *wire.Decoder, c call) action {
	d.Space()
	set := d.Set()
	d.Space()
	dest := d.Mailbox(s.rawNames())
	return func() error {
		uids, err := s.resolve(set, c.uid)
		if err != nil {
			return err
		}
		if c.verb == "MOVE" {
			return s.move(uids, c.uid, dest)
		}
		if s.tooMany(len(uids)) {
			return no(s.codeMessageLimit(0), "Too many messages to copy at once")
		}
		copied, err := s.transfer("copy", uids, c.uid, dest, s.srv.opt.Mailboxes.Copy)
		if err != nil || len(copied.Source) == 0 {
			return err
		}
		return ok(copyUID(copied))
	}
}

func (s *session) move(uids []spool.UID, byUID bool, dest string) error {
	if err := s.mayExpunge(); err != nil {
		return err
	}
	uids = s.limited(uids)
	moved, err := s.transfer("move", uids, byUID, dest, s.srv.opt.Mailboxes.Move)
	if err != nil || len(moved.Source) == 0 {
		return err
	}
	s.out.Raw("* OK [").Raw(copyUID(moved)).Raw("] Moved").CRLF()
	s.tellGone(s.box.view.Remove(moved.Source))
	return s.highest()
}

// highest is the reply to a command that has expunged (RFC 7162 section 3.2.7).
// What others have done up to there is told before.
func (s *session) highest() error {
	if !s.has(qresync) {
		return nil
	}
	s.poll(true)
	return ok("HIGHESTMODSEQ " + number(int64(s.box.view.Told())))
}

type transfer func(from spool.MailboxID, uids []spool.UID, to spool.MailboxID, lost spool.FlagMask) (spool.Copied, error)

// transfer copies or moves. Flags that the client may not set there are lost (RFC
// 4314 section 4).
func (s *session) transfer(op string, uids []spool.UID, byUID bool, dest string, f transfer) (spool.Copied, error) {
	p, err := s.mailbox(dest, rightInsert)
	row := p.row
	if err == nil && (op == "copy" || s.box.owner != row.Account) {
		err = s.roomFor(row.Account, uids)
	}
	if err != nil {
		return spool.Copied{}, s.tryCreate(op, dest, err)
	}
	copied, err := patiently(s, func() (spool.Copied, error) { return f(s.box.view.Mailbox(), uids, row.ID, p.rights.fixed()) })
	if err != nil {
		return spool.Copied{}, s.tryCreate(op, dest, err)
	}
	s.moved(row.ID, copied.Target)
	if len(copied.Source) == 0 {
		return copied, noneLeft(byUID, len(uids))
	}
	return copied, nil
}

func copyUID(c spool.Copied) string {
	return fmt.Sprintf("COPYUID %d %s %s", c.UIDValidity, numberSet(c.Source), numberSet(c.Target))
}

// parseExpunge reads EXPUNGE and UID EXPUNGE.
func (s *session) parseExpunge(d *wire.Decoder, c call) action {
	var set wire.Set
	if c.uid {
		d.Space()
		set = d.Set()
	}
	return func() error {
		if s.box.readOnly {
			return errReadOnly
		}
		if !s.box.rights.has(rightExpunge) {
			return errNoPerm
		}
		var uids []spool.UID
		if c.uid {
			var err error
			if uids, err = s.resolve(set, true); err != nil || len(uids) == 0 {
				return err
			}
			uids = s.limited(uids)
		}
		gone, err := patiently(s, func() ([]spool.UID, error) {
			return s.srv.opt.Mailboxes.Expunge(s.box.view.Mailbox(), uids, s.did(spool.EventExpunged, s.box))
		})
		if err != nil {
			return s.failure("expunge", err)
		}
		s.tellGone(s.box.view.Remove(gone))
		return s.highest()
	}
}
