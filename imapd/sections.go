package imapd

import (
	"bytes"
	"errors"
	"fmt"
	"io"

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

// piece is one section, ready to be written.
type piece struct {
	item sectionItem
	r    io.Reader
	size int64
}

// pieces prepares the sections that a FETCH asks for, in its order.
func (m *message) pieces(items []sectionItem) ([]piece, error) {
	if len(items) > maxSections {
		return nil, no(imap.ResponseCodeLimit, "Too many sections in one FETCH")
	}
	list := make([]piece, 0, len(items))
	for _, item := range items {
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
		list = append(list, p)
	}
	return list, nil
}

// bodyPiece is BODY[...]. A section that does not exist is empty.
func (m *message) bodyPiece(item sectionItem) (piece, error) {
	sec, ok, err := m.section(item.part, item.specifier)
	if err != nil {
		return piece{}, err
	}
	switch {
	case !ok:
		sec = section{body: m.body}
	case item.fields != nil:
		sec, err = m.filtered(sec, item.fields, item.not)
	}
	if err != nil {
		return piece{}, err
	}
	if item.partial {
		sec = sec.cut(item.offset, item.size)
	}
	return m.ready(sec.reader(), sec.size())
}

func (m *message) filtered(sec section, fields []string, not bool) (section, error) {
	head, err := m.header(sec)
	if err != nil {
		return section{}, err
	}
	return section{prefix: structure.FilterHeader(head, fields, not), body: m.body}, nil
}

// binaryPiece is BINARY[...]: the part with its transfer encoding undone. It
// is decoded twice, since its size has to be told first.
func (m *message) binaryPiece(item sectionItem) (piece, error) {
	part := item.part
	sec, ok, err := m.section(part, imap.PartSpecifierNone)
	if err != nil {
		return piece{}, err
	}
	encoding := ""
	if !ok {
		sec = section{body: m.body}
	} else if len(part) > 0 {
		s, err := m.Structure()
		if err != nil {
			return piece{}, err
		}
		if p := s.Part(part); len(p.Children) == 0 && p.Embedded == nil {
			encoding = p.Encoding
		}
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
	b := make([]byte, size)
	switch n, err := io.ReadFull(r, b); {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return piece{}, fmt.Errorf("section has %d octets instead of %d: %w", n, size, spool.ErrCorrupt)
	case err != nil:
		return piece{}, err
	}
	return piece{r: bytes.NewReader(b), size: size}, nil
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
