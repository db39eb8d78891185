package dkim

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"restante/internal/mail"
)

// Folder is a directory of private keys: DOMAIN/SELECTOR.pem, which nobody but
// the owner may read.
type Folder string

// keySuffix ends the names of key files.
const keySuffix = ".pem"

// maxKeyFile bounds what is read as a key, in octets.
const maxKeyFile = 64 << 10

// ParseSelector normalises a selector: labels of a domain name (RFC 6376
// section 3.1). Its errors say what is wrong.
func ParseSelector(s string) (string, error) {
	d, err := mail.ParseDomain(s)
	if err != nil || strings.HasPrefix(d, "[") || len(d) > 100 {
		return "", fmt.Errorf("selector %q must be letters, digits and hyphens, such as 2026a", clip(s))
	}
	return d, nil
}

// Create makes a key for a domain in the folder, which is made too if it is not
// there. Made by root, it belongs to the owner of what the folder is in. It fails with fs.ErrExist if
// there is one of that selector.
func (f Folder) Create(domain, selector string, t KeyType) (Key, error) {
	private, err := Generate(t)
	if err != nil {
		return Key{}, err
	}
	text, err := MarshalPrivate(private)
	if err != nil {
		return Key{}, err
	}
	if err := f.put(domain, selector, text); err != nil {
		return Key{}, err
	}
	return Key{Domain: domain, Selector: selector, Private: private}, nil
}

// put writes a new key.
func (f Folder) put(domain, selector string, text []byte) error {
	for _, dir := range []string{string(f), filepath.Join(string(f), domain)} {
		if err := makeFolder(dir); err != nil {
			return fmt.Errorf("folder of keys: %w", err)
		}
	}
	if err := write(f.path(domain, selector), text); err != nil {
		return fmt.Errorf("keep key: %w", err)
	}
	return nil
}

// write makes a file that must not be there, whole and durable, or not at all.
func write(path string, text []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	_, err = f.Write(text)
	return errors.Join(err, keepOwner(path), f.Sync(), f.Close())
}

func makeFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return errors.Join(err, keepOwner(dir))
}

// keepOwner gives what root made to the owner of the folder it is in, so that
// the daemon can read it.
func keepOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return os.Lchown(path, int(s.Uid), int(s.Gid))
	}
	return nil
}

func (f Folder) path(domain, selector string) string {
	return filepath.Join(string(f), domain, selector+keySuffix)
}

// Load reads one key of the folder.
func (f Folder) Load(domain, selector string) (Key, error) {
	path := f.path(domain, selector)
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("DKIM key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("DKIM key %s can be read by others; chmod 600 it", path)
	}
	return ReadKey(domain, selector, path)
}

// ReadKey reads a key from any file.
func ReadKey(domain, selector, path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("DKIM key: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return Key{}, fmt.Errorf("DKIM key: %w", err)
	}
	private, err := ParsePrivate(text)
	if err != nil {
		return Key{}, fmt.Errorf("DKIM key %s: %w", path, err)
	}
	return Key{Domain: domain, Selector: selector, Private: private}, nil
}

// Selectors are those of which the folder has a key of the domain, in order.
func (f Folder) Selectors(domain string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(f), domain))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("DKIM keys: %w", err)
	}
	var list []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), keySuffix)
		if s, err := ParseSelector(name); ok && err == nil && s == name {
			list = append(list, name)
		}
	}
	return list, nil
}

// Domains are those the folder has keys of, in order.
func (f Folder) Domains() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("DKIM keys: %w", err)
	}
	var list []string
	for _, e := range entries {
		d, err := mail.ParseDomain(e.Name())
		if err == nil && d == e.Name() && e.IsDir() {
			list = append(list, d)
		}
	}
	return list, nil
}

// Export returns all keys of the folder as PEM, by "DOMAIN/SELECTOR".
func (f Folder) Export() (map[string]string, error) {
	domains, err := f.Domains()
	if err != nil {
		return nil, err
	}
	keys := make(map[string]string)
	for _, domain := range domains {
		selectors, err := f.Selectors(domain)
		if err != nil {
			return nil, err
		}
		for _, selector := range selectors {
			k, err := f.Load(domain, selector)
			if err != nil {
				return nil, err
			}
			text, err := MarshalPrivate(k.Private)
			if err != nil {
				return nil, err
			}
			keys[domain+"/"+selector] = string(text)
		}
	}
	return keys, nil
}

// Import writes what Export returned into a folder that has none of them.
func (f Folder) Import(keys map[string]string) error {
	for name, text := range keys {
		domain, selector, _ := strings.Cut(name, "/")
		d, err1 := mail.ParseDomain(domain)
		s, err2 := ParseSelector(selector)
		_, err3 := ParsePrivate([]byte(text))
		if err := errors.Join(err1, err2, err3); err != nil || d != domain || s != selector {
			return fmt.Errorf("DKIM key %q is damaged: %v", clip(name), err)
		}
		if err := f.put(domain, selector, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// sortKeys puts RSA first: it is what every verifier knows, and some look at
// the first signature only.
func sortKeys(keys []Key) {
	slices.SortStableFunc(keys, func(a, b Key) int {
		return cmp.Or(-cmp.Compare(a.Type(), b.Type()), cmp.Compare(a.Selector, b.Selector))
	})
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
