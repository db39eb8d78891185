package directory

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"restante/internal/mail"
	"restante/internal/sasl"
)

// Service is what somebody logs in for.
type Service uint8

const (
	// Sending is SMTP: accounts and applications, with any of their secrets.
	Sending Service = iota
	// Collecting is IMAP: accounts, with their own password or a secret that
	// is allowed to, and applications that collect an account's mail.
	Collecting
)

// Tokens checks bearer tokens of an issuer.
type Tokens interface {
	// Verify checks a token and returns the user name in it. It fails with
	// mail.ErrBadCredentials.
	Verify(ctx context.Context, token string) (user string, err error)
	// Discovery is the address of the issuer's configuration.
	Discovery() string
}

// Logins is who may log in for a service, by all mechanisms. The zero Logins is
// of no use.
type Logins struct {
	d       *Directory
	service Service
}

var (
	_ sasl.Passwords    = Logins{}
	_ sasl.Verifiers    = Logins{}
	_ sasl.Certificates = Logins{}
	_ sasl.Tokens       = Logins{}
)

// For returns the logins of a service.
func (d *Directory) For(s Service) Logins { return Logins{d, s} }

// Authenticate is that of Logins for Sending.
func (d *Directory) Authenticate(ctx context.Context, user, password string, from netip.Addr) (string, error) {
	return d.For(Sending).Authenticate(ctx, user, password, from)
}

// Authenticate checks a user name (an account's name, in any case, a bare name
// in the first domain, or an application's) and a password, and returns the
// name of the account that the service is for. It fails with
// mail.ErrBadCredentials, whichever of the two is wrong and in the same time, or
// with the context's error if its turn did not come: only a few passwords are
// hashed at a time, since each takes its memory, and one address (an IPv6 /64)
// has at most half of the places.
//
// A stored account that has no SCRAM verifier yet gets it now.
func (l Logins) Authenticate(ctx context.Context, user, password string, from netip.Addr) (string, error) {
	d := l.d
	p := d.picture.Load()
	name := p.userName(user)
	a := p.accounts[name]
	prepared, badPassword := prepare(password)
	sum := d.secret.mac("recent", prepared)
	if a != nil && badPassword == nil {
		if r, ok := a.recent.find(sum); ok {
			return l.admit(p, a, r.key)
		}
	}
	leave, err := d.hashing.enter(ctx, from)
	if err != nil {
		return "", fmt.Errorf("authenticate: %w", err)
	}
	defer leave()
	key, ok := d.check(p, name, a, prepared)
	if !ok || badPassword != nil {
		return "", fmt.Errorf("authenticate: %w", mail.ErrBadCredentials)
	}
	if key == nil && !a.static && a.own == nil {
		a = d.upgrade(a, prepared)
	}
	a.recent.add(recentLogin{sum, key, time.Now().Add(recentFor)})
	return l.admit(p, a, key)
}

// check tells whether a password is right, and by which secret; nil is the
// account's own. It does the same work whether there is an account or not.
func (d *Directory) check(p *picture, name string, a *account, password string) (key *secretKey, ok bool) {
	if p.secrets {
		if key = d.secretOf(a, password); key != nil {
			return key, true
		}
	}
	if a == nil {
		d.stranger(p, name).matches(password)
		return nil, false
	}
	return nil, a.credential.matches(&d.secret, password)
}

// secretOf finds the secret that a password is, nil if it is none. Where there
// is an account with secrets, everybody pays for one.
func (d *Directory) secretOf(a *account, password string) (found *secretKey) {
	var keys sasl.Keys
	var salt string
	var cost int
	derive := func(s []byte, n int) {
		if string(s) == salt && n == cost {
			return
		}
		salt, cost = string(s), n
		var err error
		if keys, err = sasl.Derive(password, s, n); err != nil {
			keys = sasl.Keys{}
		}
	}
	if a == nil || len(a.secrets) == 0 {
		derive(make([]byte, saltSize), d.iterations)
		return nil
	}
	for _, k := range a.secrets {
		derive(k.verifier.Salt, k.verifier.Iterations)
		if subtle.ConstantTimeCompare(keys.StoredKey[:], k.verifier.Keys[0].StoredKey[:]) == 1 {
			found = k
		}
	}
	return found
}

// errNotHere: the password is right, and not for this service.
var errNotHere = fmt.Errorf("%w: not for this service", mail.ErrBadCredentials)

// admit returns the account that somebody who has shown to be a has come for;
// key is the secret that was used, nil for none.
func (l Logins) admit(p *picture, a *account, key *secretKey) (string, error) {
	name := a.name
	if l.service == Collecting {
		switch {
		case key != nil && !key.IMAP:
			return "", fmt.Errorf("secret %s of %s: %w", key.Name, a.name, errNotHere)
		case a.application != nil && a.application.Collects == "":
			return "", fmt.Errorf("application %s: %w", a.name, errNotHere)
		case a.application != nil && p.shared[a.application.Collects] != nil:
			name = a.application.Collects
		case a.application != nil:
			other := p.accounts[p.userName(a.application.Collects)]
			if other == nil || other.application != nil {
				return "", fmt.Errorf("application %s: account %s: %w", a.name, a.application.Collects, errNotHere)
			}
			name = other.name
		}
	}
	if key != nil {
		l.d.used.note(a.name, key.Name, time.Now())
	}
	return name, nil
}

// Complete tells whether SCRAM works for everybody who may log in.
func (l Logins) Complete() bool { return l.d.picture.Load().complete[l.service] }

// Verifier returns what SCRAM checks a user's proof against.
func (l Logins) Verifier(user string) sasl.Verifier {
	p := l.d.picture.Load()
	name := p.userName(user)
	if a := p.accounts[name]; a != nil {
		return a.verifier()
	}
	if name == "" {
		name = user
	}
	return sasl.Verifier{Salt: l.d.saltOf(name), Iterations: l.d.iterations}
}

// Proved returns the account of a user who has proved to know the password of a
// key.
func (l Logins) Proved(user string, key sasl.Keys) (string, error) {
	p := l.d.picture.Load()
	if a := p.accounts[p.userName(user)]; a != nil {
		if a.own != nil && *a.own == key {
			return l.admit(p, a, nil)
		}
		for _, k := range a.secrets {
			if k.verifier.Keys[0] == key {
				return l.admit(p, a, k)
			}
		}
	}
	return "", fmt.Errorf("authenticate: %w", mail.ErrBadCredentials)
}

// Token checks a bearer token, and returns the account of the user in it.
func (l Logins) Token(ctx context.Context, token string) (string, error) {
	p := l.d.picture.Load()
	if p.tokens == nil {
		return "", mail.ErrBadCredentials
	}
	user, err := p.tokens.Verify(ctx, token)
	if err != nil {
		return "", fmt.Errorf("bearer token: %w", err)
	}
	a := p.accounts[p.userName(user)]
	if a == nil {
		return "", fmt.Errorf("bearer token: %w: there is no account %q", mail.ErrBadCredentials, user)
	}
	return l.admit(p, a, nil)
}

// Discovery is the address of the token issuer's configuration, "" if there is
// none.
func (l Logins) Discovery() string {
	if t := l.d.picture.Load().tokens; t != nil {
		return t.Discovery()
	}
	return ""
}

// upgrade gives a stored account the SCRAM verifier of its password, which has
// just been found right, and returns the account as it is now. The login is
// good even if that fails.
func (d *Directory) upgrade(a *account, password string) *account {
	keys, err := sasl.Derive(password, a.salt, a.iterations)
	hash := a.credential.hash.String()
	if err == nil {
		text := sasl.Verifier{Salt: a.salt, Iterations: a.iterations, Keys: []sasl.Keys{keys}}.String()
		err = d.change(func(_ *picture, f *file) error {
			for i, r := range f.Accounts {
				if r.Name == a.name && r.Password == hash && r.SCRAM == "" {
					f.Accounts[i].SCRAM = text
					return nil
				}
			}
			return errUnchanged
		})
	}
	if err != nil && !errors.Is(err, errUnchanged) {
		d.logger().Warn("no SCRAM verifier for an account", "account", a.name, "error", err)
	}
	if now := d.picture.Load().accounts[a.name]; now != nil && now.credential.hash.String() == hash {
		return now
	}
	return a
}
