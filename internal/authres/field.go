package authres

import (
	"strings"

	"blitiri.com.ar/go/spf"

	"restante/internal/mail"
)

// fieldName is the one field that we write.
const fieldName = "Authentication-Results"

// compose writes the results as a field (RFC 8601 section 2.2), each result on
// a line of its own. Everything of a stranger's in it is a domain name, a
// dot-atom, or of our own choice of words.
func compose(id string, e *evaluation, d decision) []byte {
	b := &builder{}
	b.text.WriteString(fieldName + ": " + id)
	b.spf(e)
	if len(e.signatures) == 0 {
		b.result("dkim", "none", "")
	}
	for _, s := range e.signatures {
		b.result("dkim", string(s.State), s.Reason)
		if s.Testing {
			b.text.WriteString(" (key for tests)")
		}
		b.property("header.d", s.Domain)
		b.property("header.s", s.Selector)
		b.property("header.a", s.Algorithm)
		b.property("header.b", s.Signature)
	}
	for _, r := range e.verdicts {
		b.result("dmarc", r.state, r.reason)
		if r.state == dmarcFail {
			b.property("policy.dmarc", string(r.action))
		}
		b.property("header.from", r.domain)
	}
	if d.action == Quarantine {
		b.text.WriteString("\r\n\t(quarantined)")
	}
	b.text.WriteString("\r\n")
	return []byte(b.text.String())
}

type builder struct{ text strings.Builder }

// spf tells of the sender's identity, and of HELO's if it says something.
func (b *builder) spf(e *evaluation) {
	if e.from.Domain != "" {
		b.result("spf", string(e.mailFrom.state), "")
		b.property("smtp.mailfrom", path(e.from))
	}
	switch {
	case e.helo.state != "" && (e.helo.state != spf.None || e.from.Domain == ""):
		b.result("spf", string(e.helo.state), "")
		b.property("smtp.helo", e.helo.domain)
	case e.from.Domain == "":
		b.result("spf", "none", "")
	}
}

// path is an address as it can stand in the field: whole, or else its domain.
func path(a mail.Address) string {
	if local(a) != a.Local {
		return a.Domain
	}
	return a.String()
}

func (b *builder) result(method, state, reason string) {
	b.text.WriteString(";\r\n\t" + method + "=" + state)
	if reason != "" {
		b.text.WriteString(` reason="` + reason + `"`)
	}
}

func (b *builder) property(name, value string) {
	switch {
	case value == "":
		return
	case name == "smtp.mailfrom", isToken(value):
	default:
		value = `"` + value + `"`
	}
	b.text.WriteString(" " + name + "=" + value)
}

// isToken follows RFC 2045 section 5.1.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenChar(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}
