package accept_test

import (
	"net/netip"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/screen"
	"restante/spool"
)

// plot is how a story begins: what, of whom, and the text.
func (h *house) plot(id mail.ID) string {
	h.Helper()
	s, err := h.Story(id)
	if err != nil {
		h.Fatal(err)
	}
	var list []string
	for _, e := range s.Events {
		text := string(e.Kind)
		for _, to := range e.To {
			text += " " + to.String()
		}
		list = append(list, text+": "+e.Text)
	}
	return strings.Join(list, "\n")
}

func TestStory(t *testing.T) {
	screened := &fakeScreen{verdict: screen.Verdict{
		Fields:     []byte("Authentication-Results: mx.here.example;\r\n\tspf=pass\r\nX-Other: 1\r\n"),
		Edits:      []screen.Edit{{Op: screen.Append, Name: "X-Spam", Value: "yes"}},
		Add:        []mail.Address{mail.MustParseAddress("alice@here.example"), mail.MustParseAddress("nobody@here.example")},
		Remove:     []mail.Address{mail.MustParseAddress("gone@there.example")},
		Quarantine: "it smells",
	}}
	h := newHouse(t, func(o *accept.Options) { o.Screens = []screen.Screen{screened} })
	s := accept.Submission{
		Envelope: mail.Envelope{
			From: mail.MustParseAddress("ann@there.example"),
			Client: mail.Client{
				Protocol: "ESMTPS", Addr: netip.MustParseAddr("192.0.2.7"), Helo: "client.example",
			},
		},
		Recipients: []mail.Recipient{
			{To: mail.MustParseAddress("bob@here.example")}, {To: mail.MustParseAddress("gone@there.example")}, {To: mail.MustParseAddress("dan@there.example")},
		},
		TLS: "TLS1.3", Rule: "trusted address", Screened: true,
	}
	r, err := h.take(s, "Subject: x\r\nMessage-ID:\r\n <1@there.example>\r\n\r\nx\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"accepted bob@here.example dan@there.example alice@here.example: ESMTPS; trusted address",
		"screened: mx.here.example; spf=pass",
		"screened: changes of the header: 1",
		"screened: recipient removed: gone@there.example",
		"screened: recipient added: alice@here.example",
		"screened: quarantined: it smells",
		"deposited bob@here.example: bob@here.example/Junk",
		"deposited alice@here.example: alice@here.example/Junk",
		"queued dan@there.example: mx/there.example, held",
	}, "\n")
	if got := h.plot(r.ID); got != want {
		t.Errorf("the story is\n%s\nwant\n%s", got, want)
	}
	story, _ := h.Story(r.ID)
	if e := story.Events[0]; e.Host != "client.example" || e.Addr != "192.0.2.7" || e.TLS != "TLS1.3" || story.MessageID != "1@there.example" {
		t.Errorf("accepted: %+v, as %q", e, story.MessageID)
	}
}

// Who is meant, and who gets the message in the end, are both in its story.
func TestStoryOfRules(t *testing.T) {
	many := make([]mail.Address, 8)
	for i := range many {
		many[i] = mail.Address{Local: string(rune('a' + i)), Domain: "here.example"}
	}
	led := func(from string, rule accept.Rule, to ...mail.Address) accept.Step {
		return accept.Step{Rule: rule, Address: mail.MustParseAddress(from), To: to}
	}
	h := newHouse(t, func(o *accept.Options) {
		o.Directory = following{directory{}, []accept.Step{
			led("info@here.example", accept.RuleAlias, mail.MustParseAddress("all@here.example")),
			led("all@here.example", accept.RuleGroup, many...),
			led("a@here.example", accept.RuleAccount),
		}, accept.Targets{Accounts: []string{"a"}, Forwards: []accept.Forward{{
			To: mail.MustParseAddress("x@there.example"), Sender: mail.MustParseAddress("owner@here.example"),
		}}}}
	})
	m, err := h.Begin(mail.Envelope{From: mail.MustParseAddress("ann@there.example"), Client: mail.Client{Protocol: "local"}},
		[]mail.Recipient{{To: mail.MustParseAddress("info@here.example")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Write([]byte("Subject: x\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	r, err := m.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"accepted info@here.example: local",
		"rewritten info@here.example: alias to all@here.example",
		"rewritten info@here.example: group: all@here.example to a@here.example, b@here.example, c@here.example, d@here.example, e@here.example and 3 more",
		"rewritten: owner of the group: sender ann@there.example to owner@here.example",
		"deposited info@here.example: a/INBOX",
		"queued x@there.example: mx/there.example",
	}, "\n")
	if got := h.plot(r.ID); got != want {
		t.Errorf("the story is\n%s\nwant\n%s", got, want)
	}
	s, _ := h.Story(r.ID)
	if len(s.Recipients) != 2 || s.Recipients[0].State != spool.StateDeposited || s.Recipients[1].State != "queued" {
		t.Errorf("recipients: %+v", s.Recipients)
	}
}

// following is a directory that applies some rules.
type following struct {
	directory
	steps   []accept.Step
	targets accept.Targets
}

func (f following) Resolve(_ mail.Address, trace func(accept.Step)) (accept.Targets, error) {
	if trace != nil {
		for _, s := range f.steps {
			trace(s)
		}
	}
	return f.targets, nil
}
