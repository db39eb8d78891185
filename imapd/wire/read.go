package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrTail: something stands between the message of an APPEND and the end of
// the command; most likely a second message (RFC 3502), which the library does
// not know.
var ErrTail = errors.New("octets after the message of an APPEND")

// command is what is known of the command being read or executed.
type command struct {
	tag, verb string
	// size counts the octets of its lines and literals so far, without the
	// message of an APPEND.
	size int
	// lit is what the last line announced at its end.
	lit literal
	// left is what of that literal was not yet handed over.
	left int64
	// badTail: see ErrTail.
	badTail bool
	search  searchMender
}

// Read hands over the rest of a line or of a literal, or goes on to the next.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.pending) == 0 {
		if c.cmd.left > 0 && !c.isAnswered() {
			n, err := c.br.Read(p[:min(int64(len(p)), c.cmd.left)])
			c.cmd.left -= int64(n)
			if n == 0 && err != nil {
				return 0, c.ending(unexpected(err))
			}
			return n, nil
		}
		if err := c.next(); err != nil {
			return 0, c.ending(err)
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// next finds out what the library is to read next.
func (c *Conn) next() error {
	switch {
	case c.isAnswered():
		if err := c.skip(); err != nil {
			return err
		}
		return c.start()
	case c.cmd.lit.announced:
		return c.resume()
	}
	return c.interact()
}

// skip throws away what is still to come of a command that was answered.
func (c *Conn) skip() error {
	for c.cmd.lit.announced {
		if c.cmd.lit.sync && c.cmd.left == c.cmd.lit.size {
			// The client was waiting to be asked for it, and was refused.
			break
		}
		limit := int64(16 * MaxLiteral)
		if c.authenticated() {
			limit = max(limit, 4*c.opt.MaxMessage)
		}
		if c.cmd.left > limit {
			c.bye("Literal is too large")
			return io.EOF
		}
		if err := c.discard(c.cmd.left); err != nil {
			return unexpected(err)
		}
		line, _, err := c.readLine(MaxLine)
		if err != nil {
			return unexpected(err)
		}
		c.cmd.announce(line)
	}
	c.cmd.lit = literal{}
	return nil
}

func (c *Conn) discard(n int64) error {
	for n > 0 {
		m, err := c.br.Discard(int(min(n, 1<<20)))
		n -= int64(m)
		if err != nil {
			return err
		}
	}
	return nil
}

// start waits for a command and reads its first line.
func (c *Conn) start() error {
	for {
		if cap(c.line) > readBuffer {
			c.line = nil
		}
		c.setQuiet(true)
		if c.isStopping() {
			return errStopped
		}
		if _, err := c.br.Peek(1); err != nil {
			return err
		}
		c.setQuiet(false)
		line, long, err := c.readLine(MaxLine)
		if err != nil {
			return unexpected(err)
		}
		done, err := c.open(line, long)
		if done || err != nil {
			return err
		}
		if err := c.skip(); err != nil {
			return err
		}
		if c.faults > maxFaults {
			c.bye("Too many malformed commands")
			return io.EOF
		}
	}
}

// open looks at the first line of a command. It is done when there is
// something for the library to read, or the connection ends; else the line was
// dealt with.
func (c *Conn) open(line []byte, long bool) (done bool, err error) {
	tag, verb := words(line)
	c.cmd = command{tag: tag, verb: verb, size: len(line)}
	c.cmd.announce(line)
	c.begin(tag)
	fault := ""
	switch {
	case isBlank(line):
		c.faults++
		return false, nil
	case tag == "":
		fault = "* BAD Malformed tag"
	case verb == "":
		fault = tag + " BAD A command is missing"
	case long:
		fault = tag + " BAD Command line is too long"
	case !quotesClosed(line):
		fault = tag + " BAD Quoted string is not closed"
	case c.cmd.tooLarge() || c.cmd.lit.message && c.cmd.lit.size > MaxLiteral && !c.authenticated():
		fault = fmt.Sprintf("%s NO [TOOBIG] Literals of this command are limited to %d octets", tag, MaxLiteral)
	}
	if fault == "" {
		line = c.cmd.search.begin(line)
		if key := c.cmd.search.unknown; key != "" {
			fault = fmt.Sprintf("%s BAD Unknown SEARCH key %.40q", tag, key)
		}
	}
	if fault != "" {
		c.faults++
		return false, c.reply(fault)
	}
	c.faults = 0
	switch {
	case verb == "STARTTLS" && c.opt.StartTLS && isBlank(line[len(tag)+1+len(verb):]):
		return true, c.startTLS(tag)
	case verb == "ID" && !c.cmd.lit.announced:
		return false, c.reply(`* ID ("name" "restante")`, tag+" OK ID completed")
	}
	c.pending = line
	return true, nil
}

// startTLS ends this Conn so that its owner can go on under TLS. Octets that
// came after the command, in the clear, would be taken for what came under
// TLS: such a connection is closed.
func (c *Conn) startTLS(tag string) error {
	if c.br.Buffered() > 0 {
		c.bye("Commands may not follow STARTTLS before TLS")
		return io.EOF
	}
	if err := c.reply(tag + " OK Begin TLS negotiation now"); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	c.wmu.Lock()
	c.ended = true
	c.wmu.Unlock()
	c.upgrade = true
	return io.EOF
}

// resume reads the line after a literal.
func (c *Conn) resume() error {
	line, long, err := c.readLine(max(MaxLine-c.cmd.size, 0))
	if err != nil {
		return unexpected(err)
	}
	if c.cmd.lit.message {
		c.pending = c.tail(line)
		return nil
	}
	c.cmd.size += len(line) + int(c.cmd.lit.size)
	c.cmd.announce(line)
	c.pending = line
	if c.cmd.search.active {
		c.pending = []byte(c.cmd.search.mend(string(line)))
	}
	if c.cmd.search.unknown != "" || long || !quotesClosed(line) || c.cmd.tooLarge() {
		// No command goes on like this: the library will say BAD, and what is
		// still to come is skipped.
		c.pending = []byte("{\r\n")
	}
	return nil
}

// tail checks what follows a message, and gives the library what has to.
func (c *Conn) tail(line []byte) []byte {
	want := c.cmd.lit.tail
	if trimEnd(line) != want {
		c.cmd.badTail = true
		c.cmd.announce(line)
	} else {
		c.cmd.lit = literal{}
	}
	return []byte(want + "\r\n")
}

// EndMessage is for the goroutine that executes an APPEND, once it has read
// the message: it reads the end of the command and fails with ErrTail if that
// is not all.
func (c *Conn) EndMessage() error {
	if c.cmd.lit.message && c.cmd.left == 0 && len(c.pending) == 0 {
		if err := c.resume(); err != nil {
			return err
		}
	}
	if c.cmd.badTail {
		return ErrTail
	}
	return nil
}

// interact reads a line that is no command: what AUTHENTICATE asks for, and
// the end of IDLE.
func (c *Conn) interact() error {
	c.setQuiet(true)
	line, long, err := c.readLine(MaxLine)
	if err != nil {
		return err
	}
	c.setQuiet(false)
	if long {
		c.bye("Line is too long")
		return io.EOF
	}
	if c.cmd.verb == "IDLE" && strings.EqualFold(trimEnd(line), "DONE") {
		line = []byte("DONE\r\n")
	}
	c.pending = line
	return nil
}

func (c *Conn) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// readLine reads a line with its end. Of a line longer than limit it keeps the
// beginning, for the tag, and the end, for the literal that it may announce.
func (c *Conn) readLine(limit int) (line []byte, long bool, err error) {
	const head, foot = 256, 64
	c.line = c.line[:0]
	total := 0
	for {
		part, err := c.br.ReadSlice('\n')
		total += len(part)
		if c.line = append(c.line, part...); long || len(c.line) > limit {
			if n := len(c.line) - foot; n > head {
				c.line = append(c.line[:head], c.line[n:]...)
			}
			long = true
		}
		switch {
		case err == nil:
			return c.line, long, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		case total > maxLost:
			c.bye("Line is too long")
			return nil, false, io.EOF
		}
	}
}

// unexpected marks an end of the connection in the middle of a command.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
