package remote

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/internal/mail"
	"restante/internal/standin"
	"restante/relay"
	"restante/spool"
)

// TestLMTP: each recipient has an answer of its own, with DATA and with BDAT.
func TestLMTP(t *testing.T) {
	const a, b, c = "a@example.com", "b@example.com", "c@example.com"
	full := standin.Fault{At: standin.EndOfData, To: b, Code: 452, Text: "4.2.2 over quota"}
	for _, tt := range []struct {
		name   string
		faults standin.Script
		codes  []int
		reach  spool.Outcome
		stored []string
	}{
		{"all", nil, []int{250, 250, 250}, spool.Reached, []string{a, b, c}},
		{"one refused at the end", script(full), []int{250, 452, 250}, spool.Reached, []string{a, c}},
		{"one refused at RCPT", script(standin.Fault{At: standin.Rcpt, To: a, Code: 550, Text: "5.1.1 who?"}, full), []int{550, 452, 250}, spool.Reached, []string{c}},
		{"all refused at RCPT", script(standin.Fault{At: standin.Rcpt, Code: 550, Text: "5.1.1 who?"}), []int{550, 550, 550}, spool.Reached, nil},
		{"closed before the last answer", script(standin.Fault{At: standin.EndOfData, To: c, Drop: true}), []int{250, 250, 451}, spool.Unreached, []string{a, b, c}},
		{"421 for one", script(standin.Fault{At: standin.EndOfData, To: b, Code: 421, Text: "4.3.2 going"}), []int{250, 421, 451}, spool.Unreached, []string{a}},
	} {
		for _, opt := range []standin.Options{{}, {Without: []string{"PIPELINING"}}, {Extra: []string{"CHUNKING"}}, {Extra: []string{"CHUNKING"}, Without: []string{"PIPELINING"}}} {
			t.Run(fmt.Sprintf("%s %v %v", tt.name, opt.Extra, opt.Without), func(t *testing.T) {
				opt.LMTP, opt.Socket = true, filepath.Join(t.TempDir(), "lmtp")
				srv := server(t, opt, tt.faults)
				route := relay.Route{Kind: relay.Smarthost, LMTP: true, Hosts: []relay.Host{{Path: opt.Socket}}}
				out := deliver(t, courier(t, Options{}), job(route, a, b, c))
				if !slices.Equal(codes(out), tt.codes) || out.Reach != tt.reach {
					t.Errorf("outcome %+v", out)
				}
				var stored []string
				for _, m := range srv.Messages() {
					stored = append(stored, m.To...)
					if string(m.Data) != letter {
						t.Errorf("message %q", m.Data)
					}
				}
				if !slices.Equal(stored, tt.stored) {
					t.Errorf("stored for %v, want %v", stored, tt.stored)
				}
				contact := out.Contacts[0]
				if out.Remote != "unix:"+opt.Socket || contact.Host != "localhost" || contact.Addr != opt.Socket {
					t.Errorf("remote %q, contact %+v", out.Remote, contact)
				}
				if v := verbs(srv); v[0] != "LHLO" || slices.Contains(v, "BDAT") != (opt.Extra != nil && len(v) > 5) && tt.stored != nil {
					t.Errorf("commands %v", v)
				}
			})
		}
	}
}

// TestLMTPIsNotSMTP: one who does not speak LMTP gets no HELO.
func TestLMTPIsNotSMTP(t *testing.T) {
	srv := server(t, standin.Options{})
	route := to(srv)
	route.LMTP = true
	out := deliver(t, courier(t, Options{}), job(route))
	if out.Reach != spool.Unreached || slices.Contains(verbs(srv), "HELO") {
		t.Errorf("outcome %+v, commands %v", out, srv.Commands())
	}
	contains(t, "fault", out.Fault.Text, "LHLO")
}

// TestSMTPByUnixSocket: a password may go by it, as it does not leave the
// machine.
func TestSMTPByUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "smtp")
	srv := server(t, standin.Options{Socket: socket, Username: "user", Password: "secret"})
	route := relay.Route{
		Kind: relay.Smarthost, Hosts: []relay.Host{{Path: socket}},
		Username: "user", Password: func() (string, error) { return "secret", nil },
	}
	c := courier(t, Options{})
	j := job(route)
	for range 2 {
		if out := deliver(t, c, j); out.Results[0].Class() != mail.Delivered {
			t.Fatalf("outcome %+v", out)
		}
	}
	if got := srv.Messages(); len(got) != 2 || got[0].Account != "user" || srv.Connections() != 1 {
		t.Errorf("messages %+v", got)
	}
	srv.Close()
	c.Close()
	out := deliver(t, courier(t, Options{}), j)
	if out.Reach != spool.Unreached || !strings.Contains(out.Fault.Text, "connecting") || out.Fault.Remote != "unix:"+socket {
		t.Errorf("outcome %+v", out)
	}
}
