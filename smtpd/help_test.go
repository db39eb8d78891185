package smtpd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/logbuffer"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

// fakeDirectory has the domain local.example with the accounts alice and bob,
// whose passwords are their names backwards, an alias "list" that leads to bob
// and out, and one postmaster for everything: alice.
type fakeDirectory struct{}

func (fakeDirectory) IsLocal(domain string) bool { return domain == "local.example" }

func (fakeDirectory) Resolve(to mail.Address, _ func(accept.Step)) (accept.Targets, error) {
	switch to = to.Key(); to.Local {
	case "alice", "bob", "a b", "jürgen":
		if to.Domain == "local.example" {
			return accept.Targets{Accounts: []string{to.Local}}, nil
		}
	case "list":
		return accept.Targets{
			Accounts: []string{"bob"},
			Forwards: []accept.Forward{{To: mail.MustParseAddress("carol@remote.example")}},
		}, nil
	case "closed":
		carol := mail.MustParseAddress("carol@remote.example")
		return accept.Targets{
			Accounts: []string{"bob"},
			Closed:   []accept.Closed{{Name: to, Admits: func(from mail.Address) bool { return from == carol }}},
		}, nil
	case "postmaster":
		if to.Domain == "" {
			return accept.Targets{Accounts: []string{"alice"}}, nil
		}
	case "panic":
		panic("a fault in the directory")
	case "broken":
		return accept.Targets{}, fmt.Errorf("/secret/path: broken")
	}
	return accept.Targets{}, fmt.Errorf("%s: %w", to, mail.ErrNoSuchUser)
}

func (fakeDirectory) Authenticate(_ context.Context, user, password string, _ netip.Addr) (string, error) {
	switch {
	case user == "alice" && password == "ecila", user == "bob" && password == "bob":
		return user, nil
	case user == "broken":
		return "", fmt.Errorf("/secret/path: broken")
	}
	return "", mail.ErrBadCredentials
}

func (fakeDirectory) MaySendAs(account string, from mail.Address) bool {
	return from.IsNull() && account == "bob" || from == mail.Address{Local: account, Domain: "local.example"}
}

// house is a running server and what is behind it.
type house struct {
	t      *testing.T
	srv    *Server
	spool  *spooltest.Memory
	log    *logbuffer.Buffer
	addr   net.Addr
	served chan error
}

// testTLS makes a certificate once for all tests.
var testTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "mx.local.example"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }}
})

var testTime = time.Date(2024, 2, 3, 12, 0, 0, 0, time.UTC)

// testOptions are those of a relay that trusts nobody, with short delays.
func testOptions(intake spool.Intake) Options {
	return Options{
		Hostname: "mx.local.example",
		TLS:      testTLS(),
		Accept: accept.New(accept.Options{
			Hostname:  "mx.local.example",
			Intake:    intake,
			Directory: fakeDirectory{},
			Route:     func(w accept.Way) spool.Destination { return spool.Destination{Route: "mx", Domain: w.To.Domain} },
			Now:       func() time.Time { return testTime },
		}),
		Auth:    fakeDirectory{},
		Senders: fakeDirectory{},
		Limits:  Limits{AuthDelay: time.Millisecond, ErrorDelay: time.Millisecond},
		Now:     func() time.Time { return testTime },
	}
}

// unixHouse is the name of a house whose door is a Unix socket.
const unixHouse = "unix.local.example"

// open starts a server on a free port. It is shut down with the test, and then
// nothing may be left in the making.
func open(t *testing.T, change func(*Options)) *house {
	t.Helper()
	h := &house{t: t, spool: spooltest.NewMemory(spooltest.MemoryOptions{}), log: &logbuffer.Buffer{}, served: make(chan error, 1)}
	opt := testOptions(h.spool)
	opt.Logger = slog.New(slog.NewTextHandler(h.log, nil))
	if change != nil {
		change(&opt)
	}
	network, address := "tcp", "127.0.0.1:0"
	if opt.Hostname == unixHouse {
		network, address = "unix", t.TempDir()+"/lmtp"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr()
	h.srv = New(opt)
	go func() { h.served <- h.srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if n := h.spool.Staging(); n != 0 {
			t.Errorf("%d messages left in the making", n)
		}
		if t.Failed() {
			t.Logf("the log:\n%s", h.log.String())
		}
	})
	return h
}

// dial connects, with a deadline for the whole test.
func (h *house) dial() net.Conn {
	h.t.Helper()
	c, err := net.Dial(h.addr.Network(), h.addr.String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// inbox returns the messages of an account as its mailbox shows them.
func (h *house) inbox(account string) []string {
	h.t.Helper()
	box, err := h.spool.Mailbox(account, spool.Inbox)
	if err != nil {
		return nil
	}
	var list []string
	for e, err := range h.spool.Entries(box.ID, 1, 0) {
		if err != nil {
			h.t.Fatal(err)
		}
		list = append(list, string(e.Prefix)+h.body(e.Message))
	}
	return list
}

func (h *house) body(id mail.ID) string {
	h.t.Helper()
	b, err := h.spool.OpenBody(id)
	if err != nil {
		h.t.Fatal(err)
	}
	defer b.Close()
	text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// queue returns the queued tasks.
func (h *house) queue() []spool.TaskInfo {
	h.t.Helper()
	var list []spool.TaskInfo
	for task, err := range h.spool.Tasks(spool.TaskID{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		list = append(list, task)
	}
	return list
}

// ids names all that was accepted, by age.
func (h *house) ids() []mail.ID {
	h.t.Helper()
	var ids []mail.ID
	for _, account := range []string{"alice", "bob", "a b", "jürgen"} {
		box, err := h.spool.Mailbox(account, spool.Inbox)
		if err != nil {
			continue
		}
		for e := range h.spool.Entries(box.ID, 1, 0) {
			ids = append(ids, e.Message)
		}
	}
	for _, task := range h.queue() {
		ids = append(ids, task.ID.Message)
	}
	slices.SortFunc(ids, func(a, b mail.ID) int { return strings.Compare(string(a[:]), string(b[:])) })
	return slices.Compact(ids)
}

// messages returns the bodies of all that was accepted, each once, by age.
func (h *house) messages() []string {
	h.t.Helper()
	var list []string
	for _, id := range h.ids() {
		list = append(list, h.body(id))
	}
	return list
}
