package main

import (
	"bytes"
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/control"
	"restante/internal/mail"
)

func TestFlagsStandAnywhere(t *testing.T) {
	for _, c := range []struct {
		args       string
		positional []string
		state      string
		json       bool
	}{
		{"a b", []string{"a", "b"}, "", false},
		{"--json a --state s b", []string{"a", "b"}, "s", true},
		{"a b --state=s -json", []string{"a", "b"}, "s", true},
		{"a -- --json b", []string{"a", "--json", "b"}, "", false},
		{"-- -- a", []string{"--", "a"}, "", false},
		{"", nil, "", false},
	} {
		var state string
		var json bool
		fs := flag.NewFlagSet("x", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		fs.StringVar(&state, "state", "", "")
		fs.BoolVar(&json, "json", false, "")
		got, err := parseFlags(fs, strings.Fields(c.args))
		if err != nil || !slices.Equal(got, c.positional) || state != c.state || json != c.json {
			t.Errorf("%q: %q, state %q, json %v, %v", c.args, got, state, json, err)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, cmd := range commands() {
		var b bytes.Buffer
		cmd.help(&b)
		if !strings.HasPrefix(b.String(), "usage: restante "+cmd.name) || cmd.setup == nil && cmd.raw == nil {
			t.Errorf("%s: %s", cmd.name, b.String())
		}
		if found, _, rest := find(commands(), append(strings.Fields(cmd.name), "x")); found == nil || found.name != cmd.name || len(rest) != 1 {
			t.Errorf("%s is not found", cmd.name)
		}
	}
}

func TestHumanForms(t *testing.T) {
	for want, got := range map[string]string{
		"0s": span(-time.Second), "59s": span(59 * time.Second), "1m": span(119 * time.Second),
		"47h": span(47*time.Hour + 59*time.Minute), "2d": span(48 * time.Hour),
		"0B": octets(0), "1023B": octets(1023), "1.0K": octets(1024), "50.0M": octets(50 << 20), "2048.0T": octets(2 << 50),
		"<>": sender(mail.Address{}), "1 task": plural(1, "task"), "0 tasks": plural(0, "task"),
		"a?b?": visible("a\x1bb\u009b"), "'a b'": shellQuote("a b"), "/a/b": shellQuote("/a/b"), `'it'\''s'`: shellQuote("it's"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLiveliestDirectory(t *testing.T) {
	none, there, live := t.TempDir()+"/none", t.TempDir(), t.TempDir()
	(&process{t: t, dir: live}).write(control.SocketName, "")
	for _, c := range []struct{ first, second, want string }{
		{none, there, there}, {there, none, there}, {there, live, live}, {live, there, live}, {none, none, none},
	} {
		if got := liveliest(c.first, c.second); got != c.want {
			t.Errorf("%s or %s: %s", c.first, c.second, got)
		}
	}
}
