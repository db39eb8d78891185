package config

import "time"

// TLSMode is what a route asks of the connection to its next hop.
type TLSMode string

// The modes.
const (
	// TLSNone never uses TLS.
	TLSNone TLSMode = "none"
	// TLSOpportunistic uses STARTTLS where it is offered, without checking
	// the certificate, and goes on without it where it is not.
	TLSOpportunistic TLSMode = "opportunistic"
	// TLSRequired sends nothing unless STARTTLS succeeds.
	TLSRequired TLSMode = "required"
	// TLSImplicit is TLS from the first octet, usually on port 465.
	TLSImplicit TLSMode = "implicit"
	// TLSVerified is TLSRequired with a certificate that is checked.
	TLSVerified TLSMode = "verified"
)

// NextHopMX is the next_hop that means the recipient domain's own mail
// exchangers.
const NextHopMX = "mx"

// Route is the way of mail for some domains.
type Route struct {
	// Name is what queue listings and logs call it.
	Name string `toml:"name"`
	// Domains are recipient domains: exact, "*.suffix" for everything below
	// one, "*" for all. The most specific pattern wins.
	Domains Strings `toml:"domains"`
	// NextHop is "mx", or hosts in order of preference, "host", "host:port" or
	// "unix:/path".
	NextHop Strings `toml:"next_hop"`
	TLS     TLSMode `toml:"tls"`
	// Verify checks the next hop's certificate, with the modes required and
	// implicit.
	Verify   bool   `toml:"verify"`
	Username string `toml:"username"`
	// Password, or PasswordFile; see Route.Secret.
	Password     string `toml:"password"`
	PasswordFile string `toml:"password_file"`
	// MaxConnections at a time to the next hop; 0 is Queue.PerDestination.
	MaxConnections int `toml:"max_connections"`
	// Helo is the name given in EHLO; "" is ServerName.
	Helo string `toml:"helo"`
	// RewriteSender replaces the sender of what takes this route, RewriteFrom
	// the address in its From field; "" leaves them.
	RewriteSender string `toml:"rewrite_sender"`
	RewriteFrom   string `toml:"rewrite_from"`

	// Conditions beside Domains; a route that has one goes before those with
	// domains only, and needs no domains. Senders are of the envelope, Accounts
	// are accounts and applications that have logged in, Headers are
	// "Name: value" with asterisks in the value.
	Senders  Strings `toml:"senders"`
	Accounts Strings `toml:"accounts"`
	Headers  Strings `toml:"headers"`
	// SpillTo is the route that mail takes while the daily quota of this one, or
	// those of all its hosts, is used up; "" has it wait.
	SpillTo string `toml:"spill_to"`
	// WebhookFormat is what is posted where NextHop are URLs: raw or json.
	// WebhookSecretFile signs it, WebhookTokenFile is a bearer token.
	WebhookFormat     string `toml:"webhook_format"`
	WebhookSecretFile string `toml:"webhook_secret_file"`
	WebhookTokenFile  string `toml:"webhook_token_file"`
	// Smarthosts take the place of NextHop where the hosts differ in more than
	// their names.
	Smarthosts []Smarthost `toml:"host"`

	// How it speaks to the next hop.
	Protocol Protocol `toml:"protocol"`
	// SourceAddress is where connections come from: an address of IPv4, one of
	// IPv6, or both; none is the system's choice. Next hops of a family that
	// has none, while the other has, are not used.
	SourceAddress Strings `toml:"source_address"`
	// Chunking allows BDAT (RFC 3030).
	Chunking bool `toml:"chunking"`
	// MaxMessagesPerConnection bounds the transactions of one connection.
	MaxMessagesPerConnection int `toml:"max_messages_per_connection"`
	// IdleConnection is how long a connection is kept for the next message; 0
	// closes it after each.
	IdleConnection Duration `toml:"idle_connection"`
	// How much the route is given: messages and recipients in a time, recipients
	// of a day, deliveries at a time to all its destinations together; empty or 0
	// is no bound.
	Rate          Rate `toml:"rate"`
	RecipientRate Rate `toml:"recipient_rate"`
	DailyQuota    int  `toml:"daily_quota"`
	MaxDeliveries int  `toml:"max_deliveries"`
	// When it is tried again, as in Queue; empty or 0 is what Queue says.
	Retry       Strings  `toml:"retry"`
	RetryMin    Duration `toml:"retry_min"`
	RetryMax    Duration `toml:"retry_max"`
	RetryFactor float64  `toml:"retry_factor"`
	WarnAfter   Duration `toml:"warn_after"`
	ExpireAfter Duration `toml:"expire_after"`

	// Security of the next hop; see route_security.go.
	TLSNames      Strings `toml:"tls_names"`
	TLSCA         string  `toml:"tls_ca"`
	TLSMinVersion string  `toml:"tls_min_version"`
	DANE          Choice  `toml:"dane"`
	MTASTS        Choice  `toml:"mta_sts"`
	// ClientCertificate and ClientKey are PEM files of a certificate that we
	// show to the next hop.
	ClientCertificate string `toml:"client_certificate"`
	ClientKey         string `toml:"client_key"`
	// Auth are the mechanisms to use, in order of preference; none is all.
	Auth Strings `toml:"auth"`
	Tokens
}

// Tokens is where access tokens are got that are in the place of a password.
type Tokens struct {
	OAuthTokenURL         string  `toml:"oauth_token_url"`
	OAuthClientID         string  `toml:"oauth_client_id"`
	OAuthClientSecretFile string  `toml:"oauth_client_secret_file"`
	OAuthScope            Strings `toml:"oauth_scope"`
	OAuthRefreshTokenFile string  `toml:"oauth_refresh_token_file"`
	OAuthServiceAccount   string  `toml:"oauth_service_account"`
}

// Smarthost is one host of a route.
type Smarthost struct {
	// Address is "host", "host:port" or "unix:/path", as in Route.NextHop.
	Address string `toml:"address"`
	// Hosts of a lower Order are tried before others, equal ones by lot in
	// proportion to Weight; those of Weight 0 follow as they are listed.
	Order  int `toml:"order"`
	Weight int `toml:"weight"`
	// Username with Password, PasswordFile or Tokens, and TLS are in the place of
	// the route's where they are given.
	Username     string  `toml:"username"`
	Password     string  `toml:"password"`
	PasswordFile string  `toml:"password_file"`
	TLS          TLSMode `toml:"tls"`
	// DailyQuota bounds the recipients of a day; 0 is no bound.
	DailyQuota int `toml:"daily_quota"`
	Tokens
}

// conditional tells whether the route has conditions beside its domains.
func (r Route) conditional() bool { return len(r.Senders)+len(r.Accounts)+len(r.Headers) > 0 }

// MX tells whether the route goes to the recipient domain's mail exchangers.
func (r Route) MX() bool { return len(r.NextHop) == 1 && r.NextHop[0] == NextHopMX }

// setDefaults is called on a new element of [[route]] before its keys are read.
func (r *Route) setDefaults() {
	r.TLS = TLSOpportunistic
	r.Verify = true
	r.WebhookFormat = WebhookRaw
	r.Protocol, r.Chunking = ProtocolSMTP, true
	r.MaxMessagesPerConnection, r.IdleConnection = 100, Duration(3*time.Second)
}
