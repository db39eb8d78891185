package imapd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/spool"
)

// fetchBatch is for how many messages \Seen is set at a time.
const fetchBatch = 256

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
	q.uid = q.uid || c.uid || s.has(rev2) && c.uid
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
	asked := len(uids)
	if q.vanished {
		// "*" is no bound here: what is gone may have been the last.
		if err := s.tellVanished(set.Merged(1<<32-1), q.changedSince); err != nil {
			return s.failure("fetch", err)
		}
	}
	marks := !s.box.readOnly && s.box.rights.has(rightSeen) && q.marksSeen()
	done := 0
	var damaged error
	for batch := range slices.Chunk(uids, fetchBatch) {
		entries, seen, passed, err := s.read(batch, marks, q.changedSince)
		if err != nil {
			return s.failure("fetch", err)
		}
		done += passed
		for _, e := range entries {
			if err := s.ctx.Err(); err != nil {
				return s.failure("fetch", err)
			}
			switch err := s.fetchOne(e, q, seen[e.UID]); {
			case isGone(err):
			case s.broken:
				s.log.Error("a message cannot be read to its end, and the connection was cut", "id", e.Message, "err", err)
				return errBye
			case errors.Is(err, spool.ErrCorrupt), errors.Is(err, errUnknownEncoding):
				// The others can be had, and must be, or a client that asks for
				// all would never get past this one.
				damaged = err
				done++
			case err != nil:
				return s.failure("fetch", err)
			default:
				done++
				s.collected(&e, q)
			}
		}
	}
	switch {
	case errors.Is(damaged, errUnknownEncoding):
		return no(imap.ResponseCodeUnknownCTE, "Transfer encoding is unknown")
	case damaged != nil:
		return s.failure("fetch", damaged)
	}
	return some(byUID, asked, done)
}

// collected has the message's story say that it was read.
func (s *session) collected(e *spool.Entry, q *query) {
	if tell := s.srv.opt.Story; tell != nil && q.collects() {
		tell(e.Message, spool.Event{Kind: spool.EventCollected, By: s.account, Addr: s.remote.String(), Text: s.account + "/" + s.box.name})
	}
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

// read reads entries that have changed since then, and with marks sets \Seen on
// them; seen are those on which it was not set before, and passed is how many
// have not changed.
func (s *session) read(uids []spool.UID, marks bool, since spool.ModSeq) (entries []spool.Entry, seen map[spool.UID]bool, passed int, err error) {
	var unseen []spool.UID
	for e, err := range s.box.view.Entries(uids) {
		if err != nil {
			return nil, nil, 0, err
		}
		if since > 0 && e.ModSeq <= since {
			passed++
			continue
		}
		entries = append(entries, e)
		if e.Flags.System&spool.Seen == 0 {
			unseen = append(unseen, e.UID)
		}
	}
	if !marks || len(unseen) == 0 {
		return entries, nil, passed, nil
	}
	out, err := s.srv.opt.Mailboxes.Flag(s.box.view.Mailbox(), unseen, spool.FlagAdd, spool.Flags{System: spool.Seen}, spool.ModSeqUnbounded)
	if err != nil {
		return nil, nil, 0, err
	}
	seen = make(map[spool.UID]bool, len(out.Changed))
	for _, e := range out.Changed {
		seen[e.UID] = true
		i, ok := slices.BinarySearchFunc(entries, e.UID, func(e spool.Entry, uid spool.UID) int { return int(int64(e.UID) - int64(uid)) })
		if ok {
			entries[i] = e
		}
	}
	return entries, seen, passed, nil
}

// fetchOne writes the response for one message. All that can fail and be
// reported is done before it is begun.
func (s *session) fetchOne(e spool.Entry, q *query, marked bool) error {
	m := &message{bodies: s.srv.opt.Bodies, entry: e}
	defer m.close()
	m.seq, _ = s.box.view.Seq(e.UID)
	pieces, err := m.pieces(q.sections)
	if err != nil {
		return err
	}
	if q.envelope || q.body || q.bodyStructure {
		if _, err := m.Structure(); err != nil {
			return err
		}
	}
	var words string
	if q.preview {
		if words, err = m.preview(); err != nil {
			return err
		}
	}
	if q.flags || marked {
		s.box.note(e.Flags)
		s.tellKeywords()
	}
	w := s.out.Raw("* ").Number32(m.seq).Raw(" FETCH (")
	sep := ""
	item := func(name string) *wire.Encoder {
		w.Raw(sep).Raw(name)
		sep = " "
		return w
	}
	if q.uid {
		item("UID ").Number32(uint32(e.UID))
	}
	if q.flags || marked {
		item("FLAGS ").Flags(flagList(e.Flags))
		s.box.view.Own([]spool.Entry{e})
	}
	if q.modseq || marked && s.has(condstore) {
		item("MODSEQ (").Number(uint64(e.ModSeq)).Raw(")")
	}
	if q.internalDate {
		item("INTERNALDATE ").DateTime(e.InternalDate)
	}
	if q.saveDate {
		item("SAVEDATE ").DateTime(e.Saved)
	}
	if q.rfc822Size {
		item("RFC822.SIZE ").Number(uint64(e.Size))
	}
	if q.emailID {
		item("EMAILID (").Raw(emailID(&e)).Raw(")")
	}
	if q.preview {
		item("PREVIEW ").String(words)
	}
	if q.threadID {
		item("THREADID NIL")
	}
	if q.envelope {
		item("ENVELOPE ")
		writeEnvelope(w, m.structure.Root.Envelope)
	}
	if q.body {
		item("BODY ")
		writeStructure(w, m.structure.Root, false)
	}
	if q.bodyStructure {
		item("BODYSTRUCTURE ")
		writeStructure(w, m.structure.Root, true)
	}
	for _, p := range pieces {
		item(p.item.label).Raw(" ")
		if p.item.kind == binarySize {
			w.Number(uint64(p.size))
			continue
		}
		if err := w.Literal(p.r, p.size, p.item.kind == binarySection, s.buffer()); err != nil {
			// The response cannot be ended properly any more: the client must
			// not take what follows for the missing octets.
			s.broken = true
			s.conn.Abort()
			return fmt.Errorf("%w: %w", errCut, err)
		}
	}
	w.Raw(")").CRLF()
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
