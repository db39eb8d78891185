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

// OAuth tells whether access tokens take the place of the route's password.
func (r Route) OAuth() bool { return r.OAuthTokenURL != "" || r.OAuthServiceAccount != "" }

// ClientSecret, RefreshToken and ServiceAccount read the files of OAuth.
func (r Route) ClientSecret() (string, error) { return readSecret(r.OAuthClientSecretFile) }

// RefreshToken is the content of OAuthRefreshTokenFile.
func (r Route) RefreshToken() (string, error) { return readSecret(r.OAuthRefreshTokenFile) }

// ServiceAccount is the content of OAuthServiceAccount: the key of a Google
// service account in JSON.
func (r Route) ServiceAccount() (string, error) {
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
	ch.oauthOf(at, r)
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
	allowed := passwordMechanisms()
	if r.OAuth() {
		allowed = tokenMechanisms()
	}
	for i, m := range r.Auth {
		if !slices.Contains(allowed, strings.ToUpper(m)) {
			ch.problem(at.key("auth").index(i), "auth %q of route %q must be one of %s", m, r.Name, strings.Join(allowed, ", "))
		}
	}
	if len(r.Auth) > 0 && r.Username == "" {
		ch.problem(at.key("auth"), "route %q does not log in, so auth would do nothing; add username", r.Name)
	}
}

func (ch *checker) oauthOf(at keyPath, r Route) {
	if !r.OAuth() {
		for key, value := range map[string]string{
			"oauth_client_id": r.OAuthClientID, "oauth_client_secret_file": r.OAuthClientSecretFile, "oauth_refresh_token_file": r.OAuthRefreshTokenFile,
		} {
			if value != "" {
				ch.problem(at.key(key), "route %q: %s needs oauth_token_url", r.Name, key)
			}
		}
		return
	}
	if r.Password != "" || r.PasswordFile != "" {
		ch.problem(at, "route %q has a password and OAuth; keep one", r.Name)
	}
	if r.Username == "" {
		ch.problem(at, "route %q has OAuth and no username; add the mailbox that mail is sent as", r.Name)
	}
	if r.OAuthTokenURL != "" {
		if err := oauth.CheckURL(r.OAuthTokenURL); err != nil {
			ch.problem(at.key("oauth_token_url"), "oauth_token_url of route %q: %s", r.Name, err)
		}
	}
	switch {
	case r.OAuthServiceAccount != "" && r.OAuthRefreshTokenFile != "":
		ch.problem(at.key("oauth_refresh_token_file"), "route %q has oauth_refresh_token_file and oauth_service_account; keep one", r.Name)
	case r.OAuthServiceAccount != "":
		if _, err := r.ServiceAccount(); err != nil {
			ch.problem(at.key("oauth_service_account"), "oauth_service_account of route %q: %s", r.Name, err)
		}
		return
	case r.OAuthClientID == "":
		ch.problem(at, "route %q has oauth_token_url and no oauth_client_id; add it", r.Name)
	case r.OAuthClientSecretFile == "" && r.OAuthRefreshTokenFile == "":
		ch.problem(at, "route %q has no oauth_client_secret_file; add it, or oauth_refresh_token_file", r.Name)
	}
	for key, name := range map[string]string{"oauth_client_secret_file": r.OAuthClientSecretFile, "oauth_refresh_token_file": r.OAuthRefreshTokenFile} {
		if name == "" {
			continue
		}
		if _, err := readSecret(name); err != nil {
			ch.problem(at.key(key), "%s of route %q: %s", key, r.Name, err)
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
