package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// credentialPrefix marks a file of the service manager's credentials, which
// are in $CREDENTIALS_DIRECTORY.
const credentialPrefix = "credential:"

// maxSecret bounds a secret in a file, in octets.
const maxSecret = 64 << 10

// Secret returns the password of the route's Username: Password, or the
// content of PasswordFile, or "" without either.
func (r Route) Secret() (string, error) {
	if r.PasswordFile == "" {
		return r.Password, nil
	}
	return readSecret(r.PasswordFile)
}

// Secret returns the password of the host's Username, as Route.Secret does.
func (s Smarthost) Secret() (string, error) {
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	return readSecret(s.PasswordFile)
}

// Secret returns the account's password hash or, if its file holds the
// password itself, the password. A file that begins with "$argon2id$" holds a
// hash.
func (a Account) Secret() (hash, password string, err error) {
	if a.PasswordFile == "" {
		return a.PasswordHash, "", nil
	}
	s, err := readSecret(a.PasswordFile)
	if strings.HasPrefix(s, hashPrefix) {
		return s, "", err
	}
	return "", s, err
}

const hashPrefix = "$argon2id$"

// readSecret reads a one-line file, without its line end.
func readSecret(name string) (string, error) {
	path, err := secretPath(name)
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case s == "":
		return "", fmt.Errorf("read secret: %s is empty", path)
	case len(b) > maxSecret, strings.ContainsAny(s, "\r\n\x00"):
		return "", fmt.Errorf("read secret: %s must hold one line, the secret", path)
	}
	return s, nil
}

func secretPath(name string) (string, error) {
	id, ok := strings.CutPrefix(name, credentialPrefix)
	if !ok {
		return name, nil
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	switch {
	case id == "" || id != filepath.Base(id) || id == "..":
		return "", fmt.Errorf("%q does not name a credential", name)
	case dir == "":
		return "", errors.New(name + " needs the service manager to pass it: LoadCredential=" + id + ":/path in the unit")
	}
	return filepath.Join(dir, id), nil
}
