package dsn

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"restante/internal/header"
	"restante/internal/mail"
)

// status writes the part for programs (RFC 3464 section 2).
func (p *printer) status() {
	p.field("Reporting-MTA", "dns; "+p.host())
	if id := p.Envelope.EnvID; id != "" {
		p.field("Original-Envelope-Id", id)
	}
	if !p.Envelope.Arrived.IsZero() {
		p.field("Arrival-Date", p.Envelope.Arrived.Format(header.DateLayout))
	}
	if p.Original != (mail.ID{}) {
		p.field("X-Restante-Queue-ID", p.Original.String())
	}
	if p.DeadLetter {
		p.field("X-Restante-Sender", addressType(p.Envelope.From)+"; <"+p.Envelope.From.String()+">")
	}
	for _, r := range p.Recipients {
		p.print("\r\n")
		if kind, address, ok := strings.Cut(r.Original, ";"); ok {
			p.field("Original-Recipient", kind+"; "+p.unitext(kind, address))
		}
		p.field("Final-Recipient", addressType(r.To)+"; "+r.To.String())
		p.field("Action", string(p.Action))
		e := r.Status.EnhancedOrDefault()
		p.field("Status", fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2]))
		said := r.said()
		if said.Remote != "" {
			p.field("Remote-MTA", remoteMTA(said.Remote))
		}
		if said.Code != 0 {
			// What we found out ourselves is no reply of SMTP.
			kind := "smtp; "
			if said.Remote == "" {
				kind = "x-restante; "
			}
			said.Remote = ""
			p.field("Diagnostic-Code", kind+clip(said.String(), maxSaid))
		}
		if !r.Attempted.IsZero() {
			p.field("Last-Attempt-Date", r.Attempted.Format(header.DateLayout))
		}
		if p.Original != (mail.ID{}) {
			p.field("Final-Log-ID", p.Original.String())
		}
		if p.Action == Delayed && !p.RetryUntil.IsZero() {
			p.field("Will-Retry-Until", p.RetryUntil.Format(header.DateLayout))
		}
	}
}

// remoteMTA names a next hop (RFC 3464 section 2.3.5). Of "name [address]" the
// name will do; a socket or a URL is no name of the DNS.
func remoteMTA(remote string) string {
	name, _, _ := strings.Cut(remote, " [")
	if strings.Contains(name, "/") {
		return "x-local; " + remote
	}
	return "dns; " + name
}

// field writes a field of the second part, whose values are ASCII but in a
// report that is UTF-8 anyway.
func (p *printer) field(name, value string) {
	p.print(header.Compose(name, clip(visible(value, p.utf8), maxSaid)))
}

// unitext writes characters beyond ASCII as their numbers where an address of
// type "utf-8" must not have them (RFC 6533 section 3).
func (p *printer) unitext(kind, address string) string {
	if p.utf8 || !strings.EqualFold(kind, "utf-8") {
		return address
	}
	var b strings.Builder
	for _, r := range address {
		if r >= 0x80 {
			fmt.Fprintf(&b, `\x{%X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func addressType(a mail.Address) string {
	if a.IsASCII() {
		return "rfc822"
	}
	return "utf-8"
}

// host is our name, as a domain.
func (p *printer) host() string {
	if p.Hostname == "" {
		return "localhost"
	}
	return visible(p.Hostname, false)
}

// visible makes one line of printable characters; in ASCII, if wide is not set.
func visible(s string, wide bool) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r >= 0x80 && !wide:
			return '?'
		case !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "..."
}
