package remote

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/relay"
)

// mailCommand is MAIL with the parameters of what the next hop offers; used is
// what of that was used.
func (t *transaction) mailCommand() string {
	env := &t.job.Envelope
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + env.From.String() + ">")
	t.used = t.used[:0]
	use := func(keyword, params string) {
		t.used = append(t.used, keyword)
		b.WriteString(params)
	}
	if t.s.offers("SIZE") && !t.converted() {
		use("SIZE", " SIZE="+strconv.FormatInt(t.job.Body.Size(), 10))
	}
	if t.s.offers("8BITMIME") && env.EightBit {
		use("8BITMIME", " BODY=8BITMIME")
	}
	if t.s.offers("SMTPUTF8") && (env.UTF8 || t.needsUTF8()) {
		use("SMTPUTF8", " SMTPUTF8")
	}
	if env.RequireTLS {
		use("REQUIRETLS", " REQUIRETLS")
	}
	if !env.By.IsZero() && t.s.offers("DELIVERBY") {
		use("DELIVERBY", " BY="+by(env.By, t.now()))
	}
	if env.Priority != 0 && t.s.offers("MT-PRIORITY") {
		use("MT-PRIORITY", " MT-PRIORITY="+strconv.Itoa(env.Priority))
	}
	if t.dsn {
		switch env.Ret {
		case mail.ReturnFull:
			use("DSN", " RET=FULL")
		case mail.ReturnHeaders:
			use("DSN", " RET=HDRS")
		}
		if id := xtext(env.EnvID); id != "" && len(id) <= maxEnvID {
			use("DSN", " ENVID="+id)
		}
	}
	return b.String()
}

func (t *transaction) needsUTF8() bool {
	if t.needs.utf8From || t.needs.utf8Header {
		return true
	}
	for _, i := range t.batch {
		if !t.job.Recipients[i].To.IsASCII() {
			return true
		}
	}
	return false
}

func (t *transaction) rcptCommand(i int) string {
	r := t.job.Recipients[i]
	command := "RCPT TO:<" + r.To.String() + ">"
	if !t.dsn {
		return command
	}
	if n := notify(r.Notify); n != "" {
		command += " NOTIFY=" + n
	}
	if kind, address, ok := strings.Cut(r.Original, ";"); ok {
		if o := t.s.originalAddress(kind, address); len(kind)+len(o) < maxOrcpt && isAtom(kind) {
			command += " ORCPT=" + kind + ";" + o
		}
	}
	return command
}

// Bounds of RFC 3461 sections 4.2 and 4.4, in octets; what is longer is left
// out, since the next hop would refuse the command for it.
const (
	maxEnvID = 100
	maxOrcpt = 500
)

func notify(n mail.Notify) string {
	if n&mail.NotifyNever != 0 {
		return "NEVER"
	}
	var words []string
	for _, w := range []struct {
		bit  mail.Notify
		name string
	}{{mail.NotifySuccess, "SUCCESS"}, {mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"}} {
		if n&w.bit != 0 {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, ",")
}

// by is the value of BY for a message that has so much time left (RFC 2852
// section 4): nine digits at most, and none left but in mode N.
func by(b mail.By, now time.Time) string {
	left := int64(b.At.Sub(now) / time.Second)
	left = max(-999999999, min(left, 999999999))
	mode := "N"
	if b.Return {
		mode, left = "R", max(left, 1)
	}
	if b.Trace {
		mode += "T"
	}
	return fmt.Sprintf("%d;%s", left, mode)
}

// originalAddress writes the address of an ORCPT: in xtext, or for the type
// of RFC 6533 section 3 with characters as they are where the next hop takes
// them, otherwise as their numbers.
func (s *session) originalAddress(kind, address string) string {
	if !strings.EqualFold(kind, "utf-8") {
		return xtext(address)
	}
	var b strings.Builder
	for _, r := range address {
		if r < '!' || r == 0x7f || r == '+' || r == '=' || r == '\\' || r > '~' && !s.offers("SMTPUTF8") {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// xtext encodes as RFC 3461 section 4 has it.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isAtom(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return s != ""
}

// maxHeader is how much of a message is looked at for what its header says, in
// octets.
const maxHeader = 256 << 10

// headerNeedsUTF8 tells whether the header of a body that is at r has an octet
// that is not ASCII, as far as the first maxHeader octets.
func headerNeedsUTF8(r io.ReaderAt) bool {
	buf := make([]byte, 16<<10)
	start := true // of a line
	for at := int64(0); at < maxHeader; {
		n, err := r.ReadAt(buf, at)
		for _, c := range buf[:n] {
			switch {
			case c >= 0x80:
				return true
			case c == '\n' && start:
				return false
			case c == '\n':
				start = true
			case c != '\r':
				start = false
			}
		}
		at += int64(n)
		if err != nil || n == 0 {
			return false
		}
	}
	return false
}

// isTLSReport tells whether the message is one of our reports about TLS, which
// are neither reported on nor held to policies (RFC 8460 section 3).
func isTLSReport(job *relay.Job) bool {
	return job.Envelope.Client.Protocol == mail.TLSReport
}

// headerSays tells whether a message has a field of that name with that value,
// in any case, as far as the first maxHeader octets.
func headerSays(r io.ReaderAt, name, value string) bool {
	lines := bufio.NewScanner(io.NewSectionReader(r, 0, maxHeader))
	lines.Buffer(nil, maxHeader+1) // whatever line stands before it
	for lines.Scan() && lines.Text() != "" {
		field, body, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.EqualFold(strings.TrimRight(field, " \t"), name) && strings.EqualFold(strings.TrimSpace(body), value) {
			return true
		}
	}
	return false
}
