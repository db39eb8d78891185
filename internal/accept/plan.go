package accept

import (
	"errors"
	"fmt"
	"slices"

	"restante/internal/mail"
	"restante/internal/srs"
	"restante/spool"
)

// ErrClosed tells that a group does not take mail from this sender.
var ErrClosed = errors.New("the group takes no mail from this sender")

// Origin is who wants to send to a local address.
type Origin struct {
	// From is the envelope's sender.
	From mail.Address
	// Account is the authenticated account, "" for none.
	Account string
	// Trusted tells that the client is in a trusted network or on this machine.
	Trusted bool
	// Size is the message's in octets as the client has declared it, 0 if it
	// has not.
	Size int64
}

// Rule names what led from one address to the next.
type Rule string

// The rules.
const (
	RuleAlias      Rule = "alias"
	RuleGroup      Rule = "group"
	RuleClosed     Rule = "closed group"
	RuleTag        Rule = "without its +tag"
	RuleCatchAll   Rule = "catch-all"
	RulePostmaster Rule = "postmaster"
	RuleAccount    Rule = "account"
	RuleNobody     Rule = "nobody"
	// RuleElsewhere is for an address that is not ours.
	RuleElsewhere Rule = "elsewhere"
	// RuleReturn leads a sender that we had rewritten back to the original.
	RuleReturn Rule = "rewritten sender"
	// RuleMasquerade, RuleSRS and RuleOwner change the sender; the latter two
	// of a forwarded message, RuleKept tells that SRS could not.
	RuleMasquerade Rule = "masquerade"
	RuleSRS        Rule = "SRS"
	RuleOwner      Rule = "owner of the group"
	RuleKept       Rule = "sender stays"
)

// Step is one application of a rule.
type Step struct {
	Rule    Rule
	Address mail.Address
	// To is where it leads.
	To []mail.Address
}

// Local tells whether an address is ours to deliver.
func (a *Acceptor) Local(to mail.Address) bool {
	return to.Domain == "" || a.opt.Directory.IsLocal(to.Domain) || a.returns(to)
}

// returns tells whether an address is a sender that we rewrote.
func (a *Acceptor) returns(to mail.Address) bool { return a.opt.SRS != nil && a.opt.SRS.Is(to) }

// Check tells whether a local address leads anywhere; it fails with
// mail.ErrNoSuchUser. Remote addresses pass: relaying is policy, and is decided
// by the caller.
func (a *Acceptor) Check(to mail.Address) error {
	return a.Admit(Origin{Trusted: true}, to)
}

// Admit tells at RCPT time whether an address takes mail from somebody. It is
// Check, and fails with ErrClosed too, or with a *RefusedError if mail from there
// could only come back, or if there is no room for it.
func (a *Acceptor) Admit(from Origin, to mail.Address) error {
	if !a.Local(to) {
		return nil
	}
	t, err := a.resolve(to, nil)
	if err != nil {
		return err
	}
	if err := a.admit(from, t, nil); err != nil {
		return err
	}
	if err := a.mailable(from, t); err != nil {
		return err
	}
	return a.room(from, t)
}

// resolve is Directory.Resolve, and the way back of SRS. An account or alias
// that happens to look like a rewritten sender goes before it.
func (a *Acceptor) resolve(to mail.Address, trace func(Step)) (Targets, error) {
	if !a.returns(to) {
		return a.opt.Directory.Resolve(to, trace)
	}
	original, err := a.opt.SRS.Reverse(to)
	if err != nil {
		if a.opt.Directory.IsLocal(to.Domain) {
			if t, err := a.opt.Directory.Resolve(to, trace); err == nil {
				return t, nil
			}
		}
		return Targets{}, fmt.Errorf("%w: %w", mail.ErrNoSuchUser, err)
	}
	if trace != nil {
		trace(Step{RuleReturn, to, []mail.Address{original}})
	}
	if a.opt.Directory.IsLocal(original.Domain) {
		return a.opt.Directory.Resolve(original, trace)
	}
	return Targets{Forwards: []Forward{{To: original}}}, nil
}

// admit holds an origin against the closed groups on the way to an address.
// Who is neither logged in nor trusted cannot come as one of ours.
func (a *Acceptor) admit(from Origin, t Targets, trace func(Step)) error {
	for _, c := range t.Closed {
		if from.Account != "" || from.Trusted || !a.Local(from.From) && c.Admits(from.From) {
			continue
		}
		if trace != nil {
			trace(Step{Rule: RuleClosed, Address: c.Name})
		}
		return fmt.Errorf("<%s>: %w", c.Name, ErrClosed)
	}
	return nil
}

// Plan is what becomes of a message.
type Plan struct {
	// From is the sender after masquerading.
	From     mail.Address
	Deposits []spool.Deposit
	Tasks    []spool.Task
	// local tells that something is or will be deposited.
	local bool
	// owners are the recipients whose the deposits are.
	owners []mail.Address
}

// Plan tells what would become of a message. trace, unless it is nil, is told
// of each rule that applies, and to which recipient. It fails as Begin does.
func (a *Acceptor) Plan(s Submission, trace func(rcpt mail.Address, step Step)) (Plan, error) {
	if from := a.sender(&s); from != s.Envelope.From {
		if trace != nil {
			trace(mail.Address{}, Step{RuleMasquerade, s.Envelope.From, []mail.Address{from}})
		}
		s.Envelope.From = from
	}
	p := planner{
		a: a, s: &s, trace: trace,
		accounts: make(map[string]bool),
		remotes:  make(map[mail.Address]bool),
		tasks:    make(map[taskKey]int),
		held:     a.hold(&s.Envelope) > 0,
	}
	p.From = s.Envelope.From
	for _, r := range s.Recipients {
		if err := p.add(r); err != nil {
			return Plan{}, err
		}
	}
	return p.Plan, nil
}

// sender is the envelope's sender as others shall see it.
func (a *Acceptor) sender(s *Submission) mail.Address {
	if !s.Complete {
		return s.Envelope.From
	}
	return a.opt.Masquerade.Address(s.Envelope.From)
}

// planner makes a Plan: in the recipients' order, each account and each remote
// address once.
type planner struct {
	Plan
	a        *Acceptor
	s        *Submission
	trace    func(mail.Address, Step)
	accounts map[string]bool
	remotes  map[mail.Address]bool
	tasks    map[taskKey]int
	held     bool
}

// taskKey is what the recipients of a task have in common.
type taskKey struct {
	spool.Destination
	own  bool // from is not the envelope's
	from mail.Address
}

// tracer is the trace of one recipient; nil if nobody wants to know.
func (p *planner) tracer(rcpt mail.Address) func(Step) {
	if p.trace == nil {
		return nil
	}
	return func(s Step) { p.trace(rcpt, s) }
}

func (p *planner) add(r mail.Recipient) error {
	trace := p.tracer(r.To)
	if !p.a.Local(r.To) {
		if trace != nil {
			trace(Step{Rule: RuleElsewhere, Address: r.To})
		}
		p.remote(r, p.s.Envelope.From)
		return nil
	}
	t, err := p.a.resolve(r.To, trace)
	if err != nil {
		return err
	}
	if err := p.a.admit(p.s.origin(), t, trace); err != nil {
		return err
	}
	p.local = p.local || len(t.Accounts) > 0
	if p.held {
		p.queue(taskKey{Destination: spool.Destination{Route: LocalRoute}}, r)
		return nil
	}
	if route := p.notice(r, t); route != "" {
		p.queue(taskKey{Destination: spool.Destination{Route: route}}, r)
		// What is reported here is not reported again by those behind it.
		r.Notify = withoutSuccess(r.Notify)
	}
	for _, account := range t.Accounts {
		p.deposit(account, r.To)
	}
	for _, f := range t.Forwards {
		p.forward(r, f, trace)
	}
	return nil
}

// notice is the destination of the notice that a sender asked for of an address
// of ours; "" if it is not ours to give (RFC 3461 section 5.2.7): it is
// delivered if that ends here, in a mailbox or at a list with an owner, and
// expanded if there are several behind it. One address elsewhere takes the wish
// over.
func (p *planner) notice(r mail.Recipient, t Targets) string {
	owned := slices.ContainsFunc(t.Forwards, func(f Forward) bool { return !f.Sender.IsNull() })
	switch {
	case !noticed(&p.s.Envelope, r):
		return ""
	case !owned && len(t.Accounts)+len(t.Forwards) > 1:
		return ExpandedRoute
	case owned || len(t.Accounts) > 0:
		return NoticeRoute
	}
	return ""
}

// withoutSuccess is a wish for reports without those of success.
func withoutSuccess(n mail.Notify) mail.Notify {
	if n &^= mail.NotifySuccess; n == 0 {
		return mail.NotifyNever // 0 would ask for failures too
	}
	return n
}

func (p *planner) deposit(account string, to mail.Address) {
	if p.accounts[account] {
		return
	}
	p.accounts[account] = true
	p.owners = append(p.owners, to)
	p.Deposits = append(p.Deposits, spool.Deposit{
		Account: account,
		Mailbox: spool.Inbox,
		Prefix:  fmt.Appendf(nil, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", p.s.Envelope.From, to),
	})
}

// forward sends to an address elsewhere that a local one leads to. For the
// owner of a group it is his mail: reports are his, and what the sender asked
// of reports does not count (RFC 3461 section 5.2.7.3).
func (p *planner) forward(r mail.Recipient, f Forward, trace func(Step)) {
	from := p.s.Envelope.From
	to := mail.Recipient{To: f.To, Original: r.Original, Notify: r.Notify}
	rule, sender := RuleSRS, from
	switch {
	case from.IsNull():
		// A bounce must not cause another (RFC 5321 section 6.1).
	case !f.Sender.IsNull():
		rule, sender = RuleOwner, f.Sender
		to.Original, to.Notify = "", 0
	case p.a.opt.SRS != nil && !p.a.Local(from):
		var err error
		if sender, err = p.a.opt.SRS.Forward(from); errors.Is(err, srs.ErrTooLong) {
			rule, sender = RuleKept, from
		}
	}
	if trace != nil {
		trace(Step{Rule: RuleElsewhere, Address: f.To})
		if sender != from || rule == RuleKept {
			trace(Step{rule, from, []mail.Address{sender}})
		}
	}
	p.remote(to, sender)
}

func (p *planner) remote(r mail.Recipient, from mail.Address) {
	if p.remotes[r.To] {
		return
	}
	p.remotes[r.To] = true
	key := taskKey{Destination: p.a.opt.Route(way(&p.s.Envelope, from, r.To, p.s.Header))}
	if from != p.s.Envelope.From {
		key.own, key.from = true, from
	}
	p.queue(key, r)
}

func (p *planner) queue(key taskKey, r mail.Recipient) {
	i, ok := p.tasks[key]
	if !ok {
		i = len(p.Tasks)
		p.tasks[key] = i
		t := p.a.task(key.Destination, &p.s.Envelope)
		if key.own {
			t.From = &key.from
		}
		p.Tasks = append(p.Tasks, t)
	}
	p.Tasks[i].Recipients = append(p.Tasks[i].Recipients, r)
}
