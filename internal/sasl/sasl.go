// Package sasl is the server's side of SASL (RFC 4422): the mechanisms by which
// a client of SMTP or IMAP shows who it is.
//
// It reads what clients send and asks others what is true: Passwords, Verifiers,
// Certificates and Tokens. It offers a mechanism only where that can work and is
// safe: none without TLS, but for SCRAM if that is allowed; the -PLUS form, which
// binds the login to the TLS channel, whenever there is one.
//
// Whatever a client sends costs bounded memory and time. A message that is not
// in the form of its mechanism fails with ErrMalformed, everything else that is
// the client's fault with one of the other errors of this package or with
// mail.ErrBadCredentials. Any further error is a fault of ours, and says nothing
// about the client.
//
// SCRAM is our own and not a library's: an account has several passwords here,
// of which any is right, TLS 1.2 has two readings of tls-exporter, and who is
// unknown must not be told from who is known.
package sasl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"restante/internal/mail"
)

// The mechanisms, by the names that clients use.
const (
	ScramPlus   = "SCRAM-SHA-256-PLUS" // RFC 7677, RFC 5802
	Scram       = "SCRAM-SHA-256"
	External    = "EXTERNAL"    // RFC 4422 appendix A
	Plain       = "PLAIN"       // RFC 4616
	Login       = "LOGIN"       // never standardised, all that some devices speak
	OAuthBearer = "OAUTHBEARER" // RFC 7628
	XOAuth2     = "XOAUTH2"     // what came before it
)

// What an exchange fails with, beside mail.ErrBadCredentials.
var (
	// ErrMechanism: the mechanism is not offered.
	ErrMechanism = errors.New("mechanism is not offered")
	// ErrMalformed: the client's message is not of the mechanism's form.
	ErrMalformed = errors.New("malformed authentication message")
	// ErrIdentity: the client is who it says, and wants to act for another.
	ErrIdentity = errors.New("acting for another identity is not allowed")
	// ErrChannel: the client's end of the TLS channel is another one than
	// ours, or is named in a way that we do not know.
	ErrChannel = errors.New("channel binding does not match")
	// ErrDowngrade: the client could bind the login to the channel and does
	// not, since somebody kept from it that we can (RFC 5802 section 6).
	ErrDowngrade = errors.New("mechanism is weaker than both ends can do")
)

// maxMessage bounds one message of a client, in octets. Tokens are the longest.
const maxMessage = 16 << 10

// Passwords checks passwords, for PLAIN and LOGIN.
type Passwords interface {
	// Authenticate checks a password and returns the account's name. It
	// fails with mail.ErrBadCredentials.
	Authenticate(ctx context.Context, user, password string, from netip.Addr) (account string, err error)
}

// Verifiers has what SCRAM checks a client's proof against.
type Verifiers interface {
	// Complete tells whether everybody with a password has a verifier. SCRAM
	// is offered only then: a client that prefers it would fail forever for
	// want of one, with the right password.
	Complete() bool
	// Verifier returns that of a user. For who is unknown it returns one
	// without keys, and always the same.
	Verifier(user string) Verifier
	// Proved is told that a client has proved to have the password of one of
	// the user's keys, and returns the account's name. It fails with
	// mail.ErrBadCredentials if the key is no longer good.
	Proved(user string, key Keys) (account string, err error)
}

// Certificates knows whose the clients' certificates are.
type Certificates interface {
	// Certificate returns whose a certificate is, the first of its chain. The
	// client has shown that it has the key; the rest is to be checked. It
	// fails with mail.ErrBadCredentials.
	Certificate(chain []*x509.Certificate) (Identity, error)
}

// Identity is whom a certificate stands for.
type Identity struct {
	Account string
	// Implicit: without any AUTH.
	Implicit bool
}

// Tokens checks bearer tokens.
type Tokens interface {
	// Token checks a token and returns the account's name. It fails with
	// mail.ErrBadCredentials.
	Token(ctx context.Context, token string) (account string, err error)
	// Discovery is the address of the issuer's configuration, for clients
	// that come with a bad token. It is "" if no tokens are taken.
	Discovery() string
}

// Sources are what the mechanisms ask. Without one, its mechanisms are not
// offered.
type Sources struct {
	Passwords    Passwords
	Verifiers    Verifiers
	Certificates Certificates
	Tokens       Tokens
	// ClearScram offers SCRAM without TLS too: the password does not cross the
	// wire, though what follows does.
	ClearScram bool
	// NoBinding leaves SCRAM-SHA-256-PLUS out, for the sake of clients that
	// choose it and cannot bind to the channel.
	NoBinding bool
}

// Peer is the client at the other end.
type Peer struct {
	Addr netip.Addr
	// Channel is the TLS channel, nil without.
	Channel *Channel
	// Offered is what the client was told that there is; see Offer.
	Offered []string
	// Named is called once it is known who the client says it is, "" if it
	// does not say, and before any secret is looked at. Its error ends the
	// exchange. It may be nil.
	Named func(user string) error
}

// Channel is a TLS channel that was established. It is not for concurrent use.
type Channel struct {
	State tls.ConnectionState
	// Certificate is the one we showed; nil if it is not known.
	Certificate *x509.Certificate

	// looked is set when Offer has looked at the client's certificate, and
	// known tells whether it is somebody's. A chain can be made that is costly
	// to check, and a client may ask what is offered as often as it likes.
	looked, known bool
}

// Offer returns the mechanisms to announce, the strongest first.
func (s Sources) Offer(ch *Channel) []string {
	var list []string
	if s.Verifiers != nil && (ch != nil || s.ClearScram) && s.Verifiers.Complete() {
		if ch != nil && !s.NoBinding && ch.bindable() {
			list = append(list, ScramPlus)
		}
		list = append(list, Scram)
	}
	if ch == nil {
		return list
	}
	if !ch.looked {
		_, err := s.Certified(ch)
		ch.looked, ch.known = true, err == nil
	}
	if ch.known {
		list = append(list, External)
	}
	if s.Passwords != nil {
		list = append(list, Plain, Login)
	}
	if s.Tokens != nil && s.Tokens.Discovery() != "" {
		list = append(list, OAuthBearer, XOAuth2)
	}
	return list
}

// Certified returns whose certificate the client has shown. It fails with
// mail.ErrBadCredentials, also if it has shown none.
func (s Sources) Certified(ch *Channel) (Identity, error) {
	if s.Certificates == nil || ch == nil || len(ch.State.PeerCertificates) == 0 {
		return Identity{}, mail.ErrBadCredentials
	}
	return s.Certificates.Certificate(ch.State.PeerCertificates)
}

// Exchange is one authentication. User and Account have their values as the
// exchange goes on.
type Exchange struct {
	// User is who the client says it is; Account the name of the account once
	// the exchange is done.
	User, Account string

	sources Sources
	peer    Peer
	next    step
}

// step takes a response and says what to send and how to go on; next is nil
// when the exchange is done.
type step func(ctx context.Context, response []byte) (challenge []byte, next step, err error)

// Start begins an exchange. It fails with ErrMechanism if the mechanism was not
// offered to the client; the name may be in any case.
func (s Sources) Start(mechanism string, p Peer) (*Exchange, error) {
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(p.Offered, mechanism) {
		return nil, ErrMechanism
	}
	x := &Exchange{sources: s, peer: p}
	switch mechanism {
	case ScramPlus:
		x.next = (&scram{Exchange: x, plus: true}).first
	case Scram:
		x.next = (&scram{Exchange: x}).first
	case External:
		x.next = x.external
	case Plain:
		x.next = x.plain
	case Login:
		x.next = x.login
	case OAuthBearer:
		x.next = x.bearer
	case XOAuth2:
		x.next = x.xoauth2
	}
	return x, nil
}

// Next takes a response of the client, nil if it came without an initial one.
// It returns what to send, or that the client is authenticated. After an error
// the exchange is over.
func (x *Exchange) Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error) {
	if len(response) > maxMessage {
		return nil, false, fmt.Errorf("%w: too long", ErrMalformed)
	}
	if x.next == nil {
		return nil, false, fmt.Errorf("%w: the exchange is over", ErrMalformed)
	}
	now := x.next
	x.next = nil
	challenge, x.next, err = now(ctx, response)
	if err != nil {
		x.next, x.Account = nil, ""
		return nil, false, err
	}
	return challenge, x.next == nil, nil
}

// named notes who the client says it is.
func (x *Exchange) named(user string) error {
	x.User = user
	if x.peer.Named == nil {
		return nil
	}
	return x.peer.Named(user)
}

// as ends an exchange: the client has shown to be user, which is the account,
// and may act only as itself.
func (x *Exchange) as(account, user, authzid string) error {
	switch {
	case account == "":
		return mail.ErrBadCredentials
	case authzid != "" && authzid != user && !strings.EqualFold(authzid, account):
		return ErrIdentity
	}
	x.Account = account
	return nil
}
