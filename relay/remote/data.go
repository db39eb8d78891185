package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// block is how much of a body is sent under one deadline, and the most that is
// sent with BDAT.
const block = 64 << 10

// bodyError is trouble with our own side of a body.
type bodyError struct{ err error }

func (e bodyError) Error() string { return "reading the stored message: " + e.err.Error() }
func (e bodyError) Unwrap() error { return e.err }

// readBody gives a body block by block. An error is emit's, or a bodyError.
func (w *wire) readBody(r io.ReaderAt, size int64, emit func(p []byte) error) error {
	buf := w.buffers.body.Get().(*[block]byte)
	defer w.buffers.body.Put(buf)
	for at := int64(0); at < size; {
		n, err := r.ReadAt(buf[:min(block, size-at)], at)
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
		if err != nil && !(err == io.EOF && at+int64(n) == size) {
			return bodyError{fmt.Errorf("at octet %d of %d: %w", at, size, err)}
		}
		at += int64(n)
		if err := emit(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// sendBody sends a message and the end of data. An error means that the next
// hop has no end of data, so the connection has to be closed: it is a
// bodyError if the message could not be read, else the connection's.
func (w *wire) sendBody(r io.ReaderAt, size int64) error {
	lines := newLines(true)
	err := w.readBody(r, size, func(p []byte) error { return w.sendBlock(&lines, p) })
	if err != nil {
		return err
	}
	return w.endBody(&lines)
}

// sendMessage is sendBody for a message that is made while it is sent.
func (w *wire) sendMessage(m io.WriterTo) error {
	lines := newLines(true)
	to := &blockWriter{wire: w, lines: &lines}
	if _, err := m.WriteTo(to); err != nil {
		if to.err != nil {
			return to.err
		}
		return bodyError{err}
	}
	return w.endBody(&lines)
}

// blockWriter keeps the error of the connection apart from those of the message.
type blockWriter struct {
	wire  *wire
	lines *lines
	err   error
}

func (b *blockWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && b.err == nil; {
		n := min(len(rest), block)
		b.err = b.wire.sendBlock(b.lines, rest[:n])
		rest = rest[n:]
	}
	if b.err != nil {
		return 0, b.err
	}
	return len(p), nil
}

// sendBlock holds a part of a body back, together with others until there is
// enough for a write.
func (w *wire) sendBlock(l *lines, p []byte) error {
	w.room()
	if w.out = l.append(w.out, p); len(w.out) < block {
		return nil
	}
	return w.flush()
}

// endBody sends what is left and the end of data.
func (w *wire) endBody(l *lines) error {
	w.room()
	w.out = append(l.end(w.out), ".\r\n"...)
	return w.flush()
}

// putChunk holds back a whole message as the only chunk of BDAT (RFC 3030). An
// error is a bodyError, and then nothing of it was put.
func (w *wire) putChunk(r io.ReaderAt, size int64) error {
	w.room()
	lines, before := newLines(false), len(w.out)
	err := w.readBody(r, size, func(p []byte) error {
		w.out = lines.append(w.out, p)
		return nil
	})
	if err != nil {
		w.out = w.out[:before]
		return err
	}
	w.out = lines.end(w.out)
	// The command is put before the message now that its length is known.
	var command [32]byte
	c := append(command[:0], "BDAT "...)
	c = append(strconv.AppendInt(c, int64(len(w.out)-before), 10), " LAST\r\n"...)
	w.out = append(w.out, c...)
	copy(w.out[before+len(c):], w.out[before:len(w.out)-len(c)])
	copy(w.out[before:], c)
	return nil
}

// lines makes of a body what is sent: CRLF at the end of every line and of the
// whole, and, for DATA, a dot before a line's first dot (RFC 5321 section
// 4.5.2). A bare LF becomes CRLF, and a bare CR a space.
type lines struct {
	stuff bool
	bol   bool // at the beginning of a line
	cr    bool // a CR is held back until what follows it is known
}

func newLines(stuff bool) lines { return lines{stuff: stuff, bol: true} }

// append adds a part of the body to dst.
func (l *lines) append(dst, p []byte) []byte {
	if l.cr && len(p) > 0 {
		l.cr = false
		if p[0] != '\n' {
			dst, l.bol = append(dst, ' '), false
		}
	}
	for len(p) > 0 {
		if l.stuff && l.bol && p[0] == '.' {
			dst = append(dst, '.')
		}
		line, rest, ended := cutLine(p)
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line, l.cr = line[:n-1], !ended
		}
		at := len(dst)
		dst = append(dst, line...)
		for {
			i := bytes.IndexByte(dst[at:], '\r')
			if i < 0 {
				break
			}
			at += i
			dst[at] = ' '
		}
		if ended {
			dst = append(dst, "\r\n"...)
		}
		l.bol = ended || l.bol && len(line) == 0
		p = rest
	}
	return dst
}

// end adds what the body lacks at its end.
func (l *lines) end(dst []byte) []byte {
	if l.cr {
		dst, l.bol, l.cr = append(dst, ' '), false, false
	}
	if !l.bol {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func cutLine(p []byte) (line, rest []byte, ended bool) {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return p[:i], p[i+1:], true
	}
	return p, nil, false
}

// isOwn tells whether an error is of our own side of a body.
func isOwn(err error) bool { return errors.As(err, new(bodyError)) }
