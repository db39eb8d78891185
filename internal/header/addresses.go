package header

import "strings"

// AddressFields are the fields whose addresses say who writes to whom (RFC 5322
// section 3.6.2, 3.6.3 and 3.6.6).
func AddressFields() []string {
	return []string{
		"From", "Sender", "Reply-To", "To", "Cc", "Bcc",
		"Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc",
	}
}

// MapDomains returns a field with the domains of its addresses replaced by
// what f makes of them; f is given each in lower case, and returns "" to leave
// it. All else in the field stays as it was. Quoted strings and comments are
// passed over.
func MapDomains(raw []byte, f func(domain string) string) []byte {
	var out []byte
	done := 0 // what has been written
	at := strings.IndexByte(string(raw), ':') + 1
	for at < len(raw) {
		switch raw[at] {
		case '"':
			at, _ = AfterQuoted(raw, at)
			continue
		case '(':
			at, _ = AfterComment(raw, at)
			continue
		case '@':
			start := at + 1
			end := start
			for end < len(raw) && inDomain(raw[end]) {
				end++
			}
			domain := strings.ToLower(string(raw[start:end]))
			if to := f(domain); domain != "" && to != "" && to != domain {
				out = append(append(out, raw[done:start]...), to...)
				done = end
			}
			at = end
			continue
		}
		at++
	}
	if out == nil {
		return raw
	}
	return append(out, raw[done:]...)
}

// inDomain tells whether an octet can be part of a domain name, of RFC 6532
// too.
func inDomain(c byte) bool { return alphanumeric(c) || c == '-' || c == '.' || c == '_' || c >= 0x80 }

// Phrase returns what stands in front of the address in the value of a From
// field of one address, as it stands and unfolded: the display name. It is ""
// if there is none, or more than one address.
func Phrase(value string) string {
	b := []byte(value)
	open := -1
	for at := 0; at < len(b); {
		switch b[at] {
		case '"':
			at, _ = AfterQuoted(b, at)
			continue
		case '(':
			at, _ = AfterComment(b, at)
			continue
		case '<':
			if open >= 0 {
				return ""
			}
			open = at
		case ',', ';', ':':
			if open < 0 || b[at] != ':' {
				return ""
			}
		}
		at++
	}
	if open < 0 {
		return ""
	}
	return strings.TrimSpace(value[:open])
}
