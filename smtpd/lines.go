package smtpd

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"strings"
	"time"
)

const (
	// maxCommand is the longest command line, with its CRLF: the 512 octets
	// of RFC 5321 section 4.5.3.1.4 and ample room for parameters.
	maxCommand = 2048
	// maxAuth is the longest line of a SASL exchange, and thus of AUTH
	// (RFC 4954 section 4).
	maxAuth = 12288
	// lineTimeout is for a line to arrive whole once it has begun, if
	// CommandTimeout is not shorter: a few octets now and then do not keep a
	// connection for long.
	lineTimeout = time.Minute
	// maxJunk is how many commands that lead to no message a connection may
	// give, until a message is accepted; each further one counts as an error.
	maxJunk = 100
	// maxSkip is how much of an overlong line is read to find its end.
	maxSkip = 128 << 10
)

var (
	errLongLine  = reply{500, code{5, 5, 2}, "Line too long"}
	errLongAuth  = reply{500, code{5, 5, 6}, "Authentication exchange line is too long"}
	errBareLine  = reply{500, code{5, 5, 2}, "Lines must end in CR LF"}
	errAhead     = reply{554, code{5, 5, 1}, "You must wait for the reply before you go on"}
	errCancelled = reply{501, code{5, 7, 0}, "Authentication cancelled"}
	errBase64    = reply{501, code{5, 5, 2}, "Not base64"}
)

// next reads a line and either has the library read it, by setting feed, or
// answers it.
func (c *conn) next() {
	if c.challenge {
		c.nextAuthLine()
		return
	}
	cmd, err := c.readCommand()
	if err == nil {
		err = c.judge(cmd)
	}
	if err == nil {
		err = c.dispatch(cmd)
	}
	if err != nil && !c.ended {
		c.send(translate(err).wire())
	}
}

// judge looks at when a command comes rather than at what it says.
func (c *conn) judge(cmd command) error {
	switch cmd.verb {
	case "NOOP", "RSET", "VRFY", "EHLO", "HELO", "LHLO":
		if c.junk++; c.junk > maxJunk && !c.tolerate(true) {
			c.hangup = true
			return errTooMany
		}
	}
	if c.ahead(cmd.verb) {
		c.hangup = true
		return errAhead
	}
	return nil
}

// ahead tells whether a stranger has sent more than it may before the reply to
// this command (RFC 2920 section 3.1): after a command whose reply decides on
// what follows, or anything at all where it has not been told that it may.
// Honest software waits there; what does not is made to send blindly, or has
// been talked into it by somebody else.
func (c *conn) ahead(verb string) bool {
	if !c.srv.opt.RefuseEarly || c.in.Buffered() == 0 || !c.stranger() {
		return false
	}
	switch verb {
	case "EHLO", "HELO", "LHLO", "DATA", "AUTH":
		return true
	case "BDAT", "QUIT":
		// What follows are the chunk, and nobody's business.
		return false
	}
	return !c.session.esmtp
}

// nextAuthLine reads the client's answer to a SASL challenge.
func (c *conn) nextAuthLine() {
	line, err := c.readLine(maxAuth)
	if c.ended {
		return
	}
	c.cmd.verb = "AUTH"
	switch {
	case err != nil:
		c.say(translate(err))
	case line == "*":
		c.say(errCancelled)
	case isBase64(line):
		c.feed = []byte(line + "\r\n")
		return
	default:
		c.say(errBase64)
	}
	// The library waits for an answer; cancelling is how it stops waiting.
	c.feed = []byte("*\r\n")
}

// isBase64 tells whether s can be a SASL response (RFC 4954 section 4). The
// decoder would pass over a CR.
func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil && !strings.Contains(s, "\r") || s == "="
}

// command is a command line, taken apart.
type command struct {
	line string
	verb string // in upper case
	arg  string // without white space around it
}

// readCommand reads the next command. An error that leaves the connection
// alive is the reply to it.
func (c *conn) readCommand() (command, error) {
	line := c.pushed
	c.pushed = ""
	if line == "" {
		var err error
		if line, err = c.readLine(maxAuth); err != nil {
			return command{}, err
		}
	}
	cmd, err := parseCommand(line)
	c.cmd = cmd
	return cmd, err
}

// readLine reads a line of at most max octets and returns it without CRLF.
// While it waits for one, nothing is left unsent. After a line with a bare LF
// the connection ends: for somebody in between, who knows only CR LF, it and
// what follows it are one line, and nothing of that may be run.
func (c *conn) readLine(max int) (string, error) {
	if err := c.awaitLine(); err != nil {
		c.readFailed(err)
		return "", errGone
	}
	if c.ended {
		return "", errGone
	}
	line, err := c.in.ReadSlice('\n')
	clean := bytes.HasSuffix(line, []byte("\r\n"))
	skipped := 0
	for ; err == bufio.ErrBufferFull && skipped <= maxSkip; skipped += largeBuffer {
		if skipped == 0 {
			// No honest line is so long: the rest of it can wait.
			c.session.wait(c.srv.limits.ErrorDelay)
		}
		cr := line[len(line)-1] == '\r'
		line, err = c.in.ReadSlice('\n')
		clean = bytes.HasSuffix(line, []byte("\r\n")) || cr && len(line) == 1
	}
	switch {
	case err == bufio.ErrBufferFull:
		c.hangUp(errLongLine)
		return "", errGone
	case err != nil:
		c.readFailed(err)
		return "", errGone
	case !clean:
		c.hangUp(errBareLine)
		return "", errGone
	case skipped > 0 || len(line) > max:
		if c.challenge || skipped == 0 && bytes.EqualFold(line[:5], []byte("AUTH ")) {
			return "", errLongAuth
		}
		return "", errLongLine
	}
	return string(line[:len(line)-2]), nil
}

// awaitLine waits for a line to begin, and sets the deadline for its end.
func (c *conn) awaitLine() error {
	limit, idle := c.srv.limits.CommandTimeout, !c.session.tx.open
	if c.in.hasLine() {
		return c.arm(limit, idle)
	}
	c.flush()
	c.in.shrink()
	if c.in.Buffered() == 0 && !c.ended {
		if err := c.arm(limit, idle); err != nil {
			return err
		}
		if _, err := c.in.Peek(1); err != nil {
			return err
		}
		if c.in.hasLine() {
			return nil
		}
	}
	if c.ended {
		return nil
	}
	return c.arm(min(limit, lineTimeout), idle)
}

// parseCommand takes a line apart. Only AUTH may be as long as maxAuth.
func parseCommand(line string) (command, error) {
	verb, arg, _ := strings.Cut(line, " ")
	cmd := command{line: line, arg: strings.Trim(arg, " ")}
	for i := range len(line) {
		if line[i] < ' ' || line[i] == 0x7f {
			return cmd, reply{500, code{5, 5, 2}, "Control character in command"}
		}
	}
	for i := range len(verb) {
		if c := verb[i] | 0x20; c < 'a' || c > 'z' {
			return cmd, reply{500, code{5, 5, 2}, "Command not recognized"}
		}
	}
	if len(verb) < 4 || len(verb) > 8 {
		return cmd, reply{500, code{5, 5, 2}, "Command not recognized"}
	}
	cmd.verb = strings.ToUpper(verb)
	switch {
	case cmd.verb == "AUTH" && len(line) > maxAuth-2:
		return cmd, errLongAuth
	case cmd.verb != "AUTH" && len(line) > maxCommand-2:
		return cmd, errLongLine
	}
	return cmd, nil
}
