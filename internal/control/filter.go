package control

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// Filter says which tasks are meant: those that all of its fields let through.
// What is empty lets everything through.
type Filter struct {
	States []spool.State `json:"states,omitempty"`
	// Destination is a whole destination ("route/domain"), a route, or a domain.
	Destination string `json:"destination,omitempty"`
	// Route is the destination's route. Domain is the destination's or, where
	// the route alone makes the destination, that of a recipient.
	Route  string `json:"route,omitempty"`
	Domain string `json:"domain,omitempty"`
	// Sender and Recipient are an address, a domain ("example.org" or
	// "@example.org"), or, for the sender, "<>" for reports.
	Sender    string `json:"sender,omitempty"`
	Recipient string `json:"recipient,omitempty"`
	// Older and Newer are an age, counted from the arrival: "90s", "2h30m",
	// "3d", "1w".
	Older string `json:"older,omitempty"`
	Newer string `json:"newer,omitempty"`
	// Attempts, Size (octets, with k, M or G for powers of 1,024) and Priority
	// are a number, or a range with both ends in it: "3", "3..", "..3", "3..9".
	Attempts string `json:"attempts,omitempty"`
	Size     string `json:"size,omitempty"`
	Priority string `json:"priority,omitempty"`
	// Status is a part of what was last said of a recipient or, as long as it is
	// in back-off, of the destination: "451", "4.7.1", "greylisted". Case does
	// not count.
	Status string `json:"status,omitempty"`
	// Account is who was logged in when the message came, Client the address
	// or network ("192.0.2.0/24") it came from, or the name given in EHLO.
	Account string `json:"account,omitempty"`
	Client  string `json:"client,omitempty"`
	// MessageID is the Message-ID field's, with or without its angle brackets.
	// The header of every message is read that the other fields let through.
	MessageID string `json:"message_id,omitempty"`
}

// IsZero tells that the filter lets everything through.
func (f Filter) IsZero() bool { return len(f.query()) == 0 }

// parameter is a field of Filter that is one text.
type parameter struct {
	name string
	text *string
}

// parameters are those fields by their names in a query, which are those in
// JSON too.
func (f *Filter) parameters() []parameter {
	return []parameter{
		{"destination", &f.Destination}, {"route", &f.Route}, {"domain", &f.Domain},
		{"sender", &f.Sender}, {"recipient", &f.Recipient},
		{"older", &f.Older}, {"newer", &f.Newer},
		{"attempts", &f.Attempts}, {"size", &f.Size}, {"priority", &f.Priority},
		{"status", &f.Status}, {"account", &f.Account}, {"client", &f.Client},
		{"message_id", &f.MessageID},
	}
}

// query writes the filter as the parameters of GET /v1/queue.
func (f Filter) query() url.Values {
	q := url.Values{}
	for _, s := range f.States {
		q.Add("state", s.String())
	}
	for _, p := range f.parameters() {
		if *p.text != "" {
			q.Set(p.name, *p.text)
		}
	}
	return q
}

// filterFromQuery is query's inverse. It takes out of q what it knows, and
// refuses what is left, so that a misspelt parameter does not select everything.
func filterFromQuery(q url.Values) (Filter, error) {
	var f Filter
	for _, v := range q["state"] {
		var s spool.State
		if err := s.UnmarshalText([]byte(v)); err != nil {
			return Filter{}, errorf(CodeBadRequest, "state: %v", err)
		}
		f.States = append(f.States, s)
	}
	q.Del("state")
	for _, p := range f.parameters() {
		if len(q[p.name]) > 1 {
			return Filter{}, errorf(CodeBadRequest, "%s is given twice", p.name)
		}
		*p.text = q.Get(p.name)
		q.Del(p.name)
	}
	for name := range q {
		return Filter{}, errorf(CodeBadRequest, "unknown parameter %q", name)
	}
	return f, nil
}

// matcher is a filter made ready.
type matcher struct {
	tests []func(t *spool.TaskInfo, b *Backoff) bool
	// messageID is tested last, by reading the header; "" lets all through.
	messageID string
	// counts tells that destinations and states are all that is asked for, which
	// TaskCounts knows too; they are what destination and states test.
	counts      bool
	destination func(spool.Destination) bool
	states      []spool.State
}

// Check tells what of a filter makes no sense; the error is an *Error.
func (f Filter) Check() error {
	_, err := f.compile(time.Now())
	return err
}

// compile reads a filter for tasks as they are at a time.
func (f Filter) compile(now time.Time) (*matcher, error) {
	m := &matcher{states: f.States, messageID: strings.Trim(strings.TrimSpace(f.MessageID), "<>")}
	m.destination = f.destination()
	c := f
	c.States, c.Destination, c.Route = nil, "", ""
	m.counts = c.IsZero()
	for _, part := range []struct {
		name    string
		text    string
		compile func(text string) (test, error)
	}{
		{"domain", f.Domain, domainTest},
		{"sender", f.Sender, senderTest},
		{"recipient", f.Recipient, recipientTest},
		{"older", f.Older, func(s string) (test, error) { return ageTest(s, now, time.Time.After) }},
		{"newer", f.Newer, func(s string) (test, error) { return ageTest(s, now, time.Time.Before) }},
		{"attempts", f.Attempts, rangeTest(func(t *spool.TaskInfo) int64 { return int64(t.Attempts) })},
		{"size", f.Size, rangeTest(func(t *spool.TaskInfo) int64 { return t.Size })},
		{"priority", f.Priority, rangeTest(func(t *spool.TaskInfo) int64 { return int64(t.Envelope.Priority) })},
		{"status", f.Status, statusTest},
		{"account", f.Account, accountTest},
		{"client", f.Client, clientTest},
	} {
		if part.text == "" {
			continue
		}
		t, err := part.compile(part.text)
		if err != nil {
			return nil, errorf(CodeBadRequest, "%s: %v", part.name, err)
		}
		m.tests = append(m.tests, t)
	}
	return m, nil
}

// match tells whether a task is let through, its Message-ID aside. b is its
// destination's back-off, nil for none.
func (m *matcher) match(t *spool.TaskInfo, b *Backoff) bool {
	if !m.wants(t.State) || !m.destination(t.Destination) {
		return false
	}
	for _, test := range m.tests {
		if !test(t, b) {
			return false
		}
	}
	return true
}

func (m *matcher) wants(s spool.State) bool {
	return len(m.states) == 0 || slices.Contains(m.states, s)
}

// destination compiles what concerns the destination alone.
func (f Filter) destination() func(spool.Destination) bool {
	whole, route := strings.ToLower(f.Destination), strings.ToLower(f.Route)
	return func(d spool.Destination) bool {
		name := strings.ToLower(d.Route)
		return (route == "" || route == name) &&
			(whole == "" || whole == name || whole == d.Domain || whole == strings.ToLower(d.String()))
	}
}

// test is one condition of a filter.
type test = func(t *spool.TaskInfo, b *Backoff) bool

func domainTest(s string) (test, error) {
	d, err := mail.ParseDomain(strings.TrimPrefix(s, "@"))
	if err != nil {
		return nil, err
	}
	return func(t *spool.TaskInfo, _ *Backoff) bool {
		if t.Destination.Domain != "" {
			return t.Destination.Domain == d
		}
		return slices.ContainsFunc(t.Recipients, func(r spool.RecipientState) bool { return r.To.Domain == d })
	}, nil
}

func senderTest(s string) (test, error) {
	is, err := addressPattern(s)
	return func(t *spool.TaskInfo, _ *Backoff) bool { return is(t.Envelope.From) }, err
}

func recipientTest(s string) (test, error) {
	is, err := addressPattern(s)
	return func(t *spool.TaskInfo, _ *Backoff) bool {
		return slices.ContainsFunc(t.Recipients, func(r spool.RecipientState) bool { return is(r.To) })
	}, err
}

// addressPattern compiles what Filter says of Sender and Recipient.
func addressPattern(s string) (func(mail.Address) bool, error) {
	if s == "<>" {
		return mail.Address.IsNull, nil
	}
	if domain := strings.TrimPrefix(s, "@"); !strings.Contains(domain, "@") {
		d, err := mail.ParseDomain(domain)
		if err != nil {
			return nil, err
		}
		return func(a mail.Address) bool { return a.Domain == d }, nil
	}
	want, err := mail.ParseAddress(strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">"))
	if err != nil {
		return nil, err
	}
	return func(a mail.Address) bool { return a.Key() == want.Key() }, nil
}

// ageTest compares the moment that an age leads back to with the arrival.
func ageTest(s string, now time.Time, compare func(moment, arrived time.Time) bool) (test, error) {
	d, err := parseAge(s)
	if err != nil {
		return nil, err
	}
	moment := now.Add(-d)
	return func(t *spool.TaskInfo, _ *Backoff) bool {
		return t.Queued.Equal(moment) || compare(moment, t.Queued)
	}, nil
}

func rangeTest(of func(*spool.TaskInfo) int64) func(string) (test, error) {
	return func(s string) (test, error) {
		low, high, err := parseRange(s)
		if err != nil {
			return nil, err
		}
		return func(t *spool.TaskInfo, _ *Backoff) bool { n := of(t); return low <= n && n <= high }, nil
	}
}

func statusTest(s string) (test, error) {
	s = strings.ToLower(s)
	return func(t *spool.TaskInfo, b *Backoff) bool {
		if b != nil && strings.Contains(strings.ToLower(b.Last.String()), s) {
			return true
		}
		return slices.ContainsFunc(t.Recipients, func(r spool.RecipientState) bool {
			return strings.Contains(strings.ToLower(r.Last.String()), s)
		})
	}, nil
}

func accountTest(s string) (test, error) {
	return func(t *spool.TaskInfo, _ *Backoff) bool { return strings.EqualFold(t.Envelope.Client.Account, s) }, nil
}

func clientTest(s string) (test, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		return func(t *spool.TaskInfo, _ *Backoff) bool { return t.Envelope.Client.Addr.Unmap() == addr }, nil
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a network nor a name", s)
		}
		return func(t *spool.TaskInfo, _ *Backoff) bool { return p.Contains(t.Envelope.Client.Addr.Unmap()) }, nil
	}
	return func(t *spool.TaskInfo, _ *Backoff) bool { return strings.EqualFold(t.Envelope.Client.Helo, s) }, nil
}
