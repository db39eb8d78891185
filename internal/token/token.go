// Package token gets the access tokens with which we log in at next hops that
// want OAuth 2.0 (RFC 6749): by client credentials (Microsoft 365), by a refresh
// token, or with the key of a service account (RFC 7523, Google).
//
// A token is kept until shortly before it runs out, or until the next hop turns
// it away. However many connections want one, the token server is asked once at
// a time, and after a failure not again for some seconds. Its answers are
// bounded in time and size, and redirects are not followed: secrets go to the
// configured address alone. Errors say what the server said, without secrets.
package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/jwt"

	"restante/internal/mail"
)

const (
	// margin is how long before its end a token is given up.
	margin = 5 * time.Minute
	// keep is how long one is used that does not say how long it is good, and
	// the longest time any is.
	keep = time.Hour
	// pause is the least time between a failure and the next question.
	pause = 10 * time.Second
	// wait bounds one question.
	wait = 20 * time.Second
	// maxWords bounds what is passed on of the server's words.
	maxWords = 300
)

// Options are those of New. URL, and what one of the three ways needs, are
// required.
type Options struct {
	// URL is the token server's. A service account's key has its own.
	URL   string
	Scope []string
	// ClientID and Secret are ours there. Secrets are asked for each time, so
	// that changed files are used at once.
	ClientID string
	Secret   func() (string, error)
	// RefreshToken, unless it is nil, is what tokens are got for, and not for
	// the client itself.
	RefreshToken func() (string, error)
	// ServiceAccount, unless it is nil, gives the JSON key of a Google service
	// account, which acts for User then; ClientID and Secret are not used.
	ServiceAccount func() (string, error)
	User           string
	// Transport makes the requests; nil is the usual one.
	Transport http.RoundTripper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Source gives tokens. It is safe for concurrent use.
type Source struct {
	opt    Options
	client *http.Client

	// turn is held by who looks, or asks.
	turn chan struct{}
	// What follows belongs to who has the turn.
	token   string
	until   time.Time
	refresh string // the latest that we were given, "" for the configured one
	failure error
	again   time.Time
}

// New returns a Source; it asks for nothing yet.
func New(opt Options) *Source {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	client := &http.Client{
		Transport: opt.Transport, Timeout: wait,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Source{opt: opt, client: client, turn: make(chan struct{}, 1)}
}

// Token returns a token that should be good. refused is one that was turned away
// and does not come back, "" if none was.
func (s *Source) Token(ctx context.Context, refused string) (string, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	now := s.opt.Now()
	if s.token != "" && s.token != refused && now.Before(s.until) {
		return s.token, nil
	}
	if s.failure != nil && now.Before(s.again) {
		return "", s.failure
	}
	t, err := s.ask(ctx)
	if err == nil && (t.AccessToken == "" || t.AccessToken == refused) {
		err = errors.New("the token server gives no new token")
	}
	if err != nil {
		s.token = ""
		if ctx.Err() == nil {
			s.failure, s.again = err, s.opt.Now().Add(pause)
		}
		return "", err
	}
	s.token, s.failure = t.AccessToken, nil
	s.until = s.opt.Now().Add(life(t))
	if s.opt.RefreshToken != nil && t.RefreshToken != "" {
		s.refresh = t.RefreshToken
	}
	return s.token, nil
}

// life is how long a token is used: one that is short-lived for most of its life.
// The library has counted from the time of day.
func life(t *oauth2.Token) time.Duration {
	if t.Expiry.IsZero() {
		return keep
	}
	good := time.Until(t.Expiry)
	return min(keep, max(good-margin, good/2))
}

// ask gets a token from the server.
func (s *Source) ask(ctx context.Context) (*oauth2.Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.client)
	if s.opt.ServiceAccount != nil {
		return s.askAsService(ctx)
	}
	secret := ""
	if s.opt.Secret != nil {
		var err error
		if secret, err = s.opt.Secret(); err != nil {
			return nil, fmt.Errorf("client secret: %w", err)
		}
	}
	if s.opt.RefreshToken == nil {
		c := clientcredentials.Config{ClientID: s.opt.ClientID, ClientSecret: secret, TokenURL: s.opt.URL, Scopes: s.opt.Scope}
		t, err := c.Token(ctx)
		return t, s.readable(err)
	}
	refresh, err := s.opt.RefreshToken()
	if err != nil {
		return nil, fmt.Errorf("refresh token: %w", err)
	}
	c := oauth2.Config{ClientID: s.opt.ClientID, ClientSecret: secret, Endpoint: oauth2.Endpoint{TokenURL: s.opt.URL}, Scopes: s.opt.Scope}
	for _, r := range []string{s.refresh, refresh} {
		if r == "" {
			continue
		}
		var t *oauth2.Token
		if t, err = c.TokenSource(ctx, &oauth2.Token{RefreshToken: r}).Token(); err == nil {
			return t, nil
		}
		// One that we were given and that is no good: perhaps the
		// administrator has put a new one into the file.
		s.refresh = ""
	}
	return nil, s.readable(err)
}

// serviceKey is what we need of the file that Google gives.
type serviceKey struct {
	Type         string `json:"type"`
	Email        string `json:"client_email"`
	PrivateKey   string `json:"private_key"`
	PrivateKeyID string `json:"private_key_id"`
	TokenURL     string `json:"token_uri"`
}

func (s *Source) askAsService(ctx context.Context) (*oauth2.Token, error) {
	text, err := s.opt.ServiceAccount()
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	var key serviceKey
	if err := json.Unmarshal([]byte(text), &key); err != nil || key.Type != "service_account" || key.PrivateKey == "" {
		return nil, errors.New("service account: the file is no key of a service account in JSON")
	}
	url := s.opt.URL
	if url == "" {
		url = key.TokenURL
	}
	if !strings.HasPrefix(url, "https://") && s.opt.URL == "" {
		return nil, errors.New("service account: its token_uri does not begin with https://")
	}
	c := jwt.Config{
		Email: key.Email, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.PrivateKeyID,
		Subject: s.opt.User, Scopes: s.opt.Scope, TokenURL: url,
	}
	t, err := c.TokenSource(ctx).Token()
	return t, s.readable(err)
}

// readable makes the server's refusal readable.
func (s *Source) readable(err error) error {
	refusal := (*oauth2.RetrieveError)(nil)
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refusal):
		return fmt.Errorf("token server: %w", err)
	}
	code, words := refusal.ErrorCode, refusal.ErrorDescription
	if code == "" {
		var body struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if json.Unmarshal(refusal.Body, &body) == nil {
			code, words = body.Error, body.Description
		}
	}
	status := 0
	if refusal.Response != nil {
		status = refusal.Response.StatusCode
	}
	if code == "" {
		return fmt.Errorf("the token server answers %d", status)
	}
	return fmt.Errorf("the token server says %s: %s", mail.Line(code, maxWords), mail.Line(words, maxWords))
}
