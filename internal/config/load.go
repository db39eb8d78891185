package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode"

	"github.com/BurntSushi/toml"
)

// MaxFile is the largest configuration file that is read, in octets.
const MaxFile = 16 << 20

// source is what is remembered of the file for Check.
type source struct {
	file     string
	lines    lineIndex
	problems Problems
}

// Load reads the file at path over the defaults. Relative paths in it count
// from the folder it is in.
//
// If the file can be read but says something that makes no sense (its syntax,
// an unknown key, a value of a wrong type), the error is Problems, with all of
// them. The Config then holds what was understood: it is not fit for use, but
// Check may be asked for what else is wrong. It is nil if the syntax itself is
// broken or the file cannot be read.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("read configuration: %s is larger than %d octets", path, MaxFile)
	}
	return parse(path, string(data))
}

// parse is Load for text already read; path serves messages and relative paths.
func parse(path, text string) (*Config, error) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		return nil, Problems{syntaxProblem(path, err)}
	}
	c := Default()
	c.source = source{file: path, lines: indexLines(text)}
	d := decoder{source: &c.source}
	d.table(reflect.ValueOf(c).Elem(), nil, tree)
	c.resolvePaths(filepath.Dir(path))
	return c, c.source.problems.err()
}

func syntaxProblem(path string, err error) Problem {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return Problem{File: path, Text: err.Error()}
	}
	return Problem{File: path, Line: pe.Position.Line, Text: "not valid TOML: " + strings.ReplaceAll(pe.Message, "\n", " ")}
}

// resolvePaths makes the file names in c independent of the working directory.
func (c *Config) resolvePaths(dir string) {
	names := []*string{&c.StateDirectory, &c.ControlSocket, &c.Maildrop, &c.TLS.Certificate, &c.TLS.Key, &c.TLS.ACMECA, &c.TLS.ClientCA, &c.SRS.SecretFile}
	c.resolveKeys(dir)
	for i := range c.Accounts {
		names = append(names, &c.Accounts[i].PasswordFile)
	}
	for i := range c.Applications {
		names = append(names, &c.Applications[i].PasswordFile)
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		names = append(names, &r.PasswordFile, &r.TLSCA, &r.ClientCertificate, &r.ClientKey,
			&r.OAuthClientSecretFile, &r.OAuthRefreshTokenFile, &r.OAuthServiceAccount)
		for k := range r.Smarthosts {
			h := &r.Smarthosts[k]
			names = append(names, &h.PasswordFile, &h.OAuthClientSecretFile, &h.OAuthRefreshTokenFile, &h.OAuthServiceAccount)
		}
	}
	for _, n := range []*string{&c.TLS.Certificate, &c.TLS.Key} {
		// Where this fails Check tells why.
		if path, err := secretPath(*n); err == nil {
			*n = path
		}
	}
	for _, n := range names {
		if *n == "" || filepath.IsAbs(*n) || strings.HasPrefix(*n, credentialPrefix) {
			continue
		}
		*n = filepath.Join(dir, *n)
		if abs, err := filepath.Abs(*n); err == nil {
			*n = abs
		}
	}
}

// add records a problem at a path of keys and indexes.
func (s *source) add(ps *Problems, at keyPath, format string, args ...any) {
	// Whatever stands in the file, a problem is one printable line.
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	*ps = append(*ps, Problem{File: s.file, Line: s.lines.line(at), Text: text})
}
