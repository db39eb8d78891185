package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// The formats of a webhook.
const (
	// WebhookRaw posts the message as it is.
	WebhookRaw = "raw"
	// WebhookJSON posts its parts as JSON.
	WebhookJSON = "json"
)

// Webhook tells whether the route posts its mail to URLs.
func (r Route) Webhook() bool { return slices.ContainsFunc(r.NextHop, isURL) }

func isURL(hop string) bool {
	return strings.HasPrefix(hop, "https://") || strings.HasPrefix(hop, "http://")
}

// WebhookSecret returns the secret that requests are signed with.
func (r Route) WebhookSecret() (string, error) { return readSecret(r.WebhookSecretFile) }

// WebhookToken returns the bearer token of requests.
func (r Route) WebhookToken() (string, error) { return readSecret(r.WebhookTokenFile) }

// webhook checks a route that posts its mail.
func (ch *checker) webhook(at keyPath, r Route) {
	ch.oneOf(at.key("webhook_format"), "webhook_format", r.WebhookFormat, WebhookRaw, WebhookJSON)
	if !r.Webhook() {
		if r.WebhookSecretFile != "" || r.WebhookTokenFile != "" {
			ch.problem(at, `route %q has a secret or token for a webhook, but its next_hop is none; write next_hop = ["https://…"]`, r.Name)
		}
		return
	}
	for i, s := range r.NextHop {
		at := at.key("next_hop").index(i)
		u, err := url.Parse(s)
		switch {
		case !isURL(s):
			ch.problem(at, "route %q: next_hop is either hosts or URLs, not both", r.Name)
		case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "":
			ch.problem(at, `next_hop %q of route %q is not a URL such as "https://app.example.org/mail"; a password goes into webhook_token_file`, s, r.Name)
		case u.Scheme == "http" && !isLocalName(u.Hostname()) && r.TLS != TLSNone:
			ch.problem(at, `next_hop %q of route %q would send mail in the clear; use https, or allow it with tls = "none"`, s, r.Name)
		}
	}
	if r.Username != "" || r.Password != "" || r.PasswordFile != "" || len(r.Smarthosts) > 0 || r.Protocol == ProtocolLMTP {
		ch.problem(at, "route %q posts to a webhook, which has neither username, password, protocol nor hosts; use webhook_token_file", r.Name)
	}
	for key, file := range map[string]string{"webhook_secret_file": r.WebhookSecretFile, "webhook_token_file": r.WebhookTokenFile} {
		if file == "" {
			continue
		}
		if _, err := readSecret(file); err != nil {
			ch.problem(at.key(key), "%s of route %q: %s", key, r.Name, err)
		}
	}
	if secret, err := r.WebhookSecret(); err == nil && len(secret) < minWebhookSecret {
		ch.problem(at.key("webhook_secret_file"), "the webhook secret of route %q is shorter than %d characters; make a long one at random", r.Name, minWebhookSecret)
	}
}

// minWebhookSecret is the least length of a secret, in octets.
const minWebhookSecret = 16

// isLocalName tells whether a host of a URL is this machine.
func isLocalName(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
