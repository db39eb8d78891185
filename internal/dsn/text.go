package dsn

import (
	"fmt"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"restante/internal/header"
	"restante/internal/mail"
)

const (
	// maxSaid bounds what of a next hop's words is repeated, in octets.
	maxSaid = 900
	// maxSubject bounds what of the message's subject is.
	maxSubject = 200
)

// words writes the part for people: what it is about, to whom, why, what to
// do, and what the next hop said.
func (p *printer) words() {
	p.line("This is the mail system at %s.", p.host())
	p.line("")
	switch p.Action {
	case Failed:
		p.line("Your message could not be delivered to %s.", p.whom())
		p.line("It has not been delivered there, and will not be tried again.")
	case Delayed:
		p.line("Your message has not yet been delivered to %s.", p.whom())
		p.line("You need not do anything: it is still being tried%s.", p.until())
		p.line("You will be told if it has to be given up.")
	case Relayed:
		p.line("Your message was passed on to the mail system of %s.", p.whom())
		if p.Envelope.By.IsZero() {
			p.line("That system sends no notices of delivery, so this is the last you hear of it.")
		} else {
			p.line("You asked to be told, since it was to be delivered by %s.", p.Envelope.By.At.Format(header.DateLayout))
		}
	case Delivered:
		p.line("Your message was put into the mailbox of %s.", p.whom())
	}
	p.line("")
	p.line("Sent:    %s", p.Envelope.Arrived.Format(header.DateLayout))
	if subject := p.subject(); subject != "" {
		p.line("Subject: %s", subject)
	}
	if p.Original != (mail.ID{}) {
		p.line("Queue:   %s", p.Original)
	}
	for _, r := range p.Recipients {
		p.recipient(r)
	}
	if p.returned {
		p.line("")
		if p.full {
			p.line("Your message is attached.")
		} else {
			p.line("The header of your message is attached.")
		}
	}
}

func (p *printer) whom() string {
	if len(p.Recipients) == 1 {
		return "this recipient"
	}
	return fmt.Sprintf("these %d recipients", len(p.Recipients))
}

func (p *printer) until() string {
	if p.RetryUntil.IsZero() {
		return ""
	}
	return ", until " + p.RetryUntil.Format(header.DateLayout)
}

func (p *printer) recipient(r Recipient) {
	p.line("")
	p.line("<%s>", visible(r.To.String(), true))
	if original := originalAddress(r); original != "" && original != r.To.String() {
		p.line("  (you wrote to <%s>)", visible(original, true))
	}
	if p.Action == Failed || p.Action == Delayed {
		p.line("  Why: %s", reason(r.Status))
		p.line("  What to do: %s", p.advice(r.Status))
	}
	said := r.said()
	if said.Text == "" && said.Code == 0 {
		return
	}
	if said.Remote != "" {
		p.line("  The next hop, %s, said:", visible(said.Remote, true))
	} else {
		p.line("  In detail:")
	}
	said.Remote = ""
	p.line("    %s", clip(visible(said.String(), true), maxSaid))
}

// said is the last that was said of a recipient, by whomever.
func (r Recipient) said() mail.Status {
	if r.Said != (mail.Status{}) {
		return r.Said
	}
	return r.Status
}

// reasons are the plain words for enhanced codes (RFC 3463), by subject and
// detail; by subject alone where the detail is not known.
var reasons = map[[2]int]string{
	{1, 0}:  "The address was not accepted.",
	{1, 1}:  "There is no mailbox of that name.",
	{1, 2}:  "The domain of the address does not exist, or has no mail system.",
	{1, 3}:  "The address is not written as an address should be.",
	{1, 6}:  "The mailbox has moved and left no address.",
	{1, 10}: "The domain of the address takes no mail.",
	{2, 0}:  "There is trouble with the recipient's mailbox.",
	{2, 1}:  "The recipient's mailbox is disabled.",
	{2, 2}:  "The recipient's mailbox is full.",
	{2, 3}:  "The message is too large for the recipient.",
	{3, 0}:  "There is trouble with the recipient's mail system.",
	{3, 1}:  "The recipient's mail system has no room left.",
	{3, 4}:  "The message is too large for the recipient's mail system.",
	{4, 0}:  "The recipient's mail system could not be reached.",
	{4, 1}:  "The recipient's mail system does not answer.",
	{4, 2}:  "The connection to the recipient's mail system broke off.",
	{4, 3}:  "The name of the recipient's mail system could not be looked up.",
	{4, 4}:  "There is no way to the recipient's mail system.",
	{4, 6}:  "The mail goes round in a circle.",
	{4, 7}:  "It could not be delivered within the time allowed.",
	{5, 0}:  "The two mail systems did not understand each other.",
	{6, 0}:  "The recipient's mail system cannot take the kind of message this is.",
	{6, 7}:  "The recipient's mail system cannot take addresses or headers beyond ASCII.",
	{7, 0}:  "The recipient's mail system refused the message by its rules.",
	{7, 1}:  "The recipient's mail system does not take this message from you.",
	{7, 30}: "The message asked for an encrypted way, and there is none.",
}

func reason(s mail.Status) string {
	e := s.EnhancedOrDefault()
	if text := reasons[[2]int{e[1], e[2]}]; text != "" {
		return text
	}
	if text := reasons[[2]int{e[1], 0}]; text != "" {
		return text
	}
	return "The recipient's mail system gave the reason below."
}

func (p *printer) advice(s mail.Status) string {
	if p.Action == Delayed {
		return "nothing, for now."
	}
	switch e := s.EnhancedOrDefault(); {
	case e[1] == 1:
		return "check the address, and send the message again if it was wrong."
	case e == [3]int{5, 2, 2} || e == [3]int{4, 2, 2}:
		return "tell the recipient by other means, or send it again later."
	case e[1] == 3 && e[2] == 4 || e[1] == 2 && e[2] == 3:
		return "send a smaller message, or what is in it by other means."
	case e[1] == 4:
		return "send it again later, or tell the recipient by other means."
	}
	return "read the words below; if they do not help, forward this report to your postmaster."
}

// status writes the part for programs (RFC 3464 section 2).
func (p *printer) status() {
	p.field("Reporting-MTA", "dns; "+p.host())
	if id := p.Envelope.EnvID; id != "" {
		p.field("Original-Envelope-Id", id)
	}
	if !p.Envelope.Arrived.IsZero() {
		p.field("Arrival-Date", p.Envelope.Arrived.Format(header.DateLayout))
	}
	for _, r := range p.Recipients {
		p.print("\r\n")
		if kind, address, ok := strings.Cut(r.Original, ";"); ok {
			p.field("Original-Recipient", kind+"; "+p.unitext(kind, address))
		}
		p.field("Final-Recipient", addressType(r.To)+"; "+r.To.String())
		p.field("Action", string(p.Action))
		e := r.Status.EnhancedOrDefault()
		p.field("Status", fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2]))
		said := r.said()
		if said.Remote != "" {
			p.field("Remote-MTA", "dns; "+said.Remote)
		}
		if said.Code != 0 {
			said.Remote = ""
			// Only what a next hop said is SMTP; what we found out ourselves
			// is put the same way, since readers know no other.
			p.field("Diagnostic-Code", "smtp; "+clip(said.String(), maxSaid))
		}
		if !r.Attempted.IsZero() {
			p.field("Last-Attempt-Date", r.Attempted.Format(header.DateLayout))
		}
		if p.Action == Delayed && !p.RetryUntil.IsZero() {
			p.field("Will-Retry-Until", p.RetryUntil.Format(header.DateLayout))
		}
	}
}

// field writes a field of the second part, whose values are ASCII but in a
// report that is UTF-8 anyway.
func (p *printer) field(name, value string) {
	p.print(header.Compose(name, clip(visible(value, p.utf8), maxSaid)))
}

// unitext writes characters beyond ASCII as their numbers where an address of
// type "utf-8" must not have them (RFC 6533 section 3).
func (p *printer) unitext(kind, address string) string {
	if p.utf8 || !strings.EqualFold(kind, "utf-8") {
		return address
	}
	var b strings.Builder
	for _, r := range address {
		if r >= 0x80 {
			fmt.Fprintf(&b, `\x{%X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func addressType(a mail.Address) string {
	if a.IsASCII() {
		return "rfc822"
	}
	return "utf-8"
}

// originalAddress is the address that the sender gave, if that is known.
func originalAddress(r Recipient) string {
	_, address, _ := strings.Cut(r.Original, ";")
	return strings.TrimSpace(address)
}

// subject is the message's, for people, on one line.
func (p *printer) subject() string {
	raw, _ := p.head.Get("Subject")
	if len(raw) > 4*maxSubject {
		raw = raw[:4*maxSubject]
	}
	decoded, err := new(mime.WordDecoder).DecodeHeader(raw)
	if err != nil {
		decoded = raw
	}
	return clip(visible(decoded, true), maxSubject)
}

// host is our name, as a domain.
func (p *printer) host() string {
	if p.Hostname == "" {
		return "localhost"
	}
	return visible(p.Hostname, false)
}

// visible makes one line of printable characters; in ASCII, if wide is not set.
func visible(s string, wide bool) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r >= 0x80 && !wide:
			return '?'
		case !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "..."
}
