package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"

	"restante/internal/mail"
	"restante/internal/oauth"
)

// TLSReports are reports by RFC 8460 about how TLS went with recipient domains.
type TLSReports struct {
	Enabled bool `toml:"enabled"`
	// Contact is the address that answers questions, and that reports by mail
	// come from; Organization is who we are.
	Contact      string `toml:"contact"`
	Organization string `toml:"organization"`
}

// OAuth tells whether access tokens take the place of a password.
func (r Tokens) OAuth() bool { return r.OAuthTokenURL != "" || r.OAuthServiceAccount != "" }

// ClientSecret, RefreshToken and ServiceAccount read the files of OAuth.
func (r Tokens) ClientSecret() (string, error) { return readSecret(r.OAuthClientSecretFile) }

// RefreshToken is the content of OAuthRefreshTokenFile.
func (r Tokens) RefreshToken() (string, error) { return readSecret(r.OAuthRefreshTokenFile) }

// ServiceAccount is the content of OAuthServiceAccount: the key of a Google
// service account in JSON.
func (r Tokens) ServiceAccount() (string, error) {
	path, err := secretPath(r.OAuthServiceAccount)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxSecret {
		err = fmt.Errorf("%s is larger than %d octets", path, maxSecret)
	}
	if err != nil {
		return "", fmt.Errorf("read key: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read key: %w", err)
	}
	return string(b), nil
}

// RootCAs reads the authorities of TLSCA; nil without any.
func (r Route) RootCAs() (*x509.CertPool, error) {
	if r.TLSCA == "" {
		return nil, nil
	}
	b, err := os.ReadFile(r.TLSCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s has no certificate in it", r.TLSCA)
	}
	return pool, nil
}

// MinTLS is TLSMinVersion as crypto/tls has it, 0 for the default.
func (r Route) MinTLS() uint16 {
	if r.TLSMinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return 0
}

// passwordMechanisms and tokenMechanisms are those of AUTH that a route can name.
func passwordMechanisms() []string {
	return []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"}
}

func tokenMechanisms() []string { return []string{"OAUTHBEARER", "XOAUTH2"} }

// security checks what a route says of TLS and login at its next hop.
func (ch *checker) security(at keyPath, r Route) {
	for i, n := range r.TLSNames {
		if why := badHost(strings.TrimPrefix(n, ".")); why != "" {
			ch.problem(at.key("tls_names").index(i), `name %q of route %q %s; write "mx.example.net", or ".example.net" for all below it`, n, r.Name, why)
		}
	}
	checks := r.TLS == TLSVerified || r.Verify && (r.TLS == TLSRequired || r.TLS == TLSImplicit)
	if !checks && len(r.TLSNames) > 0 {
		ch.problem(at.key("tls_names"), `route %q checks no certificate, so tls_names would do nothing; use tls = "verified"`, r.Name)
	}
	if !checks && r.TLSCA != "" {
		ch.problem(at.key("tls_ca"), `route %q checks no certificate, so tls_ca would do nothing; use tls = "verified"`, r.Name)
	}
	if _, err := r.RootCAs(); err != nil {
		ch.problem(at.key("tls_ca"), "tls_ca of route %q: %s", r.Name, err)
	}
	if r.TLSMinVersion != "" {
		ch.oneOf(at.key("tls_min_version"), "tls_min_version", r.TLSMinVersion, "1.2", "1.3")
	}
	if r.MTASTS == Yes && !r.MX() {
		ch.problem(at.key("mta_sts"), `route %q: MTA-STS is about mail exchangers; remove mta_sts, or use next_hop = "mx"`, r.Name)
	}
	for key, on := range map[string]bool{"dane": r.DANE == Yes, "mta_sts": r.MTASTS == Yes} {
		if on && r.TLS == TLSNone {
			ch.problem(at.key(key), `route %q never uses TLS, so %s would do nothing; use tls = "opportunistic"`, r.Name, key)
		}
	}
	ch.clientCertificate(at, r)
	ch.mechanisms(at, r)
	ch.oauthOf(at, r.login())
}

func (ch *checker) clientCertificate(at keyPath, r Route) {
	switch {
	case (r.ClientCertificate == "") != (r.ClientKey == ""):
		ch.problem(at, "route %q: client_certificate and client_key go together; add the other", r.Name)
	case r.ClientCertificate != "":
		if _, err := tls.LoadX509KeyPair(r.ClientCertificate, r.ClientKey); err != nil {
			ch.problem(at.key("client_certificate"), "client certificate of route %q: %s", r.Name, err)
		}
	}
}

func (ch *checker) mechanisms(at keyPath, r Route) {
	logins := []login{r.login()}
	for _, h := range r.Smarthosts {
		logins = append(logins, h.login(r))
	}
	logins = slices.DeleteFunc(logins, func(l login) bool { return l.username == "" })
	var allowed []string
	if slices.ContainsFunc(logins, func(l login) bool { return !l.OAuth() }) {
		allowed = passwordMechanisms()
	}
	if slices.ContainsFunc(logins, func(l login) bool { return l.OAuth() }) {
		allowed = append(allowed, tokenMechanisms()...)
	}
	if len(r.Auth) > 0 && len(logins) == 0 {
		ch.problem(at.key("auth"), "route %q does not log in, so auth would do nothing; add username", r.Name)
		return
	}
	for i, m := range r.Auth {
		if !slices.Contains(allowed, strings.ToUpper(m)) {
			ch.problem(at.key("auth").index(i), "auth %q of route %q must be one of %s", m, r.Name, strings.Join(allowed, ", "))
		}
	}
}

// login is who somebody is at a next hop, as a route or one of its hosts says.
type login struct {
	what                             string // in messages
	username, password, passwordFile string
	Tokens
}

func (r Route) login() login {
	return login{fmt.Sprintf("route %q", r.Name), r.Username, r.Password, r.PasswordFile, r.Tokens}
}

func (s Smarthost) login(r Route) login {
	return login{fmt.Sprintf("host %q of route %q", s.Address, r.Name), s.Username, s.Password, s.PasswordFile, s.Tokens}
}

func (ch *checker) oauthOf(at keyPath, l login) {
	if !l.OAuth() {
		for key, value := range map[string]string{
			"oauth_client_id": l.OAuthClientID, "oauth_client_secret_file": l.OAuthClientSecretFile, "oauth_refresh_token_file": l.OAuthRefreshTokenFile,
		} {
			if value != "" {
				ch.problem(at.key(key), "%s: %s needs oauth_token_url", l.what, key)
			}
		}
		return
	}
	if l.password != "" || l.passwordFile != "" {
		ch.problem(at, "%s has a password and OAuth; keep one", l.what)
	}
	if l.username == "" {
		ch.problem(at, "%s has OAuth and no username; add the mailbox that mail is sent as", l.what)
	}
	if l.OAuthTokenURL != "" {
		if err := oauth.CheckURL(l.OAuthTokenURL); err != nil {
			ch.problem(at.key("oauth_token_url"), "oauth_token_url of %s: %s", l.what, err)
		}
	}
	switch {
	case l.OAuthServiceAccount != "" && l.OAuthRefreshTokenFile != "":
		ch.problem(at.key("oauth_refresh_token_file"), "%s has oauth_refresh_token_file and oauth_service_account; keep one", l.what)
	case l.OAuthServiceAccount != "":
		if _, err := l.ServiceAccount(); err != nil {
			ch.problem(at.key("oauth_service_account"), "oauth_service_account of %s: %s", l.what, err)
		}
		return
	case l.OAuthClientID == "":
		ch.problem(at, "%s has oauth_token_url and no oauth_client_id; add it", l.what)
	case l.OAuthClientSecretFile == "" && l.OAuthRefreshTokenFile == "":
		ch.problem(at, "%s has no oauth_client_secret_file; add it, or oauth_refresh_token_file", l.what)
	}
	for key, name := range map[string]string{"oauth_client_secret_file": l.OAuthClientSecretFile, "oauth_refresh_token_file": l.OAuthRefreshTokenFile} {
		if name == "" {
			continue
		}
		if _, err := readSecret(name); err != nil {
			ch.problem(at.key(key), "%s of %s: %s", key, l.what, err)
		}
	}
}

func (ch *checker) tlsReports() {
	t, at := ch.config.TLSReports, top("tls_reports")
	if t.Contact != "" {
		if a, err := mail.ParseAddress(t.Contact); err != nil || a.Domain == "" {
			ch.problem(at.key("contact"), "contact %q must be a mail address", t.Contact)
		}
	} else if t.Enabled {
		ch.problem(at.key("contact"), `reports need a contact that they come from; add contact = "postmaster@example.org"`)
	}
	if strings.ContainsAny(t.Organization, "\r\n\x00") || len(t.Organization) > 200 {
		ch.problem(at.key("organization"), "organization must be one line of at most 200 octets")
	}
}
