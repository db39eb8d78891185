// Package config reads restante's configuration file: TOML, strict, with the
// line of everything that is wrong in it.
//
// Default gives the configuration that holds without a file; Load lays a file
// over it; Check looks for what cannot work, all of it at once. The package
// describes, it does not act: it opens no socket, and apart from secrets and
// certificates that Check tries to read it touches no file. Only cmd/restante
// imports it; every other room is given its own Options.
//
// config.toml.example at the top of the repository is the reference for
// administrators; a test holds it against the types and defaults here.
package config

import "time"

// Config is the whole configuration. Keys of the file are the toml tags.
type Config struct {
	// Hostname is what the daemon calls itself; see ServerName.
	Hostname string `toml:"hostname"`
	// StateDirectory holds the spool, the accounts and a self-signed
	// certificate; see StatePath.
	StateDirectory string `toml:"state_directory"`
	// ControlSocket is where commands reach the daemon; see ControlPath.
	ControlSocket string `toml:"control_socket"`
	// Maildrop is where "restante sendmail" leaves mail while the daemon does
	// not run; see MaildropPath.
	Maildrop string `toml:"maildrop"`

	// Listeners replace the default ones as soon as the file has one.
	Listeners []Listener `toml:"listener"`
	SMTP      SMTP       `toml:"smtp"`
	IMAP      IMAP       `toml:"imap"`
	TLS       TLS        `toml:"tls"`
	// Domains are delivered here. They replace the default, localhost, as
	// soon as the file has one. The first is that of a bare user name.
	Domains  []Domain  `toml:"domain"`
	Accounts []Account `toml:"account"`
	// Applications only send, Certificates and OAuth are further ways to log in.
	Applications []Application `toml:"application"`
	Certificates []Certificate `toml:"certificate"`
	OAuth        OAuth         `toml:"oauth"`
	// Aliases lead from a local address to addresses here or elsewhere.
	Aliases map[string]Strings `toml:"aliases"`
	// Groups are aliases with an owner, and members who may be the only ones
	// to write to them.
	Groups []Group `toml:"group"`
	// Shared are mailboxes that no account owns.
	Shared []Shared `toml:"shared"`
	// Masquerade maps internal host names, "host" or "*.suffix", each to the
	// one domain that others shall see.
	Masquerade map[string]Strings `toml:"masquerade"`
	SRS        SRS                `toml:"srs"`
	Routes     []Route            `toml:"route"`
	Milters    []Milter           `toml:"milter"`
	// Archives are the rules by which copies of mail are kept.
	Archives []Archive `toml:"archive"`

	// DKIM is for mail that is sent, Authentication for mail from outside.
	DKIM           DKIM           `toml:"dkim"`
	Authentication Authentication `toml:"authentication"`
	// TLSReports are about how TLS went with recipient domains.
	TLSReports TLSReports `toml:"tls_reports"`

	Queue   Queue   `toml:"queue"`
	Spool   Spool   `toml:"spool"`
	History History `toml:"history"`
	DNS     DNS     `toml:"dns"`
	Log     Log     `toml:"log"`

	source source
}

// Role is what a listener serves.
type Role string

// The roles, and what a socket unit calls them in FileDescriptorName.
const (
	// RoleSMTP takes mail for local domains from anybody and relays for
	// trusted networks and authenticated clients; STARTTLS.
	RoleSMTP Role = "smtp"
	// RoleSubmission is RFC 6409 with STARTTLS, RoleSubmissions with TLS
	// from the first octet (RFC 8314).
	RoleSubmission  Role = "submission"
	RoleSubmissions Role = "submissions"
	// RoleIMAP is IMAP with STARTTLS, RoleIMAPS with TLS from the first octet.
	RoleIMAP  Role = "imap"
	RoleIMAPS Role = "imaps"
	// RoleLMTP takes mail for local domains from other servers on trusted
	// networks and at a Unix socket (RFC 2033); STARTTLS.
	RoleLMTP Role = "lmtp"
)

// Roles are all there are.
func Roles() []Role {
	return []Role{RoleSMTP, RoleSubmission, RoleSubmissions, RoleIMAP, RoleIMAPS, RoleLMTP}
}

// Listener is one role on one or more addresses, "host:port", or for the role
// lmtp "unix:/path".
type Listener struct {
	Role      Role    `toml:"role"`
	Addresses Strings `toml:"address"`
}

// SMTP is how mail is taken in, by all SMTP roles.
type SMTP struct {
	// TrustedNetworks may relay without authentication: CIDR prefixes.
	TrustedNetworks Strings `toml:"trusted_networks"`
	// HideClients leaves the address of clients that have logged in out of
	// Received fields.
	HideClients bool `toml:"hide_clients"`
	// NormalizeNetworks, of those, may send messages with bare CR, bare LF and
	// NUL, which are made clean.
	NormalizeNetworks Strings `toml:"normalize_networks"`
	MaxMessageSize    Size    `toml:"max_message_size"`
	MaxHeaderSize     Size    `toml:"max_header_size"`
	// MaxRecipients is for one message.
	MaxRecipients int `toml:"max_recipients"`
	// MaxHops is the number of Received fields that makes a loop.
	MaxHops int `toml:"max_hops"`
	// MaxConnections is for all SMTP listeners together, the other for one
	// client network.
	MaxConnections           int `toml:"max_connections"`
	MaxConnectionsPerAddress int `toml:"max_connections_per_address"`
	// ClientNetworkIPv4 and ClientNetworkIPv6 are the prefix lengths of a
	// client network: what counts as one client.
	ClientNetworkIPv4 int `toml:"client_network_ipv4"`
	ClientNetworkIPv6 int `toml:"client_network_ipv6"`
	// How many messages, and recipients, each client network may send that is
	// not trusted, each that is, and each account; an empty Rate is no limit.
	MessageRate          Rate `toml:"message_rate"`
	RecipientRate        Rate `toml:"recipient_rate"`
	TrustedMessageRate   Rate `toml:"trusted_message_rate"`
	TrustedRecipientRate Rate `toml:"trusted_recipient_rate"`
	AccountMessageRate   Rate `toml:"account_message_rate"`
	AccountRecipientRate Rate `toml:"account_recipient_rate"`
	// ScramWithoutTLS offers SCRAM to clients without TLS.
	ScramWithoutTLS bool `toml:"scram_without_tls"`
	// MaxErrors ends a connection after so many refused commands,
	// MaxRefusedRecipients after so many that do not exist, MaxAuthFailures
	// after so many wrong passwords.
	MaxErrors            int `toml:"max_errors"`
	MaxRefusedRecipients int `toml:"max_refused_recipients"`
	MaxAuthFailures      int `toml:"max_auth_failures"`
	// AuthDelay is the delay before a login after one failure; it doubles.
	AuthDelay Duration `toml:"auth_delay"`
	// ErrorDelay is the delay of the reply to a refused command, after a few.
	ErrorDelay Duration `toml:"error_delay"`
	// RefuseEarlyTalkers refuses strangers on the smtp role that do not wait
	// for the greeting, which is held back for GreetDelay, or for replies.
	GreetDelay         Duration `toml:"greet_delay"`
	RefuseEarlyTalkers bool     `toml:"refuse_early_talkers"`
	// CommandTimeout is the longest wait for a command, DataTimeout the
	// longest silence inside a message, EnvelopeTimeout the longest way from
	// MAIL to the message, TransferTimeout the longest message, WriteTimeout
	// the longest wait for replies to be taken.
	CommandTimeout  Duration `toml:"command_timeout"`
	DataTimeout     Duration `toml:"data_timeout"`
	EnvelopeTimeout Duration `toml:"envelope_timeout"`
	TransferTimeout Duration `toml:"transfer_timeout"`
	WriteTimeout    Duration `toml:"write_timeout"`
	// MinDataRate is the slowest that a message may come, in octets a second;
	// 0 is no limit.
	MinDataRate Size `toml:"min_data_rate"`
	// XClientNetworks may speak for others (XCLIENT), ProxyNetworks must, with
	// a PROXY header.
	XClientNetworks Strings `toml:"xclient_networks"`
	ProxyNetworks   Strings `toml:"proxy_networks"`
	// DSNForStrangers offers delivery status notifications to everybody, not
	// only to those who may relay.
	DSNForStrangers bool `toml:"dsn_for_strangers"`
	// MaxHold bounds for how long a message may be held back at its sender's
	// wish; 0 offers nothing.
	MaxHold Duration `toml:"max_hold"`
	// DefaultHold is how long mail of accounts is held back that asks for
	// nothing else, unless the account has a Hold of its own.
	DefaultHold Duration `toml:"default_hold"`
	// AcceptOnce is for how long a repeated transaction is taken only once,
	// 0 takes it again; RepeatNetworks are spared of it.
	AcceptOnce     Duration `toml:"accept_once"`
	RepeatNetworks Strings  `toml:"repeat_networks"`
}

// IMAP is how mail is collected.
type IMAP struct {
	MaxConnections           int `toml:"max_connections"`
	MaxConnectionsPerAccount int `toml:"max_connections_per_account"`
	// MaxMessageSize bounds APPEND.
	MaxMessageSize Size `toml:"max_message_size"`
	// IdleTimeout ends a silent session (RFC 9051 section 5.4).
	IdleTimeout Duration `toml:"idle_timeout"`
	// Quota and QuotaMessages bound what each account keeps; 0 does not. What
	// arrives is taken for QuotaGrace longer.
	Quota         Size `toml:"quota"`
	QuotaMessages int  `toml:"quota_messages"`
	QuotaGrace    Size `toml:"quota_grace"`
	// ExpireTrash and ExpireJunk are how long messages stay in mailboxes of
	// these uses; 0 is for ever.
	ExpireTrash Duration `toml:"expire_trash"`
	ExpireJunk  Duration `toml:"expire_junk"`
}

// TLS names the certificate of all listeners, or how to get one. Without
// either: self-signed.
type TLS struct {
	// Certificate is a PEM file with the chain, leaf first; Key is its PEM key.
	// Either may be "credential:NAME"; Load puts the file's path there.
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	// ACME has certificates issued by ACMEDirectory (RFC 8555), for each of
	// ACMEDomains its own; without any, for ServerName.
	ACME          bool    `toml:"acme"`
	ACMEDirectory string  `toml:"acme_directory"`
	ACMEEmail     string  `toml:"acme_email"`
	ACMEDomains   Strings `toml:"acme_domains"`
	// ACMEHTTPAddress is where HTTP-01 challenges are answered, ACMETLSAddress
	// where TLS-ALPN-01 challenges are; "" is nowhere.
	ACMEHTTPAddress string `toml:"acme_http_address"`
	ACMETLSAddress  string `toml:"acme_tls_address"`
	// ACMECA is a PEM file with the authorities that vouch for the directory's
	// own certificate; "" is those of the system.
	ACMECA string `toml:"acme_ca"`
	// ClientCA is a PEM file with the authorities whose certificates clients
	// log in with; "" is nobody. See Config.Certificates.
	ClientCA string `toml:"client_ca"`
	// ChannelBinding offers SCRAM-SHA-256-PLUS, by SMTP and IMAP.
	ChannelBinding bool `toml:"channel_binding"`
}

// Domain is a domain whose mail is delivered here.
type Domain struct {
	Name string `toml:"name"`
	// CatchAll are the addresses that take what is nobody's.
	CatchAll Strings `toml:"catch_all"`
	// DKIMKeys sign mail of the domain; without any, all there are of it in
	// the state directory. See Domain.Keys.
	DKIMKeys Strings `toml:"dkim_keys"`
}

// Account is an account that the file defines; commands do not change it.
type Account struct {
	// Name is its address and its user name.
	Name string `toml:"name"`
	// PasswordHash is argon2id in PHC form; PasswordFile holds the password
	// itself, or such a hash. One of them is given. See Account.Secret.
	PasswordHash string `toml:"password_hash"`
	PasswordFile string `toml:"password_file"`
	// ScramHash is the same password as SCRAM needs it, where there is only
	// a hash of it.
	ScramHash string `toml:"scram_hash"`
	// Addresses are more addresses of its own; "*@domain" allows to send as
	// any address of the domain.
	Addresses Strings `toml:"addresses"`
	// Hold is how long its mail is held back; 0 is SMTP.DefaultHold.
	Hold Duration `toml:"hold"`
	// Quota and QuotaMessages bound what it keeps; 0 are those of IMAP.
	Quota         Size `toml:"quota"`
	QuotaMessages int  `toml:"quota_messages"`
}

// Group is one address of several people.
type Group struct {
	// Name is its address, in a local domain.
	Name    string  `toml:"name"`
	Members Strings `toml:"members"`
	// Owner is the sender of what goes to members elsewhere; "" leaves the
	// sender as it is, as for an alias.
	Owner string `toml:"owner"`
	// Closed takes mail only from accounts, trusted networks, and the members
	// and the owner elsewhere.
	Closed bool `toml:"closed"`
}

// SRS is how mail that is forwarded to elsewhere gets a sender of ours.
type SRS struct {
	Enabled bool `toml:"enabled"`
	// Domain is that of the senders; "" is the first of Domains.
	Domain string `toml:"domain"`
	// SecretFile holds the secret in one line, and former ones in further
	// lines; "" is a file in the state directory, made at the first start.
	SecretFile string `toml:"secret_file"`
	// MaxAge is how long a bounce may take to come back.
	MaxAge Duration `toml:"max_age"`
}

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
	// OAuth has access tokens in the place of a password.
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
	// Username with Password, or PasswordFile, and TLS are in the place of the
	// route's where they are given.
	Username     string  `toml:"username"`
	Password     string  `toml:"password"`
	PasswordFile string  `toml:"password_file"`
	TLS          TLSMode `toml:"tls"`
	// DailyQuota bounds the recipients of a day; 0 is no bound.
	DailyQuota int `toml:"daily_quota"`
}

// conditional tells whether the route has conditions beside its domains.
func (r Route) conditional() bool { return len(r.Senders)+len(r.Accounts)+len(r.Headers) > 0 }

// MX tells whether the route goes to the recipient domain's mail exchangers.
func (r Route) MX() bool { return len(r.NextHop) == 1 && r.NextHop[0] == NextHopMX }

// Queue is the schedule of the queue runner.
type Queue struct {
	// Attempt n waits RetryMin*RetryFactor^(n-1), at most RetryMax, give or
	// take the fraction RetryJitter.
	RetryMin    Duration `toml:"retry_min"`
	RetryMax    Duration `toml:"retry_max"`
	RetryFactor float64  `toml:"retry_factor"`
	RetryJitter float64  `toml:"retry_jitter"`
	// Retry are the waits themselves, in place of those; the last is repeated.
	// See Waits.
	Retry Strings `toml:"retry"`
	// WarnAfter tells the sender of a delay, ExpireAfter returns the message;
	// 0 is never.
	WarnAfter   Duration `toml:"warn_after"`
	ExpireAfter Duration `toml:"expire_after"`
	// Concurrency is the number of deliveries at a time, SlowConcurrency that
	// of those beside them that take long, PerDestination the most to one
	// destination.
	Concurrency     int `toml:"concurrency"`
	SlowConcurrency int `toml:"slow_concurrency"`
	PerDestination  int `toml:"per_destination"`

	// DeadLetters is an address here, to whose account what can neither be
	// delivered nor returned goes; "" leaves it in the queue. See Dead.
	DeadLetters string `toml:"dead_letters"`
}

// Spool is where mail is kept.
type Spool struct {
	// MinFree is the free space below which no mail is taken in; below half
	// of it nothing is written.
	MinFree Size `toml:"min_free"`
}

// History is what is remembered of messages; docs/trace.md.
type History struct {
	// Keep is how long, after the last thing that happened to a message; 0 is
	// until it has left the queue.
	Keep Duration `toml:"keep"`
}

// DNS is how names are looked up.
type DNS struct {
	// Resolver is "ip:port" or "ip"; "" is what /etc/resolv.conf says.
	Resolver string `toml:"resolver"`
	// TrustAD: whether the resolver is believed that it validates DNSSEC; Auto
	// believes one on this machine.
	TrustAD Choice `toml:"trust_ad"`
}

// Log is what goes to standard error.
type Log struct {
	// Level is debug, info, warn or error; Format is text or json.
	Level  string `toml:"level"`
	Format string `toml:"format"`
}

// Default returns the configuration that holds without a file: everything on
// loopback, the domain localhost, mail for elsewhere straight to its MX.
func Default() *Config {
	return &Config{
		Listeners: defaultListeners(),
		SMTP: SMTP{
			TrustedNetworks:          Strings{"127.0.0.0/8", "::1/128"},
			NormalizeNetworks:        Strings{},
			MaxMessageSize:           50 * MiB,
			MaxHeaderSize:            64 * KiB,
			MaxRecipients:            1000,
			MaxHops:                  50,
			MaxConnections:           1000,
			MaxConnectionsPerAddress: 100,
			ClientNetworkIPv4:        32,
			ClientNetworkIPv6:        64,
			MessageRate:              Rate{300, Minute},
			RecipientRate:            Rate{3000, Minute},
			MaxErrors:                20,
			MaxRefusedRecipients:     100,
			MaxAuthFailures:          3,
			AuthDelay:                Duration(time.Second),
			ErrorDelay:               Duration(time.Second),
			GreetDelay:               Duration(250 * time.Millisecond),
			RefuseEarlyTalkers:       true,
			CommandTimeout:           5 * Minute,
			DataTimeout:              3 * Minute,
			EnvelopeTimeout:          30 * Minute,
			TransferTimeout:          Day,
			WriteTimeout:             1 * Minute,
			MinDataRate:              100,
			DSNForStrangers:          true,
			MaxHold:                  7 * Day,
			AcceptOnce:               1 * Hour,
			XClientNetworks:          Strings{},
			ProxyNetworks:            Strings{},
			RepeatNetworks:           Strings{},
		},
		IMAP: IMAP{
			MaxConnections:           1000,
			MaxConnectionsPerAccount: 50,
			MaxMessageSize:           50 * MiB,
			IdleTimeout:              30 * Minute,
		},
		TLS: TLS{
			ACMEDirectory:   "https://acme-v02.api.letsencrypt.org/directory",
			ACMEDomains:     Strings{},
			ACMEHTTPAddress: ":80",
		},
		Domains: []Domain{{Name: "localhost"}},
		OAuth:   OAuth{Claim: "email"},
		Queue: Queue{
			RetryMin:    1 * Minute,
			RetryMax:    4 * Hour,
			RetryFactor: 2,
			RetryJitter: 0.1,
			WarnAfter:   4 * Hour,
			ExpireAfter: 5 * Day,
			Retry:       Strings{},

			Concurrency: 200, SlowConcurrency: 1000, PerDestination: 20,
			DeadLetters: "postmaster",
		},
		SRS:     SRS{Enabled: true, MaxAge: 21 * Day},
		Spool:   Spool{MinFree: 128 * MiB},
		History: History{Keep: 30 * Day},
		DKIM:    DKIM{Sign: true},
		Authentication: Authentication{
			Evaluate: true, DMARC: "quarantine", SPF: "none", OnFailure: AuthenticationAccept, Timeout: Duration(10 * time.Second),
		},
		Log: Log{Level: "info", Format: "text"},
	}
}

func defaultListeners() []Listener {
	return []Listener{
		{RoleSMTP, Strings{"127.0.0.1:2525"}},
		{RoleSubmission, Strings{"127.0.0.1:2587"}},
		{RoleSubmissions, Strings{"127.0.0.1:2465"}},
		{RoleIMAP, Strings{"127.0.0.1:2143"}},
		{RoleIMAPS, Strings{"127.0.0.1:2993"}},
	}
}

// setDefaults is called on a new element of [[route]] before its keys are read.
func (r *Route) setDefaults() {
	r.TLS = TLSOpportunistic
	r.Verify = true
	r.WebhookFormat = WebhookRaw
	r.Protocol, r.Chunking = ProtocolSMTP, true
	r.MaxMessagesPerConnection, r.IdleConnection = 100, Duration(3*time.Second)
}
