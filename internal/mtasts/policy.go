package mtasts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
)

// Mode is what a domain wants done with mail that cannot go as its policy says.
type Mode string

// The modes of RFC 8461 section 5.
const (
	Enforce Mode = "enforce" // it is not delivered
	Testing Mode = "testing" // it is, and reported
	None    Mode = "none"    // there is no policy any more
)

// Policy is what a domain has published. It is never changed.
type Policy struct {
	Mode Mode `json:"mode"`
	// MX are the patterns of its mail exchangers in A-labels and lower case:
	// "mx.example.org", or "*.example.org" for one label more.
	MX []string `json:"mx"`
	// MaxAge is how long it holds from when it was fetched.
	MaxAge time.Duration `json:"max_age"`
}

// Bounds of a policy. The first two are of RFC 8461 sections 3.2 and 3.3.
const (
	maxAge     = 31557600 * time.Second
	maxSize    = 64 << 10
	maxMX      = 256
	maxKeySize = 64
)

// ErrSyntax tells that what a domain has published is no policy.
var ErrSyntax = errors.New("no valid MTA-STS policy")

// Parse reads a policy (RFC 8461 section 3.2). Errors wrap ErrSyntax.
func Parse(text string) (Policy, error) {
	bad := func(format string, args ...any) (Policy, error) {
		return Policy{}, fmt.Errorf("%w: "+format, append([]any{ErrSyntax}, args...)...)
	}
	if len(text) > maxSize {
		return bad("it has more than %d octets", maxSize)
	}
	seen := make(map[string]string)
	var p Policy
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n\t ")
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimRight(key, " \t"), strings.TrimLeft(value, " \t")
		if !ok || !isKey(key) || value == "" {
			return bad("a line is not key and value")
		}
		if key == "mx" {
			pattern, ok := normalMX(value)
			if !ok {
				return bad("mx %.80q is no host name", value)
			}
			p.MX = append(p.MX, pattern)
			continue
		}
		// RFC 8461 section 3.2: of fields that are there twice the first holds.
		if _, twice := seen[key]; !twice {
			seen[key] = value
		}
	}
	if seen["version"] != "STSv1" {
		return bad("its version is %.20q", seen["version"])
	}
	p.Mode = Mode(seen["mode"])
	if !slices.Contains([]Mode{Enforce, Testing, None}, p.Mode) {
		return bad("its mode is %.20q", seen["mode"])
	}
	age, err := strconv.ParseUint(seen["max_age"], 10, 63)
	if err != nil || len(seen["max_age"]) > 10 {
		return bad("its max_age is %.20q", seen["max_age"])
	}
	p.MaxAge = time.Duration(min(age, uint64(maxAge/time.Second))) * time.Second
	if len(p.MX) == 0 && p.Mode != None {
		return bad("it names no mx")
	}
	if len(p.MX) > maxMX {
		return bad("it names more than %d mx", maxMX)
	}
	return p, nil
}

// isKey tells whether s is a name of a field: the known ones, and those of
// extensions, which are passed over.
func isKey(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := 'a' <= c && c <= 'z' || '0' <= s[i] && s[i] <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_-.", rune(s[i]))) {
			return false
		}
	}
	return s != "" && len(s) <= maxKeySize
}

func normalMX(value string) (string, bool) {
	rest, wild := strings.CutPrefix(value, "*.")
	name, err := mail.ParseDomain(strings.TrimSuffix(rest, "."))
	if err != nil || strings.HasPrefix(name, "[") {
		return "", false
	}
	if wild {
		name = "*." + name
	}
	return name, true
}

// Matches tells whether a host is one of the policy's mail exchangers (RFC 8461
// section 4.1).
func (p Policy) Matches(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, above, _ := strings.Cut(host, ".")
	for _, pattern := range p.MX {
		if rest, wild := strings.CutPrefix(pattern, "*."); pattern == host || wild && above == rest {
			return true
		}
	}
	return false
}

// Lines is the policy as reports show it, one field in each (RFC 8460 section
// 4.4).
func (p Policy) Lines() []string {
	lines := []string{"version: STSv1", "mode: " + string(p.Mode)}
	for _, mx := range p.MX {
		lines = append(lines, "mx: "+mx)
	}
	return append(lines, fmt.Sprintf("max_age: %d", int64(p.MaxAge/time.Second)))
}

// parseRecord finds the id in TXT records of _mta-sts (RFC 8461 section 3.1).
// Several that begin with the version, or one that is malformed, are as none.
func parseRecord(records []string) (id string, ok bool) {
	found := 0
	for _, r := range records {
		if version, rest, _ := strings.Cut(r, ";"); strings.TrimSpace(version) == "v=STSv1" {
			found++
			id = recordID(rest)
		}
	}
	return id, found == 1 && id != ""
}

func recordID(fields string) string {
	for f := range strings.SplitSeq(fields, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		if strings.TrimSpace(key) != "id" {
			continue
		}
		id := strings.TrimSpace(value)
		for i := range len(id) {
			if c := id[i] | 0x20; !('a' <= c && c <= 'z' || '0' <= id[i] && id[i] <= '9') {
				return ""
			}
		}
		if len(id) > 32 {
			return ""
		}
		return id
	}
	return ""
}
