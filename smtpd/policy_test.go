package smtpd

import (
	"errors"
	"net/netip"
	"testing"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

// TestPolicy goes through all there is to decide. A reply of 0 is consent.
func TestPolicy(t *testing.T) {
	acceptor := accept.New(accept.Options{
		Directory: fakeDirectory{},
		Route:     func(accept.Way) spool.Destination { return spool.Destination{} },
	})
	near, far := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	local, remote := mail.MustParseAddress("alice@local.example"), mail.MustParseAddress("carol@remote.example")
	for _, c := range []struct {
		name                         string
		role                         Role
		client                       client
		begin, toLocal, toRemote     int
		asLocal, asRemote, asNothing int
	}{
		{"stranger", Relay, client{addr: far}, 0, 0, 550, 0, 0, 0},
		{"stranger with TLS", Relay, client{addr: far, tls: true}, 0, 0, 550, 0, 0, 0},
		{"without an address", Relay, client{}, 0, 0, 550, 0, 0, 0},
		{"trusted", Relay, client{addr: near}, 0, 0, 0, 0, 0, 0},
		{"account on the relay", Relay, client{addr: far, tls: true, account: "alice"}, 0, 0, 0, 0, 553, 553},
		{"submission in the clear", Submission, client{addr: far}, 530, 0, 550, 0, 0, 0},
		{"submission without login", Submission, client{addr: far, tls: true}, 530, 0, 550, 0, 0, 0},
		{"trusted at submission", Submission, client{addr: near, tls: true}, 530, 0, 550, 0, 0, 0},
		{"account", Submission, client{addr: far, tls: true, account: "alice"}, 0, 0, 0, 0, 553, 553},
		{"account that may send reports", Submission, client{addr: far, tls: true, account: "bob"}, 0, 0, 0, 553, 553, 0},
		{"LMTP from anywhere", LMTP, client{addr: far, tls: true}, 550, 0, 550, 0, 0, 0},
		{"LMTP, trusted", LMTP, client{addr: near}, 0, 0, 550, 0, 0, 0},
		{"LMTP at the Unix socket", LMTP, client{local: true}, 0, 0, 550, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy{role: c.role, trusted: trusted, accept: acceptor, senders: fakeDirectory{}}
			check := func(what string, err error, want int) {
				t.Helper()
				got := 0
				if r := (reply{}); errors.As(err, &r) {
					got = r.code
				}
				if got != want {
					t.Errorf("%s: %d, want %d", what, got, want)
				}
			}
			check("MAIL", p.transaction(c.client), c.begin)
			_, err := p.recipient(c.client, local)
			check("to a local user", err, c.toLocal)
			_, err = p.recipient(c.client, remote)
			check("elsewhere", err, c.toRemote)
			check("as alice", p.sender(c.client, local), c.asLocal)
			check("as carol", p.sender(c.client, remote), c.asRemote)
			check("as nobody", p.sender(c.client, mail.Address{}), c.asNothing)
		})
	}
}

// TestPolicyOfWishes: who may push in front, have mail held, and speak for others.
func TestPolicyOfWishes(t *testing.T) {
	near, far := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		name                 string
		role                 Role
		client               client
		ask, relay, xclients bool
	}{
		{"stranger", Relay, client{addr: far}, false, false, false},
		{"without an address", Relay, client{}, false, false, false},
		{"trusted", Relay, client{addr: near}, true, true, true},
		{"account", Relay, client{addr: far, account: "alice"}, true, true, false},
		{"trusted at submission", Submission, client{addr: near}, false, false, true},
		{"account at submission", Submission, client{addr: far, account: "alice"}, true, true, false},
		{"LMTP", LMTP, client{addr: near}, true, false, true},
		{"LMTP at the Unix socket", LMTP, client{local: true}, true, false, false},
	} {
		networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		p := policy{role: c.role, trusted: networks, xclient: networks}
		if p.mayAsk(c.client) != c.ask || p.mayRelay(c.client) != c.relay || p.mayXClient(c.client.addr) != c.xclients {
			t.Errorf("%s: may ask %t, relay %t, use XCLIENT %t", c.name, p.mayAsk(c.client), p.mayRelay(c.client), p.mayXClient(c.client.addr))
		}
	}
}

// The zero policy, one that nobody configured, is nobody's relay.
func TestPolicyDefault(t *testing.T) {
	p := policy{accept: accept.New(accept.Options{Directory: fakeDirectory{}})}
	for _, addr := range []string{"127.0.0.1", "::1", "10.0.0.1", "192.0.2.1"} {
		cl := client{addr: netip.MustParseAddr(addr), tls: true}
		if _, err := p.recipient(cl, mail.MustParseAddress("carol@remote.example")); err == nil {
			t.Errorf("%s relays", addr)
		}
	}
	if p.sender(client{account: "alice"}, mail.MustParseAddress("alice@local.example")) == nil {
		t.Error("an account sends without a list of senders")
	}
}
