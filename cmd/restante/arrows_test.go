package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"restante/internal/logbuffer"
)

const (
	module        = "restante/"
	badgerLibrary = "github.com/dgraph-io/badger"
)

// arrow is a rule about who may import whom.
type arrow struct {
	rule string
	// from selects the packages the rule is for.
	from func(pkg string) bool
	// allowed tells whether such a package may import another.
	allowed func(imported string) bool
	// all counts what is imported by way of others too.
	all bool
}

func in(room string) func(string) bool {
	return func(pkg string) bool {
		return pkg == module+room || strings.HasPrefix(pkg, module+room+"/")
	}
}

func not(f func(string) bool) func(string) bool { return func(s string) bool { return !f(s) } }

func oneOf(fs ...func(string) bool) func(string) bool {
	return func(s string) bool {
		return slices.ContainsFunc(fs, func(f func(string) bool) bool { return f(s) })
	}
}

func is(pkg string) func(string) bool { return func(s string) bool { return s == module+pkg } }

func ours(pkg string) bool { return strings.HasPrefix(pkg, module) }

func engineLibrary(pkg string) bool { return strings.HasPrefix(pkg, badgerLibrary) }

// arrows are those of DESIGN.md.
func arrows() []arrow {
	engines := in("spool/badger")
	rooms := oneOf(in("smtpd"), in("imapd"), in("relay"))
	return []arrow{
		{"internal/mail imports nothing of restante", is("internal/mail"), not(ours), true},
		{"spool imports internal/mail and nothing else of restante", is("spool"), oneOf(not(ours), is("internal/mail")), true},
		{"smtpd imports neither imapd nor relay", in("smtpd"), not(oneOf(in("imapd"), in("relay"))), true},
		{"imapd imports neither smtpd nor relay", in("imapd"), not(oneOf(in("smtpd"), in("relay"))), true},
		{"relay imports neither smtpd nor imapd", in("relay"), not(oneOf(in("smtpd"), in("imapd"))), true},
		{"smtpd, imapd and relay import no engine", rooms, not(oneOf(engines, in("spool/spooltest"), engineLibrary)), true},
		{"smtpd, imapd and relay do not import the configuration", rooms, not(is("internal/config")), true},
		{"only spool/badger imports the Badger library", not(engines), not(engineLibrary), false},
		{"only cmd imports an engine", not(oneOf(in("cmd"), engines)), not(engines), true},
		{"only cmd imports the configuration", not(oneOf(in("cmd"), is("internal/config"))), not(is("internal/config")), true},
		{"nobody imports cmd", not(in("cmd")), not(in("cmd")), true},
		{"spool/spooltest is for tests", not(in("spool/spooltest")), not(in("spool/spooltest")), true},
	}
}

// breaks returns the imports that a rule does not allow.
func (a arrow) breaks(packages []listed) []string {
	var list []string
	for _, p := range packages {
		imports := p.Imports
		if a.all {
			imports = p.Deps
		}
		if !a.from(p.ImportPath) {
			continue
		}
		for _, i := range imports {
			if !a.allowed(i) {
				list = append(list, p.ImportPath+" imports "+i)
			}
		}
	}
	return list
}

// listed is what go list tells of a package, without its tests.
type listed struct {
	ImportPath    string
	Imports, Deps []string
}

func TestArrows(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "restante/...")
	cmd.Stderr = &logbuffer.Buffer{}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, cmd.Stderr)
	}
	var packages []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	for _, a := range arrows() {
		if !slices.ContainsFunc(packages, func(p listed) bool { return a.from(p.ImportPath) }) {
			t.Errorf("%s: there are no such packages any more", a.rule)
		}
		for _, b := range a.breaks(packages) {
			t.Errorf("%s: %s", a.rule, b)
		}
	}
}

// TestArrowsCanBreak makes one package for each rule that breaks it.
func TestArrowsCanBreak(t *testing.T) {
	for i, p := range []listed{
		{"restante/internal/mail", nil, []string{"restante/spool"}},
		{"restante/spool", nil, []string{"restante/internal/mail", "restante/internal/config"}},
		{"restante/smtpd", nil, []string{"restante/relay/remote"}},
		{"restante/imapd/view", nil, []string{"restante/smtpd"}},
		{"restante/relay/remote", nil, []string{"restante/imapd"}},
		{"restante/relay", nil, []string{"restante/spool/badger"}},
		{"restante/smtpd", nil, []string{"restante/internal/config"}},
		{"restante/internal/control", []string{badgerLibrary + "/v4/options"}, nil},
		{"restante/internal/accept", nil, []string{"restante/spool/badger"}},
		{"restante/internal/directory", nil, []string{"restante/internal/config"}},
		{"restante/smtpd", nil, []string{"restante/cmd/restante"}},
		{"restante/relay", nil, []string{"restante/spool/spooltest"}},
	} {
		if a := arrows()[i]; len(a.breaks([]listed{p})) != 1 {
			t.Errorf("%s: %+v goes through", a.rule, p)
		}
	}
	if len(arrows()) != 12 {
		t.Errorf("%d rules, 12 are tried", len(arrows()))
	}
}
