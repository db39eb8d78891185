// Package oauth checks the bearer tokens of one OpenID Connect issuer: signed
// JWTs (RFC 7519, RFC 9068) that clients bring in place of a password.
//
// A token is good if it is signed with a key that the issuer publishes, by an
// asymmetric algorithm, is from that issuer, for our audience, not run out, and
// has a claim that names a user. Who that is here is for the caller to find out.
//
// The issuer is asked when the first token comes, for its configuration and its
// keys, and again after an hour, or when a token is signed with a key that is not
// known, but not more often than every ten seconds, whatever clients send. Answers
// are bounded in size and time. While the issuer does not answer the keys that are
// known stay good.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"restante/internal/mail"
)

const (
	// keep is how long keys are used before they are asked for again, pause
	// the least time between two questions.
	keep  = time.Hour
	pause = 10 * time.Second
	// maxAnswer and maxWait bound an answer of the issuer.
	maxAnswer = 1 << 20
	maxWait   = 10 * time.Second
)

// Options is what an Issuer is made of.
type Options struct {
	// URL is the issuer's, as its tokens have it in "iss".
	URL string
	// Audience must be among those of a token.
	Audience string
	// Claim holds the user's name; "" is "email". An address that the issuer
	// says is not verified is nobody's.
	Claim string
	// Transport makes the requests; nil is the usual one.
	Transport http.RoundTripper
	// Logger is told when the issuer cannot be asked; nil is none.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Issuer checks tokens. It is safe for concurrent use.
type Issuer struct {
	opt    Options
	client *http.Client

	// asking is held by who asks the issuer for its configuration.
	asking chan struct{}
	mu     sync.Mutex
	known  *oidc.IDTokenVerifier // nil before the first answer
	fresh  time.Time             // until when known is not asked for again
}

// New returns an Issuer; it asks for nothing yet.
func New(opt Options) *Issuer {
	if opt.Claim == "" {
		opt.Claim = "email"
	}
	if opt.Transport == nil {
		opt.Transport = http.DefaultTransport
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	i := &Issuer{opt: opt, asking: make(chan struct{}, 1)}
	i.client = &http.Client{
		Timeout:   maxWait,
		Transport: &bounded{next: opt.Transport, now: opt.Now, last: make(map[string]time.Time)},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("too many redirects")
			}
			return CheckURL(r.URL.String())
		},
	}
	return i
}

// CheckURL tells what is wrong with the address of an issuer: without TLS it
// must be on this machine.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is not a web address", s)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("%q must begin with https://", s)
}

// Discovery is the address of the issuer's configuration.
func (i *Issuer) Discovery() string {
	return strings.TrimSuffix(i.opt.URL, "/") + "/.well-known/openid-configuration"
}

// algorithms are those of signatures that only the issuer can make.
func algorithms() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
		oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	}
}

// Verify checks a token and returns the user's name in it. It fails with
// mail.ErrBadCredentials; any other error means that the issuer could not be
// asked.
func (i *Issuer) Verify(ctx context.Context, token string) (user string, err error) {
	v, err := i.verifier(ctx)
	if err != nil {
		return "", fmt.Errorf("issuer of tokens: %w", err)
	}
	var fault error
	t, err := v.Verify(context.WithValue(ctx, faultKey{}, &fault), token)
	switch {
	case fault != nil:
		return "", fmt.Errorf("issuer of tokens: %w", fault)
	case err != nil:
		return "", fmt.Errorf("%w: %w", mail.ErrBadCredentials, err)
	}
	claims := make(map[string]any)
	if err := t.Claims(&claims); err != nil {
		return "", fmt.Errorf("%w: %w", mail.ErrBadCredentials, err)
	}
	user, _ = claims[i.opt.Claim].(string)
	if user == "" {
		return "", fmt.Errorf("%w: no claim %q", mail.ErrBadCredentials, i.opt.Claim)
	}
	if verified, ok := claims["email_verified"]; ok && i.opt.Claim == "email" && verified != true && verified != "true" {
		return "", fmt.Errorf("%w: %s is not verified", mail.ErrBadCredentials, user)
	}
	return user, nil
}

// verifier returns what checks tokens, and asks the issuer first if that is due.
func (i *Issuer) verifier(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	if v := i.recent(); v != nil {
		return v, nil
	}
	select {
	case i.asking <- struct{}{}:
		defer func() { <-i.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if v := i.recent(); v != nil {
		return v, nil // another one has asked
	}
	v, err := i.discover(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil && i.known != nil {
		i.opt.Logger.Warn("the issuer of tokens does not answer, its keys stay good", "issuer", i.opt.URL, "error", err)
		i.fresh = i.opt.Now().Add(pause)
		return i.known, nil
	}
	if err != nil {
		return nil, err
	}
	i.known, i.fresh = v, i.opt.Now().Add(keep)
	return v, nil
}

func (i *Issuer) recent() *oidc.IDTokenVerifier {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known != nil && i.opt.Now().Before(i.fresh) {
		return i.known
	}
	return nil
}

// discover asks for the issuer's configuration.
func (i *Issuer) discover(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	ctx = oidc.ClientContext(ctx, i.client)
	provider, err := oidc.NewProvider(ctx, i.opt.URL)
	if err != nil {
		return nil, err
	}
	var document struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return nil, err
	}
	if err := CheckURL(document.Keys); err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	keys := keySet{oidc.NewRemoteKeySet(ctx, document.Keys)}
	return oidc.NewVerifier(i.opt.URL, keys, &oidc.Config{
		ClientID: i.opt.Audience, SupportedSigningAlgs: algorithms(), Now: i.opt.Now,
	}), nil
}

// keySet tells a failure to get keys apart from a bad signature: the library's
// verifier makes text of both.
type keySet struct{ *oidc.RemoteKeySet }

type faultKey struct{}

// VerifySignature is that of oidc.KeySet.
func (k keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, token)
	var fetch *fetchError
	if fault, ok := ctx.Value(faultKey{}).(*error); ok && (errors.As(err, &fetch) || ctx.Err() != nil) {
		*fault = err
	}
	return payload, err
}
