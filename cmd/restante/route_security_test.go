package main

import (
	"testing"

	"restante/internal/accept"
	"restante/internal/config"
	"restante/internal/mail"
	"restante/relay"
	"restante/spool"
	"restante/spool/spooltest"
)

// nobody is a directory without local domains.
type nobody struct{}

func (nobody) IsLocal(string) bool { return false }

func (nobody) Resolve(mail.Address, func(accept.Step)) (accept.Targets, error) {
	return accept.Targets{}, mail.ErrNoSuchUser
}

// TestReportsOnTLSAreMarked: what carries a report is queued, in a way that the
// courier does not report on it, and nobody hears of its failure.
func TestReportsOnTLSAreMarked(t *testing.T) {
	routes, err := relay.NewRoutes(nil)
	if err != nil {
		t.Fatal(err)
	}
	memory := spooltest.NewMemory(spooltest.MemoryOptions{})
	t.Cleanup(func() { memory.Close() })
	acceptor := accept.New(accept.Options{Intake: memory, Directory: nobody{}, Route: routes.Destination, Hostname: "relay.test"})
	if err := submitReport(acceptor)(t.Context(), "postmaster@relay.test", "tls@example.com", []byte("Subject: x\r\n\r\ny\r\n")); err != nil {
		t.Fatal(err)
	}
	var tasks []spool.TaskInfo
	for task, err := range memory.Tasks(spool.TaskID{}) {
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	if len(tasks) != 1 {
		t.Fatalf("%+v", tasks)
	}
	if env := tasks[0].Envelope; env.Client.Protocol != mail.TLSReport || env.From.String() != "postmaster@relay.test" || tasks[0].Recipients[0].Notify != mail.NotifyNever {
		t.Errorf("%+v", tasks[0])
	}
}

func TestSecureRoutes(t *testing.T) {
	mx, host := relay.Route{}, relay.Route{}
	secure(&mx, config.Route{NextHop: config.Strings{"mx"}})
	secure(&host, config.Route{NextHop: config.Strings{"a.example"}, Tokens: config.Tokens{OAuthTokenURL: "https://login.example"}, Username: "u", Auth: config.Strings{"xoauth2"}, TLSMinVersion: "1.3"})
	if !mx.DANE || !mx.MTASTS || host.DANE || host.MTASTS {
		t.Errorf("mx %+v, host %+v", mx, host)
	}
	if host.Token == nil || host.Mechanisms[0] != "XOAUTH2" || host.MinTLS == 0 || mx.Token != nil {
		t.Errorf("host %+v", host)
	}
	if h := smarthost(config.Smarthost{Address: "b.example", Username: "v", Tokens: config.Tokens{OAuthTokenURL: "https://login.example"}}, nil); h.Token == nil || h.Password != nil || h.Username != "v" {
		t.Errorf("a host of a route: %+v", h)
	}
	secure(&host, config.Route{TLSCA: "/does/not/exist"})
	if host.RootCAs == nil {
		t.Error("authorities that cannot be read leave the system's")
	}
}
