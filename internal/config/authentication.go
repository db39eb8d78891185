package config

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"restante/internal/mail"
)

// DKIM is how mail is signed.
type DKIM struct {
	// Sign mail of domains of which there are keys.
	Sign bool `toml:"sign"`
}

// Authentication is how mail from outside is authenticated.
type Authentication struct {
	// Evaluate SPF, DKIM and DMARC.
	Evaluate bool `toml:"evaluate"`
	// ID is what Authentication-Results fields call us; see AuthservID.
	ID string `toml:"authserv_id"`
	// DMARC and SPF are the most that is done with mail that fails: "none",
	// "quarantine" or "reject".
	DMARC string `toml:"dmarc"`
	SPF   string `toml:"spf"`
	// OnFailure is what becomes of mail that cannot be evaluated for now:
	// "accept" or "tempfail".
	OnFailure string `toml:"on_failure"`
	// Timeout bounds the evaluation of one message.
	Timeout Duration `toml:"timeout"`
}

// What Authentication.OnFailure can be.
const (
	AuthenticationAccept   = "accept"
	AuthenticationTempfail = "tempfail"
)

// DKIMKey is one element of Domain.DKIMKeys.
type DKIMKey struct {
	Selector string
	// File holds the key; "" is the one that "restante dkim keygen" made.
	File string
}

// Keys reads DKIMKeys: "SELECTOR" or "SELECTOR=FILE". A credential becomes its
// file; where that cannot be found the error says why.
func (d Domain) Keys() ([]DKIMKey, error) {
	var keys []DKIMKey
	for _, s := range d.DKIMKeys {
		selector, file, given := strings.Cut(s, "=")
		k := DKIMKey{Selector: selector}
		if given {
			path, err := secretPath(file)
			if err != nil {
				return nil, err
			}
			k.File = path
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// AuthservID is what Authentication-Results fields call us: Authentication.ID,
// or else ServerName.
func (c *Config) AuthservID() string {
	if d, err := mail.ParseDomain(c.Authentication.ID); err == nil {
		return d
	}
	return c.ServerName()
}

// resolveKeys makes the file names of keys count from the configuration's folder.
func (c *Config) resolveKeys(dir string) {
	for _, d := range c.Domains {
		for i, s := range d.DKIMKeys {
			selector, file, _ := strings.Cut(s, "=")
			if file == "" || filepath.IsAbs(file) || strings.HasPrefix(file, credentialPrefix) {
				continue
			}
			if abs, err := filepath.Abs(filepath.Join(dir, file)); err == nil {
				d.DKIMKeys[i] = selector + "=" + abs
			}
		}
	}
}

func (ch *checker) authentication() {
	a, at := ch.config.Authentication, top("authentication")
	if a.ID != "" {
		if why := badHost(a.ID); why != "" {
			ch.problem(at.key("authserv_id"), "authserv_id %q %s; write a full name such as mail.example.org", a.ID, why)
		}
	}
	ch.oneOf(at.key("dmarc"), "dmarc", a.DMARC, "none", "quarantine", "reject")
	ch.oneOf(at.key("spf"), "spf", a.SPF, "none", "quarantine", "reject")
	ch.oneOf(at.key("on_failure"), "on_failure", a.OnFailure, AuthenticationAccept, AuthenticationTempfail)
	if t := a.Timeout.Std(); t < time.Second || t > time.Minute {
		ch.problem(at.key("timeout"), "timeout must be from 1s to 1m, not %s", a.Timeout)
	}
	for i, d := range ch.config.Domains {
		ch.keys(top("domain").index(i).key("dkim_keys"), d)
	}
}

// keys checks the keys of a domain, as far as they are files of their own: those
// of the state directory are looked at when they are needed.
func (ch *checker) keys(at keyPath, d Domain) {
	seen := make(map[string]bool)
	for i, s := range d.DKIMKeys {
		selector, file, given := strings.Cut(s, "=")
		switch why := badHost(selector); {
		case why != "":
			ch.problem(at.index(i), `dkim_keys: selector %q %s; write it like "2026a" or "2026a=FILE"`, selector, why)
		case seen[strings.ToLower(selector)]:
			ch.problem(at.index(i), "dkim_keys: selector %q is there twice; remove one", selector)
		}
		seen[strings.ToLower(selector)] = true
		if !given {
			continue
		}
		path, err := secretPath(file)
		if err == nil {
			var f *os.File
			if f, err = os.Open(path); err == nil {
				f.Close()
			}
		}
		if err != nil {
			ch.problem(at.index(i), "dkim_keys: the key of selector %q cannot be read: %s", selector, err)
		}
	}
}
