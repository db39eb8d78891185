package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
)

// Finish throws away what is left of the command. It fails if the connection
// cannot go on.
func (d *Decoder) Finish() error {
	var syntax *SyntaxError
	var limit *LimitError
	var refused *RefusedError
	if d.err != nil && !errors.As(d.err, &syntax) && !errors.As(d.err, &limit) && !errors.As(d.err, &refused) {
		return d.err
	}
	for {
		if d.refused {
			// The client waits to be asked for a literal, and is refused.
			d.refused, d.tail, d.ended = false, 0, true
			return nil
		}
		if d.tail > 4*d.big {
			return ErrLost
		}
		if err := d.discard(); err != nil {
			return err
		}
		if d.ended {
			return nil
		}
		if err := d.skipLine(); err != nil {
			return err
		}
	}
}

func (d *Decoder) discard() error {
	for d.tail > 0 {
		n, err := d.c.reader().Discard(int(min(d.tail, 1<<20)))
		d.tail -= int64(n)
		if err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// maxLost bounds a line that is thrown away, in octets.
const maxLost = 1 << 20

// skipLine throws a line away, and notes the literal that it announces.
func (d *Decoder) skipLine() error {
	foot := d.taken()
	for total := 0; ; {
		part, err := d.c.reader().ReadSlice('\n')
		total += len(part)
		foot = append(foot, part...)
		if n := len(foot) - footSize; n > 0 {
			foot = append(foot[:0], foot[n:]...)
		}
		switch {
		case err == nil:
			d.ended = true
			d.announced(strings.TrimRight(string(foot), "\r\n"))
			return nil
		case len(part) == 0:
			return unexpected(err)
		case total > maxLost:
			return ErrLost
		}
	}
}

// taken returns the end of what was taken of the line, once.
func (d *Decoder) taken() []byte {
	var foot []byte
	for i := max(d.line-footSize, 0); i < d.line; i++ {
		foot = append(foot, d.foot[i%footSize])
	}
	d.line = 0
	return foot[bytes.LastIndexByte(foot, '\n')+1:]
}

// announced looks for a literal at the end of a line.
func (d *Decoder) announced(line string) {
	open := strings.LastIndexByte(line, '{')
	if open < 0 || !strings.HasSuffix(line, "}") {
		return
	}
	digits, plus := strings.CutSuffix(line[open+1:len(line)-1], "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		size = math.MaxInt64
	}
	d.tail, d.refused, d.ended = size, !plus, false
}

// unexpected marks an end of the connection in the middle of a command.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Line reads a line that is no command: what AUTHENTICATE asks for, and the end
// of IDLE. It has no line end, and at most limit octets; a longer one is thrown
// away and a *LimitError, or ErrLost.
func (c *Conn) Line(limit int) (string, error) {
	var line []byte
	for total := 0; ; {
		part, err := c.reader().ReadSlice('\n')
		total += len(part)
		if total <= limit+2 {
			line = append(line, part...)
		}
		switch {
		case total > maxLost:
			return "", ErrLost
		case err == nil && total > limit+2:
			return "", &LimitError{"Line is too long"}
		case err == nil:
			return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
		case len(part) == 0:
			return "", unexpected(err)
		}
	}
}
