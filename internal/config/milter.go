package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Milter is a mail filter that judges messages as they come in.
type Milter struct {
	// Name is what logs call it.
	Name string `toml:"name"`
	// Address is "host:port", or "unix:" and the absolute path of a socket; see
	// Dial.
	Address string `toml:"address"`
	// Timeout is the longest wait for a connection and for each answer.
	Timeout Duration `toml:"timeout"`
	// OnFailure is what becomes of mail when the filter does not work:
	// "tempfail" or "accept".
	OnFailure string `toml:"on_failure"`
	// For are the kinds of client whose mail it sees: "outside", "trusted",
	// "authenticated"; without any, all.
	For Strings `toml:"for"`
}

// What Milter.OnFailure can be.
const (
	MilterTempfail = "tempfail"
	MilterAccept   = "accept"
)

// What Milter.For can hold.
const (
	ForOutside       = "outside"
	ForTrusted       = "trusted"
	ForAuthenticated = "authenticated"
)

// unixPrefix begins an address that is a Unix socket.
const unixPrefix = "unix:"

// setDefaults is called on a new element of [[milter]] before its keys are read.
func (m *Milter) setDefaults() {
	m.Timeout = Minute
	m.OnFailure = MilterTempfail
	m.For = Strings{}
}

// Dial returns what to connect to: "tcp" and "host:port", or "unix" and a path.
func (m Milter) Dial() (network, address string) {
	if path, ok := strings.CutPrefix(m.Address, unixPrefix); ok {
		return "unix", path
	}
	return "tcp", m.Address
}

func (ch *checker) milters() {
	names := make(map[string]bool)
	nameForm := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	for i, m := range ch.config.Milters {
		at := top("milter").index(i)
		switch {
		case m.Name == "":
			ch.problem(at, `this milter has no name; add name = "rspamd"`)
		case !nameForm.MatchString(m.Name):
			ch.problem(at.key("name"), "milter name %q must be letters, digits, dots, dashes, and not longer than 64", m.Name)
		case names[m.Name]:
			ch.problem(at.key("name"), "milter %q is there twice; rename one", m.Name)
		}
		names[m.Name] = true
		switch network, address := m.Dial(); {
		case m.Address == "":
			ch.problem(at, `milter %q has no address; add address = "127.0.0.1:11332"`, m.Name)
		case network == "unix" && !filepath.IsAbs(address):
			ch.problem(at.key("address"), `address %q of milter %q must have a path from the root: "unix:/run/filter.sock"`, m.Address, m.Name)
		case network == "tcp":
			if why := badHostPort(address, false); why != "" {
				ch.problem(at.key("address"), `address %q of milter %q %s; write it like "127.0.0.1:11332" or "unix:/run/filter.sock"`, m.Address, m.Name, why)
			}
		}
		// Clients wait ten minutes for the reply to a message.
		if m.Timeout < Duration(time.Second) || m.Timeout > 5*Minute {
			ch.problem(at.key("timeout"), "timeout of milter %q must be from 1s to 5m, not %s", m.Name, m.Timeout)
		}
		ch.oneOf(at.key("on_failure"), "on_failure", m.OnFailure, MilterTempfail, MilterAccept)
		for j, s := range m.For {
			ch.oneOf(at.key("for").index(j), "for", s, ForOutside, ForTrusted, ForAuthenticated)
			if slices.Contains(m.For[:j], s) {
				ch.problem(at.key("for").index(j), "%q is there twice; remove one", s)
			}
		}
	}
}
