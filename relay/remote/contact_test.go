package remote

import (
	"fmt"
	"testing"

	"restante/internal/standin"
	"restante/relay"
)

func TestQueueID(t *testing.T) {
	for text, want := range map[string]string{
		"Ok: queued as 4ZxQ3n1":                         "4ZxQ3n1",
		"Ok: queued as 4ZxQ3n1.":                        "4ZxQ3n1",
		"OK id=1tABCD-000000001-2xyz":                   "1tABCD-000000001-2xyz",
		"5B41x012345 Message accepted for delivery":     "5B41x012345",
		"a1b2c3d4 Message accepted for delivery":        "a1b2c3d4",
		"OK 1700000000 d9443c01a7336-1d0 - gsmtp":       "d9443c01a7336-1d0",
		"<a@b> [InternalId=1] Queued mail for delivery": "a@b",
		"accepted":                      "",
		"Message accepted for delivery": "",
		"":                              "",
		"queued as ":                    "",
		"İ queued as x":                 "", // lower case is longer
		"queued as " + fmt.Sprintf("%0*d", maxQueueID, 1):   fmt.Sprintf("%0*d", maxQueueID, 1),
		"queued as " + fmt.Sprintf("%0*d", maxQueueID+1, 1): "",
	} {
		if got := queueID(text); got != want {
			t.Errorf("queueID(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestContacts: an outcome names each host that was turned to, how, and what
// came of it.
func TestContacts(t *testing.T) {
	closed := server(t, standin.Options{})
	closed.Close()
	busy := server(t, standin.Options{}, script(standin.Fault{At: standin.Connect, Code: 421, Text: "4.3.2 busy"}))
	good := server(t, standin.Options{TLS: standin.STARTTLS}, script(standin.Fault{At: standin.EndOfData, Raw: "250 2.0.0 Ok: queued as 4Zx1\r\n"}))
	route := to(good)
	route.Hosts = nil
	for _, srv := range []*standin.Server{closed, busy, good} {
		route.Hosts = append(route.Hosts, relay.Host{Name: "127.0.0.1", Port: srv.Port()})
	}
	c := courier(t, Options{})
	j := job(route)
	out := deliver(t, c, j)
	want := []struct{ addr, status, tls, id string }{
		{closed.Addr(), "451 4.4.1", "", ""}, {busy.Addr(), "421 4.3.2", "", ""}, {good.Addr(), "250 2.0.0", "TLS 1.3", "4Zx1"},
	}
	if len(out.Contacts) != len(want) {
		t.Fatalf("contacts %+v", out.Contacts)
	}
	for i, got := range out.Contacts {
		if got.Addr != want[i].addr || got.Host != "127.0.0.1" || got.TLS != want[i].tls || got.QueueID != want[i].id ||
			got.Status.String()[:9] != want[i].status || got.Verified != "" {
			t.Errorf("contact %d: %+v, want %+v", i, got, want[i])
		}
		if got.Began.IsZero() || got.Took <= 0 {
			t.Errorf("contact %d: began %v, took %v", i, got.Began, got.Took)
		}
	}
	// The kept connection is one contact, without a new connection.
	if out = deliver(t, c, j); len(out.Contacts) != 1 || out.Contacts[0].Addr != good.Addr() || out.Contacts[0].TLS != "TLS 1.3" || good.Connections() != 1 {
		t.Errorf("contacts %+v by %d connections", out.Contacts, good.Connections())
	}
}

func TestContactVerified(t *testing.T) {
	srv := server(t, standin.Options{TLS: standin.STARTTLS})
	route := to(srv)
	route.TLS, route.Verify = relay.TLSRequired, true
	out := deliver(t, courier(t, Options{RootCAs: srv.RootCAs()}), job(route))
	if len(out.Contacts) != 1 || out.Contacts[0].Verified != "PKIX" {
		t.Errorf("contacts %+v", out.Contacts)
	}
	// A host that is refused for its certificate is a contact too.
	out = deliver(t, courier(t, Options{}), job(route))
	if len(out.Contacts) != 1 || out.Contacts[0].Verified != "" || out.Contacts[0].Status.Enhanced != [3]int{4, 7, 5} {
		t.Errorf("contacts %+v", out.Contacts)
	}
	// So is one without an address.
	route.Hosts = []relay.Host{{Name: "absent.invalid"}}
	out = deliver(t, courier(t, Options{Resolver: hosts(nil)}), job(route))
	if len(out.Contacts) != 1 || out.Contacts[0].Host != "absent.invalid" || out.Contacts[0].Addr != "" || out.Contacts[0].Status.Code == 0 {
		t.Errorf("contacts %+v", out.Contacts)
	}
}
