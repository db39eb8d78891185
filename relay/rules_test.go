package relay

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// way is a question; head are fields, "" for a header that is not known.
func way(from, to, account, head string) accept.Way {
	w := accept.Way{To: mail.MustParseAddress(to), Account: account}
	if from != "" {
		w.From = mail.MustParseAddress(from)
	}
	if head != "" {
		w.Header = func() *header.Block { return header.Parse([]byte(head)) }
	}
	return w
}

func TestConditions(t *testing.T) {
	r, err := NewRoutes([]Route{
		{Name: "partner", Domains: []string{"partner.test"}},
		{Name: "bulk", Headers: []string{"X-Mailer-Route: bulk*"}},
		{Name: "lists", Headers: []string{"List-Id", "Precedence: *list*"}, Domains: []string{"*.lists.test", "lists.test"}},
		{Name: "invoices", Accounts: []string{"Invoices", "print-*"}},
		{Name: "reports", Senders: []string{"<>"}},
		{Name: "boss", Senders: []string{"Boss@Home.test", "news-*@*.home.test"}},
		{Name: "branch", Senders: []string{"branch.test", "*.branch.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from, to, account, head string
		want, why               string
	}{
		{"a@home.test", "x@partner.test", "", "", "partner", `domains ["partner.test"]`},
		{"a@home.test", "x@far.test", "", "", "mx", "default, since no route serves the domain"},
		// A route with conditions goes before one with domains only.
		{"a@home.test", "x@partner.test", "", "X-mailer-route:\r\n BULK mail\r\n\r\n", "bulk", `headers ["X-Mailer-Route: bulk*"]`},
		{"a@home.test", "x@partner.test", "", "X-Mailer-Route: no bulk\r\n\r\n", "partner", ""},
		// All headers, and one of the domains.
		{"a@home.test", "x@lists.test", "", "List-Id: <a>\r\nPrecedence: a list, it is\r\n\r\n", "lists", ""},
		{"a@home.test", "x@a.lists.test", "", "List-Id: <a>\r\nPrecedence: list\r\n\r\n", "lists", `domains ["*.lists.test" "lists.test"] and headers`},
		{"a@home.test", "x@lists.test", "", "List-Id: <a>\r\n\r\n", "mx", ""},
		{"a@home.test", "x@far.test", "", "List-Id: <a>\r\nPrecedence: list\r\n\r\n", "mx", ""},
		{"a@home.test", "x@far.test", "invoices", "", "invoices", `accounts ["Invoices" "print-*"]`},
		{"a@home.test", "x@far.test", "Print-2", "", "invoices", ""},
		{"a@home.test", "x@far.test", "invoices2", "", "mx", ""},
		// The first in order.
		{"boss@home.test", "x@far.test", "invoices", "", "invoices", ""},
		{"boss@home.test", "x@far.test", "", "", "boss", `senders ["Boss@Home.test" "news-*@*.home.test"]`},
		{"BOSS@home.test", "x@far.test", "", "", "boss", ""},
		{"news-2@a.home.test", "x@far.test", "", "", "boss", ""},
		{"news-2@home.test", "x@far.test", "", "", "mx", ""},
		{"a@branch.test", "x@far.test", "", "", "branch", ""},
		{"a@x.branch.test", "x@far.test", "", "", "branch", ""},
		{"a@xbranch.test", "x@far.test", "", "", "mx", ""},
		{"", "x@far.test", "", "", "reports", ""},
		{"", "x@partner.test", "", "", "reports", ""},
	} {
		route, why := r.Choose(way(tt.from, tt.to, tt.account, tt.head))
		if route.Name != tt.want || !strings.HasPrefix(why, tt.why) {
			t.Errorf("%+v: route %s, since %s", tt, route.Name, why)
		}
	}
	// A route with a condition serves no domain without it.
	if err := r.Replace([]Route{{Name: "a", Domains: []string{"*"}, Senders: []string{"x.test"}}, {Name: "b", Domains: []string{"*"}}}); err != nil {
		t.Error(err)
	}
}

// The header is looked at only where it decides.
func TestHeaderIsReadOnlyIfItMatters(t *testing.T) {
	r, err := NewRoutes([]Route{{Name: "bulk", Senders: []string{"home.test"}, Headers: []string{"X-Bulk"}}})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	w := way("a@away.test", "x@far.test", "", "")
	w.Header = func() *header.Block { asked++; return header.Parse([]byte("x-bulk:\r\n\r\n")) }
	if d := r.Destination(w); d.Route != DefaultRoute || asked != 0 {
		t.Errorf("%v, the header was asked for %d times", d, asked)
	}
	w.From = mail.MustParseAddress("a@home.test")
	if d := r.Destination(w); d.Route != "bulk" || asked != 1 {
		t.Errorf("%v, the header was asked for %d times", d, asked)
	}
}

// A pattern made of a text by putting asterisks into it fits the text.
func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"a*b*c", "abc", true}, {"a*b*c", "acb", false}, {"*b*", "abc", true}, {"**", "x", true},
		{"*ab", "aab", true}, {"*aab*", "aaab", true}, {"a?c", "abc", false},
	} {
		if got := glob(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q, %q: %v", tt.pattern, tt.s, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab*<")), 0, 12, -1).Draw(t, "s")
		from := rapid.IntRange(0, len(s)).Draw(t, "from")
		to := rapid.IntRange(from, len(s)).Draw(t, "to")
		if pattern := s[:from] + "*" + s[to:]; !glob(pattern, s) {
			t.Fatalf("%q does not fit %q", pattern, s)
		}
	})
}

// What accept files by the header, the runner files in the same way: the task
// is not moved again. When the routes change it is, by the stored header.
func TestRunnerAgreesWithAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, times{}, nil)
		byHeader := []Route{{Name: "bulk", Headers: []string{"Subject: hello"}, Senders: []string{"home.test"}}}
		if err := w.routes.Replace(byHeader); err != nil {
			t.Fatal(err)
		}
		want := spool.Destination{Route: "bulk", Domain: "far.test"}
		w.send("ann@home.test", rcpt("x@far.test"))
		if d := w.wantTasks(1)[0].Destination; d != want {
			t.Errorf("filed under %v", d)
		}
		var routes []string
		w.courier.set(func(_ context.Context, job Job) Outcome {
			routes = append(routes, job.Route.Name)
			return all(job, accepted)
		})
		w.start()
		defer w.stop()
		synctest.Wait()
		w.wantTasks(0)

		w.stop()
		if err := w.routes.Replace(nil); err != nil {
			t.Fatal(err)
		}
		w.send("ann@home.test", rcpt("x@far.test"), rcpt("y@far.test"))
		if err := w.routes.Replace(byHeader); err != nil {
			t.Fatal(err)
		}
		w.start()
		defer w.stop()
		synctest.Wait()
		w.wantTasks(0)
		if got := strings.Join(routes, " "); got != "bulk bulk" {
			t.Errorf("routes taken: %s", got)
		}
	})
}

// A header that cannot be read moves nothing.
func TestUnreadableHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, times{}, func(o *Options) { o.Bodies = noBodies{o.Bodies} })
		w.send("ann@home.test", rcpt("x@far.test"))
		if err := w.routes.Replace([]Route{{Name: "bulk", Headers: []string{"Subject"}}}); err != nil {
			t.Fatal(err)
		}
		w.start()
		defer w.stop()
		synctest.Wait()
		task := w.wantTasks(1)[0]
		if task.Destination.Route != DefaultRoute || !strings.Contains(task.Recipients[0].Last.Text, "cannot be read") {
			t.Errorf("%+v", task)
		}
	})
}

// noBodies has none that can be opened.
type noBodies struct{ spool.Bodies }

func (noBodies) OpenBody(mail.ID) (spool.Body, error) { return nil, spool.ErrCorrupt }
