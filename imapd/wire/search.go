package wire

import (
	"strconv"
	"strings"
)

// searchArguments returns the number of a SEARCH key's arguments, and whether
// the library knows the key. NOT and OR are followed by keys.
func searchArguments(key string) (n int, ok bool) {
	switch strings.ToUpper(key) {
	case "ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "NEW", "OLD", "RECENT", "SEEN",
		"UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN", "NOT", "OR", "$":
		return 0, true
	case "BCC", "BEFORE", "BODY", "CC", "CHARSET", "FROM", "KEYWORD", "LARGER", "ON", "SENTBEFORE", "SENTON",
		"SENTSINCE", "SINCE", "SMALLER", "SUBJECT", "TEXT", "TO", "UID", "UNKEYWORD":
		return 1, true
	case "HEADER":
		return 2, true
	}
	return 0, strings.Trim(key, "0123456789:,*") == ""
}

// searchMender goes over the lines of a SEARCH. The library forgets SMALLER
// when certain other keys follow, so it is given NOT LARGER instead; and it
// answers an unknown key as a fault of its own, so that is found here.
type searchMender struct {
	active bool
	// arguments are still to come for the last key.
	arguments int
	// smaller: the next argument is SMALLER's.
	smaller bool
	// options: in the parentheses after RETURN.
	options, wantOptions bool
	// unknown is the first key that is not known.
	unknown string
}

// begin finds out whether the first line of a command is a SEARCH, and mends
// what follows the name.
func (m *searchMender) begin(line []byte) []byte {
	s := string(line)
	tag, rest, _ := strings.Cut(s, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	at := len(tag) + len(verb) + 2
	if strings.EqualFold(verb, "UID") {
		verb, _, _ = strings.Cut(rest, " ")
		at += len(verb) + 1
	}
	if !strings.EqualFold(verb, "SEARCH") || at >= len(s) {
		return line
	}
	m.active = true
	return append([]byte(s[:at]), m.mend(s[at:])...)
}

// mend works on a line, or the rest of one.
func (m *searchMender) mend(s string) string {
	var b strings.Builder
	for s != "" {
		n := token(s)
		t := s[:n]
		s = s[n:]
		switch t[0] {
		case ' ':
			if !m.smaller {
				b.WriteString(t)
			}
		case '\r', '\n':
			b.WriteString(t)
		case '(', ')':
			m.options = t == "(" && m.wantOptions
			m.wantOptions = false
			b.WriteString(t)
		default:
			b.WriteString(m.word(t))
		}
	}
	return b.String()
}

// word returns what a key or an argument is replaced by.
func (m *searchMender) word(t string) string {
	switch {
	case m.options:
		return t
	case m.smaller:
		m.smaller, m.arguments = false, 0
		n, err := strconv.ParseUint(t, 10, 63)
		switch {
		case err != nil:
			return "SMALLER " + t
		case n == 0:
			return "NOT ALL"
		}
		return "NOT LARGER " + strconv.FormatUint(n-1, 10)
	case m.arguments > 0:
		m.arguments--
		return t
	case strings.EqualFold(t, "RETURN"):
		m.wantOptions = true
		return t
	}
	n, ok := searchArguments(t)
	if !ok && m.unknown == "" {
		m.unknown = t
	}
	m.arguments = n
	if strings.EqualFold(t, "SMALLER") {
		m.smaller = true
		return ""
	}
	return t
}

// token returns the length of the first token: blanks, a parenthesis, a quoted
// string, a literal's announcement or an atom.
func token(s string) int {
	switch s[0] {
	case '(', ')':
		return 1
	case '"':
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return len(s)
	case ' ':
		return len(s) - len(strings.TrimLeft(s, " "))
	case '\r', '\n':
		return 1
	}
	if i := strings.IndexAny(s, " ()\"\r\n"); i >= 0 {
		return i
	}
	return len(s)
}
