package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/standin"
	"restante/relay"
	"restante/spool"
)

// several is a route to several hosts, in this order.
func several(servers ...*standin.Server) relay.Route {
	r := to(servers[0])
	r.Hosts = nil
	for i, srv := range servers {
		r.Hosts = append(r.Hosts, relay.Host{Name: "127.0.0.1", Port: srv.Port(), Order: i})
	}
	return r
}

// A host that failed is tried last for a while; then by one delivery, and if
// that goes well by all.
func TestRest(t *testing.T) {
	route := &relay.Route{Name: "isp", Kind: relay.Smarthost, Hosts: []relay.Host{{Name: "a"}, {Name: "b"}}}
	var r rests
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	refused := error(&fault{status: transient(4, 1, "refused")})
	want := func(what string, want ...int) {
		t.Helper()
		if got := r.order(route, []int{0, 1}, now); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	want("at first", 0, 1)
	r.note(route, 0, refused, false, now)
	want("after a failure", 1, 0)
	now = now.Add(minRest)
	want("the probe", 0, 1)
	want("beside the probe", 1, 0)
	r.note(route, 0, refused, false, now)
	now = now.Add(minRest)
	want("after a second failure", 1, 0)
	now = now.Add(minRest)
	want("the second probe", 0, 1)
	r.note(route, 0, nil, false, now)
	want("after a success", 0, 1)
	for _, brokenOff := range []bool{true, false} {
		r.note(route, 0, errors.New("ours"), brokenOff, now)
		r.note(route, 0, refused, true, now)
	}
	r.note(route, 0, &fault{status: transient(7, 0, "quota"), cause: errSpent}, false, now)
	r.note(&relay.Route{Name: "other", Hosts: route.Hosts}, 1, refused, false, now)
	want("what is not its fault, and another route's", 0, 1)
}

func TestRestIsBounded(t *testing.T) {
	var r rests
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for i := range 3 * maxTired {
		route := &relay.Route{Name: fmt.Sprint(i), Hosts: []relay.Host{{Name: "a"}}}
		r.note(route, 0, &fault{status: transient(4, 1, "refused")}, false, now)
	}
	if len(r.list) > maxTired {
		t.Errorf("%d are remembered", len(r.list))
	}
	r.note(&relay.Route{Hosts: []relay.Host{{Name: "a"}}}, 0, &fault{status: transient(4, 1, "refused")}, false, now.Add(24*time.Hour))
	if len(r.list) != 1 {
		t.Errorf("%d are remembered the next day", len(r.list))
	}
}

// Refusals for a quota lead to the next host, and the first is left alone;
// other refusals of the message do not.
func TestQuotaOfTheNextHop(t *testing.T) {
	for _, tt := range []struct {
		fault standin.Fault
		other bool
	}{
		{standin.Fault{At: standin.Mail, Code: 454, Text: "4.7.0 Throttling failure: Daily message quota exceeded."}, true},
		{standin.Fault{At: standin.EndOfData, Code: 454, Text: "Throttling failure: Maximum sending rate exceeded."}, true},
		{standin.Fault{At: standin.Mail, Code: 550, Text: "5.4.5 Daily user sending limit exceeded."}, true},
		{standin.Fault{At: standin.Mail, Code: 452, Text: "4.5.3 Too many messages today"}, true},
		{standin.Fault{At: standin.EndOfData, Code: 452, Text: "4.2.2 The mailbox is over quota"}, false},
		{standin.Fault{At: standin.EndOfData, Code: 452, Text: "Requested mailbox: quota exceeded"}, false},
		{standin.Fault{At: standin.EndOfData, Code: 552, Text: "5.3.4 Message size limit exceeded"}, false},
		{standin.Fault{At: standin.Mail, Code: 451, Text: "4.7.1 Greylisted"}, false},
		{standin.Fault{At: standin.Rcpt, Code: 452, Text: "4.5.3 limit exceeded"}, false},
	} {
		first, second := server(t, standin.Options{}, script(tt.fault)), server(t, standin.Options{})
		c, j := courier(t, Options{}), job(several(first, second))
		out := deliver(t, c, j)
		if got := len(second.Messages()) == 1; got != tt.other || out.Reach != spool.Reached || (out.Results[0].Code == 250) != tt.other {
			t.Errorf("%+v: %+v", tt.fault, out)
		}
		connections := first.Connections()
		if deliver(t, c, j); (first.Connections() == connections && len(second.Messages()) == 2) != tt.other {
			t.Errorf("%+v: then %d and %d connections", tt.fault, first.Connections(), second.Connections())
		}
	}
}

// With no host left it is the destination that rests, not the message's fault.
func TestAllExhausted(t *testing.T) {
	busy := script(standin.Fault{At: standin.Mail, Code: 550, Text: "5.4.5 Daily sending limit exceeded"})
	first, second := server(t, standin.Options{}, busy), server(t, standin.Options{}, busy)
	out := deliver(t, courier(t, Options{}), job(several(first, second)))
	if out.Reach != spool.Unreached || out.Results[0].Code != 451 || !strings.Contains(out.Fault.Text, "Daily sending limit") {
		t.Errorf("%+v", out)
	}
}

// By LMTP each recipient has an answer: what one may not have is its own affair,
// and those behind it have theirs.
func TestQuotaOfARecipientByLMTP(t *testing.T) {
	first := server(t, standin.Options{LMTP: true}, script(standin.Fault{At: standin.EndOfData, To: "a@example.com", Code: 452, Text: "4.3.1 quota exceeded"}))
	second := server(t, standin.Options{LMTP: true})
	route := several(first, second)
	route.LMTP = true
	out := deliver(t, courier(t, Options{}), job(route, "a@example.com", "b@example.com"))
	if !slices.Equal(codes(out), []int{452, 250}) || out.Reach != spool.Reached {
		t.Errorf("%+v", out)
	}
	if got := first.Messages(); len(got) != 1 || got[0].To[0] != "b@example.com" || second.Connections() != 0 {
		t.Errorf("%+v, and %d connections to the other", got, second.Connections())
	}
	// Nor is it BDAT that is not known, once a recipient has the message.
	srv := server(t, standin.Options{LMTP: true, Extra: []string{"CHUNKING"}}, script(standin.Fault{At: standin.EndOfData, To: "b@example.com", Code: 500, Text: "what now?"}))
	route = to(srv)
	route.LMTP = true
	out = deliver(t, courier(t, Options{}), job(route, "a@example.com", "b@example.com", "c@example.com"))
	if !slices.Equal(codes(out), []int{250, 500, 250}) || len(srv.Messages()) != 2 {
		t.Errorf("%+v, %d messages", out, len(srv.Messages()))
	}
}

// Each host is given the name and password that are for it.
func TestCredentialsOfHosts(t *testing.T) {
	password := func(s string) func() (string, error) { return func() (string, error) { return s, nil } }
	first := server(t, standin.Options{Username: "one", Password: "1"}, script(standin.Fault{At: standin.Auth, Code: 454, Text: "4.7.0 Temporary authentication failure"}))
	second := server(t, standin.Options{Username: "two", Password: "2"})
	route := several(first, second)
	route.Username, route.Password = "one", password("1")
	route.Hosts[1].Username, route.Hosts[1].Password = "two", password("2")
	out := deliver(t, courier(t, Options{}), job(route))
	if got := second.Messages(); out.Results[0].Code != 250 || len(got) != 1 || got[0].Account != "two" {
		t.Errorf("%+v: %+v", out, got)
	}
	route.Hosts = route.Hosts[1:]
	if out := deliver(t, courier(t, Options{}), job(route)); out.Results[0].Code != 250 {
		t.Errorf("alone: %+v", out)
	}
}

// A host is logged in to with a token, another with a password, and each by those
// of the route's mechanisms that are for it.
func TestTokensOfHosts(t *testing.T) {
	first := server(t, standin.Options{TLS: standin.STARTTLS, Mechanisms: []string{"XOAUTH2", "OAUTHBEARER"}, Username: "one", Token: "good"})
	second := server(t, standin.Options{Username: "two", Password: "2"})
	route := several(first, second)
	route.Mechanisms = []string{"LOGIN", "XOAUTH2"}
	route.Hosts[0].Username = "one"
	route.Hosts[0].Token = func(context.Context, string) (string, error) { return "good", nil }
	route.Hosts[1].Username = "two"
	route.Hosts[1].Password = func() (string, error) { return "2", nil }
	for _, srv := range []*standin.Server{first, second} {
		out := deliver(t, courier(t, Options{}), job(route))
		if got := srv.Messages(); out.Results[0].Code != 250 || len(got) != 1 || got[0].Account != map[*standin.Server]string{first: "one", second: "two"}[srv] {
			t.Errorf("%+v: %+v", out, got)
		}
		route.Hosts = route.Hosts[1:]
	}
	if !slices.ContainsFunc(first.Commands(), func(c string) bool { return strings.HasPrefix(c, "AUTH XOAUTH2") }) ||
		!slices.ContainsFunc(second.Commands(), func(c string) bool { return strings.HasPrefix(c, "AUTH LOGIN") }) {
		t.Errorf("%q, %q", first.Commands(), second.Commands())
	}
}

// A host is given recipients up to its quota, the rest goes to the next; with
// all quotas used up the destination is to rest until the day is over.
func TestHostQuota(t *testing.T) {
	first, second := server(t, standin.Options{}), server(t, standin.Options{})
	route := several(first, second)
	route.Hosts[0].Limits.Daily, route.Hosts[1].Limits.Daily = 2, 2
	budgets := relay.NewBudgets(func() time.Time { return time.Date(2026, 5, 4, 20, 0, 0, 0, time.UTC) })
	c := courier(t, Options{Budgets: budgets})
	out := deliver(t, c, job(route, "a@x.test", "b@x.test", "c@x.test"))
	if !slices.Equal(codes(out), []int{250, 250, 250}) || len(first.Messages()[0].To) != 2 || len(second.Messages()[0].To) != 1 {
		t.Fatalf("%+v", out)
	}
	out = deliver(t, c, job(route, "d@x.test", "e@x.test"))
	if !slices.Equal(codes(out), []int{250, 451}) || out.Reach != spool.Unreached || out.RetryAfter != 4*time.Hour || !out.Begun {
		t.Errorf("%+v", out)
	}
	contains(t, "fault", out.Fault.Text, "daily quota used up until 2026-05-05 00:00")
	out = deliver(t, c, job(route, "e@x.test"))
	if out.Reach != spool.Unreached || out.Begun || len(out.Contacts) != 2 || out.RetryAfter != 4*time.Hour {
		t.Errorf("%+v", out)
	}
	if n := first.Connections() + second.Connections(); n > 3 {
		t.Errorf("%d connections", n)
	}
}

// What was not delivered does not count.
func TestHostQuotaGivesBack(t *testing.T) {
	srv := server(t, standin.Options{}, script(standin.Fault{At: standin.Rcpt, To: "a@x.test", Code: 450, Text: "later"}))
	route := to(srv)
	route.Hosts[0].Limits.Daily = 2
	budgets := relay.NewBudgets(nil)
	c := courier(t, Options{Budgets: budgets})
	if out := deliver(t, c, job(route, "a@x.test", "b@x.test")); out.Reach != spool.Reached {
		t.Errorf("%+v", out)
	}
	if n := budgets.Used(route.BudgetOf(route.Hosts[0])); n != 1 {
		t.Errorf("%d are counted", n)
	}
}

// The end of the daemon is no failure of a host.
func TestBrokenOffIsNoFailure(t *testing.T) {
	first, second := server(t, standin.Options{}), server(t, standin.Options{})
	route := several(first, second)
	c := courier(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := c.Deliver(ctx, job(route)); out.Results[0].Code == 250 {
		t.Fatalf("%+v", out)
	}
	if deliver(t, c, job(route)); len(first.Messages()) != 1 {
		t.Error("the first host was passed over")
	}
}
