package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/accept"
	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/relay"
	"restante/smtpd"
	"restante/spool"
)

// explainer tells what would become of a message. It asks the rooms that would
// deal with it, smtpd for its policy, accept for the addresses, relay for the
// routes, and writes down what they say: no rule is known here.
type explainer struct {
	cfg      *config.Config
	accounts interface {
		Lookup(user string) (string, error)
		smtpd.Senders
	}
	routes   *relay.Routes
	acceptor *accept.Acceptor
}

// The kinds of facts, in the order in which they come.
const (
	factClient    = "client"    // who the client is to the listener
	factMail      = "mail"      // the reply to MAIL
	factRcpt      = "rcpt"      // the reply to a RCPT
	factData      = "data"      // what is refused for its header
	factFilter    = "filter"    // who looks at the message
	factHeader    = "header"    // what is done to the header
	factSender    = "sender"    // what is done to the envelope's sender
	factAddress   = "address"   // where an address leads
	factSigning   = "signing"   // who signs it, in which name
	factDeposit   = "deposit"   // which mailbox gets it
	factRoute     = "route"     // which way it leaves
	factRewriting = "rewriting" // what the route does to it
	factTLS       = "tls"       // how the way is protected
	factRetry     = "retry"     // how long is tried
)

// facts collects an explanation.
type facts struct{ control.Explanation }

func (f *facts) add(kind, about, format string, args ...any) {
	f.Facts = append(f.Facts, control.Fact{Kind: kind, About: about, Text: fmt.Sprintf(format, args...)})
}

func (f *facts) refuse(kind, about, format string, args ...any) {
	f.add(kind, about, format, args...)
	f.Facts[len(f.Facts)-1].Refused = true
}

// explain implements control.Explainer.
func (x *explainer) explain(ctx context.Context, q control.Question) (control.Explanation, error) {
	f := &facts{control.Explanation{Facts: []control.Fact{}}}
	v, opt, err := x.visit(f, q)
	if err != nil || len(f.Facts) > 0 {
		return f.Explanation, err
	}
	standing, answers, sub := smtpd.Explain(opt, v)
	x.client(f, standing, v, opt.Role)
	for _, a := range answers {
		kind := map[string]string{"MAIL": factMail, "RCPT": factRcpt, "DATA": factData}[a.Command]
		about := a.To.String()
		if a.Command == "MAIL" {
			about = "<" + v.From.String() + ">"
		}
		if a.Refused {
			f.refuse(kind, about, "%s", a.Reply)
		} else {
			f.add(kind, about, "%s", a.Reply)
		}
	}
	if len(sub.Recipients) == 0 {
		return f.Explanation, nil
	}
	x.filters(f, standing)
	x.header(f, sub.Complete)
	sub.Header = sync.OnceValue(func() *header.Block { return asked(q, v.Author) })
	plan, err := x.acceptor.Plan(sub, func(rcpt mail.Address, s accept.Step) { step(f, rcpt, s) })
	if err != nil {
		return f.Explanation, err
	}
	f.Accepted = true
	author := plan.From
	if v.Author != v.From {
		author = v.Author
	}
	x.signing(ctx, f, "", sub, x.author(author))
	for _, d := range plan.Deposits {
		f.add(factDeposit, d.Account, "into %s of %s", d.Mailbox, d.Account)
	}
	for _, t := range plan.Tasks {
		x.task(ctx, f, sub, plan.From, t)
	}
	return f.Explanation, nil
}

// asked is the header of the message in question.
func asked(q control.Question, author mail.Address) *header.Block {
	fields := header.Compose("From", author.String())
	for _, s := range q.Headers {
		name, value, _ := strings.Cut(s, ":")
		fields += header.Compose(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header.Parse([]byte(fields + "\r\n"))
}

// visit reads a question. What is wrong with the user is a fact.
func (x *explainer) visit(f *facts, q control.Question) (v smtpd.Visit, opt smtpd.Options, err error) {
	bad := func(format string, args ...any) error {
		return &control.Error{Code: control.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
	}
	role := config.Role(q.Listener)
	if role == "" {
		if role = config.RoleSMTP; q.User != "" {
			role = config.RoleSubmission
		}
	}
	opt = smtpd.Options{Accept: x.acceptor, Senders: x.accounts, Hostname: x.cfg.ServerName()}
	switch role {
	case config.RoleSMTP:
		opt.Role, opt.Trusted = smtpd.Relay, x.cfg.SMTP.Prefixes()
	case config.RoleSubmission, config.RoleSubmissions:
		opt.Role = smtpd.Submission
	case config.RoleLMTP:
		opt.Role, opt.Trusted = smtpd.LMTP, x.cfg.SMTP.Prefixes()
		v.Local = q.Client == ""
	default:
		return v, opt, bad("listener %q is none of smtp, submission, submissions and lmtp", q.Listener)
	}
	if from := strings.Trim(q.From, "<> "); from != "" {
		if v.From, err = mail.ParseAddress(from); err != nil {
			return v, opt, bad("from: %s", err)
		}
	}
	v.Author = v.From
	if q.Author != "" {
		if v.Author, err = mail.ParseAddress(strings.Trim(q.Author, "<> ")); err != nil {
			return v, opt, bad("author: %s", err)
		}
	}
	for _, s := range q.To {
		to, err := mail.ParseAddress(strings.Trim(s, "<> "))
		if err != nil {
			return v, opt, bad("to: %s", err)
		}
		v.To = append(v.To, to)
	}
	if len(v.To) == 0 {
		return v, opt, bad("to: a recipient is missing")
	}
	if q.Client != "" {
		if v.Addr, err = netip.ParseAddr(q.Client); err != nil {
			return v, opt, bad("client: %q is not an IP address", q.Client)
		}
		v.Addr = v.Addr.Unmap()
	}
	v.TLS = q.TLS || q.User != "" || role == config.RoleSubmissions
	if q.User != "" {
		v.Account, err = x.accounts.Lookup(q.User)
		if errors.Is(err, mail.ErrNoSuchUser) {
			f.refuse(factClient, "", "there is no account %q", q.User)
			err = nil
		}
	}
	return v, opt, err
}

// client tells who the client is.
func (x *explainer) client(f *facts, standing smtpd.Standing, v smtpd.Visit, role smtpd.Role) {
	from, tls := "from an unknown address", "without TLS"
	if v.Local {
		from = "at a Unix socket"
	} else if v.Addr.IsValid() {
		from = "from " + v.Addr.String()
	}
	if v.TLS {
		tls = "with TLS"
	}
	who := "a stranger, who may send to our own addresses only"
	switch standing {
	case smtpd.Authenticated:
		who = "logged in as " + v.Account
	case smtpd.TrustedClient:
		who = "trusted, without login"
	}
	f.add(factClient, "", "%s, %s, at a listener for %s: %s", from, tls, role, who)
}

// filters tells who looks at the message and may refuse or change it.
func (x *explainer) filters(f *facts, standing smtpd.Standing) {
	kind := map[smtpd.Standing]string{
		smtpd.Stranger: config.ForOutside, smtpd.TrustedClient: config.ForTrusted, smtpd.Authenticated: config.ForAuthenticated,
	}[standing]
	if a := x.cfg.Authentication; standing == smtpd.Stranger && a.Evaluate {
		f.add(factFilter, "", "SPF, DKIM and DMARC are evaluated: mail that fails DMARC gets %s at most, mail that fails SPF %s", a.DMARC, a.SPF)
	}
	for _, m := range x.cfg.Milters {
		if len(m.For) > 0 && !slices.Contains(m.For, kind) {
			continue
		}
		failing := "the message waits with the client"
		if m.OnFailure == config.MilterAccept {
			failing = "the message is taken without it"
		}
		f.add(factFilter, "", "milter %s at %s is shown the message, and may refuse or change it; when it fails %s", m.Name, m.Address, failing)
	}
}

// header tells what is done to the header.
func (x *explainer) header(f *facts, complete bool) {
	if !complete {
		f.add(factHeader, "", "stays as it comes, but for Received in front and Return-Path, which is taken out")
		return
	}
	f.add(factHeader, "", "Received goes in front; Bcc and Return-Path are taken out; From, Date and Message-ID are added if they are missing, unless somebody has signed the message")
	if len(x.cfg.Masquerade) > 0 {
		f.add(factHeader, "", "names of internal hosts are masqueraded in From, Sender, Reply-To, To and Cc, unless somebody has signed the message")
	}
}

// step tells of one rule for an address.
func step(f *facts, rcpt mail.Address, s accept.Step) {
	var to []string
	for _, a := range s.To {
		to = append(to, a.String())
	}
	leads, about := strings.Join(to, ", "), rcpt.String()
	switch s.Rule {
	case accept.RuleMasquerade:
		f.add(factSender, "", "<%s> becomes <%s> (masquerade)", s.Address, leads)
	case accept.RuleSRS:
		f.add(factSender, about, "<%s> becomes <%s>, since it is forwarded (SRS)", s.Address, leads)
	case accept.RuleOwner:
		f.add(factSender, about, "<%s> becomes <%s>, the owner of the group", s.Address, leads)
	case accept.RuleKept:
		f.add(factSender, about, "<%s> stays: it is too long for SRS, and the next hop may take it for forged", s.Address)
	case accept.RuleAlias, accept.RuleGroup, accept.RuleCatchAll, accept.RulePostmaster:
		f.add(factAddress, about, "%s: %s leads to %s", s.Rule, s.Address, leads)
	case accept.RuleTag:
		f.add(factAddress, about, "%s is %s without its +tag", s.Address, leads)
	case accept.RuleReturn:
		f.add(factAddress, about, "%s is a rewritten sender, and leads back to %s", s.Address, leads)
	case accept.RuleAccount:
		f.add(factAddress, about, "%s is the account %s", s.Address, leads)
	case accept.RuleNobody:
		f.refuse(factAddress, about, "%s is nobody's and gets nothing", s.Address)
	case accept.RuleElsewhere:
		f.add(factAddress, about, "%s is elsewhere", s.Address)
	}
}

// author is who a message is from that has the sender.
func (x *explainer) author(from mail.Address) mail.Address {
	if from.IsNull() {
		return mail.Address{Local: "MAILER-DAEMON", Domain: x.cfg.ServerName()}
	}
	return from
}

// signing tells who signs a message From an author.
func (x *explainer) signing(ctx context.Context, f *facts, about string, s accept.Submission, author mail.Address) {
	block, err := x.acceptor.Signed(ctx, s, author)
	if err != nil {
		f.refuse(factSigning, about, "a signature cannot be made: %s", err)
		return
	}
	if len(block.Fields()) == 0 {
		f.add(factSigning, about, "not signed")
	}
	for _, field := range block.Fields() {
		f.add(factSigning, about, "signed with %s, for the author %s", signature(field), author)
	}
}

// signature describes a DKIM-Signature field by its tags.
func signature(field header.Field) string {
	text := field.Name
	for tag := range strings.SplitSeq(field.Value(), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(tag), "=")
		if name = strings.TrimSpace(name); name == "a" || name == "d" || name == "s" {
			text += " " + name + "=" + strings.TrimSpace(value)
		}
	}
	return text
}

// task tells of one way out.
func (x *explainer) task(ctx context.Context, f *facts, s accept.Submission, from mail.Address, t spool.Task) {
	about := t.Destination.String()
	var to []string
	for _, r := range t.Recipients {
		to = append(to, r.To.String())
	}
	if t.From != nil {
		from = *t.From
	}
	route, ok := x.routes.Lookup(t.Destination.Route)
	if !ok {
		return
	}
	f.add(factRoute, about, "%s for %s, from <%s>", way(route, t.Destination), strings.Join(to, ", "), from)
	_, rule := x.routes.Choose(accept.Way{
		To: t.Recipients[0].To, From: from, Account: s.Envelope.Client.Account, Header: s.Header,
	})
	f.add(factRoute, about, "chosen by %s", rule)
	if route.SpillTo != "" {
		f.add(factRoute, about, "with its daily quota used up mail takes the route %s", route.SpillTo)
	}
	if sender := route.Rewrite.Envelope(from); sender != from {
		f.add(factRewriting, about, "<%s> becomes <%s> as the sender, by rewrite_sender of the route", from, sender)
	}
	if author := route.Rewrite.From; !author.IsNull() {
		f.add(factRewriting, about, "the address in From becomes %s, and the old From Reply-To if there is none, by rewrite_from of the route", author)
		s.Trusted, s.Complete = true, true
		x.signing(ctx, f, about, s, author)
	}
	f.add(factTLS, about, "%s", protection(route))
	f.add(factRetry, about, "%s", x.retries(t))
}

func way(r *relay.Route, d spool.Destination) string {
	if r.Kind == relay.MX {
		return fmt.Sprintf("route %s, to the mail exchangers of %s", r.Name, d.Domain)
	}
	if r.Kind == relay.HTTP {
		text := fmt.Sprintf("route %s, posted to %s", r.Name, strings.Join(r.Hook.URLs, ", "))
		if r.Hook.Format == relay.HookJSON {
			text += " as JSON"
		}
		if r.Hook.Secret != nil {
			text += ", signed"
		}
		return text
	}
	var hosts []string
	for _, h := range r.Hosts {
		hosts = append(hosts, hostOf(h))
	}
	text := fmt.Sprintf("route %s, to %s", r.Name, strings.Join(hosts, ", "))
	if r.Username != "" {
		text += " with login as " + r.Username
	}
	return text
}

// hostOf tells of a host with what is its own.
func hostOf(h relay.Host) string {
	var own []string
	if h.Order > 0 {
		own = append(own, fmt.Sprintf("order %d", h.Order))
	}
	if h.Weight > 0 {
		own = append(own, fmt.Sprintf("weight %d", h.Weight))
	}
	if h.Username != "" {
		own = append(own, "login as "+h.Username)
	}
	if h.TLS != nil {
		own = append(own, "TLS "+h.TLS.String())
	}
	if h.Limits.Daily > 0 {
		own = append(own, fmt.Sprintf("%d recipients a day", h.Limits.Daily))
	}
	if len(own) == 0 {
		return h.String()
	}
	return fmt.Sprintf("%s (%s)", h, strings.Join(own, ", "))
}

func protection(r *relay.Route) string {
	if r.Kind == relay.HTTP {
		return "https, and the certificate is checked; none for a URL that begins with http"
	}
	text := map[relay.TLSMode]string{
		relay.TLSNone: "no TLS", relay.TLSOpportunistic: "STARTTLS if it is offered",
		relay.TLSRequired: "STARTTLS, or the mail waits", relay.TLSImplicit: "TLS from the beginning",
		relay.TLSVerified: "STARTTLS, or the mail waits",
	}[r.TLS]
	switch {
	case r.TLS == relay.TLSNone:
		return text
	case r.Verifies():
		return text + "; the certificate is checked"
	}
	return text + "; whatever the certificate"
}

// retries tells when is tried, and until when.
func (x *explainer) retries(t spool.Task) string {
	schedule := retrySchedule(x.cfg.Queue)
	if r, ok := x.routes.Lookup(t.Destination.Route); ok && r.Schedule != nil {
		schedule = *r.Schedule
	}
	var waits []string
	for n := 1; n <= 5; n++ {
		waits = append(waits, config.Duration(schedule.NextAttempt(n, 0.5).Round(time.Second)).String())
	}
	text := fmt.Sprintf("again after %s … (at most %s)", strings.Join(waits, ", "), config.Duration(schedule.Longest()))
	if t.Warn > 0 {
		text += "; the sender is told after " + config.Duration(t.Warn.Round(time.Second)).String()
	}
	if t.Expire > 0 {
		text += "; returned after " + config.Duration(t.Expire.Round(time.Second)).String()
	}
	return text
}
