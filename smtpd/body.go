package smtpd

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"
)

var (
	// errGone: the connection has ended; there is nobody to reply to.
	errGone = errors.New("smtpd: connection ended")
	// errAborted: the client gave up a message between two chunks; it has
	// had a reply to each of its commands, and waits for none.
	errAborted = errors.New("smtpd: message aborted by the client")

	errBareBody = reply{550, code{5, 5, 2}, "Message has a bare CR or LF: lines must end in CR LF"}
	errNulBody  = reply{550, code{5, 5, 2}, "Message has a NUL octet"}
	errSlow     = reply{421, code{4, 4, 2}, "Too slow, closing the connection"}
)

// body is a message on its way in, by DATA or BDAT. It is the only place that
// decides where a message ends, so there is nobody to disagree with it. Only
// CR LF "." CR LF ends a DATA (RFC 5321 section 4.1.1.4); a message with line
// ends of another kind, or with NUL, is read to that end and then refused,
// since the next server on its way might see an end where we saw none. From
// listed networks it is made clean instead: see normalizer.
type body struct {
	conn *conn
	// chunked is BDAT: left is what remains of the chunk, last tells that
	// it is the last.
	chunked, last bool
	left          int64
	opened        bool
	chunk         int64 // size of the chunk, for the reply to it
	// clean is what the message is read through to be normalized, or nil.
	clean *normalizer

	state lineState
	// size counts the octets of the message, as received.
	size           int64
	eightBit, bare bool
	// crcr: the last line end had one CR more.
	nul, crcr bool
	err       error
	pace      pace
}

// fault is why a message that was read to its end is refused, or nil.
func (b *body) fault() error {
	switch {
	case b.clean != nil:
		return nil
	case b.bare:
		return errBareBody
	case b.nul:
		return errNulBody
	}
	return nil
}

// doubtful tells whether somebody in between may disagree on where the message
// has ended, so that what follows could be its rest: nothing of that is run.
// After a clean end a message that was normalized is in no doubt but where CR
// CR LF came before the dot; some do not see a line end in that.
func (b *body) doubtful() bool {
	return b.fault() != nil || b.clean != nil && !b.chunked && b.crcr
}

// pace is how fast a message comes.
type pace struct {
	waited time.Duration
	octets int // that were used
}

// slower notes a time of waiting, after which some octets are there to be used,
// and tells whether the client has been slower than it may be over a whole
// window. Only the time in which it was its turn counts, and only the average
// does: a slow link that stalls now and then does well enough.
func (p *pace) slower(l Limits, waited time.Duration, there int) bool {
	p.waited += waited
	if l.MinRate <= 0 || p.waited < l.RateWindow {
		return false
	}
	slow := float64(p.octets+there) < float64(l.MinRate)*p.waited.Seconds()
	*p = pace{}
	return slow
}

// lineState is what came before the next octet.
type lineState uint8

const (
	lineStart lineState = iota // CR LF, or nothing
	inLine
	afterCR
	afterDot   // a dot at the start of a line, not given out
	afterDotCR // that and CR, not given out
)

// open tells the client to go on, if it waits for that, and lets Read begin.
func (b *body) open() {
	b.opened = true
	b.chunk = b.left
	c := b.conn
	c.in.grow()
	if c.srv.normalizes(c.session.addr) {
		b.clean = newNormalizer(readerFunc(b.read))
	}
	if !b.chunked {
		b.conn.send([]byte("354 Go ahead, end with a line of one dot\r\n"))
	}
}

// Read returns the message without the transparency of DATA, and io.EOF after
// its end. It fails with errTooBig once it has given out more than the limit,
// with errGone and errAborted.
func (b *body) Read(p []byte) (n int, err error) {
	if b.clean != nil {
		n, err = b.clean.Read(p)
	} else {
		n, err = b.read(p)
	}
	if err == nil && b.size > b.conn.srv.limits.MaxSize {
		err = errTooBig
	}
	return n, err
}

// readerFunc is a reader that is a function.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// read is Read before the message is normalized.
func (b *body) read(p []byte) (int, error) {
	for b.err == nil {
		if b.chunked && b.left == 0 {
			b.endChunk()
			continue
		}
		buf, err := b.fill()
		if err != nil {
			b.err = err
			break
		}
		var used, n int
		if b.chunked {
			n = copy(p, buf)
			used = n
			b.left -= int64(n)
			b.inspect(buf[:n])
		} else {
			used, n = b.unstuff(p, buf)
		}
		b.conn.in.Discard(used)
		b.pace.octets += used
		b.size += int64(n)
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, b.err
}

// fill returns what the client has sent of the message, waiting for some.
func (b *body) fill() ([]byte, error) {
	c := b.conn
	if c.in.Buffered() == 0 {
		c.flush()
		if c.ended {
			return nil, errGone
		}
		begin := time.Now()
		err := c.arm(c.srv.limits.DataTimeout, false)
		if err == nil {
			_, err = c.in.Peek(1)
		}
		if err != nil {
			c.readFailed(err)
			return nil, errGone
		}
		if b.pace.slower(c.srv.limits, time.Since(begin), c.in.Buffered()) {
			c.hangUp(errSlow)
			return nil, errGone
		}
	}
	buf, _ := c.in.Peek(c.in.Buffered())
	if b.chunked && int64(len(buf)) > b.left {
		buf = buf[:b.left]
	}
	return buf, nil
}

// unstuff copies from src to dst, takes the added dots out, and sets err to
// io.EOF at the end of the message.
func (b *body) unstuff(dst, src []byte) (used, n int) {
	for used < len(src) && n < len(dst) {
		if b.state == inLine {
			k := b.plain(src[used:min(len(src), used+len(dst)-n)])
			copy(dst[n:], src[used:used+k])
			used, n = used+k, n+k
			if used == len(src) || n == len(dst) {
				break
			}
		}
		ch := src[used]
		switch {
		case b.state == lineStart && ch == '.':
			b.state = afterDot
			used++
			continue
		case b.state == afterDot && ch == '\r':
			b.state = afterDotCR
			used++
			continue
		case b.state == afterDotCR && ch == '\n':
			b.err = io.EOF
			return used + 1, n
		case b.state == afterDotCR:
			// The CR was the line's own; ch is looked at again.
			ch = '\r'
			b.state = inLine
		default:
			used++
		}
		b.step(ch)
		dst[n] = ch
		n++
	}
	return used, n
}

// inspect passes over octets that have no transparency.
func (b *body) inspect(p []byte) {
	for i := 0; i < len(p); i++ {
		b.step(p[i])
		if b.state == inLine {
			i += b.plain(p[i+1:])
		}
	}
}

// plain returns how many octets p begins with that do not matter to the lines.
// It looks at eight at a time: this is where most of a message goes by.
func (b *body) plain(p []byte) int {
	const ones = 0x0101010101010101
	var seen uint64
	n := 0
	for n < len(p) {
		if n+8 <= len(p) {
			// Whether an octet is less than 14, as NUL, LF and CR are.
			word := binary.LittleEndian.Uint64(p[n:])
			if (word-14*ones)&^word&(0x80*ones) == 0 {
				seen |= word
				n += 8
				continue
			}
		}
		end := min(n+8, len(p))
		for n < end && p[n] != '\r' && p[n] != '\n' && p[n] != 0 {
			seen |= uint64(p[n])
			n++
		}
		if n < end {
			break
		}
	}
	if seen&(0x80*ones) != 0 {
		b.eightBit = true
	}
	return n
}

// step notes an octet that is part of the message.
func (b *body) step(ch byte) {
	wasCR := b.state == afterCR
	b.state = inLine
	switch {
	case ch == '\n' && wasCR:
		b.state = lineStart
		return
	case ch == '\r':
		b.state, b.crcr = afterCR, wasCR
	case ch == '\n':
		b.bare = true
	case ch == 0:
		b.nul = true
	case ch >= 0x80:
		b.eightBit = true
	}
	if wasCR {
		b.bare = true
	}
}

// endChunk ends the message after its last chunk, and waits for the next
// after another.
func (b *body) endChunk() {
	if b.last {
		if b.state == afterCR {
			b.bare = true
		}
		b.err = io.EOF
		return
	}
	c := b.conn
	c.send(reply{250, code{2, 0, 0}, strconv.FormatInt(b.chunk, 10) + " octets received"}.wire())
	for b.err == nil && b.left == 0 && !b.last {
		begin := time.Now()
		b.err = b.nextChunk()
		if !c.ended && b.pace.slower(c.srv.limits, time.Since(begin), c.in.Buffered()) {
			c.hangUp(errSlow)
			b.err = errGone
		}
	}
}

// nextChunk reads one command between two chunks. It fails when the message
// is over, one way or another; what does not end it has been answered.
func (b *body) nextChunk() error {
	c := b.conn
	cmd, err := c.readCommand()
	if c.ended {
		return errGone
	}
	if err != nil {
		return b.answer(translate(err))
	}
	switch cmd.verb {
	case "BDAT":
		size, last, err := parseBdat(cmd.arg)
		if err != nil {
			c.hangUp(translate(err))
			return errGone
		}
		b.left, b.chunk, b.last = size, size, last
		if size > c.srv.limits.MaxSize-b.size {
			return errTooBig
		}
		if size == 0 && !last {
			return b.answer(reply{250, code{2, 0, 0}, "0 octets received"})
		}
		return nil
	case "NOOP":
		return b.answer(reply{250, code{2, 0, 0}, "OK"})
	case "RSET", "EHLO", "HELO", "QUIT":
		c.pushed = cmd.line
		return errAborted
	}
	return b.answer(reply{503, code{5, 5, 1}, "A message is being transferred"})
}

func (b *body) answer(r reply) error {
	b.conn.send(r.wire())
	if b.conn.ended {
		return errGone
	}
	return nil
}

// drain reads what the client still sends, since it does not look at replies
// before: the rest of the message, or of the chunk. It reads no more than twice
// what a message may have in all, and tells whether that was enough.
func (b *body) drain() bool {
	if !b.chunked && !b.opened || b.err == errGone || b.err == errAborted {
		return true
	}
	limit := b.conn.srv.limits.MaxSize
	if b.chunked {
		for b.left > 0 {
			buf, err := b.fill()
			if err != nil || b.left > 2*limit {
				return false
			}
			n, _ := b.conn.in.Discard(len(buf))
			b.pace.octets += n
			b.left -= int64(n)
		}
		return true
	}
	scratch := make([]byte, 4<<10)
	for b.err == nil && limit > 0 {
		n, _ := b.read(scratch)
		limit -= int64(n)
	}
	return b.err == io.EOF
}
