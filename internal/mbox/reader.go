package mbox

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxHead bounds the header in which the notes of mail programs are looked
// for, in octets.
const maxHead = 1 << 20

// Reader reads an mbox file, message by message: Next, and then Read to the
// end of its text, which has CRLF as line ends. A message begins with a From_
// line after an empty line (or at the beginning); ">From " lines lose one ">",
// as mboxrd has it.
type Reader struct {
	in *bufio.Reader
	// at is where the next octet of in is in the file.
	at int64
	// out is what has been read and not given out.
	out []byte
	// blank: an empty line is held back, since it may be the one before a From_
	// line. ready: the line before was empty. mid: it had no end yet.
	blank, ready, mid bool
	begun             bool
	// from is the From_ line of the next message, fromAt where it is.
	from   []byte
	fromAt int64
	eof    bool
}

// Message is what is known of a message in an mbox file.
type Message struct {
	// At is where its From_ line is.
	At int64
	// Date is that of the From_ line, zero if it has none that is known.
	Date time.Time
	// Flags are those of IMAP, sorted.
	Flags []string
	// Gone: its program has deleted it and not yet taken it out, or it holds
	// the program's own data.
	Gone bool
	// Head is its header, or the first MiB of it, with the empty line behind
	// it. Read gives it again.
	Head []byte
}

// NewReader returns a Reader of a file that stands at an offset, on a From_
// line.
func NewReader(r io.Reader, at int64) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), at: at}
}

// fromLine tells a From_ line by its time of day.
var fromLine = regexp.MustCompile(`^From .*[0-9]:[0-9][0-9]`)

// line reads a line, or the next 64 KiB of one.
func (m *Reader) line() ([]byte, error) {
	part, err := m.in.ReadSlice('\n')
	m.at += int64(len(part))
	if err == bufio.ErrBufferFull {
		err = nil
	}
	if len(part) > 0 && err == io.EOF {
		err = nil
	}
	return part, err
}

// Next begins the next message; io.EOF if there is none. What was not read of
// the one before is passed over.
func (m *Reader) Next() (Message, error) {
	if !m.begun {
		m.begun = true
		part, err := m.line()
		if err != nil {
			return Message{}, err
		}
		m.from, m.fromAt = bytes.Clone(part), m.at-int64(len(part))
	} else if _, err := io.Copy(io.Discard, m); err != nil {
		return Message{}, err
	}
	if m.from == nil {
		return Message{}, io.EOF
	}
	b := Message{At: m.fromAt, Date: fromDate(m.from)}
	m.from, m.eof, m.out = nil, false, nil
	m.blank, m.ready, m.mid = false, false, false
	err := m.head(&b)
	m.out = b.Head
	return b, err
}

// head reads the header, and takes the notes out of it.
func (m *Reader) head(b *Message) error {
	var notes []string
	drop, starts := false, true
	for len(b.Head) < maxHead {
		line, err := m.text()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if starts {
			name, value, ok := bytes.Cut(line, []byte(":"))
			folded := line[0] == ' ' || line[0] == '\t'
			if !folded {
				drop = ok && slices.Contains(noteFields, strings.ToLower(string(name)))
			}
			if drop && !folded {
				notes = append(notes, strings.ToLower(string(name))+":"+strings.TrimSpace(string(value)))
			}
		}
		starts = bytes.HasSuffix(line, []byte("\n"))
		if !drop {
			b.Head = append(b.Head, line...)
		}
		if m.ready = string(line) == "\r\n"; m.ready {
			break
		}
	}
	for _, n := range notes {
		name, value, _ := strings.Cut(n, ":")
		b.note(name, value)
	}
	slices.Sort(b.Flags)
	b.Flags = slices.Compact(b.Flags)
	return nil
}

// noteFields are what mail programs write into a header.
var noteFields = []string{
	"status", "x-status", "x-keywords", "x-uid", "x-imap", "x-imapbase",
	"x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys",
}

func (b *Message) note(name, value string) {
	letter := func(c, flag string) {
		if strings.Contains(value, c) {
			b.Flags = append(b.Flags, flag)
		}
	}
	switch name {
	case "status":
		letter("R", `\Seen`)
	case "x-status":
		letter("A", `\Answered`)
		letter("F", `\Flagged`)
		letter("T", `\Draft`)
		letter("D", `\Deleted`)
	case "x-keywords", "x-mozilla-keys":
		b.Flags = append(b.Flags, strings.Fields(value)...)
	case "x-imap":
		b.Gone = true
	case "x-mozilla-status":
		n, _ := strconv.ParseUint(value, 16, 16)
		for bit, flag := range map[uint64]string{1: `\Seen`, 2: `\Answered`, 4: `\Flagged`, 0x1000: "$Forwarded"} {
			if n&bit != 0 {
				b.Flags = append(b.Flags, flag)
			}
		}
		b.Gone = b.Gone || n&8 != 0
	}
}

// text returns the next line of the message with its end as CRLF, or a part of
// a long one; io.EOF at the next From_ line.
func (m *Reader) text() ([]byte, error) {
	if m.eof {
		return nil, io.EOF
	}
	part, err := m.line()
	if err == io.EOF {
		m.eof = true
		return nil, io.EOF
	}
	if err != nil {
		return nil, err
	}
	line := bytes.Clone(part)
	switch n, whole := bytes.CutSuffix(line, []byte("\n")); {
	case whole:
		line = append(bytes.TrimSuffix(n, []byte("\r")), "\r\n"...)
	case len(line) > 1 && line[len(line)-1] == '\r' && m.in.UnreadByte() == nil:
		m.at-- // its LF may come
		line = line[:len(line)-1]
	}
	return line, nil
}

// Read reads from the message's text.
func (m *Reader) Read(p []byte) (int, error) {
	for len(m.out) == 0 {
		if m.eof {
			return 0, io.EOF
		}
		if err := m.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

// Empty tells whether nothing is left of the text.
func (m *Reader) Empty() bool {
	for len(m.out) == 0 && !m.eof {
		if m.fill() != nil {
			return false
		}
	}
	return len(m.out) == 0
}

// fill reads another line of the body. The empty line in front of a From_ line,
// or of the end, is not of the message.
func (m *Reader) fill() error {
	starts := m.at
	line, err := m.text()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	if m.ready && fromLine.Match(line) {
		m.from, m.fromAt, m.eof = line, starts, true
		return nil
	}
	if m.blank {
		m.out = append(m.out, "\r\n"...)
	}
	begins := !m.mid
	m.mid = !bytes.HasSuffix(line, []byte("\n"))
	m.blank = begins && string(line) == "\r\n"
	if m.ready = m.blank; m.blank {
		return nil
	}
	if rest := bytes.TrimLeft(line, ">"); begins && len(rest) < len(line) && bytes.HasPrefix(rest, []byte("From ")) {
		line = line[1:]
	}
	m.out = append(m.out, line...)
	return nil
}

// fromDate reads the time of a From_ line, which is in UTC unless it has a zone;
// zero if there is none.
func fromDate(line []byte) time.Time {
	words := strings.Fields(string(line))
	for i := range words {
		for _, layout := range []string{time.ANSIC, "Mon Jan _2 15:04:05 2006 -0700", "Mon Jan _2 15:04:05 -0700 2006", time.UnixDate, "Mon Jan _2 15:04 2006"} {
			if t, err := time.Parse(layout, strings.Join(words[i:], " ")); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}
