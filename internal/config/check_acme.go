package config

import (
	"crypto/x509"
	"net/url"
	"os"
	"strings"

	"restante/internal/mail"
)

// acme looks at how certificates are to be got.
func (ch *checker) acme() {
	t, at := ch.config.TLS, top("tls")
	if t.Certificate != "" || t.Key != "" {
		ch.problem(at.key("acme"), "acme and a certificate in files exclude each other; take out one of the two")
	}
	if u, err := url.Parse(t.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" {
		ch.problem(at.key("acme_directory"), "acme_directory %q must be the https address of an ACME directory", t.ACMEDirectory)
	}
	if t.ACMEEmail != "" {
		if a, err := mail.ParseAddress(t.ACMEEmail); err != nil || a.Domain == "" {
			ch.problem(at.key("acme_email"), "acme_email %q must be a mail address", t.ACMEEmail)
		}
	}
	for i, d := range t.ACMEDomains {
		why := badHost(d)
		if why == "" && !strings.Contains(d, ".") {
			why = "is no name that a public authority knows"
		}
		if why != "" {
			ch.problem(at.key("acme_domains").index(i), "acme domain %q %s", d, why)
		}
	}
	if len(t.ACMEDomains) == 0 && !strings.Contains(ch.config.ServerName(), ".") {
		ch.problem(at.key("acme"), "acme needs a name to get a certificate for; set hostname, or acme_domains")
	}
	if t.ACMEHTTPAddress == "" && t.ACMETLSAddress == "" {
		ch.problem(at.key("acme"), "acme needs acme_http_address or acme_tls_address to show that the names are ours")
	}
	for key, addr := range map[string]string{"acme_http_address": t.ACMEHTTPAddress, "acme_tls_address": t.ACMETLSAddress} {
		if addr == "" {
			continue
		}
		if why := badHostPort(addr, true); why != "" {
			ch.problem(at.key(key), `%s %q %s; write it like "127.0.0.1:8080" or ":80"`, key, addr, why)
		}
	}
	if t.ACMECA != "" {
		b, err := os.ReadFile(t.ACMECA)
		switch {
		case err != nil:
			ch.problem(at.key("acme_ca"), "acme_ca cannot be read: %s", err)
		case !x509.NewCertPool().AppendCertsFromPEM(b):
			ch.problem(at.key("acme_ca"), "acme_ca %s has no certificate in it", t.ACMECA)
		}
	}
}
