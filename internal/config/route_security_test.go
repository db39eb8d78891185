package config

import (
	"strings"
	"testing"
)

func TestRouteSecurity(t *testing.T) {
	dir := t.TempDir()
	certificate, key := pair(t)
	for name, content := range map[string]string{"crt": certificate, "key": key, "secret": "s\n", "empty": ""} {
		write(t, dir+"/"+name, content)
	}
	const head = "[[route]]\nname = \"r\"\ndomains = [\"*\"]\n"
	const host = head + "next_hop = [\"smtp.example.net\"]\n"
	const mx = head + "next_hop = \"mx\"\n"
	const token = host + "tls = \"verified\"\nusername = \"u@example.org\"\noauth_token_url = \"https://login.example/token\"\noauth_client_id = \"id\"\n"
	const hosts = head + "tls = \"verified\"\n[[route.host]]\naddress = \"a.example\"\nusername = \"a\"\n"
	const tokens = "oauth_token_url = \"https://login.example/token\"\noauth_client_id = \"id\"\n"
	for _, tt := range []struct{ name, text, want string }{
		{"a host's password", hosts + "password_file = \"secret\"\n", ""},
		{"a host's tokens", hosts + tokens + "oauth_client_secret_file = \"secret\"\n", ""},
		{"of two kinds", strings.Replace(hosts, "tls =", "auth = [\"XOAUTH2\", \"PLAIN\"]\ntls =", 1) + "password_file = \"secret\"\n[[route.host]]\naddress = \"b.example\"\nusername = \"b\"\n" + tokens + "oauth_refresh_token_file = \"secret\"\n", ""},
		{"a host's tokens without a secret", hosts + tokens, "host \"a.example\" of route \"r\" has no oauth_client_secret_file"},
		{"a host's password and tokens", hosts + "password_file = \"secret\"\n" + tokens + "oauth_client_secret_file = \"secret\"\n", "host \"a.example\" of route \"r\" has a password and OAuth; keep one"},
		{"mechanism of no host's kind", strings.Replace(hosts, "tls =", "auth = [\"XOAUTH2\"]\ntls =", 1) + "password_file = \"secret\"\n", "must be one of SCRAM-SHA-256-PLUS"},

		{"verified by names", host + "tls = \"verified\"\ntls_names = [\"a.example\", \".example\"]\ntls_ca = \"crt\"\ntls_min_version = \"1.3\"\n", ""},
		{"mx", mx + "tls = \"verified\"\ndane = false\nmta_sts = true\n", ""},
		{"dane to a host", host + "tls = \"required\"\ndane = true\n", ""},
		{"client certificate", host + "tls = \"required\"\nclient_certificate = \"crt\"\nclient_key = \"key\"\n", ""},
		{"token", token + "oauth_client_secret_file = \"secret\"\nauth = [\"xoauth2\"]\n", ""},
		{"refresh token", token + "oauth_refresh_token_file = \"secret\"\n", ""},
		{"service account", host + "tls = \"verified\"\nusername = \"u@example.org\"\noauth_service_account = \"secret\"\noauth_scope = \"s\"\n", ""},
		{"mechanisms", host + "tls = \"verified\"\nusername = \"u\"\npassword = \"p\"\nauth = [\"SCRAM-SHA-256\", \"PLAIN\"]\n", ""},
		{"reports", "[tls_reports]\nenabled = true\ncontact = \"a@example.org\"\n", ""},

		{"names that nobody checks", mx + "tls_names = [\"a.example\"]\n", "checks no certificate, so tls_names would do nothing"},
		{"authorities that nobody asks", host + "tls = \"required\"\nverify = false\ntls_ca = \"crt\"\n", "checks no certificate, so tls_ca would do nothing"},
		{"bad name", host + "tls = \"verified\"\ntls_names = [\"*.example\"]\n", "or \".example.net\" for all below it"},
		{"no authorities", host + "tls = \"verified\"\ntls_ca = \"empty\"\n", "has no certificate in it"},
		{"old version", host + "tls_min_version = \"1.1\"\n", "must be one of 1.2, 1.3"},
		{"mta_sts to a host", host + "mta_sts = true\n", "MTA-STS is about mail exchangers"},
		{"dane without TLS", mx + "tls = \"none\"\ndane = true\n", "never uses TLS, so dane would do nothing"},
		{"dane misspelt", mx + "dane = \"yes\"\n", "must be true, false or \"auto\""},
		{"half a certificate", host + "client_certificate = \"crt\"\n", "client_certificate and client_key go together"},
		{"no key", host + "client_certificate = \"crt\"\nclient_key = \"crt\"\n", "client certificate of route \"r\""},
		{"mechanism of another kind", host + "tls = \"verified\"\nusername = \"u\"\npassword = \"p\"\nauth = [\"XOAUTH2\"]\n", "must be one of SCRAM-SHA-256-PLUS"},
		{"mechanism without a login", host + "auth = [\"PLAIN\"]\n", "does not log in"},
		{"token in the clear", strings.Replace(token, "verified", "opportunistic", 1) + "oauth_client_secret_file = \"secret\"\n", "could send its password in the clear"},
		{"token from the clear", strings.Replace(token, "https://login", "http://login", 1) + "oauth_client_secret_file = \"secret\"\n", "must begin with https://"},
		{"token and password", token + "password = \"p\"\noauth_client_secret_file = \"secret\"\n", "has a password and OAuth; keep one"},
		{"no secret", token, "has no oauth_client_secret_file"},
		{"secret without server", host + "oauth_client_secret_file = \"secret\"\n", "oauth_client_secret_file needs oauth_token_url"},
		{"missing secret", token + "oauth_client_secret_file = \"absent\"\n", "oauth_client_secret_file of route \"r\""},
		{"two ways", host + "tls = \"verified\"\nusername = \"u\"\noauth_service_account = \"secret\"\noauth_refresh_token_file = \"secret\"\n", "keep one"},
		{"reports from nobody", "[tls_reports]\nenabled = true\n", "reports need a contact"},
		{"reports from nowhere", "[tls_reports]\ncontact = \"postmaster\"\n", "contact \"postmaster\" must be a mail address"},
	} {
		c, err := parse(dir+"/c.toml", tt.text)
		if err == nil {
			err = c.Check()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
