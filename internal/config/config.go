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
	MaxConnectionsPerAddress int `toml:"max_connections_per_address"`
	MaxConnectionsPerAccount int `toml:"max_connections_per_account"`
	// MaxMessageSize bounds APPEND.
	MaxMessageSize Size `toml:"max_message_size"`
	// MaxMessages bounds the messages that one command is for; 0 does not.
	MaxMessages int `toml:"max_messages"`
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
