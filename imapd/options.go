package imapd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math"
	"net/netip"
	"time"

	"restante/internal/mail"
	"restante/internal/sasl"
	"restante/spool"
)

// Authenticator knows the accounts.
type Authenticator interface {
	// Authenticate checks a login and returns the name of the account, which
	// need not be the user's. It fails with mail.ErrBadCredentials; any other
	// error means that it could not find out.
	Authenticate(ctx context.Context, user, password string, from netip.Addr) (account string, err error)
}

// Options is what a Server works with. Mailboxes, Bodies, Intake, Auth and TLS
// are required; the rest has defaults.
type Options struct {
	Mailboxes spool.Mailboxes
	Bodies    spool.Bodies
	Intake    spool.Intake
	Auth      Authenticator
	// Verifiers are for SCRAM, Certificates for clients that show one, which
	// are asked to, and Tokens for OAUTHBEARER and XOAUTH2. Each may be nil.
	// NoBinding leaves out the form of SCRAM that binds to the TLS channel.
	Verifiers    sasl.Verifiers
	Certificates sasl.Certificates
	Tokens       sasl.Tokens
	NoBinding    bool

	// TLS has the certificates. Without it nobody can log in.
	TLS *tls.Config
	// ImplicitTLS: the listeners begin with TLS (port 993, RFC 8314); else it
	// is begun by STARTTLS (port 143).
	ImplicitTLS bool

	// MaxAppend bounds a message of APPEND, in octets: 50 MiB if 0.
	MaxAppend int64
	// MaxConnections bounds the connections of the server, MaxPerAddress those
	// of one address (of one /64 with IPv6): 2000 and 100 if 0.
	MaxConnections, MaxPerAddress int
	// MaxPerAccount bounds the sessions that are logged in to one account: 50
	// if 0.
	MaxPerAccount int
	// MaxMessages bounds the messages that one command is for (RFC 9738); 0 does not.
	MaxMessages int
	// MaxNotified bounds the mailboxes that an account may see for NOTIFY to watch
	// any but the selected one: 10000 if 0.
	MaxNotified int
	// IdleTimeout is how long a client may be silent: 35 minutes if 0. It
	// should not be less than 30 (RFC 9051 section 5.4).
	IdleTimeout time.Duration
	// LoginDelay is how long the answer to a failed login takes. It doubles
	// with each failure from one address, up to 16 times, and is forgotten after
	// 15 minutes without one. 1 second if 0.
	LoginDelay time.Duration

	// Shared are the mailboxes that no account owns.
	Shared []Shared

	// Keywords are shared by the servers of one spool; nil for one that serves alone.
	Keywords *Keywords

	// Quota bounds what accounts keep; nil does not.
	Quota Quotas

	// Story is told what somebody does with a message that may have been
	// delivered: spool.EventCollected, each time it is read. It must not wait.
	// Nil for nobody.
	Story func(id mail.ID, e spool.Event)

	// Logger takes what happens; nil for nobody.
	Logger *slog.Logger
	// progress is how long a command is at work before its client hears of it:
	// progressPause if 0.
	progress time.Duration
	// Now is the clock by which failed logins are forgotten; nil for time.Now.
	Now func() time.Time
}

// maxLogins is how many failed logins end a connection.
const maxLogins = 5

func (o Options) withDefaults() Options {
	if o.MaxAppend <= 0 {
		o.MaxAppend = 50 << 20
	}
	o.MaxAppend = min(o.MaxAppend, math.MaxUint32)
	if o.MaxConnections <= 0 {
		o.MaxConnections = 2000
	}
	if o.MaxPerAddress <= 0 {
		o.MaxPerAddress = 100
	}
	if o.MaxPerAccount <= 0 {
		o.MaxPerAccount = 50
	}
	if o.MaxNotified <= 0 {
		o.MaxNotified = 10_000
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 35 * time.Minute
	}
	if o.LoginDelay <= 0 {
		o.LoginDelay = time.Second
	}
	if o.progress == 0 {
		o.progress = progressPause
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Keywords == nil {
		o.Keywords = new(Keywords)
	}
	if o.Quota == nil {
		o.Quota = unlimited{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
