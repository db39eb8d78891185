package authres

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"

	"blitiri.com.ar/go/spf"

	"restante/internal/author"
	"restante/internal/dkim"
	"restante/internal/mail"
)

// evaluation is what is found out about one message.
type evaluation struct {
	client    mail.Client
	from      mail.Address
	author    author.Author
	resolver  Resolver
	questions int // that SPF may ask for one identity
	dkim      *dkim.Verification

	// What lookups finds.
	mailFrom, helo spfResult
	policies       []policy
	// What conclude makes of it.
	signatures []dkim.Result
	verdicts   []dmarcResult
}

// spfResult is the outcome of SPF for one identity.
type spfResult struct {
	state spf.Result // "" if the identity was not checked
	// domain is the identity's.
	domain string
}

// policy is what was found of DMARC for one of the author's domains.
type policy struct {
	domain string
	record record
	found  bool
	// action is p= or sp=, whichever is for the domain.
	action Action
	failed bool // the DNS gave no answer
}

// dmarcResult is the outcome of DMARC for one of the author's domains.
type dmarcResult struct {
	domain string // "" if there is none
	state  string
	action Action // what the domain asks for
	reason string
}

// The states of DMARC (RFC 7489 section 11.2).
const (
	dmarcNone      = "none"
	dmarcPass      = "pass"
	dmarcFail      = "fail"
	dmarcTempError = "temperror"
	dmarcPermError = "permerror"
)

// lookups asks the DNS all that has to be asked. It may run beside the writing
// of the body. All is asked at a time: a stranger's name server that does not
// answer must not use up the time for another's, which would turn a failure
// into a temporary error.
func (e *evaluation) lookups(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { e.dkim.LookupKeys(ctx) })
	e.policies = make([]policy, len(e.author.Domains))
	for i, d := range e.author.Domains {
		work.Go(func() { e.policies[i] = e.policy(ctx, d) })
	}
	helo := e.heloDomain()
	if helo != "" {
		work.Go(func() { e.helo = spfResult{e.checkHost(ctx, helo, "postmaster", helo), helo} })
	}
	// Without a sender that identity is the only one (RFC 7208 section 2.4).
	if e.from.Domain != "" {
		work.Go(func() { e.mailFrom = spfResult{e.checkHost(ctx, helo, local(e.from), e.from.Domain), e.from.Domain} })
	}
}

// heloDomain is the name of the HELO identity, "" if it is none (RFC 7208
// section 2.3).
func (e *evaluation) heloDomain() string {
	helo, err := mail.ParseDomain(e.client.Helo)
	if err != nil || strings.HasPrefix(helo, "[") || !strings.Contains(helo, ".") {
		helo = ""
	}
	return helo
}

// local is the local part of an address for SPF's macros. What the library
// could take for something else, and what is not ASCII (RFC 8616 section 4),
// is replaced.
func local(a mail.Address) string {
	plain := mail.Address{Local: a.Local}.String()
	if plain != a.Local || strings.Contains(plain, "@") || !a.IsASCII() {
		return "postmaster"
	}
	return plain
}

// checkHost is check_host() of RFC 7208 section 4.
func (e *evaluation) checkHost(ctx context.Context, helo, local, domain string) spf.Result {
	if !e.client.Addr.IsValid() || strings.HasPrefix(domain, "[") {
		return spf.None
	}
	if helo == "" {
		helo = "unknown"
	}
	questions := newQuestions(e.resolver, e.questions, e.client.Addr)
	state, _ := spf.CheckHostWithSender(net.IP(e.client.Addr.Unmap().AsSlice()), helo, local+"@"+domain,
		spf.WithContext(ctx), spf.WithResolver(questions))
	if questions.exhausted() {
		return spf.PermError // asking again would not help
	}
	switch state {
	case spf.None, spf.Neutral, spf.Pass, spf.Fail, spf.SoftFail, spf.TempError, spf.PermError:
		return state
	}
	return spf.PermError
}

// sender is the result for the domain that DMARC takes for SPF's (RFC 7489
// section 4.1).
func (e *evaluation) sender() spfResult {
	if e.from.Domain == "" {
		return e.helo
	}
	return e.mailFrom
}

// policy finds the DMARC policy for a domain (RFC 7489 section 6.6.3).
func (e *evaluation) policy(ctx context.Context, domain string) policy {
	p := policy{domain: domain}
	if strings.HasPrefix(domain, "[") {
		return p
	}
	none, err := e.record(ctx, domain, &p)
	if err == nil && none {
		if org := author.Organisational(domain); org != domain {
			_, err = e.record(ctx, org, &p)
			p.action = p.record.subdomains
		}
	} else {
		p.action = p.record.policy
	}
	p.failed = err != nil
	return p
}

// record asks for a domain's own record. none tells that there is no DMARC
// record at all there, so that the organisational domain's counts.
func (e *evaluation) record(ctx context.Context, domain string, p *policy) (none bool, err error) {
	texts, err := e.resolver.LookupTXT(ctx, "_dmarc."+domain)
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) && dns.IsNotFound {
		err = nil
	}
	if err != nil {
		return false, err
	}
	var records []string
	for _, t := range texts {
		if isRecord(t) {
			records = append(records, t)
		}
	}
	if len(records) == 1 {
		p.record, p.found = parseRecord(records[0])
	}
	return len(records) == 0, nil
}

// conclude verifies the signatures and applies DMARC. The body has been written
// and lookups has ended.
func (e *evaluation) conclude(ctx context.Context, lot int) {
	e.signatures = e.dkim.Results(ctx)
	switch a := e.author; {
	case a.Fields > 1:
		e.verdicts = []dmarcResult{{state: dmarcPermError, reason: "several From fields", action: Reject}}
	case a.Malformed:
		e.verdicts = []dmarcResult{{state: dmarcPermError, reason: "ambiguous From field", action: Reject}}
	case len(a.Domains) == 0:
		e.verdicts = []dmarcResult{{state: dmarcPermError, reason: "no author", action: Quarantine}}
	default:
		for _, p := range e.policies {
			e.verdicts = append(e.verdicts, e.dmarc(p, lot))
		}
	}
}

// dmarc decides for one domain of the author (RFC 7489 section 6.6.2). lot is
// from 0 to 99 and decides who is among pct= percent of mail.
func (e *evaluation) dmarc(p policy, lot int) dmarcResult {
	r := dmarcResult{domain: p.domain, state: dmarcNone, action: None}
	if p.failed {
		r.state, r.reason = dmarcTempError, "policy could not be asked for"
		return r
	}
	if !p.found {
		return r
	}
	pass, unknown := e.aligned(p)
	switch {
	case pass:
		r.state = dmarcPass
	case unknown:
		r.state, r.reason = dmarcTempError, "a name server did not answer"
	default:
		r.state, r.action = dmarcFail, p.action
		// Section 6.6.4: the others are treated one step more mildly.
		if lot >= p.record.percent {
			switch r.action {
			case Reject:
				r.action = Quarantine
			case Quarantine:
				r.action = None
			}
		}
	}
	return r
}

// aligned tells whether the author's domain is authenticated by SPF or DKIM
// (RFC 7489 section 3.1), and whether it might have been, had the DNS answered.
func (e *evaluation) aligned(p policy) (pass, unknown bool) {
	if s := e.sender(); s.state != "" && match(p.domain, s.domain, p.record.strictSPF) {
		pass = pass || s.state == spf.Pass
		unknown = unknown || s.state == spf.TempError
	}
	for _, s := range e.signatures {
		if s.Domain != "" && match(p.domain, s.Domain, p.record.strictDKIM) {
			pass = pass || s.State == dkim.Pass
			unknown = unknown || s.State == dkim.TempError
		}
	}
	return pass, unknown
}

func match(a, b string, strict bool) bool {
	return a == b || !strict && author.Organisational(a) == author.Organisational(b)
}

// forged tells that somebody else may have put the envelope's sender there: the
// hosts of its domain do not include the client, and the domain has not signed
// the message; or the author's domain disowns it and nothing speaks for the
// sender. Where the DNS says nothing of it, the sender has the benefit of the
// doubt.
func (e *evaluation) forged() bool {
	if e.from.Domain == "" || e.mailFrom.state == spf.Pass {
		return false
	}
	for _, s := range e.signatures {
		if s.State == dkim.Pass && match(s.Domain, e.from.Domain, false) {
			return false
		}
	}
	disowned := slices.ContainsFunc(e.verdicts, func(r dmarcResult) bool { return r.state == dmarcFail })
	return disowned || e.mailFrom.state == spf.Fail || e.mailFrom.state == spf.SoftFail
}
