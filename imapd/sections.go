package imapd

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/preview"
	"restante/imapd/search"
	"restante/internal/decode"
	"restante/internal/structure"
	"restante/spool"
)

const (
	// readAhead is how much of a message's sections is read before the
	// response is begun. A damaged body is then reported instead of ending the
	// connection.
	readAhead = 256 << 10
	// maxSections bounds the sections that one FETCH may ask for, since each
	// may hold a header in memory.
	maxSections = 100
)

// errUnknownEncoding: BINARY of a part that cannot be decoded (RFC 3516).
var errUnknownEncoding = errors.New("unknown transfer encoding")

// piece is one section, ready to be written: octets in memory, two pieces of
// them, or what a reader has.
type piece struct {
	item *sectionItem
	held [2][]byte
	r    io.Reader
	size int64
}

// hold makes a piece of octets in memory.
func hold(a, b []byte) piece {
	return piece{held: [2][]byte{a, b}, size: int64(len(a) + len(b))}
}

// pieces prepares the sections that a FETCH asks for, in its order.
func (m *message) pieces(items []sectionItem) ([]piece, error) {
	if len(items) > maxSections {
		return nil, no(imap.ResponseCodeLimit, "Too many sections in one FETCH")
	}
	if m.work == nil || cap(m.work.scratch) > readAhead/4 {
		m.work = new(workspace)
	}
	m.work.list, m.work.scratch = m.work.list[:0], m.work.scratch[:0]
	for i := range items {
		item := &items[i]
		var p piece
		var err error
		if item.kind == bodySection {
			p, err = m.bodyPiece(item)
		} else {
			p, err = m.binaryPiece(item)
		}
		if err != nil {
			return nil, err
		}
		p.item = item
		m.work.list = append(m.work.list, p)
	}
	return m.work.list, nil
}

// bodyPiece is BODY[...]. A section that does not exist is empty.
func (m *message) bodyPiece(item *sectionItem) (piece, error) {
	if item.inRecord() {
		b, ok, err := m.fields(item.fields)
		if err != nil {
			return piece{}, err
		}
		if ok {
			if item.partial {
				b = b[min(item.offset, int64(len(b))):]
				b = b[:min(item.size, int64(len(b)))]
			}
			return hold(b, nil), nil
		}
	}
	sec, ok, err := m.section(item.part, item.specifier)
	if err != nil {
		return piece{}, err
	}
	switch {
	case !ok:
		return piece{}, nil
	case item.fields != nil:
		sec, err = m.filtered(sec, item.fields, item.not)
	}
	if err != nil {
		return piece{}, err
	}
	if item.partial {
		sec = sec.cut(item.offset, item.size)
	}
	if b, ok := m.octets(sec); ok {
		return hold(sec.prefix, b), nil
	}
	return m.ready(sec.reader(), sec.size())
}

// inRecord tells whether what is known since the delivery has the fields that are
// asked for.
func (item *sectionItem) inRecord() bool {
	return item.fields != nil && !item.not && len(item.part) == 0 && item.specifier == imap.PartSpecifierHeader &&
		!slices.ContainsFunc(item.fields, func(name string) bool { return !structure.Keeps(name) })
}

// fields returns header fields without opening the body, if they are known. A
// prefix that is no whole line goes on in the body.
func (m *message) fields(names []string) (b []byte, ok bool, err error) {
	r, err := m.Record()
	prefix := m.entry.Prefix
	if err != nil || !r.Fields.Known() || len(prefix) > 0 && prefix[len(prefix)-1] != '\n' {
		return nil, false, err
	}
	out, ended := structure.AppendFields(m.work.scratch, prefix, names, false)
	if !ended {
		out = r.Fields.Append(out, names)
	}
	b = out[len(m.work.scratch):len(out):len(out)]
	m.work.scratch = out
	return b, true, nil
}

func (m *message) filtered(sec section, fields []string, not bool) (section, error) {
	head, err := m.header(sec)
	if err != nil {
		return section{}, err
	}
	return section{prefix: structure.FilterHeader(head, fields, not), body: sec.body}, nil
}

// binaryPiece is BINARY[...]: the part with its transfer encoding undone. It
// is decoded twice, since its size has to be told first.
func (m *message) binaryPiece(item *sectionItem) (piece, error) {
	part := item.part
	sec, ok, err := m.section(part, imap.PartSpecifierNone)
	if err != nil {
		return piece{}, err
	}
	encoding := ""
	if ok && len(part) > 0 {
		s, err := m.Structure()
		if err != nil {
			return piece{}, err
		}
		if p := s.Part(part); len(p.Children) == 0 && p.Embedded == nil {
			encoding = p.Encoding
		}
	}
	if !ok {
		return piece{}, nil
	}
	r, ok := decode.Reader(sec.reader(), encoding)
	if !ok {
		return piece{}, errUnknownEncoding
	}
	size, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, copyBuffer))
	if err != nil {
		return piece{}, err
	}
	if item.kind == binarySize {
		return piece{size: size}, nil
	}
	r, _ = decode.Reader(sec.reader(), encoding)
	if item.partial {
		skip := min(item.offset, size)
		if _, err := io.CopyN(io.Discard, r, skip); err != nil {
			return piece{}, err
		}
		size = min(item.size, size-skip)
	}
	return m.ready(io.LimitReader(r, size), size)
}

// ready reads small pieces at once.
func (m *message) ready(r io.Reader, size int64) (piece, error) {
	if size > readAhead-m.ahead {
		return piece{r: r, size: size}, nil
	}
	m.ahead += size
	from := len(m.work.scratch)
	m.work.scratch = slices.Grow(m.work.scratch, int(size))[:from+int(size)]
	b := m.work.scratch[from:]
	switch n, err := io.ReadFull(r, b); {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return piece{}, fmt.Errorf("section has %d octets instead of %d: %w", n, size, spool.ErrCorrupt)
	case err != nil:
		return piece{}, err
	}
	return hold(b, nil), nil
}

// preview is the beginning of the message's text (RFC 8970).
func (m *message) preview() (string, error) {
	s, err := m.Structure()
	if err != nil {
		return "", err
	}
	return preview.Make(s.Root, func(p *structure.Part) (io.Reader, error) {
		r, err := m.Octets(p.BodyStart, p.BodyEnd)
		if err != nil {
			return nil, err
		}
		return search.Readable(r, p), nil
	})
}
