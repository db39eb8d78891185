package order

import "strings"

// BaseSubject returns what of a subject all messages of a conversation have in
// common, and whether the subject is that of a reply or a forwarded message (RFC
// 5256 section 2.1). Encoded words have to be decoded before.
func BaseSubject(s string) (base string, reply bool) {
	s = strings.Join(strings.FieldsFunc(s, isBlank), " ")
	for {
		for {
			cut, ok := cutSuffixFold(s, "(fwd)")
			if !ok {
				break
			}
			s, reply = strings.TrimRight(cut, " "), true
		}
		var is bool
		s, is = withoutLeaders(s)
		reply = reply || is
		inner, ok := cutPrefixFold(s, "[fwd:")
		if !ok || !strings.HasSuffix(inner, "]") {
			return s, reply
		}
		s, reply = strings.Trim(inner[:len(inner)-1], " "), true
	}
}

// withoutLeaders removes "Re:", "Fwd:" and what stands in brackets before, over
// and over. Brackets after which nothing comes stay.
func withoutLeaders(s string) (rest string, reply bool) {
	for {
		if cut, ok := cutReply(s); ok {
			s, reply = cut, true
			continue
		}
		cut, ok := cutBlob(s)
		if !ok || cut == "" {
			return s, reply
		}
		s = cut
	}
}

// cutReply removes one "Re:", "Fw:" or "Fwd:", with something in brackets before
// its colon or without.
func cutReply(s string) (rest string, ok bool) {
	rest, ok = cutPrefixFold(s, "re")
	if !ok {
		if rest, ok = cutPrefixFold(s, "fwd"); !ok {
			rest, ok = cutPrefixFold(s, "fw")
		}
	}
	if !ok {
		return s, false
	}
	rest = strings.TrimLeft(rest, " ")
	if after, is := cutBlob(rest); is {
		rest = after
	}
	rest, ok = strings.CutPrefix(rest, ":")
	if !ok {
		return s, false
	}
	return strings.TrimLeft(rest, " "), true
}

// cutBlob removes something in brackets, in which no brackets are.
func cutBlob(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] == '[' {
		return s, false
	}
	return strings.TrimLeft(s[i+2:], " "), true
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func cutSuffixFold(s, suffix string) (string, bool) {
	at := len(s) - len(suffix)
	if at < 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }
