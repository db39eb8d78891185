package structure

import (
	"strconv"

	"restante/internal/imapstring"
)

// AppendEnvelope appends an ENVELOPE (RFC 9051 section 7.5.2). Fields are as they
// stand in the message, encoded words included. eight is as in imapstring.Append.
func AppendEnvelope(b []byte, e *Envelope, eight bool) []byte {
	b = append(b, '(')
	b = appendField(b, e.Date, e.Empty.Date, eight)
	b = append(b, ' ')
	b = appendField(b, e.Subject, e.Empty.Subject, eight)
	sender, replyTo := e.Sender, e.ReplyTo
	if len(sender) == 0 {
		sender = e.From
	}
	if len(replyTo) == 0 {
		replyTo = e.From
	}
	for _, list := range [...][]Address{e.From, sender, replyTo, e.To, e.Cc, e.Bcc} {
		b = append(b, ' ')
		b = appendAddresses(b, list, eight)
	}
	b = append(b, ' ')
	b = appendField(b, e.InReplyTo, e.Empty.InReplyTo, eight)
	b = append(b, ' ')
	b = appendField(b, e.MessageID, e.Empty.MessageID, eight)
	return append(b, ')')
}

// appendField appends a field: NIL if it is missing.
func appendField(b []byte, value string, empty, eight bool) []byte {
	if empty {
		return append(b, `""`...)
	}
	return imapstring.AppendN(b, value, eight)
}

func appendAddresses(b []byte, list []Address, eight bool) []byte {
	if len(list) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for _, a := range list {
		switch a.Kind {
		case GroupStart:
			b = append(b, "(NIL NIL "...)
			b = imapstring.Append(b, orMissing(a.Name, missingMailbox), eight)
			b = append(b, " NIL)"...)
		case GroupEnd:
			b = append(b, "(NIL NIL NIL NIL)"...)
		default:
			b = append(b, '(')
			b = imapstring.AppendN(b, a.Name, eight)
			b = append(b, ' ')
			b = imapstring.AppendN(b, a.Route, eight)
			b = append(b, ' ')
			b = imapstring.Append(b, orMissing(a.Mailbox, missingMailbox), eight)
			b = append(b, ' ')
			b = imapstring.Append(b, orMissing(a.Host, missingHost), eight)
			b = append(b, ')')
		}
	}
	return append(b, ')')
}

// AppendBody appends a BODY, or with extensions a BODYSTRUCTURE.
func AppendBody(b []byte, p *Part, extensions, eight bool) []byte {
	b = append(b, '(')
	if p.isMultipart() {
		for _, c := range p.Children {
			b = AppendBody(b, c, extensions, eight)
		}
		b = append(b, ' ')
		b = imapstring.Append(b, p.Subtype, eight)
		if extensions {
			b = append(b, ' ')
			b = appendParams(b, p.Params, eight)
			b = p.appendExtensions(b, eight)
		}
		return append(b, ')')
	}
	b = imapstring.Append(b, p.Type, eight)
	b = append(b, ' ')
	b = imapstring.Append(b, p.Subtype, eight)
	b = append(b, ' ')
	b = appendParams(b, p.Params, eight)
	b = append(b, ' ')
	b = imapstring.AppendN(b, p.ID, eight)
	b = append(b, ' ')
	b = imapstring.AppendN(b, p.Description, eight)
	b = append(b, ' ')
	b = imapstring.Append(b, p.Encoding, eight)
	b = appendNumber(b, p.BodyEnd-p.BodyStart)
	switch {
	case p.Embedded != nil:
		b = append(b, ' ')
		b = AppendEnvelope(b, p.Embedded.Envelope, eight)
		b = append(b, ' ')
		b = AppendBody(b, p.Embedded, extensions, eight)
		b = appendNumber(b, p.Lines)
	case p.Type == "text":
		b = appendNumber(b, p.Lines)
	}
	if extensions {
		b = append(b, ' ')
		b = imapstring.AppendN(b, p.MD5, eight)
		b = p.appendExtensions(b, eight)
	}
	return append(b, ')')
}

// appendExtensions appends what parts of all kinds have.
func (p *Part) appendExtensions(b []byte, eight bool) []byte {
	b = append(b, ' ')
	if p.Disposition == "" {
		b = append(b, "NIL"...)
	} else {
		b = append(b, '(')
		b = imapstring.Append(b, p.Disposition, eight)
		b = append(b, ' ')
		b = appendParams(b, p.DispositionParams, eight)
		b = append(b, ')')
	}
	b = append(b, ' ')
	switch len(p.Language) {
	case 0:
		b = append(b, "NIL"...)
	case 1:
		b = imapstring.Append(b, p.Language[0], eight)
	default:
		for i, l := range p.Language {
			b = append(b, "( "[min(i, 1)])
			b = imapstring.Append(b, l, eight)
		}
		b = append(b, ')')
	}
	b = append(b, ' ')
	return imapstring.AppendN(b, p.Location, eight)
}

func appendParams(b []byte, list []Param, eight bool) []byte {
	if len(list) == 0 {
		return append(b, "NIL"...)
	}
	for i, p := range list {
		b = append(b, "( "[min(i, 1)])
		b = imapstring.Append(b, p.Name, eight)
		b = append(b, ' ')
		b = imapstring.Append(b, p.Value, eight)
	}
	return append(b, ')')
}

// appendNumber appends a number, with a space in front of it.
func appendNumber(b []byte, n int64) []byte {
	return strconv.AppendInt(append(b, ' '), n, 10)
}
