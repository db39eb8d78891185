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
// body is opened, and what is known of it read, when somebody asks, unless a
// reader has read it together with others.
type message struct {
	bodies spool.Bodies
	entry  spool.Entry
	seq    uint32
	// gathered is what a reader has read; has tells that it did.
	gathered spool.Gathered
	has      bool
	// record is what was found out at delivery; opened tells that it was read.
	record    structure.Record
	opened    bool
	structure *structure.Message
	body      spool.Body
	short     bytes.Reader // over gathered.Body
	// score is how well fuzzy keys found it, the least of it; 0 if none looked.
	score uint8
	// ahead is how much of its sections is in memory.
	ahead int64
	work  *workspace
}

// workspace is memory for the pieces of one message after the other.
type workspace struct {
	list    []piece
	scratch []byte
}

// close must be called once the message has been dealt with. It forgets what was
// read of it.
func (m *message) close() {
	if m.body != nil {
		m.body.Close()
		m.body = nil
	}
	m.gathered, m.has = spool.Gathered{}, false
	m.record, m.opened, m.structure = structure.Record{}, false, nil
}

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

// inMemory tells whether the whole body is.
func (m *message) inMemory() bool {
	// A body of another length than its entry says is damaged, which is told
	// when it is opened.
	return len(m.gathered.Body) > 0 && m.entry.Size == int64(len(m.entry.Prefix)+len(m.gathered.Body))
}

// source opens the body.
func (m *message) source() (r io.ReaderAt, size int64, err error) {
	if m.inMemory() {
		m.short.Reset(m.gathered.Body)
		return &m.short, m.short.Size(), nil
	}
	if m.body == nil {
		body, err := m.bodies.OpenBody(m.entry.Message)
		if err != nil {
			return nil, 0, err
		}
		m.body = body
	}
	return m.body, m.body.Size(), nil
}

// Record is what was found out about the body when it was delivered. It knows
// nothing if nothing was, or in another format.
func (m *message) Record() (structure.Record, error) {
	if m.opened {
		return m.record, nil
	}
	raw, err := m.gathered.Structure, m.gathered.Err
	if !m.has {
		raw, err = m.bodies.Structure(m.entry.Message)
	}
	if err != nil {
		return structure.Record{}, err
	}
	m.record, _ = structure.Open(raw)
	m.opened = true
	return m.record, nil
}

// Structure is all of what Record has, or is found out now.
func (m *message) Structure() (*structure.Message, error) {
	if m.structure != nil {
		return m.structure, nil
	}
	r, err := m.Record()
	if err != nil {
		return nil, err
	}
	if s, err := r.Message(); err == nil {
		m.structure = s
		return s, nil
	}
	body, size, err := m.source()
	if err != nil {
		return nil, err
	}
	p := structure.NewParser()
	in := io.NewSectionReader(body, 0, size)
	if _, err := io.CopyBuffer(p, struct{ io.Reader }{in}, make([]byte, copyBuffer)); err != nil {
		return nil, err
	}
	m.structure = p.Finish()
	return m.structure, nil
}

// Octets reads the body from off up to end.
func (m *message) Octets(off, end int64) (io.Reader, error) {
	body, _, err := m.source()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(body, off, end-off), nil
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
	if body, ok := m.octets(sec); ok && len(sec.prefix) == 0 {
		return body, nil
	}
	return io.ReadAll(sec.reader())
}

// octets returns what a section has of the body, if that is in memory.
func (m *message) octets(sec section) ([]byte, bool) {
	if !m.inMemory() || sec.off < 0 || sec.end > int64(len(m.gathered.Body)) || sec.off > sec.end {
		return nil, false
	}
	return m.gathered.Body[sec.off:sec.end], true
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
	body, size, err := m.source()
	if err != nil {
		return section{}, false, err
	}
	sec.body = body
	if len(part) == 0 && specifier == imap.PartSpecifierNone {
		sec.prefix, sec.end = m.entry.Prefix, size
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
