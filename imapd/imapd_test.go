package imapd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/logbuffer"
	"restante/internal/mail"
	"restante/internal/quota"
	"restante/internal/structure"
	"restante/spool"
	"restante/spool/spooltest"
)

// accounts is an Authenticator: the password is "secret" for all.
type accounts struct {
	mu   sync.Mutex
	fail error
}

func (a *accounts) Authenticate(_ context.Context, user, password string, _ netip.Addr) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return "", a.fail
	}
	if password != "secret" {
		return "", fmt.Errorf("%s: %w", user, mail.ErrBadCredentials)
	}
	return strings.ToLower(user), nil
}

var certificate = sync.OnceValues(func() (*tls.Config, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter:     time.Now().Add(24 * time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
})

// house is a server with its spool.
type house struct {
	t     testing.TB
	store *spooltest.Memory
	srv   *Server
	auth  *accounts
	addr  string
	log   *logbuffer.Buffer
	quota *quota.Keeper
}

// newHouse starts a server that is stopped with the test. change may alter its
// options.
func newHouse(t testing.TB, change func(*Options)) *house {
	t.Helper()
	h := &house{t: t, store: spooltest.NewMemory(spooltest.MemoryOptions{}), auth: &accounts{}, log: &logbuffer.Buffer{}}
	config, _ := certificate()
	h.quota = quota.New(h.store, quota.Rules{})
	opt := Options{
		Quota:     h.quota,
		Mailboxes: h.store, Bodies: h.store, Intake: h.store,
		Auth: h.auth, TLS: config, ImplicitTLS: true,
		LoginDelay: time.Millisecond,
		progress:   time.Hour, // but where it is tested
		Logger:     slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&opt)
	}
	h.srv = New(opt)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := h.store.Staging(); n != 0 {
			t.Errorf("%d staging areas were left open", n)
		}
		if t.Failed() {
			t.Logf("log:\n%s", h.log)
		}
	})
	return h
}

// dial connects, with TLS if the server begins with it.
func (h *house) dial() net.Conn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.srv.opt.ImplicitTLS {
		conn = tls.Client(conn, clientTLS())
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

func clientTLS() *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// deposit puts a message into a mailbox as SMTP would.
func (h *house) deposit(account, mailbox, prefix, body string, flags spool.Flags, withStructure bool) spool.UID {
	h.t.Helper()
	staged, err := h.store.Create()
	if err != nil {
		h.t.Fatal(err)
	}
	fmt.Fprint(staged, body)
	m := spool.Message{Deposits: []spool.Deposit{{
		Account: account, Mailbox: mailbox, Flags: flags, Prefix: []byte(prefix),
		InternalDate: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
	}}}
	if withStructure {
		p := structure.NewParser()
		fmt.Fprint(p, body)
		m.Structure = p.Finish().Encode()
	}
	receipt, err := staged.Commit(context.Background(), m)
	if err != nil {
		h.t.Fatal(err)
	}
	return receipt.Deposited[0].UID
}

// fail makes operations of the spool fail until mend.
func (h *house) fail(err error, ops ...string) {
	h.store.Hook(func(op spooltest.Op) error {
		for _, o := range ops {
			if string(op) == o {
				return err
			}
		}
		return nil
	})
}

func (h *house) mend() { h.store.Hook(nil) }
