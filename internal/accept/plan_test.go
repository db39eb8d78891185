package accept_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/internal/accept"
	accounts "restante/internal/directory"
	"restante/internal/mail"
	"restante/internal/rewrite"
	"restante/internal/screen"
	"restante/internal/srs"
	"restante/spool"
)

// town is a house with a real directory: here.example is local, alice and bob
// live there.
func town(t *testing.T, change func(*accept.Options)) (*house, *srs.Rewriter) {
	t.Helper()
	d, err := accounts.Open(accounts.Options{
		Path:    t.TempDir() + "/accounts.json",
		Domains: []string{"here.example"},
		Static: []accounts.Static{
			{Name: "alice@here.example", Password: "secret"}, {Name: "bob@here.example", Password: "secret"},
		},
		Aliases: map[string][]string{
			"away@here.example":   {"alice@there.example"},
			"both@here.example":   {"bob@here.example", "bob@far.example"},
			"nested@here.example": {"team@here.example"},
		},
		Groups: []accounts.Group{
			{Name: "team@here.example", Members: []string{"alice@here.example", "carol@there.example", "inner@here.example"}, Owner: "bob@here.example"},
			{Name: "inner@here.example", Members: []string{"dora@there.example", "team@here.example"}},
			{Name: "closed@here.example", Members: []string{"alice@here.example", "carol@there.example"}, Owner: "owner@far.example", Closed: true},
		},
		CatchAll: map[string][]string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	rewriter, err := srs.New(srs.Options{Secrets: [][]byte{[]byte("0123456789abcdef")}, Domain: "here.example"})
	if err != nil {
		t.Fatal(err)
	}
	return newHouse(t, func(o *accept.Options) {
		o.Directory, o.SRS = d, rewriter
		if change != nil {
			change(o)
		}
	}), rewriter
}

// planned describes a plan, and the rules that led to it.
func (h *house) planned(s accept.Submission) (plan, rules string) {
	h.Helper()
	var steps []string
	p, err := h.Plan(s, func(_ mail.Address, s accept.Step) {
		var to []string
		for _, a := range s.To {
			to = append(to, a.String())
		}
		steps = append(steps, strings.TrimSpace(string(s.Rule)+" "+s.Address.String()+" "+strings.Join(to, ",")))
	})
	if err != nil {
		h.Fatal(err)
	}
	var parts []string
	for _, d := range p.Deposits {
		parts = append(parts, d.Account)
	}
	for _, t := range p.Tasks {
		from := ""
		if t.From != nil {
			from = " from " + t.From.String()
		}
		for _, r := range t.Recipients {
			parts = append(parts, r.To.String()+from)
		}
	}
	return strings.Join(parts, "; "), strings.Join(steps, "; ")
}

func TestPlan(t *testing.T) {
	h, rewriter := town(t, nil)
	forwarded := func(from string) string {
		a, err := rewriter.Forward(mail.MustParseAddress(from))
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	zoe, long := forwarded("zoe@out.example"), strings.Repeat("z", 60)+"@out.example"
	for _, c := range []struct{ name, from, to, plan, rules string }{
		{"account", "zoe@out.example", "alice+x@here.example", "alice@here.example",
			"without its +tag alice+x@here.example alice@here.example; account alice@here.example alice@here.example"},
		{"elsewhere", "zoe@out.example", "y@far.example", "y@far.example", "elsewhere y@far.example"},
		{"forwarded", "zoe@out.example", "away@here.example", "alice@there.example from " + zoe,
			"alias away@here.example alice@there.example; elsewhere alice@there.example; SRS zoe@out.example " + zoe},
		{"forwarded, ours", "bob@here.example", "away@here.example", "alice@there.example",
			"alias away@here.example alice@there.example; elsewhere alice@there.example"},
		{"forwarded bounce", "", "away@here.example", "alice@there.example",
			"alias away@here.example alice@there.example; elsewhere alice@there.example"},
		{"too long for SRS", long, "away@here.example", "alice@there.example",
			"alias away@here.example alice@there.example; elsewhere alice@there.example; sender stays " + long + " " + long},
		{"bounce of a forwarded one", "", zoe, "zoe@out.example", "rewritten sender " + zoe + " zoe@out.example; elsewhere zoe@out.example"},
		{"group", "zoe@out.example", "team@here.example",
			"alice@here.example; carol@there.example from bob@here.example; dora@there.example from bob@here.example",
			"group team@here.example alice@here.example,carol@there.example,inner@here.example; account alice@here.example alice@here.example; " +
				"group inner@here.example dora@there.example,team@here.example; elsewhere carol@there.example; " +
				"owner of the group zoe@out.example bob@here.example; elsewhere dora@there.example; owner of the group zoe@out.example bob@here.example"},
		{"group, bounce", "", "team@here.example", "alice@here.example; carol@there.example; dora@there.example", "-"},
		{"group without an owner in front of one with", "zoe@out.example", "inner@here.example",
			"alice@here.example; dora@there.example from " + zoe + "; carol@there.example from bob@here.example", "-"},
		{"nested", "zoe@out.example", "nested@here.example", "alice@here.example; carol@there.example from bob@here.example; dora@there.example from bob@here.example", "-"},
		{"own copy", "zoe@out.example", "both@here.example", "bob@here.example; bob@far.example from " + zoe, "-"},
	} {
		plan, rules := h.planned(submission(c.from, c.to))
		if plan != c.plan || rules != c.rules && c.rules != "-" {
			t.Errorf("%s: plan\n  %s\nwant\n  %s\nrules\n  %s\nwant\n  %s", c.name, plan, c.plan, rules, c.rules)
		}
	}
}

// The tasks that are committed have the sender that goes with them, and two
// senders to one destination are two tasks.
func TestForwardingIsCommitted(t *testing.T) {
	h, _ := town(t, nil)
	r, err := h.take(submission("zoe@out.example", "team@here.example", "away@here.example", "x@there.example"), text)
	if err != nil {
		t.Fatal(err)
	}
	got := h.tasksOf(r.ID)
	parts := strings.Split(got, "; ")
	if len(parts) != 3 || parts[0] != "queued mx/there.example from <bob@here.example> to carol@there.example,dora@there.example" ||
		!strings.Contains(parts[1], "from <SRS0=") || !strings.HasSuffix(parts[1], "=out.example=zoe@here.example> to alice@there.example") ||
		parts[2] != "queued mx/there.example from <zoe@out.example> to x@there.example" {
		t.Error(got)
	}
	if len(r.Deposited) != 1 {
		t.Errorf("%d deposits", len(r.Deposited))
	}
}

func TestReturnedToARewrittenSender(t *testing.T) {
	h, rewriter := town(t, nil)
	for _, s := range []string{"SRS0=AAAAAA=AA=out.example=zoe@here.example", "SRS0=x@here.example", "SRS1=AAAAAA=out.example==x@here.example"} {
		a := mail.MustParseAddress(s)
		if !h.Local(a) {
			t.Errorf("%s is not local", s)
		}
		if err := h.Check(a); !errors.Is(err, mail.ErrNoSuchUser) {
			t.Errorf("%s: %v", s, err)
		}
	}
	good, err := rewriter.Forward(mail.MustParseAddress("zoe@out.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Check(good); err != nil {
		t.Error(err)
	}
}

func TestClosedGroup(t *testing.T) {
	h, _ := town(t, nil)
	to := mail.MustParseAddress("closed@here.example")
	for _, c := range []struct {
		name string
		from accept.Origin
		want error
	}{
		{"a stranger", accept.Origin{From: mail.MustParseAddress("zoe@out.example")}, accept.ErrClosed},
		{"nobody", accept.Origin{}, accept.ErrClosed},
		{"a member elsewhere", accept.Origin{From: mail.MustParseAddress("Carol@there.example")}, nil},
		{"the owner elsewhere", accept.Origin{From: mail.MustParseAddress("owner@far.example")}, nil},
		{"who says he is a member here", accept.Origin{From: mail.MustParseAddress("alice@here.example")}, accept.ErrClosed},
		{"an account", accept.Origin{From: mail.MustParseAddress("bob@here.example"), Account: "bob@here.example"}, nil},
		{"a trusted client", accept.Origin{From: mail.MustParseAddress("zoe@out.example"), Trusted: true}, nil},
	} {
		if err := h.Admit(c.from, to); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		s := accept.Submission{Recipients: rcpts("closed@here.example"), Trusted: c.from.Trusted}
		s.Envelope.From, s.Envelope.Client.Account = c.from.From, c.from.Account
		if m, err := h.Submit(s); !errors.Is(err, c.want) {
			t.Errorf("%s: Submit: %v, want %v", c.name, err, c.want)
		} else if m != nil {
			m.Abort()
		}
	}
}

func TestMasqueradeIsPlanned(t *testing.T) {
	m, err := rewrite.NewMasquerade(map[string]string{"*.internal.example": "here.example"})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := town(t, func(o *accept.Options) { o.Masquerade = m })
	s := submission("root@db.internal.example", "y@far.example")
	if _, rules := h.planned(s); rules != "elsewhere y@far.example" {
		t.Errorf("not ours: %s", rules)
	}
	s.Complete = true
	if _, rules := h.planned(s); rules != "masquerade root@db.internal.example root@here.example; elsewhere y@far.example" {
		t.Errorf("ours: %s", rules)
	}
}

var _ accept.Mailboxes = spool.Mailboxes(nil)

// The header decides about the way: as it is stored, with what a screen added.
// Who forwards is the sender then.
func TestWayByHeader(t *testing.T) {
	screens := &fakeScreen{verdict: screen.Verdict{
		Edits: []screen.Edit{{Op: screen.Append, Name: "X-Route", Value: "late"}}, Quarantine: "looks odd",
	}}
	var asked []string
	h := newHouse(t, func(o *accept.Options) {
		o.Screens = []screen.Screen{screens}
		o.Route = func(w accept.Way) spool.Destination {
			d := spool.Destination{Route: "mx", Domain: w.To.Domain}
			if w.Header == nil {
				return d
			}
			d.Route, _ = w.Header().Get("X-Route")
			asked = append(asked, fmt.Sprintf("<%s> %s by %s", w.From, w.To, w.Account))
			if w.To.Local == "late" {
				d.Domain = "there.example"
			}
			return d
		}
	})
	s := submission("eve@out.example", "late@far.example", "x@there.example", "x@near.example")
	s.Envelope.Client.Account, s.Screened = "invoices", true
	receipt, err := h.take(s, "Subject: x\r\n\r\nbody\r\n")
	if err != nil {
		t.Fatal(err)
	}
	const want = "held late/there.example from <eve@out.example> to late@far.example,x@there.example; " +
		"held late/near.example from <eve@out.example> to x@near.example"
	if got := h.tasksOf(receipt.ID); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(asked) == 0 || asked[0] != "<eve@out.example> late@far.example by invoices" {
		t.Errorf("asked: %q", asked)
	}
}
