package config

import (
	"strings"
	"testing"
)

func TestMilters(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`name = "a"
address = "127.0.0.1:11332"`, ""},
		{`name = "a"
address = "unix:/run/a.sock"
timeout = "5m"
on_failure = "accept"
for = ["outside", "authenticated"]`, ""},
		{`address = "127.0.0.1:11332"`, "has no name"},
		{`name = "a b"
address = "127.0.0.1:11332"`, "must be letters"},
		{`name = "a"`, "has no address"},
		{`name = "a"
address = "127.0.0.1"`, "has no port"},
		{`name = "a"
address = "unix:a.sock"`, "path from the root"},
		{`name = "a"
address = "/run/a.sock"`, "has no port"},
		{`name = "a"
address = "127.0.0.1:1"
timeout = "6m"`, "from 1s to 5m, not 6m"},
		{`name = "a"
address = "127.0.0.1:1"
on_failure = "reject"`, `on_failure must be one of tempfail, accept, not "reject"`},
		{`name = "a"
address = "127.0.0.1:1"
for = "everybody"`, `for must be one of outside, trusted, authenticated, not "everybody"`},
		{`name = "a"
address = "127.0.0.1:1"
for = ["outside", "outside"]`, `"outside" is there twice`},
		{`name = "a"
address = "127.0.0.1:1"
[[milter]]
name = "a"
address = "127.0.0.1:2"`, `milter "a" is there twice`},
	} {
		cfg, err := parse("x", "[[milter]]\n"+c.text)
		if err != nil {
			t.Fatal(err)
		}
		switch err := cfg.Check(); {
		case c.want == "" && err != nil:
			t.Errorf("%s\n%v", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s\ngot %v, want %q", c.text, err, c.want)
		}
	}
}

func TestMilterAddress(t *testing.T) {
	for in, want := range map[string]string{"unix:/run/a.sock": "unix /run/a.sock", "127.0.0.1:1": "tcp 127.0.0.1:1", "[::1]:1": "tcp [::1]:1"} {
		if network, address := (Milter{Address: in}).Dial(); network+" "+address != want {
			t.Errorf("%s: %s %s", in, network, address)
		}
	}
}
