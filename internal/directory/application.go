package directory

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/internal/ratelimit"
	"restante/internal/sasl"
)

// Errors of the changes of applications and secrets.
var (
	// ErrNoSecret: there is no secret of that name.
	ErrNoSecret = errors.New("no such secret")
	// ErrSecretName: a secret or an application cannot have that name.
	ErrSecretName = errors.New("a name is letters, digits, dots, dashes and underscores, and not longer than 64")
	// ErrPriority: the priority is none of RFC 6710.
	ErrPriority = errors.New("a priority is from -9 to 9")
	// ErrTooMany: the account has as many secrets as it may have.
	ErrTooMany = fmt.Errorf("an account has at most %d secrets", maxSecrets)
)

// maxSecrets bounds the secrets of one account.
const maxSecrets = 50

// Application is what makes an account an application: it sends, in the bounds
// that it is given, and has neither an address nor mailboxes of its own.
type Application struct {
	// Rate bounds its messages; zero is no bound of its own.
	Rate Rate `json:"rate,omitzero"`
	// Priority is that of its messages, -9 to 9 (RFC 6710).
	Priority int `json:"priority,omitempty"`
	// Collects is the account, or the shared mailbox by its SharedAccount name, whose
	// mail it may collect by IMAP; "" is none.
	Collects string `json:"collects,omitempty"`
}

// Secret describes a further password of an account. It was made by us, and is
// as good as the account's own for all but IMAP, which is to be allowed.
type Secret struct {
	Name    string    `json:"name"`
	IMAP    bool      `json:"imap,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Used is when somebody logged in with it, to some minutes.
	Used time.Time `json:"used,omitzero"`
}

// secretKey is a secret in a picture.
type secretKey struct {
	Secret
	verifier sasl.Verifier
}

// Rate is how many messages may come in a time. Its text is "100/1h".
type Rate ratelimit.Rate

// MarshalText returns the text, "" of the zero Rate.
func (r Rate) MarshalText() ([]byte, error) {
	if r == (Rate{}) {
		return nil, nil
	}
	return fmt.Appendf(nil, "%d/%s", r.Count, r.Per), nil
}

// UnmarshalText reads what MarshalText returns.
func (r *Rate) UnmarshalText(b []byte) error {
	*r = Rate{}
	if len(b) == 0 {
		return nil
	}
	count, per, _ := strings.Cut(string(b), "/")
	n, err := strconv.Atoi(count)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a rate", b)
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a rate", b)
	}
	*r = Rate{n, d}
	return nil
}

// Allowance returns how many messages an account may send, if it has a bound of
// its own, and the priority of those that ask for none.
func (d *Directory) Allowance(account string) (rate ratelimit.Rate, priority int) {
	a := d.picture.Load().accounts[account]
	if a == nil || a.application == nil {
		return ratelimit.Rate{}, 0
	}
	return ratelimit.Rate(a.application.Rate), a.application.Priority
}

func (app Application) check() error {
	if app.Priority < -9 || app.Priority > 9 {
		return ErrPriority
	}
	if app.Rate.Count < 0 || app.Rate.Per < 0 {
		return errors.New("a rate is not negative")
	}
	if app.Collects != "" && !IsShared(app.Collects) {
		if _, err := parseName(app.Collects); err != nil {
			return err
		}
	}
	return nil
}

// newApplication is newAccount for an application, whose addresses are what it
// may send as.
func newApplication(name string, senders []string, app Application) (*account, error) {
	name = strings.ToLower(name)
	if !goodLabel(name) {
		return nil, fmt.Errorf("application %q: %w", name, ErrSecretName)
	}
	if err := app.check(); err != nil {
		return nil, err
	}
	a := &account{name: name, application: &app}
	return a, a.addAddresses(senders)
}

// goodLabel tells whether s can be the name of an application or a secret.
func goodLabel(s string) bool {
	return s != "" && len(s) <= 64 && s[0] != '.' && s[0] != '-' &&
		strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// addApplication adds an application; its name must not be taken for that of
// an account in the first domain.
func (p *picture) addApplication(a *account) error {
	if p.accounts[a.name] != nil {
		return ErrExists
	}
	if len(p.domains) > 0 {
		if other := p.own[mail.Address{Local: a.name, Domain: p.domains[0]}.Key()]; other != nil {
			return fmt.Errorf("%w: the name is that of %s", ErrExists, other.name)
		}
	}
	p.accounts[a.name] = a
	p.order = append(p.order, a)
	return nil
}

// maySendAs is MaySendAs of an application.
func (a *account) maySendAs(from mail.Address) bool {
	for _, x := range []mail.Address{from, untagged(from)} {
		if slices.Contains(a.addresses, x) {
			return true
		}
	}
	return slices.Contains(a.patterns, "*") || slices.Contains(a.patterns, from.Domain)
}

// AddApplication makes an application. The senders are addresses, "*@domain" or
// "*". It fails with ErrExists, ErrSecretName, ErrPriority, ErrPassword,
// mail.ErrAddress, or as the file system does.
func (d *Directory) AddApplication(name, password string, senders []string, app Application) error {
	return d.add(name, password, senders, &app)
}

// AddSecret makes a further password of an account or an application, also of
// one from the configuration, and returns it; it is kept nowhere. With imap it
// serves to collect mail too. It fails with ErrExists, ErrSecretName,
// ErrTooMany, mail.ErrNoSuchUser, or as the file system does.
func (d *Directory) AddSecret(user, name string, imap bool) (secret string, err error) {
	secret = RandomPassword()
	err = d.change(func(p *picture, f *file) error {
		a := p.accounts[p.userName(user)]
		switch {
		case a == nil:
			return mail.ErrNoSuchUser
		case !goodLabel(name):
			return ErrSecretName
		case len(a.secrets) >= maxSecrets:
			return ErrTooMany
		case slices.ContainsFunc(a.secrets, func(k *secretKey) bool { return strings.EqualFold(k.Name, name) }):
			return fmt.Errorf("secret %s: %w", name, ErrExists)
		}
		keys, err := sasl.Derive(secret, a.salt, a.iterations)
		if err != nil {
			return err
		}
		v := sasl.Verifier{Salt: a.salt, Iterations: a.iterations, Keys: []sasl.Keys{keys}}
		f.Secrets = append(f.Secrets, secretRecord{a.name, name, v.String(), imap, time.Now().UTC()})
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("add secret of %s: %w", user, err)
	}
	return secret, nil
}

// RevokeSecret takes a secret away; who is logged in with it stays. It fails
// with ErrNoSecret, mail.ErrNoSuchUser, or as the file system does.
func (d *Directory) RevokeSecret(user, name string) error {
	err := d.change(func(p *picture, f *file) error {
		a := p.accounts[p.userName(user)]
		if a == nil {
			return mail.ErrNoSuchUser
		}
		n := len(f.Secrets)
		f.Secrets = slices.DeleteFunc(f.Secrets, func(r secretRecord) bool {
			return r.Of == a.name && strings.EqualFold(r.Name, name)
		})
		if len(f.Secrets) == n {
			return ErrNoSecret
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke secret %s of %s: %w", name, user, err)
	}
	return nil
}
