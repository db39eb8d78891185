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
)

// fileVersion is the form of the file of stored accounts.
const fileVersion = 1

type file struct {
	Version  int      `json:"version"`
	Accounts []record `json:"accounts"`
}

// record is a stored account; they stand in the order in which they were made.
type record struct {
	Name      string    `json:"name"`
	Password  string    `json:"password"` // PHC form
	Addresses []string  `json:"addresses,omitempty"`
	Created   time.Time `json:"created"`
	Changed   time.Time `json:"changed"`
}

// Add makes an account. The addresses are as in Static. It fails with
// ErrExists, ErrUnknownDomain, ErrPassword, mail.ErrAddress, or as the file
// system does.
func (d *Directory) Add(name, password string, addresses ...string) error {
	hash, err := hashPassword(d.cost, password)
	if err != nil {
		return fmt.Errorf("add account %s: %w", name, err)
	}
	err = d.change(func(p *picture, records []record) ([]record, error) {
		a, err := newAccount(name, addresses)
		if err != nil {
			return nil, err
		}
		// A stored account whose domain is not local has its name, but not
		// its address.
		if p.accounts[a.name] != nil {
			return nil, ErrExists
		}
		if err := p.addAccount(a); err != nil {
			return nil, err
		}
		now := time.Now().UTC()
		return append(records, record{a.name, hash, addresses, now, now}), nil
	})
	if err != nil {
		return fmt.Errorf("add account %s: %w", name, err)
	}
	return nil
}

// SetPassword changes the password of a stored account, and forgets recent
// logins. It fails with mail.ErrNoSuchUser, ErrStatic, ErrPassword, or as the
// file system does.
func (d *Directory) SetPassword(name, password string) error {
	hash, err := hashPassword(d.cost, password)
	if err == nil {
		err = d.change(func(p *picture, records []record) ([]record, error) {
			i, err := find(p, records, name)
			if err == nil {
				records[i].Password, records[i].Changed = hash, time.Now().UTC()
			}
			return records, err
		})
	}
	if err != nil {
		return fmt.Errorf("set password of %s: %w", name, err)
	}
	return nil
}

// Remove takes a stored account away; its mailboxes are the spool's. It fails
// with mail.ErrNoSuchUser, ErrStatic, or as the file system does.
func (d *Directory) Remove(name string) error {
	err := d.change(func(p *picture, records []record) ([]record, error) {
		i, err := find(p, records, name)
		if err != nil {
			return nil, err
		}
		return slices.Delete(records, i, i+1), nil
	})
	if err != nil {
		return fmt.Errorf("remove account %s: %w", name, err)
	}
	return nil
}

func find(p *picture, records []record, user string) (int, error) {
	name := p.userName(user)
	if a := p.accounts[name]; a != nil && a.static {
		return 0, ErrStatic
	}
	i := slices.IndexFunc(records, func(r record) bool { return r.Name == name })
	if i < 0 {
		return 0, mail.ErrNoSuchUser
	}
	return i, nil
}

// change applies a change to the file as it is now, whoever wrote it last.
// edit is given a picture of its own of that state, to look at and to spoil.
func (d *Directory) change(edit func(p *picture, records []record) ([]record, error)) error {
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
	records, err := readFile(d.opt.Path)
	if err != nil {
		return err
	}
	// Reload has given the warnings.
	silent := func(string, error) {}
	scratch, err := d.build(d.opt, records, silent)
	if err != nil {
		return err
	}
	if records, err = edit(scratch, records); err != nil {
		return err
	}
	p, err := d.build(d.opt, records, silent)
	if err != nil {
		return err
	}
	if err := writeFile(d.opt.Path, records); err != nil {
		return err
	}
	d.picture.Store(p)
	return nil
}

func readFile(path string) ([]record, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("read accounts: %s is damaged: %w", path, err)
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("read accounts: %s has version %d, this program knows %d", path, f.Version, fileVersion)
	}
	return f.Accounts, nil
}

// writeFile replaces the file as a whole, durably. The lock is held, so what
// stands under the temporary name is left from a crash. If only the last sync
// fails the file is new although the error says otherwise; the next change or
// Reload reads it.
func writeFile(path string, records []record) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write accounts: %w", err)
		}
	}()
	b, err := json.MarshalIndent(file{fileVersion, records}, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, keepOwner(tmp, dir), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
