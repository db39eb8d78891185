package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
)

// ACME is how to get certificates from an authority. At least one domain and
// one of the two addresses, or functions, are required.
type ACME struct {
	// Directory is the authority's, an https URL.
	Directory string
	// Email is where the authority may write to; "" is none.
	Email string
	// Domains are the names to get certificates for, each its own, in lower
	// case and as the DNS has them.
	Domains []string
	// HTTPAddress is where HTTP-01 challenges are answered, TLSAddress where
	// TLS-ALPN-01 challenges are. "" is nowhere.
	HTTPAddress, TLSAddress string
	// ListenHTTP and ListenTLS, unless they are nil, open the listeners in
	// place of the addresses.
	ListenHTTP, ListenTLS func() (net.Listener, error)
	// Roots vouch for the directory's certificate; nil is the system's.
	Roots *x509.CertPool
}

// patience bounds one attempt to get one certificate.
const patience = 5 * time.Minute

// domain is one name with its certificate.
type domain struct {
	name string
	pair *tls.Certificate // nil before there was any
	// failures counts those in a row; again is when to try again after one.
	failures int
	again    time.Time
}

// issuer gets certificates for its domains. Only one of its rounds runs at a
// time; what is in domains changes only there.
type issuer struct {
	ACME
	dir     string // of account key and certificates
	now     func() time.Time
	log     *slog.Logger
	domains []*domain
	// obtain gets one certificate; tests have their own.
	obtain func(ctx context.Context, name string) (*tls.Certificate, error)
}

// newIssuer returns an issuer with the certificates that it got earlier. Those
// of another directory, one for tests maybe, are not among them.
func newIssuer(opt Options) *issuer {
	host := "acme"
	if u, err := url.Parse(opt.ACME.Directory); err == nil && u.Host != "" {
		host = strings.NewReplacer(":", "_", "[", "", "]", "").Replace(u.Host)
	}
	i := &issuer{ACME: *opt.ACME, dir: filepath.Join(opt.Directory, "acme", host), now: opt.Now, log: opt.Logger}
	i.obtain = i.order
	for _, name := range i.Domains {
		d := &domain{name: name}
		pair, err := tls.LoadX509KeyPair(i.file(name), i.file(name))
		switch {
		case err == nil && pair.Leaf.VerifyHostname(name) == nil:
			d.pair = &pair
		case err == nil || !errors.Is(err, os.ErrNotExist):
			i.log.Warn("a stored certificate cannot be used, getting another", "file", i.file(name), "error", err)
		}
		i.domains = append(i.domains, d)
	}
	return i
}

func (i *issuer) file(name string) string { return filepath.Join(i.dir, name+".pem") }

// round gets the certificates that are due, and returns how long none will be.
// publish is called after each.
func (i *issuer) round(ctx context.Context, publish func()) time.Duration {
	for _, d := range i.domains {
		if i.due(d).After(i.now()) {
			continue
		}
		pair, err := i.obtain(ctx, d.name)
		if ctx.Err() != nil {
			return 0
		}
		if err != nil {
			i.failed(d, err)
			continue
		}
		d.pair, d.failures, d.again = pair, 0, time.Time{}
		publish()
		i.log.Info("got a certificate", "domain", d.name, "issuer", pair.Leaf.Issuer.CommonName, "until", pair.Leaf.NotAfter)
	}
	next := longestNap
	for _, d := range i.domains {
		next = min(next, i.due(d).Sub(i.now()))
	}
	return max(next, time.Second)
}

// due is when a certificate is to be got: at once if there is none, otherwise
// when a third of its lifetime is left, or 30 days.
func (i *issuer) due(d *domain) time.Time {
	if d.pair == nil {
		return d.again
	}
	leaf := d.pair.Leaf
	at := leaf.NotAfter.Add(-min(leaf.NotAfter.Sub(leaf.NotBefore)/3, renewal))
	if d.again.After(at) {
		return d.again
	}
	return at
}

// pauses are those after failures. Let's Encrypt for one allows five failures
// an hour for a name.
func pauses() []time.Duration {
	return []time.Duration{2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour}
}

// failed tells of a failure, and puts the next attempt off.
func (i *issuer) failed(d *domain, err error) {
	list := pauses()
	pause := list[min(d.failures, len(list)-1)]
	if asked, ok := acme.RateLimit(err); ok {
		pause = min(max(pause, asked), 24*time.Hour)
	}
	pause += mathrand.N(pause / 10)
	d.failures++
	d.again = i.now().Add(pause)
	args := []any{"domain", d.name, "error", err, "failures", d.failures, "again_in", pause.Round(time.Second)}
	switch {
	case d.pair == nil:
		i.log.Error("cannot get a certificate, serving another meanwhile", args...)
	case i.now().After(d.pair.Leaf.NotAfter):
		i.log.Error("cannot renew a certificate, and it has run out", append(args, "since", d.pair.Leaf.NotAfter)...)
	default:
		i.log.Warn("cannot renew a certificate, it stays in use", append(args, "until", d.pair.Leaf.NotAfter)...)
	}
}

// order gets a certificate from the authority, and stores it.
func (i *issuer) order(ctx context.Context, name string) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := i.respond()
	if err != nil {
		return nil, err
	}
	defer r.close()
	client, err := i.client(ctx)
	if err != nil {
		return nil, err
	}
	var order *acme.Order
	for _, kind := range r.kinds() {
		order, err = authorize(ctx, client, r, kind, name)
		// Another kind may come through where one did not.
		var refused *acme.AuthorizationError
		if !errors.As(err, &refused) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("certificate from the order: %w", err)
	}
	return i.store(name, key, chain)
}

// store checks and keeps what was issued, the key with it in one file.
func (i *issuer) store(name string, key *ecdsa.PrivateKey, chain [][]byte) (*tls.Certificate, error) {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err == nil {
		err = pair.Leaf.VerifyHostname(name)
	}
	if err == nil && i.now().After(pair.Leaf.NotAfter) {
		err = fmt.Errorf("it ran out on %s", pair.Leaf.NotAfter)
	}
	if err != nil {
		return nil, fmt.Errorf("what the authority issued cannot be used: %w", err)
	}
	if err := writeFile(i.file(name), text, 0o600); err != nil {
		return nil, err
	}
	return &pair, nil
}

// client returns a client with our account, which is made if there is none.
func (i *issuer) client(ctx context.Context) (*acme.Client, error) {
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return nil, err
	}
	key, err := loadOrMakeKey(filepath.Join(i.dir, "account.key"))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: i.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 30 * time.Second,
		DisableKeepAlives:   true, // there are weeks between two uses
	}
	client := &acme.Client{
		Key: key, DirectoryURL: i.Directory, UserAgent: "restante",
		HTTPClient: &http.Client{Transport: transport, Timeout: time.Minute},
		// A few more attempts at what passes; what takes longer is our own
		// back-off's, so that it is logged.
		RetryBackoff: func(n int, _ *http.Request, resp *http.Response) time.Duration {
			if n > 3 || resp != nil && resp.StatusCode == http.StatusTooManyRequests {
				return 0
			}
			return time.Duration(n) * time.Second
		},
	}
	account := &acme.Account{}
	if i.Email != "" {
		account.Contact = []string{"mailto:" + i.Email}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("account at %s: %w", i.Directory, err)
	}
	return client, nil
}

// authorize makes an order and shows, with challenges of one kind, that the
// name is ours.
func authorize(ctx context.Context, client *acme.Client, r *responder, kind, name string) (*acme.Order, error) {
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(name))
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	if order.Status != acme.StatusPending {
		return order, nil
	}
	for _, u := range order.AuthzURLs {
		z, err := client.GetAuthorization(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("authorization: %w", err)
		}
		if z.Status != acme.StatusPending {
			continue
		}
		if err := answer(ctx, client, r, kind, z); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	return order, nil
}

// answer has one authorization decided.
func answer(ctx context.Context, client *acme.Client, r *responder, kind string, z *acme.Authorization) error {
	for _, c := range z.Challenges {
		if c.Type != kind {
			continue
		}
		forget, err := r.prepare(client, c, z.Identifier.Value)
		if err != nil {
			return err
		}
		defer forget()
		if _, err := client.Accept(ctx, c); err != nil {
			return fmt.Errorf("challenge %s: %w", kind, err)
		}
		if _, err := client.WaitAuthorization(ctx, z.URI); err != nil {
			return fmt.Errorf("challenge %s: %w", kind, err)
		}
		return nil
	}
	return fmt.Errorf("the authority offers no challenge of the kind %s", kind)
}
