package authres

import "testing"

// Who is no sender of the domain, and signs for nobody, has no reports sent to
// the address that he gave.
func TestUnverifiedSender(t *testing.T) {
	w := newWorld(t)
	w.opt.DMARC = None
	w.dns.Fail("broken.example", true)
	for _, c := range []struct {
		what string
		m    message
		want bool
	}{
		{"SPF passes", message{from: "a@good.example", header: "From: a@good.example\r\n"}, false},
		{"SPF passes, for another author", message{from: "a@evil.example", header: "From: a@good.example\r\n"}, false},
		{"SPF fails", message{client: "198.51.100.7", from: "a@good.example", header: "From: a@good.example\r\n"}, true},
		{"SPF fails without a policy", message{from: "a@nopolicy.example", header: "From: a@nopolicy.example\r\n"}, true},
		{"SPF fails softly", message{from: "a@soft.example", header: "From: a@soft.example\r\n"}, true},
		{"forwarded, signed by the sender", message{client: "198.51.100.7", from: "a@good.example", header: "From: a@good.example\r\n", signed: true}, false},
		{"signed by somebody else", message{from: "a@nopolicy.example", header: "From: a@good.example\r\n", signed: true}, true},
		{"nothing is known", message{from: "a@nothing.example", header: "From: a@nothing.example\r\n"}, false},
		{"nothing is known, but the author is forged", message{client: "198.51.100.7", from: "a@nothing.example", header: "From: a@good.example\r\n"}, true},
		{"the DNS is broken", message{from: "a@broken.example", header: "From: a@nothing.example\r\n"}, false},
		{"null sender", message{client: "198.51.100.7", helo: "mx.good.example", header: "From: a@good.example\r\n"}, false},
	} {
		if got := w.judge(c.m).Unverified; got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
