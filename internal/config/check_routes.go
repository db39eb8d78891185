package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"restante/internal/mail"
)

// builtinRoute is what the queue calls the way of mail that no route takes.
const builtinRoute = "mx"

func (ch *checker) routes() {
	local := ch.config.localDomains()
	names, patterns := make(map[string]bool), make(map[string]string)
	nameForm := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	for i, r := range ch.config.Routes {
		at := top("route").index(i)
		switch {
		case r.Name == "":
			ch.problem(at, `this route has no name; add name = "smarthost"`)
		case !nameForm.MatchString(r.Name):
			ch.problem(at.key("name"), "route name %q must be letters, digits, dots, dashes, and not longer than 64", r.Name)
		case r.Name == builtinRoute && !slices.Contains(r.Domains, "*"):
			ch.problem(at.key("name"), `the name %q is that of the route that mail takes without one; choose another, or give it the domain "*"`, r.Name)
		case names[r.Name]:
			ch.problem(at.key("name"), "route %q is there twice; rename one", r.Name)
		}
		names[r.Name] = true
		ch.spill(at, r)
		if len(r.Domains) == 0 && !r.conditional() && !ch.spilledTo(r.Name) {
			ch.problem(at, `route %q has no domains; add domains = ["*"] for all mail to elsewhere`, r.Name)
		}
		ch.conditions(at, r)
		for j, s := range r.Domains {
			at := at.key("domains").index(j)
			pattern, why := normalPattern(s)
			switch other, taken := patterns[pattern]; {
			case why != "":
				ch.problem(at, `domain %q of route %q %s; write "example.org", "*.example.org" or "*"`, s, r.Name, why)
			case local[pattern]:
				ch.problem(at, "domain %q of route %q is delivered here, so the route would never be taken; remove it there or in [[domain]]", s, r.Name)
			case r.conditional():
				// Several of them may serve a domain, each under its conditions.
			case taken:
				ch.problem(at, "domain %q is in the routes %q and %q; remove one", s, other, r.Name)
			default:
				patterns[pattern] = r.Name
			}
		}
		ch.nextHop(at, r)
		ch.connections(at, r)
		ch.credentials(at, r)
		if r.OwnSchedule() || r.WarnAfter > 0 || r.ExpireAfter > 0 {
			ch.retry(at, r.Schedule(ch.config.Queue))
		}
		if _, err := mail.ParseDomain(r.Helo); r.Helo != "" && err != nil {
			ch.problem(at.key("helo"), "helo %q of route %q must be a domain name or an address in brackets", r.Helo, r.Name)
		}
	}
}

// conditions checks what a route asks beside the domain.
func (ch *checker) conditions(at keyPath, r Route) {
	for i, s := range r.Senders {
		local, domain, isAddress := cutLast(s, "@")
		why := ""
		switch {
		case s == "<>":
			continue
		case isAddress && (local == "" || strings.ContainsAny(s, " <>")):
			why = "is no address"
		case isAddress:
			_, why = normalPattern(domain)
		default:
			_, why = normalPattern(s)
		}
		if why != "" {
			ch.problem(at.key("senders").index(i), `sender %q of route %q %s; write "a@example.org", "*@example.org", "example.org", "*.example.org", or "<>" for mail without a sender`, s, r.Name, why)
		}
	}
	for i, s := range r.Accounts {
		if strings.TrimSpace(s) != s || s == "" {
			ch.problem(at.key("accounts").index(i), "account %q of route %q must be the name of an account or an application", s, r.Name)
		}
	}
	name := regexp.MustCompile(`^[!-9;-~]+[ \t]*(:|$)`)
	for i, s := range r.Headers {
		if !name.MatchString(s) {
			ch.problem(at.key("headers").index(i), `header %q of route %q must be like "X-Route: bulk*", or "List-Id" for a field that only has to be there`, s, r.Name)
		}
	}
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// normalPattern normalises a pattern of domains, and says what is wrong with it.
func normalPattern(s string) (pattern, why string) {
	if s == "*" {
		return s, ""
	}
	rest, wild := strings.CutPrefix(s, "*.")
	if strings.HasPrefix(rest, "[") && !wild {
		d, err := mail.ParseDomain(rest)
		if err != nil {
			return "", "is not an address literal"
		}
		return d, ""
	}
	if why := badHost(rest); why != "" {
		return "", why
	}
	d, err := mail.ParseDomain(rest)
	if err != nil {
		return "", err.Error()
	}
	if wild {
		d = "*." + d
	}
	return d, ""
}

func (ch *checker) nextHop(at keyPath, r Route) {
	switch {
	case len(r.NextHop) == 0 && len(r.Smarthosts) == 0:
		ch.problem(at, `route %q has no next_hop; give hosts, ["smtp.example.net:587"], or "mx"`, r.Name)
	case len(r.Smarthosts) > 0:
		ch.smarthosts(at, r)
	}
	ch.oneOf(at.key("tls"), "tls", string(r.TLS), tlsModes()...)
	ch.webhook(at, r)
	if r.Webhook() {
		return
	}
	if r.MX() {
		if r.TLS == TLSImplicit {
			ch.problem(at.key("tls"), `route %q: mail exchangers do not speak implicit TLS; use tls = "required" or "opportunistic"`, r.Name)
		}
		return
	}
	for i, s := range r.NextHop {
		if s == NextHopMX {
			ch.problem(at.key("next_hop").index(i), `route %q: next_hop is either "mx" or hosts, not both`, r.Name)
		} else if why := badNextHop(s); why != "" {
			ch.problem(at.key("next_hop").index(i), "next_hop %q of route %q %s", s, r.Name, why)
		}
	}
}

func (ch *checker) credentials(at keyPath, r Route) {
	if r.Webhook() {
		return // see webhook
	}
	ch.security(at, r)
	hasPassword := r.Password != "" || r.PasswordFile != ""
	if r.Password != "" && r.PasswordFile != "" {
		ch.problem(at.key("password_file"), "route %q has password and password_file; keep one", r.Name)
	}
	switch {
	case r.Username != "" && !hasPassword && !r.OAuth():
		ch.problem(at.key("username"), "route %q has a username and no password; add password_file", r.Name)
	case r.Username == "" && hasPassword:
		ch.problem(at, "route %q has a password and no username; add username", r.Name)
	case r.PasswordFile != "":
		if _, err := r.Secret(); err != nil {
			ch.problem(at.key("password_file"), "password of route %q: %s", r.Name, err)
		}
	}
	if r.Username == "" {
		return
	}
	remote := slices.ContainsFunc(r.NextHop, func(hop string) bool { return !isLoopback(hop) })
	switch {
	case r.MX():
		ch.problem(at.key("username"), "route %q: mail exchangers take no password; remove username, or name hosts in next_hop", r.Name)
	case remote && (r.TLS == TLSNone || r.TLS == TLSOpportunistic):
		ch.problem(at.key("tls"), `route %q could send its password in the clear; use tls = "required" or "implicit"`, r.Name)
	}
}

// isLoopback tells whether a next hop is this machine, by its address.
func isLoopback(hop string) bool {
	if strings.HasPrefix(hop, UnixPrefix) {
		return true
	}
	ap, err := netip.ParseAddrPort(withPort(hop, "25"))
	return err == nil && ap.Addr().IsLoopback()
}
