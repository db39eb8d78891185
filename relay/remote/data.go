package remote

import (
	"bufio"
	"fmt"
	"io"
	"time"
)

// block is how much of a body is sent under one deadline.
const block = 64 << 10

// bodyError is trouble with our own side of a body.
type bodyError struct{ err error }

func (e bodyError) Error() string { return "reading the stored message: " + e.err.Error() }
func (e bodyError) Unwrap() error { return e.err }

// sendBody sends a message and the end of data. An error means that the next
// hop has no end of data, so the connection has to be closed: it is a
// bodyError if the message could not be read, else the connection's.
func (w *wire) sendBody(r io.ReaderAt, size int64) error {
	buf := make([]byte, block)
	d := dataWriter{w: w.bw, bol: true}
	for at := int64(0); at < size; {
		n, err := r.ReadAt(buf[:min(block, size-at)], at)
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
		if err != nil && !(err == io.EOF && at+int64(n) == size) {
			return bodyError{fmt.Errorf("at octet %d of %d: %w", at, size, err)}
		}
		at += int64(n)
		if err := w.conn.SetWriteDeadline(time.Now().Add(w.limit.Block)); err != nil {
			return err
		}
		if err := d.write(buf[:n]); err != nil {
			return err
		}
	}
	return w.endBody(&d)
}

// sendMessage is sendBody for a message that is made while it is sent.
func (w *wire) sendMessage(m io.WriterTo) error {
	d := dataWriter{w: w.bw, bol: true}
	paced := &pacedWriter{wire: w, to: &d}
	if _, err := m.WriteTo(paced); err != nil {
		if paced.err != nil {
			return paced.err
		}
		return bodyError{err}
	}
	return w.endBody(&d)
}

// pacedWriter gives each block of a body its deadline, and keeps the error of
// the connection apart from those of the message.
type pacedWriter struct {
	wire *wire
	to   *dataWriter
	left int
	err  error
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left <= 0 && p.err == nil {
		p.left = block
		p.err = p.wire.conn.SetWriteDeadline(time.Now().Add(p.wire.limit.Block))
	}
	if p.err == nil {
		p.err = p.to.write(b)
	}
	if p.err != nil {
		return 0, p.err
	}
	return len(b), nil
}

// endBody sends the end of data.
func (w *wire) endBody(d *dataWriter) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.limit.Block)); err != nil {
		return err
	}
	if err := d.end(); err != nil {
		return err
	}
	return w.bw.Flush()
}

// dataWriter writes a body as DATA wants it (RFC 5321 section 4.5.2): a dot
// before a line's first dot, CRLF at the end of every line and of the whole.
// A bare LF becomes CRLF, and a bare CR a space.
type dataWriter struct {
	w   *bufio.Writer
	bol bool // at the beginning of a line
	cr  bool // a CR is held back until what follows it is known
}

func (d *dataWriter) write(p []byte) error {
	// The errors between are not looked at: a bufio.Writer keeps its first.
	start := 0 // of what is not yet written
	for i, c := range p {
		if d.cr && c != '\n' {
			d.w.WriteByte(' ')
			d.cr, d.bol = false, false
		}
		switch {
		case c == '\r':
			d.w.Write(p[start:i])
			d.cr, start = true, i+1
		case c == '\n':
			d.w.Write(p[start:i])
			d.w.WriteString("\r\n")
			d.bol, d.cr, start = true, false, i+1
			continue
		case c == '.' && d.bol:
			d.w.WriteByte('.')
		}
		d.bol = d.bol && c == '\r'
	}
	_, err := d.w.Write(p[start:])
	return err
}

// end writes the end of data.
func (d *dataWriter) end() error {
	if d.cr {
		d.w.WriteByte(' ')
		d.bol = false
	}
	if !d.bol {
		d.w.WriteString("\r\n")
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}
