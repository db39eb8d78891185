package smtpd

import (
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
)

// mailCommand is MAIL with its parameters (RFC 5321 section 4.1.1.2).
type mailCommand struct {
	from mail.Address
	size int64 // SIZE (RFC 1870), 0 if not given
	// eightBit is BODY=8BITMIME (RFC 6152), utf8 is SMTPUTF8 (RFC 6531).
	eightBit, utf8 bool
	// ret and envID are those of RFC 3461.
	ret   mail.Return
	envID string
	// requireTLS is REQUIRETLS (RFC 8689).
	requireTLS bool
	// by is BY (RFC 2852), priority is MT-PRIORITY (RFC 6710).
	by       deliverBy
	priority int
	// holdFor and holdUntil are those of RFC 4865; one of them at most.
	holdFor   time.Duration
	holdUntil time.Time
	// repeat is XONCE=NO: the message is meant even if it was taken before.
	repeat bool
}

// rcptCommand is RCPT with its parameters (RFC 5321 section 4.1.1.3).
type rcptCommand struct {
	to       mail.Address
	notify   mail.Notify
	original string // ORCPT, decoded, or ""
}

// offer is what a client has been offered, which decides about the parameters
// that it may use.
type offer struct {
	maxSize               int64
	requireTLS, once, dsn bool
	// utf8 tells that the sender came with SMTPUTF8; for RCPT.
	utf8    bool
	maxHold time.Duration // FUTURERELEASE; 0 if it was not offered
}

var errParameter = reply{555, code{5, 5, 4}, "Parameter not supported"}

// parameters goes through "KEY=value" words, each key once.
func parameters(params []string, each func(key, value string, valued bool) error) error {
	seen := make(map[string]bool)
	for _, p := range params {
		key, value, valued := strings.Cut(p, "=")
		key = strings.ToUpper(key)
		if seen[key] {
			return reply{501, code{5, 5, 4}, "Parameter given twice"}
		}
		seen[key] = true
		if err := each(key, value, valued); err != nil {
			return err
		}
	}
	return nil
}

// parseMail reads the argument of MAIL and holds its SIZE (RFC 1870) against
// the limit.
func parseMail(arg string, o offer) (mailCommand, error) {
	var m mailCommand
	path, params, err := splitPath(arg, "FROM:", code{5, 1, 7})
	if err != nil {
		return m, err
	}
	err = parameters(params, func(key, value string, valued bool) error {
		known, good := m.transport(key, value, valued, o)
		if !known {
			known, good = m.wish(key, value, o)
		}
		switch {
		case !known:
			return errParameter
		case !good:
			return reply{501, code{5, 5, 4}, "Bad value of parameter " + key}
		case m.size > o.maxSize:
			return errTooBig
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	if m.holdFor > 0 && !m.holdUntil.IsZero() {
		return m, reply{501, code{5, 5, 4}, "HOLDFOR and HOLDUNTIL exclude each other"}
	}
	if path == "" {
		return m, nil
	}
	m.from, err = parsePath(path, m.utf8, "sender", code{5, 1, 7})
	return m, err
}

// transport takes the parameters that tell what kind of message it is. It
// tells whether it knows one, and whether the value is good.
func (m *mailCommand) transport(key, value string, valued bool, o offer) (known, good bool) {
	switch key {
	case "SIZE":
		m.size, good = parseSize(value)
		return true, good
	case "BODY":
		m.eightBit = strings.EqualFold(value, "8BITMIME")
		return true, m.eightBit || strings.EqualFold(value, "7BIT")
	case "SMTPUTF8":
		m.utf8 = true
		return true, !valued
	case "REQUIRETLS":
		// RFC 8689 section 4.1: not where it is not offered, in the clear.
		m.requireTLS = true
		return o.requireTLS, !valued
	case "AUTH":
		// RFC 4954 section 5: who is not trusted to say so is treated as
		// if it had said AUTH=<>. Nobody is.
		return true, value != ""
	}
	return false, false
}

// wish takes the parameters that tell what to do with the message; see
// transport.
func (m *mailCommand) wish(key, value string, o offer) (known, good bool) {
	switch key {
	case "RET":
		m.ret = map[string]mail.Return{"FULL": mail.ReturnFull, "HDRS": mail.ReturnHeaders}[strings.ToUpper(value)]
		return o.dsn, m.ret != mail.ReturnUnspecified
	case "ENVID":
		m.envID, good = parseXtext(value)
		return o.dsn, good && value != "" && len(value) <= maxEnvID
	case "BY":
		m.by, good = parseBy(value)
		return true, good
	case "MT-PRIORITY":
		m.priority, good = parsePriority(value)
		return true, good
	case "HOLDFOR":
		m.holdFor, good = parseSeconds(value)
		return o.maxHold > 0, good
	case "HOLDUNTIL":
		m.holdUntil, good = parseHoldUntil(value)
		return o.maxHold > 0, good
	case "XONCE":
		m.repeat = strings.EqualFold(value, "NO")
		return o.once, m.repeat || strings.EqualFold(value, "YES")
	}
	return false, false
}

// parseRcpt reads the argument of RCPT.
func parseRcpt(arg string, o offer) (rcptCommand, error) {
	var r rcptCommand
	path, params, err := splitPath(arg, "TO:", code{5, 1, 3})
	if err != nil {
		return r, err
	}
	err = parameters(params, func(key, value string, _ bool) error {
		good := false
		switch {
		case key == "NOTIFY" && o.dsn:
			r.notify, good = parseNotify(value)
		case key == "ORCPT" && o.dsn:
			r.original, good = parseOrcpt(value, o.utf8)
		default:
			return errParameter
		}
		if !good {
			return reply{501, code{5, 5, 4}, "Bad value of parameter " + key}
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	r.to, err = parsePath(path, o.utf8, "recipient", code{5, 1, 3})
	return r, err
}

// splitPath divides "FROM:<path> parameters". The path comes without its
// angle brackets; where old devices leave them out it ends at a space. A
// quoted local part may hold anything, brackets and spaces too.
func splitPath(arg, key string, bad code) (path string, params []string, err error) {
	syntax := reply{501, bad, "Syntax: " + key + "<address>"}
	if len(arg) < len(key) || !strings.EqualFold(arg[:len(key)], key) {
		syntax.enhanced = code{5, 5, 4}
		return "", nil, syntax
	}
	rest := strings.TrimLeft(arg[len(key):], " ")
	bracket := strings.HasPrefix(rest, "<")
	end := pathEnd(rest, bracket)
	if end < 0 {
		return "", nil, syntax
	}
	path, rest = rest[:end], rest[end:]
	if bracket {
		path, rest = path[1:], rest[1:]
	} else if path == "" {
		return "", nil, syntax
	}
	if rest != "" && rest[0] != ' ' {
		return "", nil, syntax
	}
	return path, strings.Fields(rest), nil
}

// pathEnd is the offset of the bracket that closes a path, or of the end of
// one without brackets; -1 if there is none.
func pathEnd(s string, bracket bool) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case quoted:
		case bracket && s[i] == '>', !bracket && s[i] == ' ':
			return i
		}
	}
	if bracket || quoted {
		return -1
	}
	return len(s)
}

// parsePath reads what stands between the brackets of a path. A source route
// is taken and not followed (RFC 5321 section 3.6.1).
func parsePath(path string, utf8 bool, what string, bad code) (mail.Address, error) {
	if strings.HasPrefix(path, "@") {
		route, rest, ok := strings.Cut(path, ":")
		for hop := range strings.SplitSeq(route, ",") {
			_, err := mail.ParseDomain(strings.TrimPrefix(hop, "@"))
			ok = ok && err == nil && strings.HasPrefix(hop, "@")
		}
		if !ok {
			return mail.Address{}, reply{501, bad, "Malformed " + what + " address"}
		}
		path = rest
	}
	a, err := mail.ParseAddress(path)
	switch {
	case err != nil:
		return mail.Address{}, reply{501, bad, "Malformed " + what + " address"}
	case !utf8 && !isASCII(path):
		return mail.Address{}, reply{553, code{5, 6, 7}, "Address needs SMTPUTF8"}
	}
	return a, nil
}

// parseBdat reads the argument of BDAT (RFC 3030 section 2).
func parseBdat(arg string) (size int64, last bool, err error) {
	number, rest, _ := strings.Cut(arg, " ")
	rest = strings.Trim(rest, " ")
	size, convErr := strconv.ParseInt(number, 10, 64)
	if convErr != nil || strings.Trim(number, "0123456789") != "" || rest != "" && !strings.EqualFold(rest, "LAST") {
		return 0, false, reply{501, code{5, 5, 4}, "Syntax: BDAT size [LAST]"}
	}
	return size, rest != "", nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
