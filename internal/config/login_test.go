package config

import (
	"errors"
	"strings"
	"testing"
)

const loginHead = `
[[domain]]
name = "example.org"
[[account]]
name = "alice@example.org"
password_hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"
`

func TestLoginProblems(t *testing.T) {
	const hash = `password_hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA"` + "\n"
	for _, test := range []struct{ text, want string }{
		{"[[application]]\n" + hash, "has no name"},
		{"[[application]]\nname = \"a@example.org\"\n" + hash, "and no address"},
		{"[[application]]\nname = \"Alice\"\n" + hash, "short name of the account"},
		{"[[application]]\nname = \"x\"\n" + hash + "[[application]]\nname = \"X\"\n" + hash, "there twice"},
		{"[[application]]\nname = \"x\"\n", "no password"},
		{"[[application]]\nname = \"x\"\nsenders = [\"y\"]\n" + hash, "has no domain"},
		{"[[application]]\nname = \"x\"\nsenders = [\"*@-\"]\n" + hash, "the domain"},
		{"[[application]]\nname = \"x\"\nsenders = [\"a b@c\"]\n" + hash, "is expected"},
		{"[[application]]\nname = \"x\"\npriority = 10\n" + hash, "from -9 to 9"},
		{"[[application]]\nname = \"x\"\npriority = -9\nrate = \"10/1m\"\n" + hash, ""},
		{"[[application]]\nname = \"x\"\nrate = \"10\"\n" + hash, "is not a rate"},
		{"[[application]]\nname = \"x\"\ncollects = \"alice\"\n" + hash, "collects must be"},
		{"[[shared]]\nname = \"S\"\nmembers = \"anyone\"\n[[application]]\nname = \"x\"\ncollects = \"shared/S\"\n" + hash, ""},
		{"[[application]]\nname = \"x\"\ncollects = \"shared/S\"\n" + hash, `collects from "S", which is no [[shared]] mailbox`},
		{"[[application]]\nname = \"x\"\nscram_hash = \"x\"\n" + hash, "scram_hash"},
		{"[[certificate]]\nlogin = \"x\"\n", "either a fingerprint or a name"},
		{"[[certificate]]\nlogin = \"x\"\nname = \"y\"\n", "client_ca"},
		{"[[certificate]]\nlogin = \"x\"\nfingerprint = \"00\"\n", "64 hexadecimal"},
		{"[[certificate]]\nfingerprint = \"" + strings.Repeat("AB:", 31) + "AB\"\n", "is nobody's"},
		{"[[certificate]]\nlogin = \"x\"\nfingerprint = \"" + strings.Repeat("AB:", 31) + "AB\"\n", ""},
		{"[tls]\nclient_ca = \"/nowhere/ca.pem\"\n", "client_ca"},
		{"[oauth]\nissuer = \"https://id.example.org\"\n", "audience"},
		{"[oauth]\nissuer = \"http://id.example.org\"\naudience = \"x\"\n", "https://"},
		{"[oauth]\nissuer = \"http://127.0.0.1:8080\"\naudience = \"x\"\n", ""},
		{"[oauth]\nissuer = \"https://id.example.org\"\naudience = \"x\"\nclaim = \"\"\n", "claim"},
	} {
		c, err := parse("x.toml", loginHead+test.text)
		if c != nil {
			err = c.Check()
		}
		var problems Problems
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.text, err)
		case test.want != "" && (!errors.As(err, &problems) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got %v, want %q", test.text, err, test.want)
		}
	}
}
