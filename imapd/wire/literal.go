package wire

import (
	"fmt"
	"io"
)

// whole takes the octets of a literal into memory.
func (d *Decoder) whole(size int64) string {
	if d.err != nil {
		return ""
	}
	if d.lits += size; d.lits > d.limit {
		d.err = &LimitError{fmt.Sprintf("Literals of a command are limited to %d octets", d.limit)}
		return ""
	}
	if !d.want() {
		return ""
	}
	b := make([]byte, size)
	n, err := io.ReadFull(d.c.reader(), b)
	d.tail -= int64(n)
	d.fault(err)
	if d.err != nil {
		return ""
	}
	return string(b)
}

// Literal takes the announcement of a literal, {n}, {n+} or ~{n}. Its octets must
// be read next, by Stream. It is not ok if there is none.
func (d *Decoder) Literal() (size int64, binary, ok bool) {
	if binary = d.peek() == '~'; binary {
		d.next()
	}
	if d.peek() != '{' {
		if binary {
			d.Fail("A literal is missing")
		}
		return 0, false, false
	}
	d.next()
	size = int64(d.Number64())
	sync := !d.Try('+')
	if sync {
		d.Try('-')
	}
	d.Expect('}')
	d.Try('\r')
	d.Expect('\n')
	if d.err != nil {
		return 0, false, false
	}
	d.tail, d.refused = size, sync
	return size, binary, true
}

// want asks for the octets of a literal, if the client waits to be asked.
func (d *Decoder) want() bool {
	if d.err == nil && d.refused {
		d.refused = false
		_, err := d.c.Write([]byte("+ Ready for literal data\r\n"))
		d.fault(err)
	}
	return d.err == nil
}

// Stream reads the octets of the literal that was announced.
func (d *Decoder) Stream() io.Reader {
	d.want()
	return stream{d}
}

type stream struct{ d *Decoder }

func (s stream) Read(p []byte) (int, error) {
	d := s.d
	switch {
	case d.err != nil:
		return 0, d.err
	case d.tail == 0:
		return 0, io.EOF
	}
	n, err := d.c.reader().Read(p[:min(int64(len(p)), d.tail)])
	d.tail -= int64(n)
	if n == 0 && err != nil {
		d.fault(err)
		return 0, d.err
	}
	return n, nil
}
