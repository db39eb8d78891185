package migrate

import "io"

// crlf gives every line of a file the end that it has in a message: LF becomes
// CRLF. A CR that is not before an LF stays as it is.
type crlf struct {
	r   io.Reader
	in  []byte
	buf []byte
	err error
	// cr: the octet before in was a CR.
	cr bool
}

func newCRLF(r io.Reader) *crlf { return &crlf{r: r, buf: make([]byte, 16<<10)} }

// Read fills p with at least one octet, or fails. p must have room for two.
func (c *crlf) Read(p []byte) (n int, err error) {
	if len(p) < 2 {
		return 0, io.ErrShortBuffer
	}
	for n == 0 {
		if len(c.in) == 0 {
			if c.err != nil {
				return 0, c.err
			}
			var k int
			k, c.err = c.r.Read(c.buf)
			c.in = c.buf[:k]
		}
		for len(c.in) > 0 && n+1 < len(p) {
			b := c.in[0]
			c.in = c.in[1:]
			if b == '\n' && !c.cr {
				p[n] = '\r'
				n++
			}
			p[n] = b
			n++
			c.cr = b == '\r'
		}
	}
	return n, nil
}

// lf is the other way round: CRLF becomes LF as it is written, and a CR alone
// stays.
type lf struct {
	w   io.Writer
	buf []byte
	cr  bool
}

func (l *lf) Write(p []byte) (int, error) {
	l.buf = l.buf[:0]
	for _, b := range p {
		if l.cr && b != '\n' {
			l.buf = append(l.buf, '\r')
		}
		if l.cr = b == '\r'; !l.cr {
			l.buf = append(l.buf, b)
		}
	}
	if _, err := l.w.Write(l.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes a CR that nothing has followed.
func (l *lf) end() error {
	if !l.cr {
		return nil
	}
	l.cr = false
	_, err := l.w.Write([]byte{'\r'})
	return err
}
