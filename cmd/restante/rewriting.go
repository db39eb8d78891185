package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"restante/internal/config"
	"restante/internal/mail"
	"restante/internal/rewrite"
	"restante/internal/srs"
	"restante/internal/wholefile"
)

// rewriting is what changes senders when a message is taken in.
type rewriting struct {
	masquerade *rewrite.Masquerade
	srs        *srs.Rewriter
}

// newRewriting makes it of a configuration. secret returns the secret of the
// state directory, for a configuration without one of its own.
func newRewriting(cfg *config.Config, secret func() ([]byte, error)) (r rewriting, err error) {
	rules := make(map[string]string)
	for pattern, to := range cfg.Masquerade {
		rules[pattern] = to[0] // checked
	}
	if r.masquerade, err = rewrite.NewMasquerade(rules); err != nil {
		return r, err
	}
	domain := cfg.SRSDomain()
	if domain == "" {
		return r, nil
	}
	list, err := cfg.SRS.Secrets()
	if err != nil {
		return r, fmt.Errorf("secret of srs: %w", err)
	}
	var secrets [][]byte
	for _, s := range list {
		secrets = append(secrets, []byte(s))
	}
	if len(secrets) == 0 {
		s, err := secret()
		if err != nil {
			return r, fmt.Errorf("secret of srs: %w", err)
		}
		secrets = append(secrets, s)
	}
	r.srs, err = srs.New(srs.Options{Secrets: secrets, Domain: domain, MaxAge: cfg.SRS.MaxAge.Std()})
	return r, err
}

// srsSecretFile is in the state directory.
const srsSecretFile = "srs.secret"

// readSRSSecret reads the secret of the state directory.
func readSRSSecret(state string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(state, srsSecretFile))
	if err != nil {
		return nil, err
	}
	return []byte(strings.TrimSpace(string(b))), nil
}

// srsSecret is readSRSSecret, and makes the secret if there is none. It is
// durable before any address is made with it.
func srsSecret(state string) ([]byte, error) {
	s, err := readSRSSecret(state)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	var b [20]byte
	rand.Read(b[:])
	s = []byte(hex.EncodeToString(b[:]))
	if err := wholefile.Write(filepath.Join(state, srsSecretFile), append(s, '\n')); err != nil {
		return nil, err
	}
	return s, nil
}

// outgoing is what a route wants of senders. It has been checked.
func outgoing(r config.Route) (o rewrite.Outgoing) {
	o.Sender, _ = mail.ParseAddress(r.RewriteSender)
	o.From, _ = mail.ParseAddress(r.RewriteFrom)
	return o
}

// taken is what of the configuration decides about mail that is taken in,
// whichever way it comes.
type taken struct {
	masquerade map[string]config.Strings
	srs        config.SRS
	srsDomain  string
	milters    []config.Milter
	claims     config.Authentication
}

// withTaken has rooms replaced when that changes.
func withTaken(cfg *config.Config, rooms []room) []room {
	for i := range rooms {
		rooms[i].made = [2]any{rooms[i].made, taken{cfg.Masquerade, cfg.SRS, cfg.SRSDomain(), cfg.Milters, cfg.Authentication}}
	}
	return rooms
}
