package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"restante/internal/mail"
	"restante/internal/sasl"
	"restante/internal/wholefile"
)

// fileVersion is the form of the file of stored accounts. Version 1 had neither
// SCRAM nor applications nor secrets, and is otherwise the same; the next change
// writes it anew.
const fileVersion = 2

type file struct {
	Version  int            `json:"version"`
	Accounts []record       `json:"accounts"`
	Secrets  []secretRecord `json:"secrets,omitempty"`
}

// record is a stored account; they stand in the order in which they were made.
type record struct {
	Name     string `json:"name"`
	Password string `json:"password"` // PHC form
	// SCRAM is the verifier of the password, "" if it was never seen since
	// there are such.
	SCRAM       string       `json:"scram,omitempty"`
	Addresses   []string     `json:"addresses,omitempty"`
	Application *Application `json:"application,omitempty"`
	Created     time.Time    `json:"created"`
	Changed     time.Time    `json:"changed"`
}

// secretRecord is a secret of an account or application, which need not be a
// stored one. It was made by us at random, so that no slow hash is needed.
type secretRecord struct {
	Of      string    `json:"of"`
	Name    string    `json:"name"`
	SCRAM   string    `json:"scram"`
	IMAP    bool      `json:"imap,omitempty"`
	Created time.Time `json:"created"`
}

// Add makes an account. The addresses are as in Static. It fails with
// ErrExists, ErrUnknownDomain, ErrPassword, mail.ErrAddress, or as the file
// system does.
func (d *Directory) Add(name, password string, addresses ...string) error {
	return d.add(name, password, addresses, nil)
}

func (d *Directory) add(name, password string, addresses []string, app *Application) error {
	hash, err := hashPassword(d.cost, password)
	if err != nil {
		return fmt.Errorf("add account %s: %w", name, err)
	}
	err = d.change(func(p *picture, f *file) error {
		now := time.Now().UTC()
		r := record{Name: name, Password: hash, Addresses: addresses, Application: app, Created: now, Changed: now}
		a, err := d.storedAccount(r, nil)
		if err != nil {
			return err
		}
		// A stored account whose domain is not local has its name, but not
		// its address.
		if p.accounts[a.name] != nil {
			return ErrExists
		}
		if err := p.add(a); err != nil {
			return err
		}
		r.Name = a.name
		if r.SCRAM, err = newSCRAM(a, password); err != nil {
			return err
		}
		// One of that name was removed while another process had the file.
		f.dropSecrets(a.name)
		f.Accounts = append(f.Accounts, r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("add account %s: %w", name, err)
	}
	return nil
}

// newSCRAM makes the verifier of an account's new password. The salt stays, for
// the secrets.
func newSCRAM(a *account, password string) (string, error) {
	p, err := prepare(password)
	if err != nil {
		return "", err
	}
	keys, err := sasl.Derive(p, a.salt, a.iterations)
	if err != nil {
		return "", err
	}
	return sasl.Verifier{Salt: a.salt, Iterations: a.iterations, Keys: []sasl.Keys{keys}}.String(), nil
}

func (f *file) dropSecrets(name string) {
	f.Secrets = slices.DeleteFunc(f.Secrets, func(r secretRecord) bool { return r.Of == name })
}

// SetPassword changes the password of a stored account, and forgets recent
// logins; its secrets stay. It fails with mail.ErrNoSuchUser, ErrStatic,
// ErrPassword, or as the file system does.
func (d *Directory) SetPassword(name, password string) error {
	hash, err := hashPassword(d.cost, password)
	if err == nil {
		err = d.change(func(p *picture, f *file) error {
			i, err := find(p, f.Accounts, name)
			if err != nil {
				return err
			}
			r := &f.Accounts[i]
			a, err := d.storedAccount(*r, f.Secrets)
			if err != nil {
				return err
			}
			r.Password, r.Changed = hash, time.Now().UTC()
			r.SCRAM, err = newSCRAM(a, password)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("set password of %s: %w", name, err)
	}
	return nil
}

// Remove takes a stored account or application away, with its secrets; its
// mailboxes are the spool's. It fails with mail.ErrNoSuchUser, ErrStatic, or as
// the file system does.
func (d *Directory) Remove(name string) error {
	err := d.change(func(p *picture, f *file) error {
		i, err := find(p, f.Accounts, name)
		if err != nil {
			return err
		}
		f.dropSecrets(f.Accounts[i].Name)
		f.Accounts = slices.Delete(f.Accounts, i, i+1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove account %s: %w", name, err)
	}
	return nil
}

func find(p *picture, records []record, user string) (int, error) {
	name := p.userName(user)
	if a := p.accounts[name]; a != nil && a.static || p.shared[user] != nil {
		return 0, ErrStatic
	}
	i := slices.IndexFunc(records, func(r record) bool { return r.Name == name })
	if i < 0 {
		return 0, mail.ErrNoSuchUser
	}
	return i, nil
}

// errUnchanged ends a change that has turned out to be none.
var errUnchanged = errors.New("nothing to change")

// change applies a change to the file as it is now, whoever wrote it last.
// edit is given a picture of its own of that state, to look at and to spoil.
func (d *Directory) change(edit func(p *picture, f *file) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opt.Path == "" {
		return errors.New("there is no file to store accounts in")
	}
	unlock, err := lockFile(d.opt.Path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	f, err := readFile(d.opt.Path)
	if err != nil {
		return err
	}
	// Reload has given the warnings.
	silent := func(string, error) {}
	scratch, err := d.build(d.opt, f, silent)
	if err != nil {
		return err
	}
	if err := edit(scratch, &f); err != nil {
		return err
	}
	p, err := d.build(d.opt, f, silent)
	if err != nil {
		return err
	}
	if err := writeFile(d.opt.Path, f); err != nil {
		return err
	}
	p.inherit(d.picture.Load())
	d.picture.Store(p)
	there := make(map[string]bool)
	for _, s := range f.Secrets {
		there[usedKey(s.Of, s.Name)] = true
	}
	d.used.keep(there)
	return nil
}

func readFile(path string) (file, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, nil
	}
	if err != nil {
		return file{}, fmt.Errorf("read accounts: %w", err)
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return file{}, fmt.Errorf("read accounts: %s is damaged: %w", path, err)
	}
	if f.Version < 1 || f.Version > fileVersion {
		return file{}, fmt.Errorf("read accounts: %s has version %d, this program knows %d", path, f.Version, fileVersion)
	}
	for _, r := range f.Secrets {
		if err := CheckSCRAM(r.SCRAM); err != nil {
			return file{}, fmt.Errorf("read accounts: %s: secret %q of %q: %w", path, r.Name, r.Of, err)
		}
	}
	return f, nil
}

// writeFile replaces the file as a whole, durably. If only the last sync fails
// the file is new although the error says otherwise; the next change or Reload
// reads it.
func writeFile(path string, f file) error {
	f.Version = fileVersion
	b, err := json.MarshalIndent(f, "", "\t")
	if err == nil {
		err = replaceFile(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write accounts: %w", err)
	}
	return nil
}

// replaceFile writes a new file over an old one, durably. What stands under the
// temporary name is left from a crash: nobody else writes at the same time.
func replaceFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(text)
	err = errors.Join(err, keepOwner(tmp, dir), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return wholefile.SyncDir(dir)
}

// keepOwner gives a file that root made to the owner of its folder, so that an
// account added by root without a daemon can be read by the daemon.
func keepOwner(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(s.Uid), int(s.Gid))
	}
	return nil
}

// lockFile waits for the lock that all changes are made under. The lock has a
// file of its own, since the accounts' file is replaced by each change.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock accounts: %w", err)
	}
	err = keepOwner(f, filepath.Dir(path))
	for err == nil {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
		err = nil
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock accounts: %w", err)
	}
	return func() { f.Close() }, nil
}
