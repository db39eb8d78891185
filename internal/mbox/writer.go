// Package mbox reads and writes mbox files. It writes mboxrd, which loses nothing
// but the kind of line ends, and reads that and what mail programs make of it:
// their flags in the header, From_ lines in several forms. Memory is bounded
// whatever is read.
package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"restante/internal/mail"
)

// Writer writes messages as mboxrd: a From_ line in front, every line that
// begins with any number of ">" and then "From " has one ">" more, line ends are
// LF, and an empty line follows.
type Writer struct{ w *bufio.Writer }

// NewWriter returns a Writer; Flush ends what was written.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriterSize(w, 64<<10)} }

// Flush writes what is held back.
func (m *Writer) Flush() error { return m.w.Flush() }

// Message writes one: who sent it, when it came, fields that are put in front of
// its header (with LF), and its text.
func (m *Writer) Message(from mail.Address, at time.Time, fields string, text io.Reader) error {
	sender := "MAILER-DAEMON"
	if !from.IsNull() {
		// Spaces can stand in a quoted local part, and end the address here.
		sender = strings.ReplaceAll(from.String(), " ", "-")
	}
	if _, err := m.w.WriteString("From " + sender + " " + at.UTC().Format(time.ANSIC) + "\n" + fields); err != nil {
		return err
	}
	in := bufio.NewReaderSize(text, 64<<10)
	begins, cr, mid := true, false, false
	for {
		part, err := in.ReadSlice('\n')
		if cr && (len(part) == 0 || part[0] != '\n') {
			m.w.WriteByte('\r') // the error stays with the writer
		}
		cr = false
		if begins && quotable(part) {
			m.w.WriteByte('>')
		}
		whole := bytes.HasSuffix(part, []byte("\n"))
		switch {
		case bytes.HasSuffix(part, []byte("\r\n")):
			part = append(part[:len(part)-2:len(part)-2], '\n')
		case errors.Is(err, bufio.ErrBufferFull) && bytes.HasSuffix(part, []byte("\r")):
			part, cr = part[:len(part)-1], true
		}
		if len(part) > 0 {
			mid = !whole
		}
		if _, err := m.w.Write(part); err != nil {
			return err
		}
		begins = whole
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	if mid {
		m.w.WriteByte('\n')
	}
	return m.w.WriteByte('\n')
}

// quotable tells whether a line could be taken for a From_ line, or for a quoted
// one.
func quotable(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
}
