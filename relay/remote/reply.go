package remote

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"restante/internal/mail"
)

// Bounds of one reply of a next hop.
const (
	maxReplyLines = 512
	maxReplySize  = 64 << 10
	// maxText bounds what of a reply's words is kept, in octets.
	maxText = 1000
)

// errReply is wrapped by the errors of what is no reply.
var errReply = errors.New("not an SMTP reply")

// reply is one reply (RFC 5321 section 4.2): its code and the text of its lines.
type reply struct {
	code  int
	lines []string
}

// readReply reads one reply. It takes lines that end with a bare LF, and
// refuses all else that RFC 5321 does not allow.
func readReply(r *bufio.Reader) (reply, error) {
	var rep reply
	left := maxReplySize
	for range maxReplyLines {
		line, err := readLine(r, left)
		if err != nil {
			return reply{}, err
		}
		left -= len(line)
		code, last, text, ok := parseReplyLine(strings.TrimRight(line, "\r\n"))
		if !ok || rep.code != 0 && code != rep.code {
			return reply{}, fmt.Errorf("%w: %q", errReply, mail.Line(line, 80))
		}
		rep.code = code
		rep.lines = append(rep.lines, text)
		if last {
			return rep, nil
		}
	}
	return reply{}, fmt.Errorf("%w: more than %d lines", errReply, maxReplyLines)
}

// readLine reads up to and with LF, at most limit octets.
func readLine(r *bufio.Reader, limit int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return "", fmt.Errorf("%w: more than %d octets", errReply, maxReplySize)
		}
		if err == nil && line == nil {
			return string(part), nil
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return string(line), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			return "", io.ErrUnexpectedEOF
		default:
			return "", err
		}
	}
}

// parseReplyLine reads a line without its end.
func parseReplyLine(line string) (code int, last bool, text string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(line[i]-'0')
	}
	if len(line) == 3 {
		return code, true, "", true
	}
	return code, line[3] == ' ', line[4:], line[3] == ' ' || line[3] == '-'
}

// status makes of a reply what is kept of it: one printable line, without the
// enhanced code that the lines may begin with (RFC 2034).
func (r reply) status(remote string) mail.Status {
	s := mail.Status{Code: r.code, Remote: remote}
	words := make([]string, 0, len(r.lines))
	for _, line := range r.lines {
		word, text, _ := strings.Cut(line, " ")
		if enhanced, ok := mail.ParseEnhanced(word); ok && enhanced[0] == r.code/100 {
			line = text
			if s.Enhanced == [3]int{} {
				s.Enhanced = enhanced
			}
		}
		words = append(words, line)
	}
	s.Text = mail.Line(strings.Join(words, " "), maxText)
	return s
}

// is tells whether the reply is of a class: 2 to 5.
func (r reply) is(class int) bool { return r.code/100 == class }
