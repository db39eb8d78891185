package control

import (
	"net/url"
	"slices"
	"strings"

	"restante/internal/mail"
	"restante/spool"
)

// Filter says which tasks are meant; what is empty lets everything through.
type Filter struct {
	States []spool.State `json:"states,omitempty"`
	// Destination is a whole destination ("route/domain"), a route, or a domain.
	Destination string `json:"destination,omitempty"`
	// Sender and Recipient are an address, a domain ("example.org" or
	// "@example.org"), or, for the sender, "<>" for reports.
	Sender    string `json:"sender,omitempty"`
	Recipient string `json:"recipient,omitempty"`
}

// query writes the filter as the parameters of GET /v1/queue.
func (f Filter) query() url.Values {
	q := url.Values{}
	for _, s := range f.States {
		q.Add("state", s.String())
	}
	for name, v := range map[string]string{"destination": f.Destination, "sender": f.Sender, "recipient": f.Recipient} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q
}

// filterFromQuery is query's inverse; it knows every parameter that may be
// there, so that a misspelt one does not select everything.
func filterFromQuery(q url.Values) (Filter, error) {
	var f Filter
	for name, values := range q {
		switch name {
		case "state":
			for _, v := range values {
				var s spool.State
				if err := s.UnmarshalText([]byte(v)); err != nil {
					return Filter{}, errorf(CodeBadRequest, "state: %v", err)
				}
				f.States = append(f.States, s)
			}
		case "destination":
			f.Destination = values[0]
		case "sender":
			f.Sender = values[0]
		case "recipient":
			f.Recipient = values[0]
		default:
			return Filter{}, errorf(CodeBadRequest, "unknown parameter %q", name)
		}
	}
	return f, nil
}

// matcher is a filter made ready; what is zero lets everything through.
type matcher struct {
	states            []spool.State
	destination       string
	sender, recipient func(mail.Address) bool
}

func (f Filter) compile() (matcher, error) {
	m := matcher{states: f.States, destination: strings.ToLower(f.Destination)}
	var err error
	if m.sender, err = addressPattern(f.Sender); err != nil {
		return matcher{}, errorf(CodeBadRequest, "sender: %v", err)
	}
	if m.recipient, err = addressPattern(f.Recipient); err != nil {
		return matcher{}, errorf(CodeBadRequest, "recipient: %v", err)
	}
	return m, nil
}

func (m matcher) match(t spool.TaskInfo) bool {
	if len(m.states) > 0 && !slices.Contains(m.states, t.State) {
		return false
	}
	if d := t.Destination; m.destination != "" && m.destination != strings.ToLower(d.String()) &&
		m.destination != strings.ToLower(d.Route) && m.destination != d.Domain {
		return false
	}
	if m.sender != nil && !m.sender(t.Envelope.From) {
		return false
	}
	return m.recipient == nil || slices.ContainsFunc(t.Recipients, func(r spool.RecipientState) bool {
		return m.recipient(r.To)
	})
}

// addressPattern compiles what Filter says of Sender and Recipient; nil for "".
func addressPattern(s string) (func(mail.Address) bool, error) {
	switch {
	case s == "":
		return nil, nil
	case s == "<>":
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
