package accept

import (
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// The destinations of tasks that need no next hop; the runner deals with them
// itself. No route can be named so, since there are spaces in the names.
const (
	// LocalRoute is for mail to local recipients that is held back by
	// Envelope.HoldUntil, and deposited when that is over.
	LocalRoute = "local delivery"
	// NoticeRoute is for local recipients whose mail was deposited, and whose
	// sender asked to be told of that (RFC 3461). Such a task is committed
	// with the deposit, so the report is as certain as the deposit is.
	NoticeRoute = "notice of delivery"
	// ExpandedRoute is like it, for an address with several behind it.
	ExpandedRoute = "notice of expansion"
	// RelayedRoute is for recipients elsewhere whose mail was passed on, while
	// the notice of it that their sender asked for could not be made yet.
	RelayedRoute = "notice of relaying"
)

// OwnRoute tells whether a route is one of those that need no next hop.
func OwnRoute(name string) bool {
	switch name {
	case LocalRoute, NoticeRoute, ExpandedRoute, RelayedRoute, ArchiveRoute:
		return true
	}
	return false
}

// Once has Commit fail with a *spool.DuplicateError if a message with the same
// key was committed within the window; see spool.Message.
func (m *Message) Once(key [32]byte, window time.Duration) {
	m.msg.Once, m.msg.OnceFor = key, min(window, spool.MaxOnce)
}

// hold is how long a message is to be held back.
func (a *Acceptor) hold(env *mail.Envelope) time.Duration {
	if env.HoldUntil.IsZero() {
		return 0
	}
	return max(0, env.HoldUntil.Sub(a.now()))
}

func (a *Acceptor) now() time.Time {
	if a.opt.Now != nil {
		return a.opt.Now()
	}
	return time.Now()
}

// task is a task without recipients, with the times that the envelope asks
// for. What is held back gets warned of and expires that much later.
func (a *Acceptor) task(d spool.Destination, env *mail.Envelope) spool.Task {
	switch d.Route {
	case NoticeRoute, ExpandedRoute, RelayedRoute, ArchiveRoute:
		return spool.Task{Destination: d}
	}
	t := spool.Task{Destination: d, Delay: a.hold(env), Warn: a.opt.Warn, Expire: a.opt.Expire}
	if a.opt.Times != nil {
		t.Warn, t.Expire = a.opt.Times(d)
	}
	if t.Warn > 0 {
		t.Warn += t.Delay
	}
	if t.Expire > 0 {
		t.Expire += t.Delay
	}
	if env.By.IsZero() {
		return t
	}
	// 0 would be never.
	left := max(env.By.At.Sub(a.now()), time.Millisecond)
	switch {
	case !env.By.Return:
		t.Warn = left
	case t.Expire == 0 || left < t.Expire:
		t.Expire = left
	}
	if t.Expire > 0 && t.Warn >= t.Expire {
		t.Warn = 0
	}
	return t
}

// noticed tells whether the sender wants to hear of a deposit.
func noticed(env *mail.Envelope, r mail.Recipient) bool {
	return !env.From.IsNull() && r.Notify.Wants(mail.NotifySuccess)
}
