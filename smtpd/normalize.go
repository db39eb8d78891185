package smtpd

import "io"

// normalizer reads a message and makes of its lines what they were meant to
// be: a bare LF or CR becomes CR LF, a NUL is dropped. CR CR LF, which some
// devices write for their line ends, is one line end and not two.
//
// Where the message ends has been decided before, by CR LF "." CR LF and
// nothing else: a dot that is alone in its line only afterwards is text.
type normalizer struct {
	from io.Reader
	raw  []byte
	left []byte // of raw
	err  error
	// cr is how many CRs wait for what follows: at most 2.
	cr int
	// out is what is ready, in room.
	out  []byte
	room [8]byte
}

func newNormalizer(from io.Reader) *normalizer {
	return &normalizer{from: from, raw: make([]byte, 4<<10)}
}

// Read returns clean text.
func (z *normalizer) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		switch {
		case len(z.out) > 0:
			k := copy(p[n:], z.out)
			n, z.out = n+k, z.out[k:]
		case len(z.left) > 0:
			z.step(z.left[0])
			z.left = z.left[1:]
		case z.err == io.EOF && z.cr > 0:
			z.lineEnds(z.cr)
			z.cr = 0
		case n > 0:
			return n, nil
		case z.err != nil:
			return 0, z.err
		default:
			var k int
			k, z.err = z.from.Read(z.raw)
			z.left = z.raw[:k]
		}
	}
	return n, nil
}

// step puts into out what an octet makes ready.
func (z *normalizer) step(ch byte) {
	switch ch {
	case 0:
	case '\n':
		z.lineEnds(1)
		z.cr = 0
	case '\r':
		if z.cr < 2 {
			z.cr++
		} else {
			z.lineEnds(1)
		}
	default:
		z.lineEnds(z.cr)
		z.cr = 0
		z.out = append(z.out, ch)
	}
}

func (z *normalizer) lineEnds(n int) {
	z.out = z.room[:0]
	for range n {
		z.out = append(z.out, '\r', '\n')
	}
}
