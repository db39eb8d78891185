// Package directory knows what is local: domains, accounts, aliases and
// catch-alls. It says where mail for an address goes, who may log in, and as
// whom an account may send.
//
// Accounts come from two places: static ones from the configuration, which
// only the administrator's editor changes, and stored ones in a file in the
// state directory, which commands change. Everything else comes from the
// configuration.
//
// What readers see is an immutable picture that changes and Reload replace as
// a whole; a change that fails leaves the picture as it was. The file is
// written beside the old one, synced, and renamed over it, under a lock that
// other processes honour, so a command may add an account while no daemon
// runs. A daemon sees what another process changed at Reload.
package directory

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
)

// Errors of the changes, beside mail.ErrNoSuchUser. They are wrapped with the
// account's name.
var (
	// ErrExists: the address is an account, or belongs to one.
	ErrExists = errors.New("account exists")
	// ErrStatic: the account is defined in the configuration file.
	ErrStatic = errors.New("account is defined in the configuration file, change it there")
	// ErrUnknownDomain: the account's domain is not one of the local ones.
	ErrUnknownDomain = errors.New("domain is not local: add a [[domain]] to the configuration first")
	// ErrPassword: the password is empty, too long, or has control characters.
	ErrPassword = errors.New("unusable password")
)

// Options is what a Directory is made of.
type Options struct {
	// Path is the file of the stored accounts. It may be missing.
	Path string
	// Domains are those delivered here. The first completes a bare user name.
	Domains []string
	// CatchAll gives, for a domain, the addresses that take what is nobody's.
	CatchAll map[string][]string
	// Aliases lead from local addresses to addresses here or elsewhere. An
	// alias that names itself keeps a copy in the account of that name.
	Aliases map[string][]string
	// Static are the accounts of the configuration.
	Static []Static
	// Logger gets warnings about stored accounts that are of no use; nil is
	// none.
	Logger *slog.Logger
}

// Static is an account that commands cannot change.
type Static struct {
	Name string
	// Hash is argon2id in PHC form. If it is "", Password is the password.
	Hash, Password string
	// Addresses are further addresses of the account. It may send as all of
	// them, and those in local domains are delivered to it. "*@domain" adds
	// the right to send as any address of the domain, "*" as anybody.
	Addresses []string
}

// Info describes an account.
type Info struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses,omitempty"`
	// Static tells that it comes from the configuration.
	Static bool `json:"static"`
	// Created and Changed (the password's last change) are zero if static.
	Created time.Time `json:"created,omitzero"`
	Changed time.Time `json:"changed,omitzero"`
}

// Directory is safe for concurrent use.
type Directory struct {
	hashing *gate
	secret  secret
	cost    phc // of new hashes

	// mu serialises changes; picture is what readers see.
	mu      sync.Mutex
	opt     Options
	picture atomic.Pointer[picture]
}

// account is one account in a picture. It is immutable but for recent, so a
// new picture forgets all recent logins.
type account struct {
	name      string
	address   mail.Address
	addresses []mail.Address
	// patterns are domains it may send as, "*" for all.
	patterns []string
	static   bool
	created  time.Time
	changed  time.Time

	credential credential
	recent     atomic.Pointer[recentLogin]
}

// picture is everything as of one moment.
type picture struct {
	domains  []string
	catchAll map[string][]mail.Address // an entry for each local domain
	aliases  map[mail.Address][]mail.Address
	accounts map[string]*account
	// order has the static accounts as configured, then the stored ones by age.
	order []*account
	// own maps every address that belongs to an account.
	own map[mail.Address]*account
}

// Open reads the stored accounts and returns a Directory. It fails if the
// options contradict themselves or the file cannot be read.
func Open(opt Options) (*Directory, error) {
	return openCost(opt, recipe())
}

func openCost(opt Options, cost phc) (*Directory, error) {
	d := &Directory{hashing: newGate(), secret: newSecret(), cost: cost}
	if err := d.Reload(opt); err != nil {
		return nil, err
	}
	return d, nil
}

// Reload replaces all options, and reads the stored accounts again. On an
// error everything stays as it was.
func (d *Directory) Reload(opt Options) error {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	stored, err := readFile(opt.Path)
	if err != nil {
		return err
	}
	p, err := d.build(opt, stored, func(name string, why error) {
		opt.Logger.Warn("stored account gets no mail", "account", name, "reason", why)
	})
	if err != nil {
		return err
	}
	d.opt = opt
	d.picture.Store(p)
	return nil
}

// IsLocal tells whether mail for a domain, in mail.Address's form, is
// delivered here.
func (d *Directory) IsLocal(domain string) bool {
	_, ok := d.picture.Load().catchAll[domain]
	return ok
}

// Domains returns the local domains as configured.
func (d *Directory) Domains() []string { return slices.Clone(d.picture.Load().domains) }

// List returns all accounts: the static ones as configured, then the stored
// ones, the oldest first.
func (d *Directory) List() []Info {
	var list []Info
	for _, a := range d.picture.Load().order {
		i := Info{Name: a.name, Static: a.static, Created: a.created, Changed: a.changed}
		for _, x := range a.addresses {
			i.Addresses = append(i.Addresses, x.String())
		}
		for _, domain := range a.patterns {
			i.Addresses = append(i.Addresses, patternText(domain))
		}
		list = append(list, i)
	}
	return list
}

// Lookup returns the name of the account that a user name means: an address in
// any case, or a bare name in the first domain. It fails with
// mail.ErrNoSuchUser.
func (d *Directory) Lookup(user string) (string, error) {
	p := d.picture.Load()
	if a := p.accounts[p.userName(user)]; a != nil {
		return a.name, nil
	}
	return "", fmt.Errorf("%q: %w", user, mail.ErrNoSuchUser)
}

// userName completes and normalises what a client logs in as; "" if it cannot
// be a user name.
func (p *picture) userName(user string) string {
	if !strings.Contains(user, "@") && len(p.domains) > 0 {
		user += "@" + p.domains[0]
	}
	a, err := mail.ParseAddress(user)
	if err != nil {
		return ""
	}
	return a.Key().String()
}

var _ accept.Directory = (*Directory)(nil)
