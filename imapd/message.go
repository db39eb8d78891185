package imapd

import (
	"bytes"
	"io"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/search"
	"restante/internal/structure"
	"restante/spool"
)

// copyBuffer is how much of a body is read at a time, in octets.
const copyBuffer = 32 << 10

// message is a message of the selected mailbox while a command looks at it. The
// body is opened, and the structure read, when somebody asks.
type message struct {
	bodies    spool.Bodies
	entry     spool.Entry
	seq       uint32
	body      spool.Body
	structure *structure.Message
	// score is how well fuzzy keys found it, the least of it; 0 if none looked.
	score uint8
	// ahead is how much of its sections is in memory.
	ahead int64
}

// close must be called once the message has been dealt with.
func (m *message) close() {
	if m.body != nil {
		m.body.Close()
		m.body = nil
	}
}

func (m *message) Seq() uint32         { return m.seq }
func (m *message) Entry() *spool.Entry { return &m.entry }

// Found notes how well a key found it.
func (m *message) Found(score uint8) {
	if m.score == 0 || score < m.score {
		m.score = score
	}
}

// relevancy is how well it was found (RFC 6203 section 4).
func (m *message) relevancy() uint8 {
	if m.score == 0 {
		return search.Exact
	}
	return m.score
}

func (m *message) open() error {
	if m.body != nil {
		return nil
	}
	body, err := m.bodies.OpenBody(m.entry.Message)
	if err == nil {
		m.body = body
	}
	return err
}

// Structure returns what was found out about the body when it was delivered,
// or if nothing was, or in another format, finds it out now.
func (m *message) Structure() (*structure.Message, error) {
	if m.structure != nil {
		return m.structure, nil
	}
	raw, err := m.bodies.Structure(m.entry.Message)
	if err != nil {
		return nil, err
	}
	if s, err := structure.Decode(raw); err == nil {
		m.structure = s
		return s, nil
	}
	if err := m.open(); err != nil {
		return nil, err
	}
	p := structure.NewParser()
	r := io.NewSectionReader(m.body, 0, m.body.Size())
	if _, err := io.CopyBuffer(p, struct{ io.Reader }{r}, make([]byte, copyBuffer)); err != nil {
		return nil, err
	}
	m.structure = p.Finish()
	return m.structure, nil
}

// Octets reads the body from off up to end.
func (m *message) Octets(off, end int64) (io.Reader, error) {
	if err := m.open(); err != nil {
		return nil, err
	}
	return io.NewSectionReader(m.body, off, end-off), nil
}

// Header reads the header with the prefix in front of it.
func (m *message) Header() ([]byte, error) {
	sec, ok, err := m.section(nil, imap.PartSpecifierHeader)
	if err != nil || !ok {
		return nil, err
	}
	return m.header(sec)
}

func (m *message) header(sec section) ([]byte, error) {
	sec = sec.cut(0, search.MaxHeader)
	return io.ReadAll(sec.reader())
}

// section is a piece of the message as the mailbox shows it: some of the
// prefix, and then some of the body.
type section struct {
	prefix   []byte
	body     io.ReaderAt
	off, end int64
}

func (s section) size() int64 { return int64(len(s.prefix)) + s.end - s.off }

func (s section) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(s.prefix), io.NewSectionReader(s.body, s.off, s.end-s.off))
}

// cut returns at most n octets from off on.
func (s section) cut(off, n int64) section {
	skip := min(off, int64(len(s.prefix)))
	s.prefix = s.prefix[skip:]
	s.off = min(s.off+off-skip, s.end)
	keep := min(n, int64(len(s.prefix)))
	s.prefix = s.prefix[:keep]
	s.end = min(s.end, s.off+min(n-keep, s.end-s.off))
	return s
}

// section finds the octets of a part. It is not ok if there is no such part.
func (m *message) section(part []int, specifier imap.PartSpecifier) (sec section, ok bool, err error) {
	if err := m.open(); err != nil {
		return section{}, false, err
	}
	sec.body = m.body
	if len(part) == 0 && specifier == imap.PartSpecifierNone {
		sec.prefix, sec.end = m.entry.Prefix, m.body.Size()
		return sec, true, nil
	}
	s, err := m.Structure()
	if err != nil {
		return section{}, false, err
	}
	if sec.off, sec.end, ok = s.Section(part, specifier); !ok {
		return sec, false, nil
	}
	// The prefix belongs to the header of the message itself.
	isHeader := specifier == imap.PartSpecifierHeader && len(part) == 0 || specifier == imap.PartSpecifierMIME
	if isHeader && sec.off == 0 {
		sec.prefix = m.entry.Prefix
	}
	return sec, true, nil
}
