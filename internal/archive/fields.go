package archive

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
)

// DeadLetters is the mailbox for what can neither be delivered nor returned.
const DeadLetters = "Dead Letters"

// LocalRoute is the route of recipients whose mail is delivered here.
const LocalRoute = "local"

// ErrFields tells that no envelope stands in front of a message.
var ErrFields = errors.New("no envelope is kept with the message")

// The fields.
const (
	fieldMessage = "X-Restante-Message"
	fieldFrom    = "X-Restante-Envelope-From"
	fieldTo      = "X-Restante-Envelope-To"
	fieldReason  = "X-Restante-Reason"
)

// Copy is what is kept with a copy of a message.
type Copy struct {
	// Message is the queue ID of the message it is a copy of.
	Message mail.ID
	// Rule is the name of the rule by which it was kept, "" for a dead letter.
	Rule string
	// Envelope is the message's: From, and the parameters of MAIL but for those
	// that tell a time.
	Envelope mail.Envelope
	// Recipients are all there were, in order.
	Recipients []Recipient
}

// Recipient is one recipient of a message that was kept.
type Recipient struct {
	mail.Recipient
	// Route is the way his mail took: the name of a route, or LocalRoute.
	Route string
	// Reason is why a dead letter could not be delivered to him, "" otherwise.
	Reason string
}

// Fields writes the fields, with CRLF line ends.
func (c *Copy) Fields() []byte {
	var b strings.Builder
	message := c.Message.String()
	if c.Rule != "" {
		message += " rule=" + xtext(c.Rule)
	}
	b.WriteString(header.Compose(fieldMessage, message))
	b.WriteString(compose(fieldFrom, c.Envelope.From, mailParameters(&c.Envelope)))
	for _, r := range c.Recipients {
		b.WriteString(compose(fieldTo, r.To, rcptParameters(r)))
		if r.Reason != "" {
			b.WriteString(header.Compose(fieldReason, clip(r.Reason, maxReason)))
		}
	}
	return []byte(b.String())
}

// Text is a recipient as the field has it, on one line, without Reason.
func (r Recipient) Text() string {
	return strings.Join(append([]string{"<" + r.To.String() + ">"}, rcptParameters(r)...), " ")
}

// ParseRecipient reads what Text wrote.
func ParseRecipient(text string) (Recipient, error) {
	var c Copy
	if err := c.parseTo(text); err != nil {
		return Recipient{}, fmt.Errorf("%w: %w", ErrFields, err)
	}
	return c.Recipients[0], nil
}

// maxReason bounds what of a next hop's words is kept, in octets.
const maxReason = 900

func clip(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

// compose writes a field of a path and parameters. The path, which may have
// spaces in it that count, is never folded.
func compose(name string, to mail.Address, parameters []string) string {
	return name + ": <" + to.String() + ">" + strings.TrimPrefix(header.Compose("", strings.Join(parameters, " ")), ":")
}

// parsePath reads the path that a field begins with, and the parameters.
func parsePath(s string) (a mail.Address, parameters []string, err error) {
	for i, quoted := 0, false; i < len(s); i++ {
		switch {
		case i == 0 && s[i] != '<':
			return a, nil, ErrFields
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			if i > 1 {
				a, err = mail.ParseAddress(s[1:i])
			}
			return a, strings.Fields(s[i+1:]), err
		}
	}
	return a, nil, ErrFields
}

func mailParameters(env *mail.Envelope) (list []string) {
	switch env.Ret {
	case mail.ReturnFull:
		list = append(list, "RET=FULL")
	case mail.ReturnHeaders:
		list = append(list, "RET=HDRS")
	}
	if env.EnvID != "" {
		list = append(list, "ENVID="+xtext(env.EnvID))
	}
	if env.EightBit {
		list = append(list, "BODY=8BITMIME")
	}
	if env.UTF8 {
		list = append(list, "SMTPUTF8")
	}
	if env.RequireTLS {
		list = append(list, "REQUIRETLS")
	}
	if env.Unverified {
		list = append(list, "X-UNVERIFIED")
	}
	if env.Priority != 0 {
		list = append(list, "MT-PRIORITY="+strconv.Itoa(env.Priority))
	}
	return list
}

var notifyWords = []struct {
	bit  mail.Notify
	name string
}{
	{mail.NotifyNever, "NEVER"}, {mail.NotifySuccess, "SUCCESS"},
	{mail.NotifyFailure, "FAILURE"}, {mail.NotifyDelay, "DELAY"},
}

func rcptParameters(r Recipient) (list []string) {
	var notify []string
	for _, w := range notifyWords {
		if r.Notify&w.bit != 0 {
			notify = append(notify, w.name)
		}
	}
	if notify != nil {
		list = append(list, "NOTIFY="+strings.Join(notify, ","))
	}
	if r.Original != "" {
		list = append(list, "ORCPT="+xtext(r.Original))
	}
	if r.Route != "" {
		list = append(list, "X-ROUTE="+xtext(r.Route))
	}
	return list
}

// Parse reads the fields in front of a message, among others or alone. It wraps
// ErrFields if they are not there or not as Fields writes them.
func Parse(prefix []byte) (Copy, error) {
	var c Copy
	seen := false
	for _, f := range header.Parse(prefix).Fields() {
		words := strings.Fields(f.Value())
		if len(words) == 0 {
			continue
		}
		var err error
		switch {
		case f.Is(fieldMessage):
			c.Message, err = mail.ParseID(words[0])
			for _, p := range words[1:] {
				if rule, ok := strings.CutPrefix(p, "rule="); ok {
					c.Rule, err = unxtext(rule)
				}
			}
		case f.Is(fieldFrom):
			seen = true
			err = c.parseFrom(f.Value())
		case f.Is(fieldTo):
			err = c.parseTo(f.Value())
		case f.Is(fieldReason) && len(c.Recipients) > 0:
			c.Recipients[len(c.Recipients)-1].Reason = strings.Join(words, " ")
		}
		if err != nil {
			return Copy{}, fmt.Errorf("%w: %s: %w", ErrFields, f.Name, err)
		}
	}
	if !seen || len(c.Recipients) == 0 {
		return Copy{}, ErrFields
	}
	return c, nil
}

func (c *Copy) parseFrom(value string) error {
	from, parameters, err := parsePath(value)
	if err != nil {
		return err
	}
	c.Envelope.From = from
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		switch name {
		case "RET":
			c.Envelope.Ret = mail.ReturnHeaders
			if value == "FULL" {
				c.Envelope.Ret = mail.ReturnFull
			}
		case "ENVID":
			c.Envelope.EnvID, err = unxtext(value)
		case "BODY":
			c.Envelope.EightBit = true
		case "SMTPUTF8":
			c.Envelope.UTF8 = true
		case "REQUIRETLS":
			c.Envelope.RequireTLS = true
		case "X-UNVERIFIED":
			c.Envelope.Unverified = true
		case "MT-PRIORITY":
			c.Envelope.Priority, err = strconv.Atoi(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Copy) parseTo(value string) error {
	to, parameters, err := parsePath(value)
	if err != nil {
		return err
	}
	if to.IsNull() {
		return ErrFields
	}
	r := Recipient{Recipient: mail.Recipient{To: to}}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		switch name {
		case "NOTIFY":
			for word := range strings.SplitSeq(value, ",") {
				for _, w := range notifyWords {
					if w.name == word {
						r.Notify |= w.bit
					}
				}
			}
		case "ORCPT":
			r.Original, err = unxtext(value)
		case "X-ROUTE":
			r.Route, err = unxtext(value)
		}
		if err != nil {
			return err
		}
	}
	c.Recipients = append(c.Recipients, r)
	return nil
}

// xtext encodes a value (RFC 3461 section 4). Octets beyond ASCII are encoded
// too, which UTF-8 survives.
func xtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

func unxtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", ErrFields
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", ErrFields
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), nil
}
