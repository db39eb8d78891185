package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// problems are the texts of an error, "line: text" each.
func problems(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("%T is not Problems: %v", err, err)
	}
	var out []string
	for _, p := range ps {
		out = append(out, strings.TrimPrefix(p.String(), "t.toml:"))
	}
	return out
}

// match compares problems with beginnings of theirs.
func match(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("not found: %s", want[i])
		case i >= len(want):
			t.Errorf("too much: %s", got[i])
		case !strings.Contains(got[i], want[i]):
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		case strings.Contains(got[i], "\n"):
			t.Errorf("more than a line: %q", got[i])
		}
	}
}

func TestLoadFindsEveryMisfit(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"syntax", "hostname = \"a\"\nhostname = \n", []string{"2: not valid TOML"}},
		{"duplicate key", "hostname = \"a\"\nhostname = \"b\"\n", []string{"2: not valid TOML"}},
		{"typing slip", "[smtp]\nmax_recipient = 5\n", []string{`2: unknown key "max_recipient" in [smtp]; did you mean "max_recipients"?`}},
		{"wrong section", "[log]\nhostname = \"a.b\"\n\n[queue]\ntrusted_networks = []\n", []string{
			`2: unknown key "hostname" in [log]; it belongs at the top of the file`,
			`5: unknown key "trusted_networks" in [queue]; it belongs in [smtp]`,
		}},
		{"no such thing", "frobnicate = 1\n[blah]\nx = 1\n", []string{`1: unknown key "frobnicate" at the top of the file; remove it`, `2: unknown key "blah"`}},
		{"second element", "[[route]]\nname = \"a\"\n\n[[route]]\nnam = \"b\"\n", []string{`5: unknown key "nam" in [[route]]; did you mean "name"?`}},
		{"types", `hostname = 5
[smtp]
max_recipients = "many"
max_message_size = "big"
command_timeout = 30
trusted_networks = [
  "10.0.0.0/8",
  7,
]
[queue]
retry_factor = "x"
concurrency = -1
[[route]]
verify = "yes"
`, []string{
			"1: hostname must be a string in quotes, not 5",
			"3: max_recipients must be a whole number",
			`4: max_message_size: "big" is not a size`,
			`5: command_timeout: "30" is not a length of time`,
			"8: trusted_networks must have strings in its list, not 7",
			"11: retry_factor must be a number",
			"12: concurrency must be a whole number from 0",
			"14: verify must be true or false",
		}},
		{"shapes", "smtp = 1\nroute = 2\naliases = 3\n", []string{
			"1: smtp is a section: write it as [smtp]",
			"2: route is a repeated section: begin each one with [[route]]",
			"3: aliases is a section",
		}},
		{"table for array", "[route]\nname = \"x\"\n", []string{"1: route is a repeated section"}},
		{"bare alias", "[aliases]\nsales@x = 1\n", []string{"2: not valid TOML"}},
		{"dotted alias", "[aliases]\na.b = [\"c@d\"]\n", []string{`2: aliases: put the address on the left in quotes`}},
		{"after strings that look like keys", "[aliases]\n\"a@b.c\" = [\"\"\"\nx = [\n\"\"\", '''\n[smtp]\n''']\n[smtp]\nx = 1\n", []string{`8: unknown key "x" in [smtp]`}},
		{"inline", `smtp = { max_hops = "x", mx = 1 }`, []string{`1: max_hops must be`, `1: unknown key "mx" in [smtp]; remove`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse("t.toml", test.text)
			match(t, problems(t, err), test.want)
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	write(t, path, `
hostname = "mail.example.org"
state_directory = "state"
[smtp]
max_message_size = 1000
[tls]
certificate = "tls/cert.pem"
[[listener]]
role = "smtp"
address = "[::1]:25"
[aliases]
"a@localhost" = "b@localhost"
[[route]]
name = "x"
password_file = "credential:x"
[queue]
retry_factor = 3
warn_after = "1d12h"
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ what, got, want string }{
		{"hostname", c.ServerName(), "mail.example.org"},
		{"state_directory", c.StateDirectory, dir + "/state"},
		{"certificate", c.TLS.Certificate, dir + "/tls/cert.pem"},
		{"max_message_size", c.SMTP.MaxMessageSize.String(), "1000"},
		{"left alone", c.SMTP.MaxHeaderSize.String(), "64KiB"},
		{"listener", strings.Join(c.Listeners[0].Addresses, " "), "[::1]:25"},
		{"alias", c.Aliases["a@localhost"][0], "b@localhost"},
		{"credential", c.Routes[0].PasswordFile, "credential:x"},
		{"route default", string(c.Routes[0].TLS), "opportunistic"},
		{"warn_after", c.Queue.WarnAfter.Std().String(), (36 * time.Hour).String()},
	} {
		if x.got != x.want {
			t.Errorf("%s: got %q, want %q", x.what, x.got, x.want)
		}
	}
	if len(c.Listeners) != 1 || c.DefaultListeners() || !c.Routes[0].Verify || c.Queue.RetryFactor != 3 {
		t.Errorf("got %+v", c)
	}
	if !Default().DefaultListeners() {
		t.Error("Default has no default listeners")
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration // negative: an error
		out  string
	}{
		{"0s", 0, "0s"}, {"90s", 90 * time.Second, "1m30s"}, {"4h", 4 * time.Hour, "4h"}, {"5d", 120 * time.Hour, "5d"},
		{"1d12h", 36 * time.Hour, "1d12h"}, {"15m", 15 * time.Minute, "15m"}, {"1h30m", 90 * time.Minute, "1h30m"}, {"10ms", 10 * time.Millisecond, "10ms"},
		{"", -1, ""}, {"5", -1, ""}, {"d", -1, ""}, {"-1h", -1, ""}, {"-1d", -1, ""}, {"1d-2h", -1, ""}, {"-0s", -1, ""}, {"1d2d", -1, ""}, {"99999999d", -1, ""}, {"1.5d", -1, ""}, {"1w", -1, ""},
	}
	for _, test := range tests {
		var d Duration
		err := d.UnmarshalText([]byte(test.in))
		if (err != nil) != (test.want < 0) || err == nil && (d.Std() != test.want || d.String() != test.out) {
			t.Errorf("%q: got %v %q %v, want %v %q", test.in, d.Std(), d, err, test.want, test.out)
		}
	}
}

func TestSize(t *testing.T) {
	tests := []struct {
		in   string
		want Size // negative: an error
		out  string
	}{
		{"0", 0, "0"}, {"1000", 1000, "1000"}, {"64KiB", 64 << 10, "64KiB"}, {"50MiB", 50 << 20, "50MiB"}, {"1GiB", 1 << 30, "1GiB"},
		{"1 MiB", 1 << 20, "1MiB"}, {"10MB", 10e6, "10000000"}, {"1024B", 1024, "1KiB"},
		{"", -1, ""}, {"-1", -1, ""}, {"1.5MiB", -1, ""}, {"big", -1, ""}, {"MiB", -1, ""}, {"99999999999GiB", -1, ""},
	}
	for _, test := range tests {
		var s Size
		err := s.UnmarshalText([]byte(test.in))
		if (err != nil) != (test.want < 0) || err == nil && (s != test.want || s.String() != test.out) {
			t.Errorf("%q: got %d %q %v, want %d %q", test.in, s, s, err, test.want, test.out)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("STATE_DIRECTORY", "")
	c := Default()
	expect := func(want string) {
		t.Helper()
		if got, err := c.StatePath(); got != want || err != nil {
			t.Errorf("got %q %v, want %q", got, err, want)
		}
	}
	expect("/home/x/.local/state/restante")
	t.Setenv("XDG_STATE_HOME", "/state")
	expect("/state/restante")
	t.Setenv("STATE_DIRECTORY", "/var/lib/restante:/other")
	expect("/var/lib/restante")
	c.StateDirectory = "/set"
	expect("/set")
	if got := c.ControlPath("/set"); got != "/set/control.sock" {
		t.Errorf("got %q", got)
	}
	c.ControlSocket = "/run/x"
	if got := c.ControlPath("/set"); got != "/run/x" {
		t.Errorf("got %q", got)
	}
	for in, want := range map[string]string{"Mail.Example.ORG": "mail.example.org", "not a name": "localhost", "[127.0.0.1]": "localhost"} {
		if c.Hostname = in; c.ServerName() != want {
			t.Errorf("hostname %q: got %q", in, c.ServerName())
		}
	}
	r := Route{NextHop: Strings{"a.example", "b.example:26", "::1", "[::1]", "[::1]:27"}}
	if got := strings.Join(r.Hosts(), " "); got != "a.example:25 b.example:26 [::1]:25 [::1]:25 [::1]:27" {
		t.Errorf("got %s", got)
	}
	if r.Username = "u"; r.Hosts()[0] != "a.example:587" {
		t.Errorf("got %s", r.Hosts()[0])
	}
	if r.TLS = TLSImplicit; r.Hosts()[0] != "a.example:465" {
		t.Errorf("got %s", r.Hosts()[0])
	}
	if r.NextHop = (Strings{"mx"}); r.Hosts() != nil || !r.MX() {
		t.Errorf("got %s", r.Hosts())
	}
	for in, want := range map[string]string{"": "", "127.0.0.1": "127.0.0.1:53", "::1": "[::1]:53", "[::1]:54": "[::1]:54"} {
		if got := (DNS{Resolver: in}).Server(); got != want {
			t.Errorf("resolver %q: got %q", in, got)
		}
	}
	if got := (SMTP{TrustedNetworks: Strings{"10.0.0.0/8", "bad", "192.0.2.1"}}).Prefixes(); len(got) != 2 || got[1].String() != "192.0.2.1/32" {
		t.Errorf("got %v", got)
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	write(t, dir+"/plain", "pass word \r\n")
	write(t, dir+"/hash", "$argon2id$v=19$x\n")
	write(t, dir+"/empty", "\n")
	write(t, dir+"/two", "a\nb\n")
	write(t, dir+"/large", strings.Repeat("x", maxSecret+1))
	tests := []struct {
		file, hash, password string
		fails                bool
	}{
		{"credential:plain", "", "pass word ", false},
		{dir + "/plain", "", "pass word ", false},
		{"credential:hash", "$argon2id$v=19$x", "", false},
		{"credential:empty", "", "", true},
		{"credential:two", "", "", true},
		{"credential:large", "", "", true},
		{"credential:missing", "", "", true},
		{"credential:", "", "", true},
		{"credential:..", "", "", true},
		{"credential:../" + filepath.Base(dir) + "/plain", "", "", true},
	}
	for _, test := range tests {
		hash, password, err := Account{PasswordFile: test.file}.Secret()
		if hash != test.hash || password != test.password || (err != nil) != test.fails {
			t.Errorf("%s: got %q %q %v", test.file, hash, password, err)
		}
	}
	if s, err := (Route{Password: "p"}).Secret(); s != "p" || err != nil {
		t.Errorf("got %q %v", s, err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := (Route{PasswordFile: "credential:plain"}).Secret(); err == nil || !strings.Contains(err.Error(), "LoadCredential=plain:") {
		t.Errorf("got %v", err)
	}
}
