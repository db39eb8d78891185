package header

import (
	"net/netip"
	"strings"
	"time"

	"restante/internal/mail"
)

// lineLength is where composed fields are folded (RFC 5322 section 2.1.1).
const lineLength = 78

// DateLayout is the date-time of RFC 5322 section 3.3, for time.Format.
const DateLayout = "Mon, 2 Jan 2006 15:04:05 -0700"

// Received is the trace field of RFC 5321 section 4.4. Zero fields are left out.
type Received struct {
	// Helo is the name the client gave itself. Any octets may be in it.
	Helo string
	// Name is the client's verified name in the DNS.
	Name string
	// Addr is where the client connected from.
	Addr netip.Addr
	// By is our own host name.
	By string
	// TLS describes the connection, "TLS1.3 TLS_AES_128_GCM_SHA256".
	TLS string
	// With is the protocol of RFC 3848, such as ESMTPSA.
	With string
	// ID is the queue ID.
	ID string
	// For is the recipient; to be set only when there is no more than one,
	// so that nobody learns of the others. One that needs RFC 6531 is left out.
	For mail.Address
	// Time is when the message was taken in.
	Time time.Time
}

// String returns the field, folded, with its CRLF.
func (r Received) String() string {
	var words []string
	clause := func(key, value string) {
		if value != "" {
			words = append(words, key+" "+value)
		}
	}
	clause("from", r.from())
	if tcp := r.tcpInfo(); tcp != "" && len(words) > 0 {
		words = append(words, tcp)
	}
	clause("by", domain(r.By))
	if tls := comment(r.TLS); tls != "" {
		words = append(words, "("+tls+")")
	}
	clause("with", atom(r.With))
	clause("id", atom(r.ID))
	if !r.For.IsNull() && r.For.IsASCII() {
		clause("for", "<"+visible(r.For.String())+">")
	}
	if len(words) > 0 {
		words[len(words)-1] += ";"
	}
	return fold("Received", append(words, r.Time.Format(DateLayout)))
}

// from is the Extended-Domain's name: the HELO name, or the literal of the
// address if that would not be legal.
func (r Received) from() string {
	if name := domain(r.Helo); name != "" && name == r.Helo {
		return name
	}
	if r.Addr.IsValid() {
		return literal(r.Addr)
	}
	if r.Helo != "" {
		return "unknown"
	}
	return ""
}

// tcpInfo is TCP-info of RFC 5321: what we know of the client ourselves, and
// its HELO if that could not stand where names stand.
func (r Received) tcpInfo() string {
	var words []string
	if name := domain(r.Name); name != "" {
		words = append(words, name)
	}
	if r.Addr.IsValid() {
		words = append(words, literal(r.Addr))
	}
	if r.Helo != "" && domain(r.Helo) != r.Helo {
		words = append(words, "helo="+comment(r.Helo))
	}
	if len(words) == 0 {
		return ""
	}
	return "(" + strings.Join(words, " ") + ")"
}

func literal(a netip.Addr) string {
	if a = a.Unmap().WithZone(""); a.Is4() {
		return "[" + a.String() + "]"
	}
	return "[IPv6:" + a.String() + "]"
}

// Date returns a Date field with its CRLF.
func Date(t time.Time) string { return "Date: " + t.Format(DateLayout) + "\r\n" }

// MessageID returns a Message-ID field with its CRLF. The two sides of the @
// are cleaned of what may not stand in them.
func MessageID(id, host string) string {
	return "Message-ID: <" + atom(id) + "@" + domain(host) + ">\r\n"
}

// Compose returns a field of any name with its CRLF, folded at white space
// where the line would be long. Control characters in the value become spaces;
// characters that cannot stand in a name are left out of it.
func Compose(name, value string) string {
	name = keep(name, func(c byte) bool { return c > ' ' && c < 0x7f && c != ':' })
	return fold(name, strings.Fields(spaced(value)))
}

// fold writes words with one space between them, and a line end before one
// that would make the line too long.
func fold(name string, words []string) string {
	var b strings.Builder
	b.WriteString(name + ":")
	column := b.Len()
	for i, w := range words {
		if i > 0 && column+1+len(w) > lineLength {
			b.WriteString("\r\n\t")
			column = 8
		} else {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(w)
		column += len(w)
	}
	b.WriteString("\r\n")
	return b.String()
}

// maxWord bounds what of a stranger's words is repeated, in octets.
const maxWord = 255

// keep returns the octets of s that are wanted, at most maxWord.
func keep(s string, wanted func(byte) bool) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < maxWord; i++ {
		if wanted(s[i]) {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// domain keeps what can stand in a domain or an address literal.
func domain(s string) string {
	return keep(s, func(c byte) bool {
		return alphanumeric(c) || strings.IndexByte("-._:[]", c) >= 0
	})
}

// atom keeps what can stand in a dot-atom (RFC 5322 section 3.2.3).
func atom(s string) string {
	return keep(s, func(c byte) bool {
		return alphanumeric(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0
	})
}

// comment keeps what can stand in a comment without quoting.
func comment(s string) string {
	return keep(s, func(c byte) bool {
		return c >= ' ' && c < 0x7f && strings.IndexByte(`()\`, c) < 0
	})
}

// visible keeps printable ASCII: an address that is already in its quoted form.
func visible(s string) string {
	return keep(s, func(c byte) bool { return c >= ' ' && c < 0x7f })
}

// spaced turns control characters into spaces.
func spaced(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
