package wire

import (
	"errors"
	"io"
	"iter"
)

// An inflater undoes DEFLATE (RFC 1951) for a conversation: whatever can be known
// of what has come is handed over before more is waited for. The library's reader
// waits on where a client flushes in part (zlib's Z_PARTIAL_FLUSH, which RFC 4978
// section 4 speaks of), and so both sides would wait for each other.
//
// The work is done by a coroutine that stops whenever it has something and would
// have to wait. It costs a window of 64 KiB and a stack.
type inflater struct {
	src  io.Reader
	next func() ([]byte, bool)
	stop func()
	out  []byte // handed over by the coroutine, not yet read
	err  error

	in      []byte // read and not yet used
	buf     [512]byte
	bits    uint32
	n       uint // bits in bits
	window  []byte
	at      int // up to where the window is filled
	shown   int // up to where it was handed over
	yield   func([]byte) bool
	lit     huffman
	dist    huffman
	lengths [320]uint8
}

const (
	history = 32 << 10
	windows = 2 * history
)

var (
	errDeflate = errors.New("compressed data is malformed")
	errEnded   = errors.New("the reader was closed")
)

func newInflater(r io.Reader) *inflater {
	z := &inflater{src: r, window: make([]byte, windows)}
	z.next, z.stop = iter.Pull(func(yield func([]byte) bool) {
		z.yield = yield
		z.err = z.run()
		z.show()
	})
	return z
}

// Read implements io.Reader. Errors are final.
func (z *inflater) Read(p []byte) (int, error) {
	for len(z.out) == 0 {
		out, more := z.next()
		if !more {
			if z.err == nil {
				return 0, io.EOF
			}
			return 0, z.err
		}
		z.out = out
	}
	n := copy(p, z.out)
	z.out = z.out[n:]
	return n, nil
}

// close ends the coroutine.
func (z *inflater) close() { z.stop() }

// show hands over what there is.
func (z *inflater) show() bool {
	if z.shown == z.at {
		return true
	}
	out := z.window[z.shown:z.at]
	z.shown = z.at
	return z.yield(out)
}

// more gets another octet of input.
func (z *inflater) more() error {
	for len(z.in) == 0 {
		if !z.show() {
			return errEnded
		}
		n, err := z.src.Read(z.buf[:])
		if z.in = z.buf[:n]; n == 0 && err != nil {
			return err
		}
	}
	z.bits |= uint32(z.in[0]) << z.n
	z.in = z.in[1:]
	z.n += 8
	return nil
}

// take takes some bits, at most 16.
func (z *inflater) take(n uint) (uint32, error) {
	for z.n < n {
		if err := z.more(); err != nil {
			return 0, err
		}
	}
	v := z.bits & (1<<n - 1)
	z.bits >>= n
	z.n -= n
	return v, nil
}

// put adds an octet to the output.
func (z *inflater) put(c byte) error {
	if z.at == windows {
		if !z.show() {
			return errEnded
		}
		copy(z.window, z.window[windows-history:])
		z.at, z.shown = history, history
	}
	z.window[z.at] = c
	z.at++
	return nil
}

// run goes from block to block.
func (z *inflater) run() error {
	for {
		final, err := z.take(1)
		if err != nil {
			return err
		}
		kind, err := z.take(2)
		if err != nil {
			return err
		}
		switch kind {
		case 0:
			err = z.stored()
		case 1:
			z.fixed()
			err = z.block()
		case 2:
			if err = z.dynamic(); err == nil {
				err = z.block()
			}
		default:
			err = errDeflate
		}
		if err != nil || final == 1 {
			return err
		}
	}
}

func (z *inflater) stored() error {
	z.bits >>= z.n % 8
	z.n -= z.n % 8
	size, err := z.take(16)
	if err != nil {
		return err
	}
	check, err := z.take(16)
	if err != nil {
		return err
	}
	if size != ^check&0xffff {
		return errDeflate
	}
	for range size {
		c, err := z.take(8)
		if err == nil {
			err = z.put(byte(c))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fixed sets up the codes of RFC 1951 section 3.2.6.
func (z *inflater) fixed() {
	l := z.lengths[:288]
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	z.lit.build(l)
	d := z.lengths[:30]
	for i := range d {
		d[i] = 5
	}
	z.dist.build(d)
}

// dynamic reads the codes of a block (RFC 1951 section 3.2.7).
func (z *inflater) dynamic() error {
	var head [3]uint32
	for i, n := range [...]uint{5, 5, 4} {
		v, err := z.take(n)
		if err != nil {
			return err
		}
		head[i] = v
	}
	lits, dists, codes := int(head[0])+257, int(head[1])+1, int(head[2])+4
	if lits > 286 || dists > 30 {
		return errDeflate
	}
	order := [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	var sizes [19]uint8
	for _, at := range order[:codes] {
		v, err := z.take(3)
		if err != nil {
			return err
		}
		sizes[at] = uint8(v)
	}
	if !z.lit.build(sizes[:]) {
		return errDeflate
	}
	l := z.lengths[:lits+dists]
	for i := 0; i < len(l); {
		sym, err := z.symbol(&z.lit)
		if err != nil {
			return err
		}
		if sym < 16 {
			l[i] = uint8(sym)
			i++
			continue
		}
		if i, err = z.repeat(l, i, sym); err != nil {
			return err
		}
	}
	if l[256] == 0 || !z.lit.build(l[:lits]) || !z.dist.build(l[lits:]) {
		return errDeflate
	}
	return nil
}

// repeat fills in lengths that are told as a repetition.
func (z *inflater) repeat(l []uint8, i, sym int) (int, error) {
	var value uint8
	bits, least := uint(2), 3
	switch sym {
	case 16:
		if i == 0 {
			return 0, errDeflate
		}
		value = l[i-1]
	case 17:
		bits = 3
	default:
		bits, least = 7, 11
	}
	n, err := z.take(bits)
	if err != nil {
		return 0, err
	}
	end := i + least + int(n)
	if end > len(l) {
		return 0, errDeflate
	}
	for ; i < end; i++ {
		l[i] = value
	}
	return i, nil
}

// block reads the symbols of a block.
func (z *inflater) block() error {
	for {
		sym, err := z.symbol(&z.lit)
		switch {
		case err != nil:
			return err
		case sym < 256:
			if err := z.put(byte(sym)); err != nil {
				return err
			}
		case sym == 256:
			return nil
		default:
			if err := z.match(sym); err != nil {
				return err
			}
		}
	}
}

// match copies what was there before (RFC 1951 section 3.2.5).
func (z *inflater) match(sym int) error {
	if sym > 285 {
		return errDeflate
	}
	length, extra := 258, uint(0)
	switch n := sym - 257; {
	case n < 8:
		length = n + 3
	case n < 28:
		extra = uint(n/4 - 1)
		length = (4+n%4)<<extra + 3
	}
	more, err := z.take(extra)
	if err != nil {
		return err
	}
	length += int(more)
	d, err := z.symbol(&z.dist)
	if err != nil {
		return err
	}
	if d > 29 {
		return errDeflate
	}
	dist := d + 1
	if d > 3 {
		extra = uint(d/2 - 1)
		if more, err = z.take(extra); err != nil {
			return err
		}
		dist = (2+d%2)<<extra + int(more) + 1
	}
	for range length {
		if dist > z.at {
			return errDeflate
		}
		if err := z.put(z.window[z.at-dist]); err != nil {
			return err
		}
	}
	return nil
}
