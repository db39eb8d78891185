package relay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// Which route a recipient's mail takes:
//
//  1. of the routes with conditions (Senders, Accounts, Headers), in the order
//     of the set, the first whose conditions all hold, and which serves the
//     recipient's domain or names no domains;
//  2. of the others, that with the most specific pattern of the domain.

// rule is a route with conditions, made ready.
type rule struct {
	route    *Route
	domains  []string // normalised; none are all
	senders  []string // in lower case
	accounts []string // in lower case
	headers  []fieldPattern
}

// fieldPattern is a condition on the header.
type fieldPattern struct{ name, value string }

// conditional tells whether a route has conditions beside its domains.
func (r *Route) conditional() bool { return len(r.Senders)+len(r.Accounts)+len(r.Headers) > 0 }

// newRule makes the rule of a route with conditions.
func newRule(r *Route) (rule, error) {
	made := rule{route: r}
	for _, s := range r.Domains {
		pattern, err := domainPattern(s)
		if err != nil {
			return rule{}, fmt.Errorf("domain %q: %w", s, err)
		}
		made.domains = append(made.domains, pattern)
	}
	for _, s := range r.Senders {
		pattern, err := senderPattern(s)
		if err != nil {
			return rule{}, fmt.Errorf("sender %q: %w", s, err)
		}
		made.senders = append(made.senders, pattern)
	}
	for _, s := range r.Accounts {
		if s == "" {
			return rule{}, errors.New("an account without a name")
		}
		made.accounts = append(made.accounts, strings.ToLower(s))
	}
	for _, s := range r.Headers {
		pattern, err := parseFieldPattern(s)
		if err != nil {
			return rule{}, fmt.Errorf("header %q: %w", s, err)
		}
		made.headers = append(made.headers, pattern)
	}
	return made, nil
}

// domainPattern normalises "example.com", "*.example.com" or "*".
func domainPattern(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	rest, below := strings.CutPrefix(s, "*.")
	domain, err := mail.ParseDomain(rest)
	if below {
		domain = "*." + domain
	}
	return domain, err
}

// senderPattern normalises an address with or without asterisks, a pattern of
// domains, or "<>".
func senderPattern(s string) (string, error) {
	local, domain, ok := cutLast(s, "@")
	switch {
	case s == "<>":
		return s, nil
	case !ok:
		return domainPattern(s)
	case local == "" || strings.ContainsAny(s, " \t<>\r\n"):
		return "", errors.New(`is neither an address nor a pattern like "*@example.org"`)
	}
	domain, err := domainPattern(domain)
	return strings.ToLower(local) + "@" + domain, err
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// parseFieldPattern reads "Name: pattern of the value", or "Name" for a field
// that only has to be there.
func parseFieldPattern(s string) (fieldPattern, error) {
	name, value, ok := strings.Cut(s, ":")
	if !ok {
		value = "*"
	}
	name = strings.TrimSpace(name)
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fieldPattern{}, errors.New(`is not like "Name: value", or "Name: *"`)
	}
	return fieldPattern{name, strings.ToLower(strings.TrimSpace(value))}, nil
}

// holds tells whether all conditions hold. The header is asked for last: it
// may have to be read.
func (r *rule) holds(w accept.Way) bool {
	return (len(r.domains) == 0 || slices.ContainsFunc(r.domains, func(p string) bool { return domainFits(p, w.To.Domain) })) &&
		(len(r.senders) == 0 || slices.ContainsFunc(r.senders, func(p string) bool { return senderFits(p, w.From) })) &&
		(len(r.accounts) == 0 || w.Account != "" && slices.ContainsFunc(r.accounts, func(p string) bool { return glob(p, strings.ToLower(w.Account)) })) &&
		(len(r.headers) == 0 || r.headersHold(w))
}

// headersHold tells whether there is a field for each of the patterns.
func (r *rule) headersHold(w accept.Way) bool {
	if w.Header == nil {
		return false
	}
	block := w.Header()
	return block != nil && !slices.ContainsFunc(r.headers, func(p fieldPattern) bool {
		return !slices.ContainsFunc(block.Fields(), func(f header.Field) bool {
			return f.Is(p.name) && glob(p.value, strings.ToLower(f.Value()))
		})
	})
}

func domainFits(pattern, domain string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*."); ok {
		return !strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "."+suffix)
	}
	return pattern == "*" || pattern == domain
}

func senderFits(pattern string, from mail.Address) bool {
	if from.IsNull() || pattern == "<>" {
		return from.IsNull() && pattern == "<>"
	}
	local, domain, ok := cutLast(pattern, "@")
	if !ok {
		return domainFits(pattern, from.Domain)
	}
	return domainFits(domain, from.Domain) && glob(local, strings.ToLower(from.Local))
}

// glob tells whether a pattern, in which "*" stands for any octets, fits all
// of s. It takes time in proportion to s for each part of the pattern.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return pattern == s
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// String tells the conditions of a rule, for explain.
func (r *rule) String() string {
	var all []string
	for _, c := range []struct {
		key  string
		list []string
	}{{"domains", r.route.Domains}, {"senders", r.route.Senders}, {"accounts", r.route.Accounts}, {"headers", r.route.Headers}} {
		if len(c.list) > 0 {
			all = append(all, fmt.Sprintf("%s %q", c.key, c.list))
		}
	}
	return strings.Join(all, " and ")
}

// find returns the route of a recipient.
func (t *table) find(w accept.Way) *Route {
	if rule := t.rule(w); rule != nil {
		return rule.route
	}
	route, _ := t.byDomain(w.To.Domain)
	return route
}

// rule returns the first rule that holds, or nil.
func (t *table) rule(w accept.Way) *rule {
	for i := range t.rules {
		if t.rules[i].holds(w) {
			return &t.rules[i]
		}
	}
	return nil
}

// byDomain finds among the routes without conditions, and by which pattern; ""
// if no route was given that serves the domain.
func (t *table) byDomain(domain string) (r *Route, pattern string) {
	if r := t.exact[domain]; r != nil {
		return r, domain
	}
	if !strings.HasPrefix(domain, "[") {
		for _, rest, ok := strings.Cut(domain, "."); ok; _, rest, ok = strings.Cut(rest, ".") {
			if r := t.suffixes[rest]; r != nil {
				return r, "*." + rest
			}
		}
	}
	if t.implicit {
		return t.fallback, ""
	}
	return t.fallback, "*"
}

// pinned returns the route that a task is pinned to; nil if it is not, or there
// is no such route any more.
func (t *table) pinned(task *spool.TaskInfo) *Route {
	if !task.Pinned {
		return nil
	}
	return t.names[task.Destination.Route]
}

// today returns what a recipient of a task would be filed under today, and
// whether that is what somebody pinned the task to.
func (t *table) today(task *spool.TaskInfo, w accept.Way) (d spool.Destination, pinned bool) {
	if r := t.pinned(task); r != nil {
		return r.destination(cmp.Or(task.Destination.Domain, w.To.Domain)), true
	}
	return t.find(w).destination(w.To.Domain), false
}
