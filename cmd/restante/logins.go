package main

import (
	"fmt"

	"restante/imapd"
	"restante/internal/config"
	"restante/internal/directory"
	"restante/internal/oauth"
	"restante/internal/ratelimit"
	"restante/smtpd"
)

// loginOptions is what the configuration says of who logs in, besides accounts.
func loginOptions(cfg *config.Config, opt *directory.Options) (err error) {
	for _, a := range cfg.Applications {
		hash, password, err := a.Secret()
		if err != nil {
			return fmt.Errorf("application %s: %w", a.Name, err)
		}
		opt.Static = append(opt.Static, directory.Static{
			Name: a.Name, Hash: hash, Password: password, SCRAM: a.ScramHash, Addresses: a.Senders,
			Application: &directory.Application{
				Rate:     directory.Rate(ratelimit.Rate{Count: a.Rate.Count, Per: a.Rate.Per.Std()}),
				Priority: int(a.Priority), Collects: a.Collects,
			},
		})
	}
	if opt.ClientCA, err = cfg.TLS.ClientPool(); err != nil {
		return err
	}
	for _, r := range cfg.Certificates {
		opt.Certificates = append(opt.Certificates, directory.CertificateRule{
			Fingerprint: r.Fingerprint, Name: r.Name, Login: r.Login, Implicit: r.Implicit,
		})
	}
	if o := cfg.OAuth; o.Issuer != "" {
		opt.Tokens = oauth.New(oauth.Options{URL: o.Issuer, Audience: o.Audience, Claim: o.Claim, Logger: opt.Logger})
	}
	return nil
}

// smtpLogins is who logs in to send.
func (d *daemon) smtpLogins(opt *smtpd.Options, cfg *config.Config) {
	logins := d.accounts.For(directory.Sending)
	opt.Auth, opt.Verifiers, opt.Tokens, opt.Allowances = logins, logins, logins, d.accounts
	opt.ClearScram, opt.NoBinding = cfg.SMTP.ScramWithoutTLS, !cfg.TLS.ChannelBinding
	if cfg.ClientCerts() {
		opt.Certificates = logins
	}
}

// imapLogins is who logs in to collect.
func (d *daemon) imapLogins(opt *imapd.Options, cfg *config.Config) {
	logins := d.accounts.For(directory.Collecting)
	opt.Auth, opt.Verifiers, opt.Tokens = logins, logins, logins
	opt.NoBinding = !cfg.TLS.ChannelBinding
	if cfg.ClientCerts() {
		opt.Certificates = logins
	}
}
