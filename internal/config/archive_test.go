package config

import (
	"strings"
	"testing"
)

func TestArchives(t *testing.T) {
	const good = `name = "a"
mailbox = "archive@localhost/Journal"`
	for _, c := range []struct{ text, want string }{
		{good, ""},
		{good + `
senders = ["<>", "*", "*.example.org", "example.org", "alice@example.org", "bücher.example"]
directions = ["in", "out", "local"]
header = "X-Project: Apollo"
monthly = true`, ""},
		{`name = "a"
address = "journal@vault.example"`, ""},
		{`mailbox = "archive@localhost/Journal"`, "has no name"},
		{good + "\n[[archive]]\n" + good, `archive "a" is there twice`},
		{`name = "a"`, "either a mailbox"},
		{good + "\naddress = \"a@b.example\"", "either a mailbox"},
		{good + "\nsenders = [\"*x.example\"]", `not like "*.example.org"`},
		{good + "\nrecipients = [\"a b\"]", "no domain"},
		{good + "\nrecipients = [\"a@@b\"]", "malformed"},
		{good + "\ndirections = [\"up\"]", "directions must be one of in, out, local"},
		{good + "\nheader = \": x\"", "must be a field's name"},
		{"name = \"a\"\nmailbox = \"Journal\"", "an account and a mailbox"},
		{"name = \"a\"\nmailbox = \"archive@localhost\"", "an account and a mailbox"},
		{"name = \"a\"\nmailbox = \"archive@localhost/\"", "an account and a mailbox"},
		{"name = \"a\"\nmailbox = \"archive@localhost/a//b\"", "cannot be a mailbox's name"},
		{"name = \"a\"\nmailbox = \"archive@localhost/Inbox\"", "is the INBOX"},
		{"name = \"a\"\nmailbox = \"archive@elsewhere.example/J\"", "in no local domain"},
		{"name = \"a\"\naddress = \"nobody\"", "no domain"},
		{"name = \"a\"\naddress = \"a@b.example\"\nmonthly = true", "goes with a mailbox"},
	} {
		checkText(t, "[[archive]]\n"+c.text, c.want)
	}
}

func TestDeadLetters(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`""`, ""}, {`"postmaster"`, ""}, {`"admin@localhost"`, ""},
		{`"admin@elsewhere.example"`, "in no local domain"},
		{`"admin"`, "must be an address here"},
	} {
		checkText(t, "[queue]\ndead_letters = "+c.text, c.want)
	}
}

// checkText checks a file; want is what it must complain of, "" for nothing.
func checkText(t *testing.T, text, want string) {
	t.Helper()
	cfg, err := parse("x", text)
	if err != nil {
		t.Fatal(err)
	}
	switch err := cfg.Check(); {
	case want == "" && err != nil:
		t.Errorf("%s\n%v", text, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s\ngot %v, want %q", text, err, want)
	}
}
