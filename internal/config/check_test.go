package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

func TestDefaultIsSound(t *testing.T) {
	if err := Default().Check(); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	const domain = "[[domain]]\nname = \"a.org\"\n" // two lines in front
	const hash = `password_hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"`
	tests := []struct {
		name, text string
		want       []string
	}{
		{"all right", domain + `catch_all = "x@a.org"
[[account]]
name = "alice@a.org"
` + hash + `
addresses = ["al@a.org", "al@elsewhere.org", "*@a.org", "*"]
[aliases]
"alice@a.org" = ["alice@a.org", "bob@b.org"]
"x@a.org" = ["y@a.org", "z@a.org"]
"y@a.org" = ["alice@a.org"]
"z@a.org" = ["alice@a.org"]
postmaster = ["alice@a.org"]
[[route]]
name = "local-agent"
domains = ["b.org", "*.b.org", "*.a.org", "[127.0.0.1]"]
next_hop = ["127.0.0.1:26", "::1"]
username = "u"
password = "p"
[[route]]
name = "mx"
domains = "*"
next_hop = "mx"
`, nil},
		{"conditions", domain + `[[route]]
name = "one"
next_hop = "a.example"
senders = ["<>", "x@b.org", "*@*.b.org", "b.org", "*.b.org"]
headers = ["List-Id", "X-Route : *"]
[[route]]
name = "two"
domains = ["c.org"]
next_hop = "a.example"
accounts = ["invoices"]
[[route]]
name = "three"
domains = ["c.org"]
next_hop = "a.example"
`, nil},
		{"hosts", domain + `[[route]]
name = "one"
domains = "*"
tls = "required"
username = "u"
password = "p"
[[route.host]]
address = "a.example"
weight = 3
[[route.host]]
address = "[::1]:26"
order = 1
tls = "none"
username = "u2"
password = "p2"
daily_quota = 5
`, nil},
		{"spilling", domain + `[[route]]
name = "one"
domains = "x.org"
next_hop = "a.example"
daily_quota = 5
spill_to = "two"
[[route]]
name = "two"
spill_to = "three"
[[route.host]]
address = "b.example"
daily_quota = 5
[[route]]
name = "three"
next_hop = "mx"
`, nil},
		{"bad spilling", domain + `[[route]]
name = "one"
domains = "x.org"
next_hop = "a.example"
spill_to = "one"
[[route]]
name = "two"
domains = "y.org"
next_hop = "a.example"
spill_to = "three"
[[route]]
name = "four"
domains = "z.org"
next_hop = "a.example"
spill_to = "one"
[[route]]
name = "five"
next_hop = "a.example"
`, []string{
			`7: spill_to "one" of route "one" must be the name of another`, `12: spill_to "three" of route "two" must be`,
			`17: route "four" has a spill_to and no quota`, `18: route "five" has no domains`,
		}},
		{"bad webhooks", domain + `[[route]]
name = "one"
domains = "x.org"
next_hop = ["https://a.example/in", "http://b.example", "c.example",
 "https://u:p@d.example"]
username = "u"
webhook_secret_file = "nowhere"
webhook_format = "xml"
[[route]]
name = "two"
domains = "y.org"
next_hop = ["c.example"]
webhook_token_file = "nowhere"
[[route]]
name = "good"
domains = "z.org"
next_hop = ["http://localhost:8080/in", "http://[::1]/", "https://a.example:8443/in?x"]
[[route]]
name = "clear"
domains = "w.org"
next_hop = ["http://a.example/in"]
tls = "none"
`, []string{
			`3: route "one" posts to a webhook, which has neither`,
			`6: next_hop "http://b.example" of route "one" would send mail in the clear`, `6: route "one": next_hop is either hosts or URLs`,
			`7: next_hop "https://u:p@d.example" of route "one" is not a URL`, `9: webhook_secret_file of route "one"`,
			`10: webhook_format must be one of raw, json`, `11: route "two" has a secret or token for a webhook`,
		}},
		{"bad hosts", domain + `[[route]]
name = "one"
domains = "*"
next_hop = "b.example"
[[route.host]]
weight = 2000
[[route.host]]
address = "a.example:0"
username = "u"
password_file = "nowhere"
[[route.host]]
address = "c.example"
tls = "maybe"
password = "p"
[[route.host]]
address = "c.example"
tls = "implicit"
username = "u"
password = "p"
password_file = "q"
`, []string{
			`6: route "one" has next_hop and [[route.host]]; keep one`, `7: address "" of a host of route "one"`, `8: weight of host "" of route "one" must be at most 1000`,
			`9: host "a.example:0" of route "one" could be sent the password in the clear`, `10: address "a.example:0" of a host of route "one" has the bad port "0"`,
			`12: password of host "a.example:0" of route "one"`, `13: host "c.example" of route "one" has a password and no username`,
			`15: tls must be one of`, `22: host "c.example" of route "one" has password and password_file`,
		}},
		{"bad conditions", domain + `[[route]]
name = "one"
next_hop = "a.example"
senders = ["@b.org", "a b@c.org",
 "b..org"]
accounts = [""]
headers = [
 ": x",
 "X Y: z"]
`, []string{
			`6: sender "@b.org" of route "one" is no address; write`, `6: sender "a b@c.org"`, `7: sender "b..org"`,
			`8: account "" of route "one"`, `10: header ": x"`, `11: header "X Y: z" of route "one" must be like`,
		}},
		{"general", "hostname = \"a b\"\nstate_directory = \"check_test.go\"\n[dns]\nresolver = \"ns.example\"\n[log]\nlevel = \"loud\"\nformat = \"xml\"\n", []string{
			`1: hostname "a b" is not a domain name`,
			"2: state_directory ",
			`4: resolver "ns.example" must be an IP address`,
			`6: level must be one of debug, info, warn, error, not "loud"`,
			`7: format must be one of text, json`,
		}},
		{"listeners", `[[listener]]
role = "pop3"
address = ["127.0.0.1:25", "127.0.0.1", "x y:25"]
[[listener]]
role = "imap"
[[listener]]
role = "smtp"
address = [":0", ":0", ":99999",
 "127.0.0.1:25"]
`, []string{
			"2: role must be one of smtp, submission, submissions, imap, imaps",
			`3: address "127.0.0.1" has no port`,
			`3: address "x y:25" has a bad host`,
			"4: this listener has no address",
			`8: address ":99999" has the bad port`,
			`9: address "127.0.0.1:25" is used by two listeners`,
		}},
		{"open relay", "[smtp]\ntrusted_networks = [\"0.0.0.0/0\",\n\"::/0\",\n\"2000::/3\",\n\"::ffff:0:0/96\",\n\"0.0.0.0/1\",\n\"10.1.2.3/8\",\n\"fc00::/7\",\n\"fe80::/10\",\n\"10.0.0.1\",\n\"lan\"]\n", []string{
			`2: trusted network "0.0.0.0/0" is so wide that this would be an open relay`,
			`3: trusted network "::/0" is IPv4`,
			`4: trusted network "2000::/3" is so wide`,
			`5: trusted network "::ffff:0:0/96" is IPv4`,
			`6: trusted network "0.0.0.0/1" is so wide`,
			`7: trusted network "10.1.2.3/8" has bits set behind its prefix; write 10.0.0.0/8, or 10.1.2.3`,
			`11: trusted network "lan" must be`,
		}},
		{"limits", "[smtp]\nmax_recipients = 0\nmax_message_size = 5\ncommand_timeout = \"1ms\"\n[imap]\nmax_connections = 0\n", []string{
			"2: max_recipients must be at least 1", "3: max_message_size must be at least 64KiB", "4: command_timeout must be at least 1s", "6: max_connections must be",
		}},
		{"queue", "[queue]\nretry_min = \"0s\"\nretry_max = \"0s\"\nretry_factor = 0.5\nretry_jitter = 1\nwarn_after = \"5d\"\nexpire_after = \"1d\"\nconcurrency = 0\nper_destination = 0\n", []string{
			"2: retry_min", "4: retry_factor", "5: retry_jitter", "6: warn_after 5d comes after expire_after 1d", "8: concurrency", "9: per_destination",
		}},
		{"schedules of routes", "[queue]\nretry = [\"1m\", \"0s\", \"soon\"]\nslow_concurrency = 0\n[[route]]\nname = \"a\"\ndomains = [\"*\"]\nnext_hop = \"mx\"\nretry = [\n\"1ms\"]\nretry_factor = 0.5\nwarn_after = \"6d\"\n", []string{
			"2: a wait in retry must be at least 1s", `2: retry: "soon"`, "3: slow_concurrency", "9: a wait in retry must be at least 1s", "10: retry_factor", "11: warn_after 6d comes after expire_after 5d",
		}},
		{"quotas", domain + "[imap]\nquota = \"1KiB\"\nexpire_trash = \"1m\"\nexpire_junk = \"59m\"\nmax_messages = 999\n", []string{
			"quota must be at least 64KiB, or 0B", "expire_trash 1m is too short", "expire_junk 59m is too short", "max_messages must be 0, or at least 1000",
		}},
		{"holds", domain + "[smtp]\ndefault_hold = \"8d\"\n", []string{"default_hold 8d is longer than 7d"}},
		{"not a number", "[queue]\nretry_factor = nan\nretry_jitter = nan\n", []string{"2: retry_factor", "3: retry_jitter"}},
		{"half a certificate", "[tls]\ncertificate = \"x.pem\"\n", []string{"1: certificate and key go together"}},
		{"missing certificate", "[tls]\nkey = \"x.key\"\ncertificate = \"x.pem\"\n", []string{"3: the certificate and its key cannot be used: open "}},
		{"acme", "hostname = \"a\"\n[tls]\nacme = true\nkey = \"x\"\nacme_directory = \"http://ca.example\"\nacme_email = \"me\"\nacme_domains = [\"a.org\",\n\"localhost\", \"x y\"]\nacme_http_address = \"80\"\nacme_ca = \"nowhere.pem\"\n", []string{
			"3: acme and a certificate in files", `5: acme_directory "http://ca.example" must be`, `6: acme_email "me"`, `8: acme domain "localhost" is no name`, `8: acme domain "x y" is not a domain name`,
			`9: acme_http_address "80" has no port`, "10: acme_ca cannot be read: open ",
		}},
		{"acme without a name or a way", "hostname = \"localhost\"\n[tls]\nacme = true\nacme_http_address = \"\"\nacme_ca = \"/dev/null\"\n", []string{
			"3: acme needs a name", "3: acme needs acme_http_address", "5: acme_ca /dev/null has no certificate",
		}},
		{"domains", "[[domain]]\nname = \"a.org\"\n[[domain]]\nname = \"A.org\"\ncatch_all = [\"x\"]\n[[domain]]\n[[domain]]\nname = \"-\"\n", []string{
			`4: domain "A.org" is there twice`, "5: catch_all has a bad address", "6: this domain has no name", `8: domain "-" is malformed`,
		}},
		{"accounts", domain + `[[account]]
name = "alice@a.org"
` + hash + `
addresses = ["sales@a.org"]
[[account]]
name = "Alice@A.org"
` + hash + `
[[account]]
name = "bob@b.org"
password_hash = "hunter2"
addresses = ["*@", "x y", "sales@a.org"]
[[account]]
name = "carol"
[[account]]
name = "dave@a.org"
` + hash + `
password_file = "credential:x"
`, []string{
			"8: the address Alice@a.org already belongs to the account alice@a.org",
			`11: account "bob@b.org" is in no local domain; add a [[domain]] with the name "b.org"`,
			`12: password_hash of account "bob@b.org" must be an argon2id hash`,
			`13: "*@": the domain`, "13: addresses: malformed address", "13: the address sales@a.org already belongs",
			`14: account "carol" has no password`,
			`15: account "carol" must be a full address`,
			`19: account "dave@a.org" has password_hash and password_file`,
		}},
		{"aliases", domain + `[aliases]
"a@a.org" = ["b@a.org"]
"b@a.org" = ["c@a.org", "x@y.org"]
"c@a.org" = ["A@a.org"]
"self@a.org" = ["self@a.org"]
"copy@a.org" = ["copy@a.org", "x@y.org"]
"x@y.org" = ["a b"]
"none@a.org" = []
"NONE@a.org" = ["x@z.org"]
"bad" = ["x@z.org"]
`, []string{
			"6: aliases go round in a loop: a@a.org -> b@a.org -> c@a.org -> a@a.org",
			"7: aliases go round in a loop: self@a.org -> self@a.org",
			"9: alias \"x@y.org\" is in no local domain", "9: alias x@y.org has a bad address",
			`10: alias "none@a.org" is the same address as "NONE@a.org"`,
			`12: alias "bad" must be a full address`,
		}},
		{"routes", domain + `[[route]]
domains = ["x.org", "a.org", "*.", "*x"]
next_hop = ["mx", "h:0", "a b"]
[[route]]
name = "a/b"
domains = ["X.org"]
next_hop = "mx"
tls = "implicit"
helo = "-"
[[route]]
name = "sh"
tls = "yes"
[[route]]
name = "sh"
domains = "*.x.org"
next_hop = "mx"
username = "u"
[[route]]
name = "pw"
domains = "y.org"
next_hop = ["127.0.0.1", "h.org"]
username = "u"
password = "p"
[[route]]
name = "nu"
domains = "z.org"
next_hop = "h.org"
password = "p"
password_file = "p"
[[route]]
name = "mx"
domains = "w.org"
next_hop = "mx"
`, []string{
			"3: this route has no name",
			`4: domain "*." of route ""`, `4: domain "*x" of route ""`, `4: domain "a.org" of route "" is delivered here`,
			`5: next_hop "a b" of route "" has a bad host`, `5: next_hop "h:0" of route "" has the bad port`, `5: route "": next_hop is either "mx" or hosts`,
			`7: route name "a/b"`,
			`8: domain "X.org" is in the routes "" and "a/b"`,
			"10: route \"a/b\": mail exchangers do not speak implicit TLS",
			"11: helo \"-\"",
			`12: route "sh" has no domains`, `12: route "sh" has no next_hop`,
			`14: tls must be one of`,
			`16: route "sh" is there twice`,
			`19: route "sh" has a username and no password`, `19: route "sh": mail exchangers take no password`,
			`20: route "pw" could send its password in the clear`,
			`26: route "nu" has a password and no username`,
			`31: route "nu" has password and password_file`,
			`33: the name "mx" is that of the route`,
		}},
		{"with what Load found", "hostname = \"a b\"\nfoo = 1\n", []string{"1: hostname", `2: unknown key "foo"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
			c, _ := parse("t.toml", test.text)
			match(t, problems(t, c.Check()), test.want)
		})
	}
}

func TestCheckReadsSecrets(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/c.toml"
	write(t, path, `[[account]]
name = "a@localhost"
password_file = "a.txt"
[[route]]
name = "r"
domains = "*"
next_hop = "h.org"
tls = "required"
username = "u"
password_file = "r.txt"
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	text := func() string {
		if err := c.Check(); err != nil {
			return err.Error()
		}
		return ""
	}
	got := text()
	for _, want := range []string{path + `:3: password of account "a@localhost": read secret: open ` + dir + "/a.txt", path + `:10: password of route "r"`} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	write(t, dir+"/a.txt", "x")
	write(t, dir+"/r.txt", "x")
	if got := text(); got != "" {
		t.Error(got)
	}
	if err := os.WriteFile(dir+"/a.txt", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text(), "is empty") {
		t.Error(text())
	}
}

func TestCheckLoadsTheCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate, key := pair(t)
	write(t, dir+"/crt", certificate)
	write(t, dir+"/key", key)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	const text = "[tls]\ncertificate = \"credential:crt\"\nkey = \"key\"\n"
	c, err := parse(dir+"/c.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	_, other := pair(t)
	write(t, dir+"/key", other)
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "private key does not match") {
		t.Errorf("a certificate with another's key: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if c, err = parse(dir+"/c.toml", text); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "LoadCredential=crt:") {
		t.Errorf("a credential that was not passed: %v", err)
	}
}

// pair makes a certificate and its key, in PEM.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	crt, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: crt})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
