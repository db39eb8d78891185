// Package accept is the one way into the spool: it turns an envelope, its
// recipients and the octets of a message into deposits (local recipients,
// aliases followed) and tasks (one for each destination), and commits them as
// one. smtpd, the control socket's sendmail and the relay's reports all come
// through here, so that they cannot treat an address differently.
//
// It adds nothing to the body: trace fields are written by the caller, in
// front. Return-Path and Delivered-To belong to final delivery and are given
// to the deposit as its prefix.
package accept

import (
	"context"
	"fmt"
	"time"

	"restante/internal/mail"
	"restante/internal/structure"
	"restante/spool"
)

// Directory knows what is local.
type Directory interface {
	// IsLocal tells whether mail for the domain is delivered here.
	IsLocal(domain string) bool
	// Resolve follows aliases and the catch-all of a local address to its end.
	// It fails with mail.ErrNoSuchUser; its errors name the address. A bare postmaster (no domain) is local.
	Resolve(to mail.Address) (Targets, error)
}

// Targets is where a local address leads.
type Targets struct {
	// Accounts are the names of accounts whose INBOX takes the message.
	Accounts []string
	// Forwards are addresses elsewhere.
	Forwards []mail.Address
}

// Options is what an Acceptor works with; all are required but the durations.
type Options struct {
	Intake    spool.Intake
	Directory Directory
	// Route gives the queue's destination of a remote address.
	Route func(to mail.Address) spool.Destination
	// Warn and Expire are given to every task, from the commit on; 0 is never.
	Warn, Expire time.Duration
	// Now is the clock that HoldUntil and By of an envelope are held against;
	// nil is time.Now.
	Now func() time.Time
}

// Acceptor takes messages in. It is safe for concurrent use.
type Acceptor struct{ opt Options }

// New returns an Acceptor.
func New(opt Options) *Acceptor { return &Acceptor{opt: opt} }

// Local tells whether an address is ours to deliver.
func (a *Acceptor) Local(to mail.Address) bool {
	return to.Domain == "" || a.opt.Directory.IsLocal(to.Domain)
}

// Check tells at RCPT time whether a local address leads anywhere; it fails
// with mail.ErrNoSuchUser. Remote addresses pass: relaying is policy, and is
// decided by the caller.
func (a *Acceptor) Check(to mail.Address) error {
	if !a.Local(to) {
		return nil
	}
	_, err := a.opt.Directory.Resolve(to)
	return err
}

// Message is one message on its way in. It is not safe for concurrent use.
type Message struct {
	staged spool.Staged
	parser *structure.Parser // nil if nothing is deposited
	msg    spool.Message
}

// Begin resolves the recipients and opens a staging area. A recipient that
// leads nowhere any more fails the whole with mail.ErrNoSuchUser. Other errors
// are the spool's.
func (a *Acceptor) Begin(env mail.Envelope, rcpts []mail.Recipient) (*Message, error) {
	m := &Message{msg: spool.Message{Envelope: env}}
	if err := a.plan(&m.msg, rcpts); err != nil {
		return nil, err
	}
	staged, err := a.opt.Intake.Create()
	if err != nil {
		return nil, err
	}
	m.staged = staged
	if len(m.msg.Deposits) > 0 {
		m.parser = structure.NewParser()
	}
	return m, nil
}

// plan fills in the deposits and tasks of a message, in the recipients' order,
// each account and each remote address once.
func (a *Acceptor) plan(msg *spool.Message, rcpts []mail.Recipient) error {
	accounts := make(map[string]bool)
	remotes := make(map[mail.Address]bool)
	tasks := make(map[spool.Destination]int)
	queue := func(d spool.Destination, r mail.Recipient) {
		i, ok := tasks[d]
		if !ok {
			i = len(msg.Tasks)
			tasks[d] = i
			msg.Tasks = append(msg.Tasks, a.task(d, &msg.Envelope))
		}
		msg.Tasks[i].Recipients = append(msg.Tasks[i].Recipients, r)
	}
	remote := func(r mail.Recipient) {
		if remotes[r.To] {
			return
		}
		remotes[r.To] = true
		queue(a.opt.Route(r.To), r)
	}
	held := a.hold(&msg.Envelope) > 0
	for _, r := range rcpts {
		if !a.Local(r.To) {
			remote(r)
			continue
		}
		t, err := a.opt.Directory.Resolve(r.To)
		if err != nil {
			return err
		}
		if held {
			queue(spool.Destination{Route: LocalRoute}, r)
			continue
		}
		if len(t.Accounts) > 0 && noticed(&msg.Envelope, r) {
			queue(spool.Destination{Route: NoticeRoute}, r)
		}
		for _, account := range t.Accounts {
			if !accounts[account] {
				accounts[account] = true
				msg.Deposits = append(msg.Deposits, spool.Deposit{
					Account: account,
					Mailbox: spool.Inbox,
					Prefix:  fmt.Appendf(nil, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", msg.Envelope.From, r.To),
				})
			}
		}
		for _, to := range t.Forwards {
			remote(mail.Recipient{To: to, Original: r.Original, Notify: r.Notify})
		}
	}
	return nil
}

// ID is the queue ID the message will have.
func (m *Message) ID() mail.ID { return m.staged.ID() }

// Size is the number of octets written so far.
func (m *Message) Size() int64 { return m.staged.Size() }

// Write appends to the message as it is stored: trace fields, header, body.
func (m *Message) Write(p []byte) (int, error) {
	if m.parser != nil {
		m.parser.Write(p)
	}
	return m.staged.Write(p)
}

// Envelope gives access to the envelope until the message is committed: some
// of it, such as EightBit, is only known after the body.
func (m *Message) Envelope() *mail.Envelope { return &m.msg.Envelope }

// Commit makes the message durable; see spool.Staged.
func (m *Message) Commit(ctx context.Context) (spool.Receipt, error) {
	m.finish()
	return m.staged.Commit(ctx, m.msg)
}

// Report hands the message over to be committed by a Settle.
func (m *Message) Report() spool.Report {
	m.finish()
	return spool.Report{Staged: m.staged, Message: m.msg}
}

// Abort throws the message away, unless it was committed.
func (m *Message) Abort() { m.staged.Abort() }

func (m *Message) finish() {
	if m.parser != nil {
		m.msg.Structure = m.parser.Finish().Encode()
		m.parser = nil
	}
}
