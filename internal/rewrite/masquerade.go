// Package rewrite changes senders and headers for those who ask for it:
//
//   - Masquerade hides internal host names in mail from our own clients. It is
//     applied once, when a message is taken in, since it is the same for every
//     recipient.
//   - Outgoing is what a route asks for whose next hop insists on one sender.
//     It is applied when a message is sent that way, and to nothing stored: the
//     body is shared with other tasks and with mailboxes, a reload may send a
//     waiting task another way, and bounces must know who really sent.
//
// Neither touches mail that others have signed but as said at Outgoing.
// Whatever stands in a header, what comes out is a header again; what is not
// to be changed stays octet for octet.
package rewrite

import (
	"fmt"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
)

// Masquerade maps internal host names to the domain that others shall see. A
// nil Masquerade changes nothing. It is immutable.
type Masquerade struct {
	exact  map[string]string
	suffix map[string]string // without "*."
}

// NewMasquerade returns the rules given: "host.example" or "*.example", which
// stands for all below it, to a domain. Of several that match the longest
// counts. Without rules it is nil.
func NewMasquerade(rules map[string]string) (*Masquerade, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	m := &Masquerade{exact: make(map[string]string), suffix: make(map[string]string)}
	for pattern, to := range rules {
		domain, err := mail.ParseDomain(to)
		if err != nil {
			return nil, fmt.Errorf("masquerade %q: domain %q: %w", pattern, to, err)
		}
		into := m.exact
		name, below := strings.CutPrefix(pattern, "*.")
		if below {
			into = m.suffix
		}
		from, err := mail.ParseDomain(name)
		if err != nil {
			return nil, fmt.Errorf("masquerade %q: %w", pattern, err)
		}
		if _, ok := into[from]; ok {
			return nil, fmt.Errorf("masquerade %q: is there twice", pattern)
		}
		into[from] = domain
	}
	return m, nil
}

// Domain returns what stands for a domain, in mail.Address's form: itself, if
// there is no rule for it.
func (m *Masquerade) Domain(domain string) string {
	if m == nil || strings.HasPrefix(domain, "[") {
		return domain
	}
	if to, ok := m.exact[domain]; ok {
		return to
	}
	for _, rest, ok := strings.Cut(domain, "."); ok; _, rest, ok = strings.Cut(rest, ".") {
		if to, ok := m.suffix[rest]; ok {
			return to
		}
	}
	return domain
}

// Address returns an address with its domain masqueraded.
func (m *Masquerade) Address(a mail.Address) mail.Address {
	if !a.IsNull() && a.Domain != "" {
		a.Domain = m.Domain(a.Domain)
	}
	return a
}

// Header masquerades the addresses of a header: From, Sender, Reply-To, To,
// Cc, Bcc and what of them was resent.
func (m *Masquerade) Header(e *header.Editor) {
	if m == nil {
		return
	}
	e.Map(func(raw []byte) []byte {
		return header.MapDomains(raw, func(domain string) string {
			d, err := mail.ParseDomain(domain)
			if err != nil {
				return ""
			}
			if to := m.Domain(d); to != d {
				return to
			}
			return ""
		})
	}, header.AddressFields()...)
}
