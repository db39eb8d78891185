package imapd

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"restante/imapd/view"
	"restante/internal/mail"
	"restante/internal/sasl"
	"restante/spool"
)

// session is what the library calls for the commands of one connection. It
// calls from one goroutine, but for Idle, which may still be running when the
// next command or Close comes: mu is for that.
type session struct {
	srv  *Server
	lib  *imapserver.Conn
	link *link
	ctx  context.Context
	log  *slog.Logger

	account  string
	failures int
	offered  []string // mechanisms that the client was told of
	idling   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	box    *selection // nil unless a mailbox is selected
}

// selection is the selected mailbox.
type selection struct {
	view     *view.View
	readOnly bool
	// keywords are those that the client was told of; more are announced when
	// moreKeywords is set.
	keywords     map[string]bool
	moreKeywords bool
	// saved is the result of SEARCH RETURN (SAVE).
	saved []spool.UID
}

var (
	_ imapserver.SessionIMAP4rev2      = (*session)(nil)
	_ imapserver.SessionSASL           = (*session)(nil)
	_ imapserver.SessionUnauthenticate = (*session)(nil)
	_ imapserver.SessionAppendLimit    = (*session)(nil)
)

func newSession(c *imapserver.Conn) *session {
	l := c.NetConn().(*link)
	return &session{srv: l.client.srv, lib: c, link: l, ctx: l.client.ctx, log: l.client.log}
}

// Close ends the session. The library calls it even after a panic.
func (s *session) Close() error {
	defer s.link.sessionEnded.Store(true)
	s.mu.Lock()
	s.closed = true
	s.box = nil
	s.mu.Unlock()
	s.idling.Wait()
	if s.account != "" {
		s.srv.gate.logout(s.account)
	}
	return nil
}

// Login checks a password. A failure is answered late, and the last of too many
// ends the connection.
func (s *session) Login(user, password string) error {
	account, err := s.srv.opt.Auth.Authenticate(s.ctx, user, password, s.link.client.remote)
	if err != nil {
		return s.loginError(user, err)
	}
	return s.enter(user, account)
}

// loginError is the answer to a login that failed.
func (s *session) loginError(user string, err error) error {
	switch {
	case errors.Is(err, sasl.ErrMalformed):
		return bad("Malformed authentication message")
	case errors.Is(err, sasl.ErrIdentity):
		return no(imap.ResponseCodeAuthorizationFailed, "Logging in for somebody else is not supported")
	case errors.Is(err, sasl.ErrDowngrade):
		s.punish()
		return no(imap.ResponseCodeCannot, "Use SCRAM-SHA-256-PLUS, or say that you cannot bind to the channel")
	case errors.Is(err, mail.ErrBadCredentials), errors.Is(err, sasl.ErrChannel):
		s.log.Info("login failed", "user", user, "reason", err)
		s.punish()
		return imapserver.ErrAuthFailed
	}
	s.log.Error("login could not be checked", "user", user, "err", err)
	return no(imap.ResponseCodeUnavailable, "Logins cannot be checked at the moment")
}

// enter begins the session of an account.
func (s *session) enter(user, account string) error {
	if !s.srv.gate.login(account) {
		s.log.Warn("too many sessions of one account", "user", user)
		return no(imap.ResponseCodeLimit, "Too many sessions of this account")
	}
	if err := s.provision(account); err != nil {
		s.srv.gate.logout(account)
		return s.failure("login", err)
	}
	s.account = account
	s.log = s.link.client.log.With("account", account)
	s.log.Info("logged in", "user", user)
	s.link.SetAuthenticated(true)
	return nil
}

func (s *session) punish() {
	pause := time.NewTimer(s.srv.gate.failed(s.link.client.remote))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-s.srv.stopping:
	case <-s.ctx.Done():
	}
	if s.failures++; s.failures >= maxLogins {
		s.link.Stop("Too many failed logins")
	}
}

// Unauthenticate makes the client nobody again (RFC 8437).
func (s *session) Unauthenticate() error {
	s.mu.Lock()
	s.box = nil
	s.mu.Unlock()
	s.log.Info("logged out")
	s.srv.gate.logout(s.account)
	s.account, s.log = "", s.link.client.log
	s.link.SetAuthenticated(false)
	return nil
}

// AppendLimit is the largest message of APPEND, in octets (RFC 7889).
func (s *session) AppendLimit() uint32 { return uint32(s.srv.opt.MaxAppend) }

// Namespace tells that all mailboxes are the user's own.
func (s *session) Namespace() (*imap.NamespaceData, error) {
	return &imap.NamespaceData{Personal: []imap.NamespaceDescriptor{{Delim: separator}}}, nil
}
