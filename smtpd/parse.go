package smtpd

import (
	"strconv"
	"strings"

	"restante/internal/mail"
)

// mailCommand is MAIL with its parameters (RFC 5321 section 4.1.1.2).
type mailCommand struct {
	from mail.Address
	// eightBit is BODY=8BITMIME (RFC 6152), utf8 is SMTPUTF8 (RFC 6531).
	eightBit, utf8 bool
}

// parseMail reads the argument of MAIL and holds its SIZE (RFC 1870) against
// the limit.
func parseMail(arg string, maxSize int64) (mailCommand, error) {
	var m mailCommand
	path, params, err := splitPath(arg, "FROM:", code{5, 1, 7})
	if err != nil {
		return m, err
	}
	seen := make(map[string]bool)
	for _, p := range params {
		key, value, valued := strings.Cut(p, "=")
		key = strings.ToUpper(key)
		if seen[key] {
			return m, reply{501, code{5, 5, 4}, "Parameter given twice"}
		}
		seen[key] = true
		if err := m.parameter(key, value, valued, maxSize); err != nil {
			return m, err
		}
	}
	if path == "" {
		return m, nil
	}
	m.from, err = parsePath(path, m.utf8, "sender", code{5, 1, 7})
	return m, err
}

func (m *mailCommand) parameter(key, value string, valued bool, maxSize int64) error {
	bad := reply{501, code{5, 5, 4}, "Bad value of parameter " + key}
	switch {
	case key == "SIZE":
		if value == "" || strings.Trim(value, "0123456789") != "" || len(value) > 20 {
			return bad
		}
		// What does not fit into an int64 is larger than any limit.
		if size, err := strconv.ParseInt(value, 10, 64); err != nil || size > maxSize {
			return errTooBig
		}
	case key == "BODY":
		switch strings.ToUpper(value) {
		case "7BIT":
		case "8BITMIME":
			m.eightBit = true
		default:
			return bad
		}
	case key == "SMTPUTF8" && !valued:
		m.utf8 = true
	case key == "AUTH" && value != "":
		// RFC 4954 section 5: who is not trusted to say so is treated as
		// if it had said AUTH=<>. Nobody is.
	case key == "SMTPUTF8", key == "AUTH":
		return bad
	default:
		return reply{555, code{5, 5, 4}, "Parameter not supported"}
	}
	return nil
}

// parseRcpt reads the argument of RCPT. There are no parameters yet.
func parseRcpt(arg string, utf8 bool) (mail.Address, error) {
	path, params, err := splitPath(arg, "TO:", code{5, 1, 3})
	if err != nil {
		return mail.Address{}, err
	}
	if len(params) > 0 {
		return mail.Address{}, reply{555, code{5, 5, 4}, "Parameter not supported"}
	}
	return parsePath(path, utf8, "recipient", code{5, 1, 3})
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
