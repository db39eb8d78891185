package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"restante/internal/authres"
	"restante/internal/config"
	"restante/internal/dkim"
	"restante/internal/mail"
	"restante/internal/resolver"
	"restante/internal/screen"
	"restante/spool/badger"
)

// dkimFolder is where keygen keeps keys.
func dkimFolder(state string) dkim.Folder { return dkim.Folder(filepath.Join(state, "dkim")) }

// dkimKeys are those that sign: of each domain those its configuration names,
// or else all of the state directory.
func dkimKeys(cfg *config.Config, state string) ([]dkim.Key, error) {
	if !cfg.DKIM.Sign {
		return nil, nil
	}
	domains, err := dkimDomains(cfg, state)
	if err != nil {
		return nil, err
	}
	var keys []dkim.Key
	for _, d := range domains {
		more, err := keysOf(cfg, state, d)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// logKeys tells which keys sign from now on.
func (d *daemon) logKeys(keys []dkim.Key) {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name()
	}
	if len(keys) > 0 {
		d.log.Info("mail is signed", "keys", strings.Join(names, " "))
	}
}

// dkimDomains are all that have keys.
func dkimDomains(cfg *config.Config, state string) ([]string, error) {
	domains, err := dkimFolder(state).Domains()
	for _, d := range cfg.Domains {
		if name, err := mail.ParseDomain(d.Name); err == nil && len(d.DKIMKeys) > 0 {
			domains = append(domains, name)
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains), err
}

// keysOf are the keys that sign for one domain.
func keysOf(cfg *config.Config, state, domain string) ([]dkim.Key, error) {
	folder := dkimFolder(state)
	configured, err := configuredKeys(cfg, domain)
	if err != nil {
		return nil, err
	}
	if len(configured) == 0 {
		selectors, err := folder.Selectors(domain)
		if err != nil {
			return nil, err
		}
		for _, s := range selectors {
			configured = append(configured, config.DKIMKey{Selector: s})
		}
	}
	var keys []dkim.Key
	for _, c := range configured {
		selector, err := dkim.ParseSelector(c.Selector)
		if err != nil {
			return nil, err
		}
		var k dkim.Key
		if c.File != "" {
			k, err = dkim.ReadKey(domain, selector, c.File)
		} else {
			k, err = folder.Load(domain, selector)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// configuredKeys are the dkim_keys of a domain.
func configuredKeys(cfg *config.Config, domain string) ([]config.DKIMKey, error) {
	for _, d := range cfg.Domains {
		if name, err := mail.ParseDomain(d.Name); err == nil && name == domain {
			return d.Keys()
		}
	}
	return nil, nil
}

// keysFile is what the keys of the state directory are called in a backup.
const keysFile = "dkim.json"

// packKeys makes one file of all keys, for a backup; none of no keys.
func packKeys(state string) ([]badger.BackupFile, error) {
	keys, err := dkimFolder(state).Export()
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	data, err := json.Marshal(keys)
	return []badger.BackupFile{{Name: keysFile, Data: data}}, err
}

// unpackKeys puts them into the state directory again.
func unpackKeys(state string, data []byte) error {
	var keys map[string]string
	if err := json.Unmarshal(data, &keys); err != nil {
		return fmt.Errorf("DKIM keys of the backup: %w", err)
	}
	return dkimFolder(state).Import(keys)
}

// authentication is the screen that evaluates mail from outside, if one is
// wanted. It comes before all others, which see the header as it came anyway.
func authentication(cfg *config.Config, dns *resolver.Resolver, d *daemon) []screen.Screen {
	a := cfg.Authentication
	if !a.Evaluate {
		return nil
	}
	return []screen.Screen{authres.New(authres.Options{
		ID: cfg.AuthservID(), Resolver: dns, DMARC: authres.Action(a.DMARC), SPF: authres.Action(a.SPF),
		Defer: a.OnFailure == config.AuthenticationTempfail, Timeout: a.Timeout.Std(), Logger: d.log,
	})}
}

const dkimKeygenHelp = `The private key is kept in the state directory, and the record that has to be
published in the DNS is printed, as a line for a zone file. It signs the mail of
the domain after the next reload of the daemon: publish the record first, see
with "restante dkim check" that it is there, then reload.

To change keys, make one with another selector, publish, check, reload: now both
sign. Then take the old one's file (DIR/dkim/DOMAIN/SELECTOR.pem) away, reload,
and some days later its record.

For both kinds of signature make an RSA key, which every receiver knows, and an
Ed25519 one beside it.`

func dkimKeygenCommand() *command {
	cmd := &command{
		name: "dkim keygen", args: "[--selector S] [--type rsa|ed25519] DOMAIN",
		short: "make a key that signs the mail of a domain, and print its DNS record", long: dkimKeygenHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		selector := fs.String("selector", "", "selector `S` (default: the month, 202601)")
		kind := fs.String("type", string(dkim.RSA), "`TYPE` of key: rsa or ed25519")
		return func(_ context.Context, args []string) error {
			if len(args) != 1 {
				return usagef("one domain is wanted")
			}
			return c.dkimKeygen(args[0], *selector, dkim.KeyType(*kind))
		}
	}
	return cmd
}

func (c *call) dkimKeygen(name, selector string, kind dkim.KeyType) error {
	domain, err := dkimDomain(name)
	if err != nil {
		return err
	}
	if kind != dkim.RSA && kind != dkim.Ed25519 {
		return usagef("--type must be rsa or ed25519")
	}
	if selector == "" {
		selector = time.Now().UTC().Format("200601")
		if kind == dkim.Ed25519 {
			selector += "e"
		}
	}
	if selector, err = dkim.ParseSelector(selector); err != nil {
		return usageError(err.Error())
	}
	p, err := c.place()
	if err != nil {
		return err
	}
	if err := makeState(p.state); err != nil {
		return err
	}
	key, err := dkimFolder(p.state).Create(domain, selector, kind)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("there is a key with the selector %s already; choose another with --selector", selector)
	}
	if err != nil {
		return err
	}
	return c.printRecord(key)
}

func (c *call) printRecord(key dkim.Key) error {
	line, err := key.ZoneRecord()
	if err == nil {
		_, err = fmt.Fprintln(c.out, line)
	}
	return err
}

// dkimDomain is a domain on the command line.
func dkimDomain(name string) (string, error) {
	d, err := mail.ParseDomain(name)
	if err != nil || strings.HasPrefix(d, "[") {
		return "", usagef("%q is not a domain name", name)
	}
	return d, nil
}

func dkimRecordCommand() *command {
	cmd := &command{
		name: "dkim record", args: "[DOMAIN]",
		short: "print the DNS records of the keys that sign",
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		return func(_ context.Context, args []string) error {
			_, keys, err := c.signingKeys(args)
			if err != nil {
				return err
			}
			for _, k := range keys {
				if err := c.printRecord(k); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return cmd
}

// signingKeys are the keys of the domain given, or of all. None is an error.
func (c *call) signingKeys(args []string) (place, []dkim.Key, error) {
	if len(args) > 1 {
		return place{}, nil, usagef("one domain is enough")
	}
	p, err := c.place()
	if err != nil {
		return place{}, nil, err
	}
	var domains []string
	if len(args) == 0 {
		domains, err = dkimDomains(p.cfg, p.state)
	} else {
		var d string
		d, err = dkimDomain(args[0])
		domains = []string{d}
	}
	if err != nil {
		return place{}, nil, err
	}
	var keys []dkim.Key
	for _, d := range domains {
		more, err := keysOf(p.cfg, p.state, d)
		if err != nil {
			return place{}, nil, err
		}
		keys = append(keys, more...)
	}
	if len(keys) == 0 {
		return place{}, nil, errors.New("there are no keys; restante dkim keygen makes one")
	}
	return p, keys, nil
}

const dkimCheckHelp = `It asks the name server of the configuration, or those of /etc/resolv.conf, and
says of each key whether its record is published. The exit code is 1 if one is
not, or if it cannot be told.`

func dkimCheckCommand() *command {
	cmd := &command{
		name: "dkim check", args: "[DOMAIN]",
		short: "ask the DNS whether the keys that sign are published", long: dkimCheckHelp,
	}
	cmd.setup = func(c *call, _ *flag.FlagSet) action {
		return func(ctx context.Context, args []string) error {
			p, keys, err := c.signingKeys(args)
			if err != nil {
				return err
			}
			dns, err := newResolver(p.cfg)
			if err != nil {
				return err
			}
			return c.dkimCheck(ctx, dns, keys)
		}
	}
	return cmd
}

func (c *call) dkimCheck(ctx context.Context, dns *resolver.Resolver, keys []dkim.Key) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	bad := false
	for _, k := range keys {
		state, why, err := k.Check(ctx, dns.LookupTXT)
		if err != nil {
			state, why = "unknown", err.Error()
		}
		bad = bad || state != dkim.Published
		line := fmt.Sprintf("%s  %s  %s", k.Name(), k.Type(), state)
		if why != "" {
			line += ": " + visible(why)
		}
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	if bad {
		return errTold
	}
	return nil
}
