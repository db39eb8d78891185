package control

import (
	"bytes"
	"strings"

	"restante/internal/header"
)

// headerRecipients returns the addresses of To, Cc and Bcc; those of their
// Resent- forms, and only those, if there is one (RFC 5322 section 3.6.6).
// They are texts still to be parsed.
func headerRecipients(b *header.Block) []string {
	prefix := ""
	for _, f := range b.Fields() {
		if _, ok := recipientField(f.Name, resentPrefix); ok {
			prefix = resentPrefix
		}
	}
	var list []string
	for _, f := range b.Fields() {
		if _, ok := recipientField(f.Name, prefix); ok {
			list = append(list, Addresses(f.Value())...)
		}
	}
	return list
}

// recipientField tells whether a field holds recipients, and which of the three
// it is, in lower case.
func recipientField(name, prefix string) (string, bool) {
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return "", false
	}
	switch base := strings.ToLower(name[len(prefix):]); base {
	case "to", "cc", "bcc":
		return base, true
	}
	return "", false
}

const resentPrefix = "Resent-"

// isResent tells whether the message is handed over for another time, by who
// may not be its author (RFC 5322 section 3.6.6).
func isResent(b *header.Block) bool {
	for _, name := range []string{"To", "Cc", "Bcc", "From", "Sender", "Date", "Message-ID"} {
		if b.Has(resentPrefix + name) {
			return true
		}
	}
	return false
}

// withoutOwn returns the header as it was, but for the fields that end here:
// blind copies, and Return-Path, which is the final delivery's to write.
func withoutOwn(b *header.Block) []byte {
	raw := b.Raw()
	var out []byte
	for _, f := range b.Fields() {
		switch strings.ToLower(f.Name) {
		case "bcc", "resent-bcc", "return-path":
		default:
			continue
		}
		// Fields are parts of raw in their order, so the first match is it or
		// an equal one.
		i := bytes.Index(raw, f.Raw)
		out = append(out, raw[:i]...)
		raw = raw[i+len(f.Raw):]
	}
	return append(out, raw...)
}

// Addresses splits an address list of RFC 5322 section 3.4 into the texts of
// its addresses: without display names, comments and groups. It takes what
// programs on this machine write, bare local names among it, and leaves the
// judgement of each address to who parses it.
func Addresses(s string) []string {
	var (
		list  []string
		word  strings.Builder // of the current element, outside of <>
		angle string          // what stood in <>
		found bool            // whether there were <>
	)
	flush := func() {
		a := strings.TrimSpace(word.String())
		if found {
			a = strings.TrimSpace(angle)
		}
		if a != "" {
			list = append(list, a)
		}
		word.Reset()
		angle, found = "", false
	}
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case '"':
			end, _ := header.AfterQuoted(s, i)
			word.WriteString(s[i:end])
			i = end
			continue
		case '(':
			i, _ = header.AfterComment(s, i)
			continue
		case '<':
			end := i + 1
			for end < len(s) && s[end] != '>' {
				if s[end] == '"' {
					end, _ = header.AfterQuoted(s, end)
					continue
				}
				end++
			}
			angle, found = s[i+1:end], true
			i = end
		case ',', ';':
			flush()
		case ':':
			// The end of a group's name.
			word.Reset()
		case '[':
			// An address literal has colons of its own.
			end := strings.IndexByte(s[i:], ']')
			if end < 0 {
				end = len(s) - i - 1
			}
			word.WriteString(s[i : i+end+1])
			i += end
		default:
			word.WriteByte(c)
		}
		i++
	}
	flush()
	return list
}
