package smtpd

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
)

// Extensions are what a Server offers besides what it always does. The zero
// value offers none of it.
type Extensions struct {
	// XClient are the networks that may tell in whose name they come, with
	// Postfix's XCLIENT. It is as good as any login: name only filters and
	// proxies that you run.
	XClient []netip.Prefix
	// Proxy are the networks from which each connection begins with a header
	// of the PROXY protocol, version 1 or 2, and is closed without one.
	Proxy []netip.Prefix
	// MaxHold is for how long a message may be held back at its sender's
	// wish (FUTURERELEASE); 0 offers nothing.
	MaxHold time.Duration
	// Hold is for how long mail of an account that has logged in is held back
	// if its sender asks for nothing else; nil is not at all.
	Hold func(account string) time.Duration
	// Once is for how long a transaction that is repeated, since the client
	// has not seen our 250, is answered with the queue ID it got the first
	// time; 0 takes it again. At most spool.MaxOnce.
	Once time.Duration
	// QuietToStrangers offers DSN only to those who may relay. Others could
	// learn from it who reads their mail where, and have reports sent to
	// whom they name as sender.
	QuietToStrangers bool
	// Repeaters are networks whose every transaction counts.
	Repeaters []netip.Prefix
}

// offer is what the client may use now.
func (s *session) offer() offer {
	o := offer{
		maxSize:    s.srv.limits.MaxSize,
		requireTLS: s.conn.tls != nil,
		dsn:        !s.srv.opt.Extensions.QuietToStrangers || s.srv.policy.mayAsk(s.client()),
		utf8:       s.tx.utf8,
		once:       s.srv.opt.Extensions.Once > 0 && s.srv.policy.mayAsk(s.client()),
	}
	if s.srv.policy.mayRelay(s.client()) {
		o.maxHold = s.srv.opt.Extensions.MaxHold
	}
	return o
}

// capabilities are the lines of the reply to EHLO, without their codes: what
// is true of the way to the end, and nothing else. The package comment says
// why something is missing.
func (c *conn) capabilities() []string {
	s, o := c.session, c.session.offer()
	caps := []string{
		c.srv.opt.Hostname,
		"PIPELINING",
		"8BITMIME",
		"ENHANCEDSTATUSCODES",
		"CHUNKING",
		"SMTPUTF8",
		"MT-PRIORITY MIXER",
		"DELIVERBY",
		"LIMITS RCPTMAX=" + strconv.Itoa(c.srv.limits.MaxRecipients),
	}
	if o.dsn {
		caps = append(caps, "DSN")
	}
	if o.requireTLS {
		caps = append(caps, "REQUIRETLS")
	}
	if o.maxHold > 0 {
		latest := c.srv.opt.Now().Add(o.maxHold).UTC()
		caps = append(caps, "FUTURERELEASE "+seconds(o.maxHold)+" "+latest.Format(time.RFC3339))
	}
	if o.once {
		caps = append(caps, "XONCE "+seconds(c.srv.opt.Extensions.Once))
	}
	if c.srv.policy.mayXClient(s.peer) {
		caps = append(caps, "XCLIENT "+xclientAttributes)
	}
	caps = append(caps, "SIZE "+strconv.FormatInt(c.srv.limits.MaxSize, 10))
	if c.srv.opt.TLS != nil && c.tls == nil && !s.local() {
		caps = append(caps, "STARTTLS")
	}
	if mechanisms := s.offerAuth(); len(mechanisms) > 0 {
		caps = append(caps, "AUTH "+strings.Join(mechanisms, " "))
	}
	return caps
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// wishes holds what MAIL asks for against what this client may ask for, and
// turns it into what the envelope says. The reply is that to MAIL.
func (s *session) wishes(m mailCommand) (mail.Envelope, reply, error) {
	env := mail.Envelope{
		From: m.from, Ret: m.ret, EnvID: m.envID,
		EightBit: m.eightBit, UTF8: m.utf8, RequireTLS: m.requireTLS, Priority: m.priority,
	}
	now, accepted := s.srv.opt.Now(), reply{250, code{2, 1, 0}, "Sender accepted"}
	if m.priority > 0 && !s.srv.policy.mayAsk(s.client()) {
		// RFC 6710 section 4.4: the text begins with the priority it has.
		env.Priority = 0
		accepted = reply{250, code{2, 3, 6}, "0 is the priority; sender accepted"}
	}
	if m.priority == 0 && s.account != "" && s.srv.opt.Allowances != nil {
		_, env.Priority = s.srv.opt.Allowances.Allowance(s.account)
	}
	if m.holdFor > 0 {
		env.HoldUntil = now.Add(m.holdFor)
	} else if m.holdUntil.After(now) {
		env.HoldUntil = m.holdUntil
	}
	if hold := env.HoldUntil; !hold.IsZero() && hold.After(now.Add(s.offer().maxHold)) {
		return env, reply{}, reply{501, code{5, 5, 4}, "Cannot hold a message for so long"}
	}
	if m.by.given {
		env.By = mail.By{At: now.Add(m.by.in), Return: m.by.back, Trace: m.by.tracing}
		if env.By.Return && !env.HoldUntil.IsZero() && !env.By.At.After(env.HoldUntil) {
			return env, reply{}, reply{501, code{5, 5, 4}, "BY would return the message before it is released"}
		}
	}
	if hold := s.srv.opt.Extensions.Hold; hold != nil && s.account != "" && m.holdFor == 0 && m.holdUntil.IsZero() {
		// A deadline is a wish of the sender's, this is only a custom.
		if d := hold(s.account); d > 0 && (env.By.IsZero() || env.By.At.After(now.Add(d))) {
			env.HoldUntil = now.Add(d)
		}
	}
	return env, accepted, nil
}
