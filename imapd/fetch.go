package imapd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/internal/structure"
	"restante/spool"
)

// resolve returns the messages that a command names.
func (s *session) resolve(set wire.Set, byUID bool) ([]spool.UID, error) {
	switch {
	case set.Saved:
		return s.box.view.Known(s.box.saved), nil
	case byUID:
		return s.box.view.ByUID(set.Ranges), nil
	}
	uids, err := s.box.view.BySeq(set.Ranges)
	if err != nil {
		return nil, s.failure("sequence set", err)
	}
	return uids, nil
}

// parseFetch reads FETCH.
func (s *session) parseFetch(d *wire.Decoder, c call) action {
	d.Space()
	set := d.Set()
	d.Space()
	q := parseItems(d)
	q.uid = q.uid || c.uid && !s.has(uidonly)
	if d.TrySpace() {
		lazy := false
		d.List(func() {
			word := d.Word()
			if lazy = word == "LAZY" && q.preview; !lazy {
				q.modifier(s, d, c, word)
			}
		})
		// Where PREVIEW stands alone its own modifier comes before them.
		if lazy && d.TrySpace() {
			d.List(func() { q.modifier(s, d, c, d.Word()) })
		}
		if q.vanished && q.changedSince == 0 {
			d.Fail("VANISHED needs CHANGEDSINCE")
		}
	}
	return func() error {
		if q.modseq {
			s.enable(condstore)
		}
		return s.fetch(set, c.uid, &q)
	}
}

// modifier reads a modifier of FETCH.
func (q *query) modifier(s *session, d *wire.Decoder, c call, word string) {
	switch {
	case word == "CHANGEDSINCE":
		d.Space()
		q.changedSince, q.modseq = spool.ModSeq(d.Number64()), true
	case word == "VANISHED" && c.uid && s.has(qresync):
		q.vanished = true
	case word == "PARTIAL" && c.uid && !q.window.set():
		d.Space()
		q.window = parseWindow(d)
	default:
		d.Fail("Unknown modifier of FETCH")
	}
}

// fetch writes what is asked for of each message.
func (s *session) fetch(set wire.Set, byUID bool, q *query) error {
	uids, err := s.resolve(set, byUID)
	if err != nil {
		return err
	}
	if q.window.set() {
		from, to := q.window.bounds(len(uids))
		uids = uids[from:to]
	}
	uids = s.limited(uids)
	if q.vanished {
		// "*" is no bound here: what is gone may have been the last.
		if err := s.tellVanished(set.Merged(1<<32-1), q.changedSince); err != nil {
			return s.failure("fetch", err)
		}
	}
	f := fetching{session: s, query: q, marks: !s.box.readOnly && s.box.rights.has(rightSeen) && q.marksSeen()}
	f.reader.bodies = s.srv.opt.Bodies
	defer f.reader.end()
	switch err := batches(s.box.view.Entries(uids), f.wanted, f.batch); {
	case errors.Is(err, errBye):
		return err
	case err != nil:
		return s.failure("fetch", err)
	case errors.Is(f.damaged, errUnknownEncoding):
		return no(imap.ResponseCodeUnknownCTE, "Transfer encoding is unknown")
	case f.damaged != nil:
		return s.failure("fetch", f.damaged)
	}
	return some(byUID, len(uids), f.done)
}

// fetching is a FETCH at work.
type fetching struct {
	*session
	query  *query
	reader reader
	marks  bool // \Seen is set
	// seen are the messages of the batch on which it was not set before.
	seen map[spool.UID]bool
	seq  uint32 // of the last message
	done int    // messages that were there
	// damaged is why one of them could not be read.
	damaged error
}

// wanted tells whether there is something to be told of a message.
func (f *fetching) wanted(e *spool.Entry) bool {
	if f.query.changedSince > 0 && e.ModSeq <= f.query.changedSince {
		f.done++
		return false
	}
	return true
}

// batch writes what is asked for of some messages.
func (f *fetching) batch(entries []spool.Entry) error {
	if f.marks {
		var err error
		if f.seen, err = f.markSeen(entries); err != nil {
			return err
		}
	}
	return f.reader.each(f.reader.begin(entries), f.query.needs(), f.message)
}

// message writes what is asked for of a message.
func (f *fetching) message(m *message) error {
	f.seq = f.box.seqAfter(f.seq, m.entry.UID)
	m.seq = f.seq
	err := f.ctx.Err()
	if err == nil {
		err = f.fetchOne(m, f.query, f.seen[m.entry.UID])
	}
	switch {
	case isGone(err):
	case f.broken:
		f.log.Error("a message cannot be read to its end, and the connection was cut", "id", m.entry.Message, "err", err)
		return errBye
	case errors.Is(err, spool.ErrCorrupt), errors.Is(err, errUnknownEncoding):
		// The others can be had, and must be, or a client that asks for all would
		// never get past this one.
		f.damaged = err
		f.done++
	case err != nil:
		return err
	default:
		f.done++
		f.collected(&m.entry, f.query)
	}
	return nil
}

// collected has the message's story say that it was read.
func (s *session) collected(e *spool.Entry, q *query) {
	if tell := s.srv.opt.Story; tell != nil && q.collects() {
		tell(e.Message, s.did(spool.EventCollected, s.box))
	}
}

// did is what stories say that the session did with messages in a mailbox.
func (s *session) did(kind spool.EventKind, in *selection) spool.Event {
	return spool.Event{Kind: kind, By: s.account, Addr: s.remote.String(), Text: s.account + "/" + in.name}
}

// tellVanished answers FETCH (VANISHED) (RFC 7162 section 3.2.6).
func (s *session) tellVanished(ranges []wire.Range, since spool.ModSeq) error {
	changes, _, err := s.srv.opt.Mailboxes.Changes(s.box.view.Mailbox(), since)
	var gone []spool.UID
	switch {
	case errors.Is(err, spool.ErrChangesLost):
		gone = s.missing(ranges, new(resync))
	case err != nil:
		return err
	}
	for _, c := range changes {
		if _, known := s.box.view.Seq(c.UID); c.Expunged && !known && within(ranges, c.UID) {
			gone = append(gone, c.UID)
		}
	}
	if slices.Sort(gone); len(gone) > 0 {
		s.out.Raw("* VANISHED (EARLIER) ").Raw(numberSet(gone)).CRLF()
	}
	return nil
}

// markSeen sets \Seen on messages and takes over how they are then. It returns
// those on which it was not set before.
func (s *session) markSeen(entries []spool.Entry) (seen map[spool.UID]bool, err error) {
	var unseen []spool.UID
	for i := range entries {
		if entries[i].Flags.System&spool.Seen == 0 {
			unseen = append(unseen, entries[i].UID)
		}
	}
	if len(unseen) == 0 {
		return nil, nil
	}
	out, err := s.srv.opt.Mailboxes.Flag(s.box.view.Mailbox(), unseen, spool.FlagAdd, spool.Flags{System: spool.Seen}, spool.ModSeqUnbounded)
	switch {
	case errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrReadOnly), errors.Is(err, spool.ErrUncertain):
		// Mail can be read all the same.
		s.log.Warn("what is read cannot be marked as seen", "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	seen = make(map[spool.UID]bool, len(out.Changed))
	for _, e := range out.Changed {
		seen[e.UID] = true
		i, ok := slices.BinarySearchFunc(entries, e.UID, func(e spool.Entry, uid spool.UID) int { return int(int64(e.UID) - int64(uid)) })
		if ok {
			entries[i] = e
		}
	}
	return seen, nil
}

// seqAfter returns the number of a message that probably comes next after another.
func (b *selection) seqAfter(last uint32, uid spool.UID) uint32 {
	if next, ok := b.view.UID(last + 1); ok && next == uid {
		return last + 1
	}
	seq, _ := b.view.Seq(uid)
	return seq
}

// fetchOne writes the response for one message. All that can fail and be
// reported is done before it is begun.
func (s *session) fetchOne(m *message, q *query, marked bool) error {
	pieces, err := m.pieces(q.sections)
	if err != nil {
		return err
	}
	var words string
	if q.preview {
		if words, err = m.preview(); err != nil {
			return err
		}
	}
	known, err := m.found(q)
	if err != nil {
		return err
	}
	if q.flags || marked {
		s.box.note(m.entry.Flags)
		s.tellKeywords()
	}
	w := items{Encoder: s.beginFetch(m.seq, m.entry.UID)}
	s.writeEntry(&w, &m.entry, q, marked)
	if q.preview {
		w.item("PREVIEW ").String(words)
	}
	s.writeStructure(&w, q, &known)
	if err := s.writePieces(&w, pieces); err != nil {
		return err
	}
	w.Raw(")").CRLF()
	return nil
}

// items writes the items of a FETCH response.
type items struct {
	*wire.Encoder
	some bool
}

// item begins one.
func (w *items) item(name string) *wire.Encoder {
	if w.some {
		w.Raw(" ")
	}
	w.some = true
	return w.Raw(name)
}

// writeEntry writes what the mailbox entry has.
func (s *session) writeEntry(w *items, e *spool.Entry, q *query, marked bool) {
	if q.uid {
		w.item("UID ").Number32(uint32(e.UID))
	}
	if q.flags || marked {
		s.writeFlags(w.item("FLAGS "), e)
		if e.ModSeq > s.box.view.ModSeq() {
			s.box.view.Own([]spool.Entry{*e})
		}
	}
	if q.modseq || marked && s.has(condstore) {
		w.item("MODSEQ (").Number(uint64(e.ModSeq)).Raw(")")
	}
	if q.internalDate {
		w.item("INTERNALDATE ").DateTime(e.InternalDate)
	}
	if q.saveDate {
		w.item("SAVEDATE ").DateTime(e.Saved)
	}
	if q.rfc822Size {
		w.item("RFC822.SIZE ").Number(uint64(e.Size))
	}
	if q.emailID {
		w.item("EMAILID (").Raw(emailID(e)).Raw(")")
	}
	if q.threadID {
		w.item("THREADID NIL")
	}
}

// found is what FETCH tells of a message's structure: as it is to be written, or
// if that was not stored, what it is to be made of.
type found struct {
	record structure.Record
	parsed *structure.Message
}

// found finds out what a FETCH asks for.
func (m *message) found(q *query) (f found, err error) {
	if !q.envelope && !q.body && !q.bodyStructure {
		return f, nil
	}
	if f.record, err = m.Record(); err != nil {
		return f, err
	}
	if q.body || q.envelope && f.record.Envelope == nil || q.bodyStructure && f.record.BodyStructure == nil {
		f.parsed, err = m.Structure()
	}
	return f, err
}

// writeStructure writes what was found out at delivery.
func (s *session) writeStructure(w *items, q *query, f *found) {
	if q.envelope {
		b := f.record.Envelope
		if b == nil {
			b = structure.AppendEnvelope(nil, f.parsed.Root.Envelope, w.UTF8)
		}
		w.item("ENVELOPE ").Bytes(b)
	}
	if q.body {
		w.item("BODY ").Bytes(structure.AppendBody(nil, f.parsed.Root, false, w.UTF8))
	}
	if q.bodyStructure {
		b := f.record.BodyStructure
		if b == nil {
			b = structure.AppendBody(nil, f.parsed.Root, true, w.UTF8)
		}
		w.item("BODYSTRUCTURE ").Bytes(b)
	}
}

// writePieces writes sections.
func (s *session) writePieces(w *items, pieces []piece) error {
	for i := range pieces {
		p := &pieces[i]
		w.item(p.item.label).Raw(" ")
		binary := p.item.kind == binarySection
		switch {
		case p.item.kind == binarySize:
			w.Number(uint64(p.size))
			continue
		case p.r == nil:
			w.LiteralHead(p.size, binary).Bytes(p.held[0]).Bytes(p.held[1])
			continue
		}
		if err := w.Literal(p.r, p.size, binary, s.buffer()); err != nil {
			// The response cannot be ended properly any more: the client must
			// not take what follows for the missing octets.
			s.broken = true
			s.conn.Abort()
			return fmt.Errorf("%w: %w", errCut, err)
		}
	}
	return nil
}

// errCut: a response could not be ended, and the connection was cut.
var errCut = errors.New("response was cut off")

// buffer is what sections are copied through.
func (s *session) buffer() []byte {
	if s.copied == nil {
		s.copied = make([]byte, copyBuffer)
	}
	return s.copied
}
