// Package directory knows what is local: domains, accounts, aliases and
// catch-alls. It says where mail for an address goes, who may log in, and as
// whom an account may send.
//
// An application is an account without address and mailboxes, which sends within
// bounds. Both log in with a password or with secrets, which are further passwords
// that can be revoked one by one, by SCRAM, with a certificate or with a token;
// For gives what a service needs for that.
//
// A shared mailbox is nobody's: mail for its addresses is delivered into it, and
// some accounts may send as them. To the rest of the program it is an account as
// which nobody can log in.
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
	"crypto/x509"
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
	"restante/internal/quota"
	"restante/internal/sasl"
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
	// Groups are aliases with an owner and members. No address can be both.
	Groups []Group
	// Shared are mailboxes that no account owns.
	Shared []Shared
	// Static are the accounts and applications of the configuration.
	Static []Static
	// ClientCA signs certificates by which clients log in; nil is nobody.
	// Certificates are the rules whose they are.
	ClientCA     *x509.CertPool
	Certificates []CertificateRule
	// Tokens checks bearer tokens; nil is none.
	Tokens Tokens
	// Logger gets warnings about stored accounts that are of no use; nil is
	// none.
	Logger *slog.Logger
}

// Group is one address for several people.
type Group struct {
	Name string
	// Members are addresses here or elsewhere.
	Members []string
	// Owner, unless it is "", is told what could not be delivered to members
	// elsewhere: mail goes to them with it as its sender.
	Owner string
	// Closed groups take mail only from accounts, trusted clients, and the
	// members and the owner elsewhere.
	Closed bool
}

// Static is an account that commands cannot change.
type Static struct {
	Name string
	// Hash is argon2id in PHC form. If it is "", Password is the password.
	Hash, Password string
	// SCRAM is the verifier of the same password, as HashSCRAM makes it. A
	// Password has one anyway; a Hash alone leaves the account without.
	SCRAM string
	// Application makes it an application. Its name is then no address, and
	// Addresses are what it may send as.
	Application *Application
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
	// Shared tells that it is no account, but where a shared mailbox is kept.
	Shared bool `json:"shared,omitempty"`
	// Application is there if it is one.
	Application *Application `json:"application,omitempty"`
	// SCRAM tells that its password works by SCRAM too.
	SCRAM   bool     `json:"scram"`
	Secrets []Secret `json:"secrets,omitempty"`
	// Created and Changed (the password's last change) are zero if static.
	Created time.Time `json:"created,omitzero"`
	Changed time.Time `json:"changed,omitzero"`
	// Usage is what it keeps, where somebody counts that; List does not.
	Usage *quota.Usage `json:"usage,omitempty"`
}

// Directory is safe for concurrent use.
type Directory struct {
	hashing *gate
	secret  secret
	cost    phc // of new hashes
	// iterations are those of new SCRAM verifiers, salts is the key of salts.
	iterations int
	salts      []byte
	used       used

	// mu serialises changes; picture is what readers see.
	mu  sync.Mutex
	opt Options
	// derived remembers the verifiers of plain passwords.
	derived map[[32]byte]sasl.Keys
	picture atomic.Pointer[picture]
}

// account is one account or application in a picture. It is immutable but for
// recent.
type account struct {
	name      string
	address   mail.Address
	addresses []mail.Address
	// patterns are domains it may send as, "*" for all.
	patterns []string
	// senders are who may send as its addresses, beside itself.
	senders []string
	static  bool
	created time.Time
	changed time.Time

	application *Application // nil for an account
	credential  credential
	// salt and iterations are those of SCRAM; own is the verifier of the
	// password, nil if there is none. secrets are further passwords.
	salt       []byte
	iterations int
	own        *sasl.Keys
	secrets    []*secretKey
	// mark changes with all that logs in.
	mark   [32]byte
	recent *recents
}

// picture is everything as of one moment.
type picture struct {
	domains  []string
	catchAll map[string][]mail.Address // an entry for each local domain
	aliases  map[mail.Address][]mail.Address
	groups   map[mail.Address]*group // those of aliases that are groups
	accounts map[string]*account
	// order has the static accounts as configured, then the stored ones by age.
	order []*account
	// shared are the shared mailboxes; they are no accounts.
	shared      map[string]*account
	sharedOrder []*account
	// own maps every address that belongs to an account or a shared mailbox.
	own map[mail.Address]*account

	roots        *x509.CertPool
	fingerprints map[[32]byte]CertificateRule
	certNames    map[string]CertificateRule
	tokens       Tokens
	// secrets: somebody has one. complete: who may log in to each service has
	// a SCRAM verifier.
	secrets  bool
	complete [2]bool
}

// Open reads the stored accounts and returns a Directory. It fails if the
// options contradict themselves or the file cannot be read.
func Open(opt Options) (*Directory, error) {
	return openCost(opt, recipe(), iterations)
}

func openCost(opt Options, cost phc, iterations int) (*Directory, error) {
	d := &Directory{hashing: newGate(), secret: newSecret(), cost: cost, iterations: iterations}
	salts, err := readSalts(opt.Path)
	if err != nil && opt.Logger != nil {
		opt.Logger.Warn("salts of SCRAM are new until the next start", "error", err)
	}
	d.salts = salts
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
	d.derived = make(map[[32]byte]sasl.Keys)
	p, err := d.build(opt, stored, func(name string, why error) {
		opt.Logger.Warn("stored account is not used, or gets no mail", "account", name, "reason", why)
	})
	if err != nil {
		return err
	}
	d.used.open(opt.Path, opt.Logger)
	if names := p.lacking(); len(names) > 0 {
		opt.Logger.Info("SCRAM is not offered until all accounts have a verifier", "missing", len(names), "account", names[0])
	}
	d.opt = opt
	d.picture.Store(p)
	return nil
}

func (d *Directory) logger() *slog.Logger {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opt.Logger
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
// ones, the oldest first; and then the shared mailboxes, which are none.
func (d *Directory) List() []Info {
	var list []Info
	p := d.picture.Load()
	for _, a := range p.order {
		i := Info{Name: a.name, Static: a.static, Created: a.created, Changed: a.changed, SCRAM: a.own != nil}
		if a.application != nil {
			app := *a.application
			i.Application = &app
		}
		for _, k := range a.secrets {
			s := k.Secret
			s.Used = d.used.last(a.name, s.Name)
			i.Secrets = append(i.Secrets, s)
		}
		i.Addresses = texts(a.addresses)
		for _, domain := range a.patterns {
			i.Addresses = append(i.Addresses, patternText(domain))
		}
		list = append(list, i)
	}
	return append(list, p.listShared()...)
}

// Lookup returns the name of the account that a user name means: an address in
// any case, an application's name, or a bare name in the first domain. SharedAccount
// names are found, too. It fails with mail.ErrNoSuchUser.
func (d *Directory) Lookup(user string) (string, error) {
	p := d.picture.Load()
	if p.shared[user] != nil {
		return user, nil
	}
	if a := p.accounts[p.userName(user)]; a != nil {
		return a.name, nil
	}
	return "", fmt.Errorf("%q: %w", user, mail.ErrNoSuchUser)
}

// userName completes and normalises what a client logs in as; "" if it cannot
// be a user name.
func (p *picture) userName(user string) string {
	if name := strings.ToLower(user); p.accounts[name] != nil && p.accounts[name].application != nil {
		return name
	}
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
