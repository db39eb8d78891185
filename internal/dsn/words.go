package dsn

import (
	"fmt"
	"mime"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
)

const (
	// maxSaid bounds what of a next hop's words is repeated, in octets.
	maxSaid = 900
	// maxSubject bounds what of the message's subject is, maxWhom an address
	// in the report's own.
	maxSubject, maxWhom = 200, 100
	// width is that of a line of words, in characters; addresses and the words
	// of others may be longer.
	width = 72
)

// subject is the report's: what became of the mail, to whom, and why if it is
// the same for all.
func (p *printer) subject() string {
	whom := clip(visible(p.Recipients[0].To.String(), p.utf8), maxWhom)
	switch n := len(p.Recipients) - 1; {
	case n == 1:
		whom += " and one other"
	case n > 1:
		whom += fmt.Sprintf(" and %d others", n)
	}
	why := ": " + p.Recipients[0].reason().short
	for _, r := range p.Recipients[1:] {
		if r.reason().short != p.Recipients[0].reason().short {
			why = ""
		}
	}
	if p.DeadLetter {
		return "Dead letter to " + whom + why
	}
	switch p.Action {
	case Delayed:
		return "Delayed: your mail to " + whom
	case Relayed:
		return "Passed on: your mail to " + whom
	case Delivered:
		return "Delivered: your mail to " + whom
	case Expanded:
		return "Given to all members: your mail to " + whom
	}
	return "Not delivered to " + whom + why
}

// words writes the part for people: what it is about, to whom, why, what to
// do, and what the next hop said.
func (p *printer) words() {
	p.wrap("", "This is the mail system at "+p.host()+". It writes by itself, and nobody reads an answer to this report.")
	p.line("")
	p.wrap("", p.opening())
	p.line("")
	for _, g := range groups(p.Recipients) {
		p.group(g)
	}
	p.line("The message:")
	p.line("")
	if subject := p.about(); subject != "" {
		p.line("  Subject:   %s", subject)
	}
	if p.DeadLetter {
		p.line("  From:      <%s>", visible(p.Envelope.From.String(), true))
	}
	if !p.Envelope.Arrived.IsZero() {
		p.line("  Taken in:  %s", p.Envelope.Arrived.Format(header.DateLayout))
	}
	if p.Original != (mail.ID{}) {
		p.line("  Queue ID:  %s", p.Original)
	}
	switch {
	case !p.returned:
	case p.full:
		p.line("")
		p.line("It is attached.")
	default:
		p.line("")
		p.line("Its header is attached.")
	}
}

// opening says what became of the message, and what of it is still to come.
func (p *printer) opening() string {
	whom := "this recipient"
	if n := len(p.Recipients); n > 1 {
		whom = fmt.Sprintf("these %d recipients", n)
	}
	if p.DeadLetter {
		why := "its sender cannot be told, so that it is kept here for you to look at"
		if p.Envelope.From.IsNull() {
			why = "it has no sender who could be told (it may be a report itself), so that it is kept here for you to look at"
		} else if p.Envelope.Unverified {
			why = "its sender is not told, since the address seems to be forged; it is kept here for you to look at"
		}
		return "A message could not be delivered to " + whom + ", and " + why +
			". Nothing more is done with it by itself. It can be sent again, to them or to others: restante deadletters resend."
	}
	switch p.Action {
	case Delayed:
		text := "Your message has not yet been delivered to " + whom + ". You need not do anything, and need not send it again: it is still being tried"
		if !p.RetryUntil.IsZero() {
			text += ", until " + p.RetryUntil.Format(header.DateLayout)
		}
		return text + ". You will be told if it has to be given up."
	case Relayed:
		text := "Your message was passed on to the mail system of " + whom + ". "
		if p.Envelope.By.IsZero() {
			return text + "You asked to be told of its delivery. That system sends no such notices, so this is the last you hear of it, unless it comes back."
		}
		return text + "You asked to be told, since it was to be delivered by " + p.Envelope.By.At.Format(header.DateLayout) + "."
	case Delivered:
		return "Your message was put into the mailbox of " + whom + ". You asked to be told of that. It does not mean that it was read."
	case Expanded:
		return "Your message was accepted for " + whom + ", and went on to all who are behind that address. You asked to be told of its delivery; you will hear of single ones only if something fails."
	}
	return "Your message could not be delivered to " + whom + ". It will not be tried again."
}

// group are recipients of whom the same is to be said.
type group []Recipient

func groups(all []Recipient) []group {
	type same struct {
		reason
		said mail.Status
	}
	index := make(map[same]int)
	var list []group
	for _, r := range all {
		k := same{r.reason(), r.said()}
		i, ok := index[k]
		if !ok {
			i = len(list)
			index[k], list = i, append(list, nil)
		}
		list[i] = append(list[i], r)
	}
	return list
}

// group writes whom it is about, and what is said of them.
func (p *printer) group(g group) {
	for _, r := range g {
		p.line("  <%s>", visible(r.To.String(), true))
		if original := originalAddress(r.Recipient); original != "" && !strings.EqualFold(original, r.To.String()) {
			p.line("    (you wrote to <%s>)", clip(visible(original, true), maxSubject))
		}
	}
	p.line("")
	if p.Action == Failed || p.Action == Delayed {
		why := g[0].reason()
		p.wrap("  ", "Why: "+why.why)
		if p.Action == Failed && !p.DeadLetter {
			p.wrap("  ", "What to do: "+why.todo)
		}
		p.line("")
	}
	said := g[0].said()
	if said.Text == "" && said.Code == 0 {
		return
	}
	if said.Remote != "" {
		p.line("  In the words of %s:", clip(visible(said.Remote, true), maxSubject))
	} else {
		p.line("  In our own words:")
	}
	said.Remote = ""
	p.line("    %s", clip(visible(said.String(), true), maxSaid))
	p.line("")
}

// said is the last that was said of a recipient, by whomever.
func (r Recipient) said() mail.Status {
	if r.Said != (mail.Status{}) {
		return r.Said
	}
	return r.Status
}

// wrap writes words as lines of bounded width, each behind an indent.
func (p *printer) wrap(indent, text string) {
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && len([]rune(line))+1+len([]rune(word)) > width {
			p.line("%s", line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	p.line("%s", line)
}

// originalAddress is the address that the sender gave, if that is known.
func originalAddress(r mail.Recipient) string {
	_, address, _ := strings.Cut(r.Original, ";")
	return strings.TrimSpace(address)
}

// about is the subject of the message, for people, on one line.
func (p *printer) about() string {
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
