package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"restante/internal/mail"
	"restante/spool"
)

// Reader reads blobs. It keeps the file of the last one open, so it must be
// closed; it is not safe for concurrent use.
type Reader struct {
	store  *Store
	file   *os.File
	number uint32
}

// Reader returns a Reader.
func (s *Store) Reader() *Reader { return &Reader{store: s} }

// Read returns the octets of the blob at ref, in buf if that is large enough
// (it needs some more than the blob's length). It fails with spool.ErrCorrupt
// if what is there is not that blob of that owner.
func (r *Reader) Read(ref Ref, owner mail.ID, number uint32, buf []byte) ([]byte, error) {
	if r.file == nil || r.number != ref.Segment {
		r.Close()
		f, err := os.Open(r.store.name(ref.Segment))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: segment %d is not there", spool.ErrCorrupt, ref.Segment)
		}
		if err != nil {
			return nil, fmt.Errorf("spool: open segment: %w", err)
		}
		r.file, r.number = f, ref.Segment
	}
	return read(r.file, ref, owner, number, buf)
}

// Close closes the file; the Reader may be used again.
func (r *Reader) Close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// Scan calls f with every blob of a segment that matches its checksum,
// referred to or not, in their order.
func (s *Store) Scan(number uint32, f func(Found) error) error {
	file, err := os.Open(s.name(number))
	if err != nil {
		return fmt.Errorf("spool: scan segment: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("spool: scan segment: %w", err)
	}
	return scan(file, info.Size(), number, f)
}
