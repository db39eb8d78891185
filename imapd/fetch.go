package imapd

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"restante/spool"
)

// fetchBatch is for how many messages \Seen is set at a time.
const fetchBatch = 256

// resolve returns the messages that a command names, and fails if none is
// selected (which the library sees to).
func (s *session) resolve(numSet imap.NumSet) ([]spool.UID, error) {
	if s.box == nil {
		return nil, bad("No mailbox is selected")
	}
	if imap.IsSearchRes(numSet) {
		return slices.Clone(s.box.saved), nil
	}
	switch set := numSet.(type) {
	case imap.SeqSet:
		uids, err := s.box.view.BySeq(set)
		if err != nil {
			return nil, s.failure("sequence set", err)
		}
		return uids, nil
	case imap.UIDSet:
		return s.box.view.ByUID(set), nil
	}
	return nil, fmt.Errorf("number set of type %T", numSet)
}

// Fetch writes what is asked for of each message.
func (s *session) Fetch(w *imapserver.FetchWriter, numSet imap.NumSet, options *imap.FetchOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	uids, err := s.resolve(numSet)
	if err != nil {
		return err
	}
	marks := !s.box.readOnly && marksSeen(options)
	done := 0
	var damaged error
	for batch := range slices.Chunk(uids, fetchBatch) {
		entries, seen, err := s.read(batch, marks)
		if err != nil {
			return s.failure("fetch", err)
		}
		for _, e := range entries {
			if err := s.ctx.Err(); err != nil {
				return s.failure("fetch", err)
			}
			switch err := s.fetchOne(w, e, options, seen[e.UID]); {
			case isGone(err):
			case errors.Is(err, errCut):
				return s.failure("fetch", err)
			case errors.Is(err, spool.ErrCorrupt), errors.Is(err, errUnknownEncoding):
				// The others can be had, and must be, or a client that asks for
				// all would never get past this one.
				damaged = err
				done++
			case err != nil:
				return s.failure("fetch", err)
			default:
				done++
			}
		}
	}
	switch {
	case errors.Is(damaged, errUnknownEncoding):
		return no(imap.ResponseCodeUnknownCTE, "Transfer encoding is unknown")
	case damaged != nil:
		return s.failure("fetch", damaged)
	}
	return some(numSet, len(uids), done)
}

// marksSeen tells whether a FETCH sets \Seen.
func marksSeen(options *imap.FetchOptions) bool {
	return slices.ContainsFunc(options.BodySection, func(b *imap.FetchItemBodySection) bool { return !b.Peek }) ||
		slices.ContainsFunc(options.BinarySection, func(b *imap.FetchItemBinarySection) bool { return !b.Peek })
}

// read reads entries, and with marks sets \Seen on them; seen are those on
// which it was not set before.
func (s *session) read(uids []spool.UID, marks bool) (entries []spool.Entry, seen map[spool.UID]bool, err error) {
	var unseen []spool.UID
	for e, err := range s.box.view.Entries(uids) {
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, e)
		if e.Flags.System&spool.Seen == 0 {
			unseen = append(unseen, e.UID)
		}
	}
	if !marks || len(unseen) == 0 {
		return entries, nil, nil
	}
	out, err := s.srv.opt.Mailboxes.Flag(s.box.view.Mailbox(), unseen, spool.FlagAdd, spool.Flags{System: spool.Seen}, spool.ModSeqUnbounded)
	if err != nil {
		return nil, nil, err
	}
	seen = make(map[spool.UID]bool, len(out.Changed))
	for _, e := range out.Changed {
		seen[e.UID] = true
		i, ok := slices.BinarySearchFunc(entries, e.UID, func(e spool.Entry, uid spool.UID) int { return int(int64(e.UID) - int64(uid)) })
		if ok {
			entries[i] = e
		}
	}
	return entries, seen, nil
}

// fetchOne writes the response for one message. All that can fail and be
// reported is done before it is begun.
func (s *session) fetchOne(w *imapserver.FetchWriter, e spool.Entry, options *imap.FetchOptions, marked bool) error {
	m := &message{bodies: s.srv.opt.Bodies, entry: e}
	defer m.close()
	m.seq, _ = s.box.view.Seq(e.UID)
	pieces, err := m.pieces(options)
	if err != nil {
		return err
	}
	if options.Envelope || options.BodyStructure != nil {
		if _, err := m.Structure(); err != nil {
			return err
		}
	}
	r := w.CreateMessage(m.seq)
	if options.UID {
		r.WriteUID(imap.UID(e.UID))
	}
	if options.Flags || marked {
		r.WriteFlags(flagList(e.Flags))
		s.box.view.Own([]spool.Entry{e})
		s.box.note(e.Flags)
	}
	if options.InternalDate {
		r.WriteInternalDate(e.InternalDate)
	}
	if options.RFC822Size {
		r.WriteRFC822Size(e.Size)
	}
	if options.Envelope {
		r.WriteEnvelope(m.structure.Envelope())
	}
	if options.BodyStructure != nil {
		r.WriteBodyStructure(m.structure.BodyStructure())
	}
	for _, p := range pieces {
		if err := p.write(r); err != nil {
			// The response cannot be ended properly any more: the client must
			// not take what follows for the missing octets.
			s.link.Abort()
			r.Close()
			return fmt.Errorf("%w: %w", errCut, err)
		}
	}
	return r.Close()
}

// errCut: a response could not be ended, and the connection was cut.
var errCut = errors.New("response was cut off")

// piece is one BODY or BINARY item, ready to be written.
type piece struct {
	begin func(r *imapserver.FetchResponseWriter, size int64) io.WriteCloser
	r     io.Reader
	size  int64
	// sizeOnly is for BINARY.SIZE.
	sizeOnly *imap.FetchItemBinarySectionSize
}

func (p piece) write(r *imapserver.FetchResponseWriter) error {
	if p.sizeOnly != nil {
		r.WriteBinarySectionSize(p.sizeOnly, uint32(min(p.size, math.MaxUint32)))
		return nil
	}
	w := p.begin(r, p.size)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{p.r}, make([]byte, min(copyBuffer, p.size+1)))
	if err == nil && n != p.size {
		err = fmt.Errorf("section has %d octets instead of %d: %w", n, p.size, spool.ErrCorrupt)
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}
