package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"restante/internal/mail"
)

// mboxWriter writes messages as mboxrd: a From_ line in front, every line that
// begins with any number of ">" and then "From " has one ">" more, line ends are
// LF, and an empty line follows.
type mboxWriter struct{ w *bufio.Writer }

func (m *mboxWriter) message(from mail.Address, at time.Time, text io.Reader) error {
	sender := "MAILER-DAEMON"
	if !from.IsNull() {
		// Spaces can stand in a quoted local part, and end the address here.
		sender = strings.ReplaceAll(from.String(), " ", "-")
	}
	if _, err := m.w.WriteString("From " + sender + " " + at.UTC().Format(time.ANSIC) + "\n"); err != nil {
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
