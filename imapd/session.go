package imapd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/view"
	"restante/imapd/wire"
	"restante/internal/mail"
	"restante/internal/sasl"
	"restante/spool"
)

// session is one connection, from the greeting to its end. All of it is done by
// one goroutine, but for what others may call: stop and abort.
type session struct {
	srv    *Server
	raw    net.Conn
	conn   *wire.Conn
	out    *wire.Encoder
	remote netip.Addr
	// channel is the TLS of the connection, nil without.
	channel *sasl.Channel
	ctx     context.Context
	cancel  context.CancelFunc
	log     *slog.Logger

	account  string // "" until the client has logged in
	failures int    // logins that failed
	faults   int    // malformed commands in a row
	enabled  features
	box      *selection // nil unless a mailbox is selected
	notify   *notifier  // nil until the client has said NOTIFY
	// over tells that LOGOUT was said, broken that a response could not be ended.
	over, broken bool
	// stranger tells that the client does not speak IMAP.
	stranger bool
	// progress is that of the command that is executed.
	progress progress
	// lowest is the UID down to which a command was done that named too many messages,
	// 0 between commands.
	lowest spool.UID
	// copied is what sections are copied through; nil between commands.
	copied []byte
}

// features are what a client has turned on, with ENABLE or by using it.
type features uint8

const (
	rev2      features = 1 << iota // IMAP4rev2
	utf8      features = 1 << iota // UTF8=ACCEPT
	condstore features = 1 << iota // CONDSTORE
	qresync   features = 1 << iota // QRESYNC
	uidonly   features = 1 << iota // UIDONLY
)

func (s *session) has(f features) bool { return s.enabled&f != 0 }

// enable turns features on, with what each of them implies.
func (s *session) enable(f features) {
	if f&qresync != 0 {
		f |= condstore
	}
	if s.box != nil && f&^s.enabled&condstore != 0 {
		// RFC 7162 section 3.1: a client that begins with it in the middle of a
		// selection has not listened to what SELECT said.
		s.out.Raw("* OK [HIGHESTMODSEQ ").Number(uint64(s.box.view.Told())).Raw("] Highest").CRLF()
	}
	if s.enabled |= f; f&uidonly != 0 {
		s.dropNumbered()
	}
	s.out.UTF8 = s.has(rev2 | utf8)
}

// selection is the selected mailbox.
type selection struct {
	view     *view.View
	name     string
	readOnly bool
	// rights are the client's; foreign tells that it is another account's, so
	// that they can change.
	rights  rights
	foreign bool
	owner   string
	// keywords are those that the client was told of, as they are spelled, by what
	// they are in lower case; more are announced when
	// moreKeywords is set.
	keywords     map[string]string
	moreKeywords bool
	// vocabulary are those that other sessions know; heard is how many of them
	// were looked at.
	vocabulary *vocabulary
	heard      int
	// recent is how many messages the client was told to be \Recent.
	recent uint32
	// saved is the result of SEARCH RETURN (SAVE).
	saved []spool.UID
	// contexts are the searches whose results are kept up to date; followed is
	// up to where that was done.
	contexts []*searchContext
	followed spool.ModSeq
	// mine are messages that have come by the client itself since it was told last.
	mine []spool.UID
}

// end gives back what the session holds.
func (s *session) end() {
	s.notify.stop()
	s.notify = nil
	s.leave()
	if s.account != "" {
		s.srv.gate.logout(s.account)
		s.account = ""
	}
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
		return no(imap.ResponseCodeAuthenticationFailed, "Authentication failed")
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
	provision := Provision
	if s.srv.team(account) != nil {
		provision = ProvisionShared // an application that collects from it
	}
	if err := provision(s.srv.opt.Mailboxes, account); err != nil {
		s.srv.gate.logout(account)
		return s.failure("login", err)
	}
	s.account = account
	s.log = s.srv.opt.Logger.With("remote", s.remote, "account", account)
	s.log.Info("logged in", "user", user)
	s.conn.SetAuthenticated(true)
	return nil
}

// punish answers a failed login late, and the last of too many ends the
// connection.
func (s *session) punish() {
	s.conn.Flush()
	pause := time.NewTimer(s.srv.gate.failed(s.remote))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-s.srv.ending.Done():
	case <-s.ctx.Done():
	}
	if s.failures++; s.failures >= maxLogins {
		s.conn.Stop("Too many failed logins")
	}
}

// unauthenticate makes the client nobody again (RFC 8437).
func (s *session) unauthenticate() error {
	s.log.Info("logged out")
	s.end()
	s.enabled, s.out.UTF8 = 0, false
	s.log = s.srv.opt.Logger.With("remote", s.remote)
	s.conn.SetAuthenticated(false)
	return nil
}

// capabilities is what is offered at this moment. What only makes sense after
// the login is told then.
func (s *session) capabilities() string {
	list := []string{"IMAP4rev1", "IMAP4rev2", "LITERAL+", "SASL-IR", "ID", "ENABLE"}
	if s.account == "" {
		switch {
		case s.channel != nil:
			for _, m := range s.srv.sources().Offer(s.channel) {
				list = append(list, "AUTH="+m)
			}
		case s.srv.tls != nil:
			list = append(list, "STARTTLS", "LOGINDISABLED")
		default:
			list = append(list, "LOGINDISABLED")
		}
		return strings.Join(list, " ")
	}
	list = append(list, "IDLE", "NAMESPACE", "UNSELECT", "CHILDREN", "UIDPLUS", "MOVE", "ESEARCH", "SEARCHRES", "WITHIN",
		"LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE", "CREATE-SPECIAL-USE", "STATUS=SIZE", "BINARY", "CONDSTORE", "QRESYNC",
		"ACL", "RIGHTS=texk", "LIST-MYRIGHTS", "METADATA", "LIST-METADATA", "UIDONLY", "INPROGRESS", "MULTIAPPEND", "CATENATE", "REPLACE", "QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "UTF8=ACCEPT", "OBJECTID", "SAVEDATE", "UNAUTHENTICATE", "APPENDLIMIT="+number(s.srv.opt.MaxAppend))
	list = append(list, "SORT", "SORT=DISPLAY", "ESORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS",
		"PARTIAL", "CONTEXT=SEARCH", "CONTEXT=SORT", "SEARCH=FUZZY", "MULTISEARCH", "PREVIEW", "I18NLEVEL=1", "LANGUAGE", "NOTIFY")
	if most := s.srv.opt.MaxMessages; most > 0 {
		list = append(list, "MESSAGELIMIT="+number(int64(most)))
	}
	if !s.conn.Compressed() {
		list = append(list, "COMPRESS=DEFLATE")
	}
	return strings.Join(list, " ")
}

// sources are what the mechanisms ask.
func (s *Server) sources() sasl.Sources {
	o := s.opt
	return sasl.Sources{Passwords: o.Auth, Verifiers: o.Verifiers, Certificates: o.Certificates, Tokens: o.Tokens, NoBinding: o.NoBinding}
}
