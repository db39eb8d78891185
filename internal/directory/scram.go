package directory

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"restante/internal/sasl"
)

// iterations is the cost of new SCRAM verifiers. Clients pay for it at each
// login, some of them slow ones, and whoever steals the file for each guess.
const iterations = 50_000

// saltSize is that of all salts we make, in octets.
const saltSize = 16

// CheckSCRAM tells what is wrong with a SCRAM verifier, nil if it is usable.
func CheckSCRAM(s string) error {
	_, err := sasl.ParseVerifier(s)
	return err
}

// HashSCRAM returns a SCRAM verifier with a new salt, as scram_hash in the
// configuration takes it. It fails with ErrPassword.
func HashSCRAM(password string) (string, error) {
	p, err := prepare(password)
	if err != nil {
		return "", err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	keys, err := sasl.Derive(p, salt, iterations)
	if err != nil {
		return "", err
	}
	return sasl.Verifier{Salt: salt, Iterations: iterations, Keys: []sasl.Keys{keys}}.String(), nil
}

// saltOf is the salt of a name that has none yet, of nobody's name too: it is
// always the same, so that asking twice does not tell whether there is such an
// account.
func (d *Directory) saltOf(name string) []byte {
	h := hmac.New(sha256.New, d.salts)
	h.Write([]byte("scram salt\x00" + name))
	return h.Sum(nil)[:saltSize]
}

// readSalts reads the key that salts are made with. It is made at the first
// time, beside the accounts' file; without a file it is good for one run.
func readSalts(path string) ([]byte, error) {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	if path == "" {
		return key, nil
	}
	lock := path + ".lock"
	path = filepath.Join(filepath.Dir(path), "accounts.key")
	b, err := os.ReadFile(path)
	if err == nil && len(b) == len(key) {
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return key, fmt.Errorf("read key of salts: %w", err)
	}
	unlock, err := lockFile(lock)
	if err != nil {
		return key, err
	}
	defer unlock()
	if b, err := os.ReadFile(path); err == nil && len(b) == len(key) {
		return b, nil // another process was faster
	}
	if err := replaceFile(path, key); err != nil {
		return key, fmt.Errorf("write key of salts: %w", err)
	}
	return key, nil
}

// setVerifier gives an account its salt and the verifier of its own password:
// one that is stored or configured, or one made of a plain password.
func (d *Directory) setVerifier(a *account, text, password string) error {
	a.salt, a.iterations = d.saltOf(a.name), d.iterations
	if len(a.secrets) > 0 {
		// All passwords of an account must have the same salt.
		a.salt, a.iterations = a.secrets[0].verifier.Salt, a.secrets[0].verifier.Iterations
	}
	if text != "" {
		v, err := sasl.ParseVerifier(text)
		if err != nil {
			return err
		}
		a.salt, a.iterations, a.own = v.Salt, v.Iterations, &v.Keys[0]
		return nil
	}
	if password == "" {
		return nil
	}
	p, err := prepare(password)
	if err != nil {
		return err
	}
	keys, err := d.derive(p, a.salt, a.iterations)
	if err != nil {
		return err
	}
	a.own = &keys
	return nil
}

// derive is sasl.Derive with a memory: the passwords of static accounts are
// derived again for each picture.
func (d *Directory) derive(password string, salt []byte, iterations int) (sasl.Keys, error) {
	id := d.secret.mac("derive", fmt.Sprintf("%x %d %s", salt, iterations, password))
	keys, ok := d.derived[id]
	if !ok {
		var err error
		if keys, err = sasl.Derive(password, salt, iterations); err != nil {
			return keys, err
		}
		d.derived[id] = keys
	}
	return keys, nil
}

// verifier returns what SCRAM checks the account's passwords against: its own
// and the secrets that were made with the same salt.
func (a *account) verifier() sasl.Verifier {
	v := sasl.Verifier{Salt: a.salt, Iterations: a.iterations}
	if a.own != nil {
		v.Keys = append(v.Keys, *a.own)
	}
	for _, k := range a.secrets {
		if k.verifier.Iterations == a.iterations && string(k.verifier.Salt) == string(a.salt) {
			v.Keys = append(v.Keys, k.verifier.Keys...)
		}
	}
	return v
}
