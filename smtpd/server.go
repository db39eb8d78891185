package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/internal/sasl"
)

// Role is what a listener is for.
type Role uint8

const (
	// Relay takes mail for local domains from anybody, and for others from
	// trusted networks and authenticated clients.
	Relay Role = iota
	// Submission takes mail from authenticated clients only (RFC 6409).
	Submission
	// LMTP takes mail for local domains from other servers of ours, which
	// keep what it cannot take (RFC 2033).
	LMTP
)

func (r Role) String() string { return [...]string{"relay", "submission", "lmtp"}[r] }

// Authenticator knows the accounts.
type Authenticator interface {
	// Authenticate checks a password and returns the account's name. It
	// fails with mail.ErrBadCredentials; any other error is a fault of ours
	// that the client may outlive.
	Authenticate(ctx context.Context, user, password string, from netip.Addr) (account string, err error)
}

// Senders knows who may send as whom.
type Senders interface {
	// MaySendAs tells whether an account owns an address. It is asked about
	// the null sender too.
	MaySendAs(account string, from mail.Address) bool
}

// Allowances knows what single accounts may send.
type Allowances interface {
	// Allowance returns the rate of messages of an account, instead of
	// Limits.AccountRates if it is not zero, and the priority of those that
	// ask for none.
	Allowance(account string) (messages Rate, priority int)
}

// Options is what a Server works with. Hostname and Accept are required.
type Options struct {
	Role Role
	// Hostname is our name, in the greeting and in Received fields.
	Hostname string
	// TLS is the configuration for STARTTLS, or for the connection from its
	// start if ImplicitTLS is set. Without one there is no AUTH either.
	TLS         *tls.Config
	ImplicitTLS bool
	// Trusted are the networks that may relay without authentication; the
	// submission role does not look at them.
	Trusted []netip.Prefix
	// Normalize are the networks of old devices: what their messages have for
	// line ends is made CR LF, and NUL dropped, where others are refused with
	// 550 5.5.2. Only clients that are in Trusted too are spared so.
	Normalize []netip.Prefix
	// RefuseEarly refuses strangers of a relay, who are neither trusted nor
	// authenticated, with 554 5.5.1 if they send on where the protocol bids
	// them wait: for the greeting, which is held back for GreetDelay to see
	// that, and for some replies (RFC 2920 section 3.1).
	RefuseEarly bool
	GreetDelay  time.Duration
	// HideClients leaves the name and the address of clients that have logged
	// in out of Received fields.
	HideClients bool
	// Accept takes the messages.
	Accept *accept.Acceptor
	// Auth and Senders know the accounts. Without Auth there is no AUTH;
	// without Senders no account may send as anybody.
	Auth    Authenticator
	Senders Senders
	// Verifiers are for SCRAM, Certificates for clients that show one, which
	// are asked to, and Tokens for OAUTHBEARER and XOAUTH2. Each may be nil,
	// and is of no use without Auth. ClearScram offers SCRAM without TLS too,
	// NoBinding leaves out its form that binds to the TLS channel.
	Verifiers    sasl.Verifiers
	Certificates sasl.Certificates
	Tokens       sasl.Tokens
	ClearScram   bool
	NoBinding    bool
	// Allowances are those of accounts that have their own; nil is none.
	Allowances Allowances
	Limits     Limits
	Extensions Extensions
	// Gate is what counts the clients, for all Servers that share it; nil is
	// one of this Server's own.
	Gate *Gate
	// Logger gets one line for each accepted message and each refusal; nil
	// is none.
	Logger *slog.Logger
	// Now is the clock of trace and Date fields; nil is time.Now.
	Now func() time.Time
}

// Limits bound what clients can take. A zero field has the default.
type Limits struct {
	// MaxSize is the largest message, in octets as received. 50 MiB.
	MaxSize int64
	// MaxHeader is the largest header of a message, in octets. 64 KiB.
	MaxHeader int
	// MaxHops is how many Received fields a message may come with. 50.
	MaxHops int
	// MaxRecipients is for one message. 1000.
	MaxRecipients int
	// MaxConnections and MaxPerAddress bound the connections at one time, in
	// all (1000) and from one client network (100), over all Servers with the
	// same Gate.
	MaxConnections, MaxPerAddress int
	// NetworkIPv4 and NetworkIPv6 are the prefix lengths of what counts as one
	// client network. 32 and 64.
	NetworkIPv4, NetworkIPv6 int
	// StrangerRates are for each client network, TrustedRates for each that
	// may relay, AccountRates for each account, wherever it sends from; with
	// an account the others do not count. A message over its rate is refused
	// with 450 4.7.1. No limits.
	StrangerRates, TrustedRates, AccountRates Rates
	// MaxErrors is how many commands of a connection may be refused, and
	// MaxRefused how many recipients for good, before it is closed. Both
	// count anew after each accepted message. 20 and 100.
	MaxErrors, MaxRefused int
	// ErrorDelay is how long a refused command waits for its reply after the
	// first few: nonsense comes no faster than that. 1 second.
	ErrorDelay time.Duration
	// AuthFailures is how many failed logins a connection may have. After
	// each, the next login from the same network or into the same account is
	// looked at only after a delay, which begins with AuthDelay and doubles.
	// 3, 1 s.
	AuthFailures int
	AuthDelay    time.Duration
	// CommandTimeout is for a command to arrive whole, or for a TLS
	// handshake; 5 minutes. DataTimeout is for each piece of a body to
	// arrive, 3 minutes, TransferTimeout for all of it, 24 hours.
	// EnvelopeTimeout is from MAIL until the body begins, 30 minutes.
	CommandTimeout, DataTimeout, TransferTimeout, EnvelopeTimeout time.Duration
	// MinRate is how many octets of a body must come in a second, in the
	// average of each RateWindow of waiting for them; slower clients hold a
	// place that others need. 100, which the slowest links do, over 5 minutes;
	// less than 0 is no limit.
	MinRate    int
	RateWindow time.Duration
	// WriteTimeout is for the client to take replies. 1 minute.
	WriteTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	orInt := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	orTime := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	if l.MaxSize <= 0 {
		l.MaxSize = 50 << 20
	}
	orInt(&l.MaxHeader, 64<<10)
	orInt(&l.MaxHops, 50)
	orInt(&l.MaxRecipients, 1000)
	orInt(&l.MaxConnections, 1000)
	orInt(&l.MaxPerAddress, 100)
	orInt(&l.NetworkIPv4, 32)
	orInt(&l.NetworkIPv6, 64)
	l.NetworkIPv4, l.NetworkIPv6 = min(l.NetworkIPv4, 32), min(l.NetworkIPv6, 128)
	orInt(&l.MaxErrors, 20)
	orInt(&l.MaxRefused, 100)
	orInt(&l.AuthFailures, 3)
	orTime(&l.AuthDelay, time.Second)
	orTime(&l.ErrorDelay, time.Second)
	orTime(&l.CommandTimeout, 5*time.Minute)
	orTime(&l.DataTimeout, 3*time.Minute)
	orTime(&l.TransferTimeout, 24*time.Hour)
	orTime(&l.EnvelopeTimeout, 30*time.Minute)
	orTime(&l.RateWindow, 5*time.Minute)
	if l.MinRate == 0 {
		l.MinRate = 100
	}
	orTime(&l.WriteTimeout, time.Minute)
	return l
}

// ErrServed is returned by Serve when the Server has been used before.
var ErrServed = errors.New("smtpd: a Server serves one listener, once")

// Server serves SMTP on one listener.
type Server struct {
	opt    Options
	limits Limits
	log    *slog.Logger
	policy policy
	gate   *Gate
	lib    *smtp.Server
	tls    *sasl.Handshaker // nil without Options.TLS
	// buffers are those of connections that need large ones.
	buffers sync.Pool
	// copies are those that bodies are copied with.
	copies sync.Pool

	// ctx is what waits on behalf of clients; it ends when they are cut off.
	ctx    context.Context
	cancel context.CancelFunc
	// draining is closed when the server begins to shut down, done when no
	// goroutine of it is left.
	draining, done chan struct{}

	mu       sync.Mutex
	phase    phase
	listener net.Listener
	conns    map[*conn]netip.Prefix
}

// phase is how far a shutdown has come.
type phase uint8

const (
	running phase = iota
	// drainPhase: no new connections and no new transactions.
	drainPhase
	// cutPhase: every connection ends now.
	cutPhase
)

// New returns a Server that is ready to serve.
func New(opt Options) *Server {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opt:      opt,
		limits:   opt.Limits.withDefaults(),
		log:      opt.Logger.With("service", opt.Role.String()),
		draining: make(chan struct{}),
		done:     make(chan struct{}),
		conns:    make(map[*conn]netip.Prefix),
		gate:     opt.Gate,
	}
	if s.gate == nil {
		s.gate = NewGate()
	}
	s.policy = newPolicy(opt)
	if opt.TLS != nil {
		config := opt.TLS.Clone()
		if opt.Certificates != nil && opt.Auth != nil {
			config.ClientAuth = tls.RequestClientCert
		}
		s.tls = sasl.NewHandshaker(config)
	}
	s.copies.New = func() any { return new([copySize]byte) }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.lib = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return c.Conn().(*conn).session, nil
	}))
	s.lib.Domain = opt.Hostname
	s.lib.ErrorLog = libraryLog{s.log}
	// conn has limits and time-outs of its own, and the library does not
	// know about TLS, so it must let AUTH through to the session.
	s.lib.MaxLineLength = 0
	s.lib.AllowInsecureAuth = true
	return s
}

// Serve accepts connections until Shutdown, or until ctx ends, which cuts
// them off at once. It returns when no connection and no goroutine is left:
// nil after a shutdown, else the error of the listener. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if s.opt.ImplicitTLS && s.opt.TLS == nil {
		return errors.New("smtpd: implicit TLS without a TLS configuration")
	}
	s.mu.Lock()
	used, stopped := s.listener != nil, s.phase != running
	if !used && !stopped {
		s.listener = l
	}
	s.mu.Unlock()
	switch {
	case used:
		return ErrServed
	case stopped:
		return nil
	}
	defer close(s.done)

	stop := context.AfterFunc(ctx, s.cut)
	defer stop()
	err := s.lib.Serve(&listener{l, s})
	if !s.stopping() {
		err = fmt.Errorf("smtpd: accepting on %s: %w", l.Addr(), err)
		s.cut()
	} else {
		err = nil
	}
	// Every accepted connection is known to the library by now; its Shutdown
	// waits for their goroutines.
	s.lib.Shutdown(context.Background())
	s.cancel()
	return err
}

// Shutdown stops listening and closes the connections: the idle ones at once,
// or a second after they came; those with a transaction after it or when ctx ends, then with the error of
// ctx. It returns when no goroutine of the server is left.
func (s *Server) Shutdown(ctx context.Context) error {
	if !s.enter(drainPhase) {
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.cut()
	<-s.done
	return fmt.Errorf("smtpd: cutting off connections: %w", ctx.Err())
}

func (s *Server) cut() { s.enter(cutPhase) }

// enter begins a phase of the shutdown, unless it is as far already, and
// tells whether the server ever served.
func (s *Server) enter(p phase) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == running {
		close(s.draining)
	}
	if s.phase < p {
		s.phase = p
		for c := range s.conns {
			c.enter(p)
		}
	}
	if p == cutPhase {
		s.cancel()
	}
	if s.listener == nil {
		return false
	}
	s.listener.Close()
	return true
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase != running
}

// libraryLog carries go-smtp's words, of panics mostly, to the log.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Printf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }
func (l libraryLog) Println(v ...any)               { l.log.Error(fmt.Sprint(v...)) }
