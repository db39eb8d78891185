package smtpd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

func TestExplain(t *testing.T) {
	opt := Options{
		Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Senders: fakeDirectory{},
		Accept: accept.New(accept.Options{
			Directory: fakeDirectory{},
			Route:     func(w accept.Way) spool.Destination { return spool.Destination{Route: "mx", Domain: w.To.Domain} },
		}),
	}
	const local, remote, nobody = "alice@local.example", "carol@remote.example", "nobody@local.example"
	trusted, outside := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	for _, c := range []struct {
		name     string
		role     Role
		v        Visit
		to       string
		standing Standing
		want     string // the replies' codes
		complete bool
	}{
		{"a stranger", Relay, Visit{Addr: outside}, local + " " + remote + " " + nobody, Stranger, "MAIL 250, RCPT 250, RCPT 550!, RCPT 550!", false},
		{"nobody in particular", Relay, Visit{}, local + " " + remote, Stranger, "MAIL 250, RCPT 250, RCPT 550!", false},
		{"a device", Relay, Visit{Addr: trusted}, local + " " + remote, TrustedClient, "MAIL 250, RCPT 250, RCPT 250", true},
		{"a user", Submission, Visit{Addr: outside, Account: "alice", TLS: true, From: mail.MustParseAddress(local)}, remote, Authenticated, "MAIL 250, RCPT 250", true},
		{"From another", Submission, Visit{Addr: outside, Account: "alice", TLS: true, From: mail.MustParseAddress(local), Author: mail.MustParseAddress(remote)}, remote, Authenticated, "MAIL 250, RCPT 250, DATA 550!", true},
		{"as another", Submission, Visit{Addr: outside, Account: "alice", TLS: true, From: mail.MustParseAddress(remote)}, remote, Authenticated, "MAIL 553!", true},
		{"without login", Submission, Visit{Addr: trusted, TLS: true}, local, Stranger, "MAIL 530!", true},
		{"LMTP", LMTP, Visit{Local: true}, local + " " + remote, TrustedClient, "MAIL 250, RCPT 250, RCPT 550!", false},
		{"LMTP from elsewhere", LMTP, Visit{Addr: outside}, local, Stranger, "MAIL 550!", false},
	} {
		opt.Role = c.role
		for _, to := range strings.Fields(c.to) {
			c.v.To = append(c.v.To, mail.MustParseAddress(to))
		}
		standing, answers, s := Explain(opt, c.v)
		var got []string
		accepted := 0
		for _, a := range answers {
			mark := ""
			if a.Refused {
				mark = "!"
			} else if a.Command == "RCPT" {
				accepted++
			}
			got = append(got, fmt.Sprintf("%s %.3s%s", a.Command, a.Reply, mark))
		}
		if standing != c.standing || strings.Join(got, ", ") != c.want || s.Complete != c.complete || len(s.Recipients) != accepted && c.name != "From another" {
			t.Errorf("%s: %s, %s, %+v; want %s, %s", c.name, standing, strings.Join(got, ", "), s, c.standing, c.want)
		}
		if s.Trusted != (c.standing == TrustedClient) {
			t.Errorf("%s: trusted %v", c.name, s.Trusted)
		}
	}
}
