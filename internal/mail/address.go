package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrAddress is wrapped by every error of ParseAddress.
var ErrAddress = errors.New("malformed address")

// Limits of RFC 5321 sections 4.5.3.1.1 to 4.5.3.1.3, in octets.
const (
	MaxLocal  = 64
	MaxDomain = 255
	MaxPath   = 254
)

// Address is a mailbox of RFC 5321 section 4.1.2 (with RFC 6531). Local is
// held without its quoting and Domain in lower case, internationalised labels
// as A-labels unless the label has none; an address literal keeps its
// brackets. The zero value is the null reverse-path <>.
//
// Addresses are only ever compared, rewritten and printed in this parsed form:
// String quotes again what needs quoting, so that no part of a quoted local
// part can turn into syntax further down the road.
type Address struct {
	Local, Domain string
}

// IsNull tells whether a is the null reverse-path.
func (a Address) IsNull() bool { return a == Address{} }

// IsPostmaster tells whether the local part is "postmaster", in any case
// (RFC 5321 section 4.5.1).
func (a Address) IsPostmaster() bool { return strings.EqualFold(a.Local, "postmaster") }

// Key returns the address with its local part in lower case: what local
// directories look up. Local parts of foreign domains stay as they came.
func (a Address) Key() Address {
	return Address{Local: strings.ToLower(a.Local), Domain: a.Domain}
}

// String returns the address as it stands on the wire, without angle
// brackets: quoted where RFC 5321 asks for it, "" for the null address.
func (a Address) String() string {
	switch {
	case a.IsNull():
		return ""
	case a.Domain == "":
		return quoteLocal(a.Local)
	}
	return quoteLocal(a.Local) + "@" + a.Domain
}

// MarshalText returns String, so that an Address reads well in JSON.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseAddress, with "" for the null address.
func (a *Address) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*a = Address{}
		return nil
	}
	*a, err = ParseAddress(string(b))
	return err
}

// IsASCII tells whether the address can be sent without SMTPUTF8 (RFC 6531).
func (a Address) IsASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

// ParseAddress reads one mailbox, local-part "@" domain, with a dot-atom or a
// quoted local part and a domain or an address literal. Bare "postmaster" is
// taken without a domain (RFC 5321 section 4.1.1.3). Source routes, comments
// and display names are refused. Errors wrap ErrAddress.
func ParseAddress(s string) (Address, error) {
	local, rest, err := parseLocal(s)
	if err != nil {
		return Address{}, fmt.Errorf("%w: %q: %s", ErrAddress, clip(s), err)
	}
	if rest == "" && strings.EqualFold(local, "postmaster") {
		return Address{Local: local}, nil
	}
	if !strings.HasPrefix(rest, "@") {
		return Address{}, fmt.Errorf("%w: %q has no domain", ErrAddress, clip(s))
	}
	domain, err := ParseDomain(rest[1:])
	if err != nil {
		return Address{}, fmt.Errorf("%w: %q: %s", ErrAddress, clip(s), err)
	}
	a := Address{Local: local, Domain: domain}
	if len(a.String()) > MaxPath {
		return Address{}, fmt.Errorf("%w: longer than %d octets", ErrAddress, MaxPath)
	}
	return a, nil
}

// MustParseAddress is ParseAddress for constants; it panics on an error.
func MustParseAddress(s string) Address {
	a, err := ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// ParseDomain normalises a domain name or an address literal to the form that
// Address.Domain holds. A trailing dot is dropped.
func ParseDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > MaxDomain {
		return "", errors.New("empty or overlong domain")
	}
	if isASCII(s) {
		s = strings.ToLower(s)
	} else {
		a, err := idna.Lookup.ToASCII(s)
		if err != nil || !utf8.ValidString(s) { // idna puts U+FFFD in
			return "", errors.New("bad international domain")
		}
		s = a
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", errors.New("bad label in domain")
		}
		for i := range len(label) {
			if c := label[i]; !alphanumeric(c) && c != '-' && c != '_' {
				return "", errors.New("bad character in domain")
			}
		}
	}
	return s, nil
}

func parseLiteral(s string) (string, error) {
	if !strings.HasSuffix(s, "]") {
		return "", errors.New("unclosed address literal")
	}
	body := s[1 : len(s)-1]
	if len(body) > 5 && strings.EqualFold(body[:5], "IPv6:") {
		ip, err := netip.ParseAddr(body[5:])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", errors.New("bad IPv6 address literal")
		}
		return "[IPv6:" + ip.String() + "]", nil
	}
	ip, err := netip.ParseAddr(body)
	if err != nil || !ip.Is4() {
		return "", errors.New("bad address literal")
	}
	return "[" + ip.String() + "]", nil
}

// parseLocal reads a local part off the front of s and returns it unquoted.
func parseLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s)
	}
	i := strings.IndexByte(s, '@')
	if i < 0 {
		i = len(s)
	}
	local, rest = s[:i], s[i:]
	if !isDotAtom(local) {
		return "", "", errors.New("bad local part")
	}
	if len(local) > MaxLocal {
		return "", "", errors.New("local part too long")
	}
	return local, rest, nil
}

func parseQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			if b.Len() == 0 || b.Len() > MaxLocal || !utf8.ValidString(b.String()) {
				return "", "", errors.New("bad quoted local part")
			}
			return b.String(), s[i+1:], nil
		case c == '\\':
			if i++; i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", errors.New("bad quoted pair")
			}
			b.WriteByte(s[i])
		case c < ' ' || c == 0x7f:
			return "", "", errors.New("control character in local part")
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("unclosed quote")
}

func quoteLocal(s string) string {
	if isDotAtom(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// isDotAtom follows Dot-string of RFC 5321, with UTF-8 as RFC 6531 adds it.
func isDotAtom(s string) bool {
	if s == "" || !utf8.ValidString(s) {
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			c := atom[i]
			if c < 0x80 && !alphanumeric(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
