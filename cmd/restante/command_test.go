package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
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

func TestParseSendmail(t *testing.T) {
	for _, c := range []struct {
		args string
		want sendmailArgs
	}{
		{"a@x b@x,c@x", sendmailArgs{Submission: control.Submission{Recipients: []string{"a@x", "b@x", "c@x"}}}},
		{"-t -i", sendmailArgs{Submission: control.Submission{FromHeader: true}, ignoreDots: true}},
		{"-tioem", sendmailArgs{Submission: control.Submission{FromHeader: true}, ignoreDots: true}},
		{"-oi a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, ignoreDots: true}},
		{"-o i a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, ignoreDots: true}},
		{"-fb@x a", sendmailArgs{Submission: control.Submission{From: "b@x", Recipients: []string{"a"}}}},
		{"-f b@x -F B a", sendmailArgs{Submission: control.Submission{From: "b@x", Name: "B", Recipients: []string{"a"}}}},
		{"-r b@x a", sendmailArgs{Submission: control.Submission{From: "b@x", Recipients: []string{"a"}}}},
		{"-f <> a", sendmailArgs{Submission: control.Submission{From: "<>", Recipients: []string{"a"}}}},
		{"a -- -b@x", sendmailArgs{Submission: control.Submission{Recipients: []string{"a", "-b@x"}}}},
		{"-B 8BITMIME -BX -q -q15m -d7.1 -Am -O Opt=1 -v -m -n -G -U a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}}},
		{"-N success,failure -R full -V e a", sendmailArgs{Submission: control.Submission{Notify: []string{"success", "failure"}, Ret: "full", EnvID: "e", Recipients: []string{"a"}}}},
		{"-bm a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, mode: "m"}},
		{"-bp", sendmailArgs{mode: "p"}},
		{"-I", sendmailArgs{mode: "i"}},
		{"--state s --config=c a", sendmailArgs{Submission: control.Submission{Recipients: []string{"a"}}, call: call{state: "s", config: "c"}}},
	} {
		got, err := parseSendmail(strings.Fields(c.args))
		if err != nil || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, %v", c.args, got, err)
		}
	}
	got, err := parseSendmail([]string{"-f", "", "a"})
	if err != nil || got.From != "<>" {
		t.Errorf("an empty sender: %+v, %v", got, err)
	}
	for _, args := range []string{"-f", "-Z", "-bd", "-tZ", "--unknown", "--state"} {
		if _, err := parseSendmail(strings.Fields(args)); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

func TestCollect(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	big := strings.Repeat("0123456\n", (inMemory+100)/8)
	for _, c := range []struct {
		in     string
		ignore bool
		want   string
	}{
		{"", false, ""},
		{"a\nb\n", false, "a\nb\n"},
		{"a\n.\nb\n", false, "a\n"},
		{"a\r\n.\r\nb\r\n", false, "a\r\n"},
		{".\na", false, ""},
		{"a\n.", false, "a\n"},
		{"a\n..\n.b\n", false, "a\n..\n.b\n"},
		{"a\n.\nb\n", true, "a\n.\nb\n"},
		{long + ".\n" + long, false, long + ".\n" + long},
		{long + "\n.\n" + long, false, long + "\n"},
		{big + ".\nrest", false, big},
		{big + big, true, big + big},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "halves": iotest.HalfReader(strings.NewReader(c.in))} {
			m, err := collect(r, c.ignore)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(m)
			if err != nil || string(got) != c.want || m.size != int64(len(c.want)) {
				t.Errorf("%s of %.20q (%d octets): %d octets, size %d, want %d; %v", name, c.in, len(c.in), len(got), m.size, len(c.want), err)
			}
			m.Close()
		}
	}
	broken := errors.New("broken")
	for _, ignore := range []bool{true, false} {
		if _, err := collect(io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken)), ignore); !errors.Is(err, broken) {
			t.Errorf("a broken pipe: %v", err)
		}
	}
}

func FuzzUntilDot(f *testing.F) {
	f.Add("a\n.\nb")
	f.Add(strings.Repeat("x", 16) + "\n.\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		// A small buffer splits lines at every place.
		got, err := io.ReadAll(&untilDot{r: bufio.NewReaderSize(strings.NewReader(in), 16), start: true})
		if err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for line := range strings.Lines(in) {
			if line == ".\n" || line == ".\r\n" || line == "." {
				break
			}
			want.WriteString(line)
		}
		if string(got) != want.String() {
			t.Errorf("%q: %q, want %q", in, got, want.String())
		}
	})
}

func TestSubmitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{fmt.Errorf("%w (nothing answers)", control.ErrNotRunning), exTempFail},
		{io.ErrUnexpectedEOF, exTempFail},
		{&control.Error{Code: control.CodeFull}, exTempFail},
		{&control.Error{Code: control.CodeInternal}, exTempFail},
		{&control.Error{Code: control.CodeBadRequest}, exUsage},
		{&control.Error{Code: control.CodeNoSuchUser}, exNoUser},
		{&control.Error{Code: control.CodeTooLarge}, exDataErr},
		{&control.Error{Code: control.CodeForbidden}, exNoPerm},
	} {
		if got := submitCode(c.err); got != c.code {
			t.Errorf("%v: %d, want %d", c.err, got, c.code)
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
