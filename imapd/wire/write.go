package wire

import (
	"bytes"
	"net"
	"time"
)

// Write takes in responses. They are sent when the library waits for the
// client, or at once if it is waiting already.
func (c *Conn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.ended {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.mute {
		// The greeting is one line, and the library writes a line at once.
		c.mute = p[len(p)-1] != '\n'
		return len(p), nil
	}
	c.note(p)
	if c.bw == nil {
		c.bw = c.opt.Buffers.get(sink{c})
	}
	if _, err := c.bw.Write(p); err != nil {
		return 0, err
	}
	if c.asleep && !c.batching {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// note sees whether the last line of p is the reply to the command. The
// library writes each response with one Write, unless it is larger than its
// buffer of 4 KiB, which a reply is not; and the reply is the last that it
// writes before it reads again.
func (c *Conn) note(p []byte) {
	whole := bytes.HasSuffix(p, []byte("\n"))
	if c.tag == "" {
		// The greeting: no command was read yet.
		c.atStart = whole
		return
	}
	c.answered = false
	if whole {
		last := p[bytes.LastIndexByte(p[:len(p)-1], '\n')+1:]
		atStart := len(last) < len(p) || c.atStart
		rest, tagged := bytes.CutPrefix(last, []byte(c.tag))
		c.answered = atStart && tagged && len(rest) > 0 && rest[0] == ' '
	}
	c.atStart = whole
}

// begin is the start of a command: what is written from now on may be its
// reply.
func (c *Conn) begin(tag string) {
	c.wmu.Lock()
	c.tag, c.answered = tag, false
	c.wmu.Unlock()
}

func (c *Conn) isAnswered() bool {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.answered
}

// Batch has f write several responses that are sent together.
func (c *Conn) Batch(f func() error) error {
	c.wmu.Lock()
	c.batching = true
	c.wmu.Unlock()
	err := f()
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.batching = false
	if ferr := c.flush(); err == nil {
		err = ferr
	}
	return err
}

// Flush sends what was written.
func (c *Conn) Flush() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.flush()
}

// flush needs wmu. The buffer goes back even if it fails: then the connection
// is of no more use.
func (c *Conn) flush() error {
	if c.bw == nil {
		return nil
	}
	err := c.bw.Flush()
	c.opt.Buffers.put(c.bw)
	c.bw = nil
	if err != nil {
		c.ended = true
	}
	return err
}

// reply writes lines of our own, in the library's place.
func (c *Conn) reply(lines ...string) error {
	for _, l := range lines {
		if _, err := c.Write([]byte(l + "\r\n")); err != nil {
			return err
		}
	}
	return nil
}

// bye says the last words, unless they would fall into the middle of another
// response, and lets nothing more be written.
func (c *Conn) bye(text string) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if !c.ended && c.atStart {
		if c.bw == nil {
			c.bw = c.opt.Buffers.get(sink{c})
		}
		c.bw.WriteString("* BYE " + text + "\r\n")
		c.flush()
	}
	c.ended = true
}

// sink is the client's side of the write buffer.
type sink struct{ c *Conn }

func (s sink) Write(p []byte) (int, error) {
	s.c.Conn.SetWriteDeadline(time.Now().Add(s.c.patience))
	return s.c.Conn.Write(p)
}
