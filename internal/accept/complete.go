package accept

import (
	"restante/internal/header"
	"restante/internal/mail"
)

// complete makes of the header what goes on: all mail loses the Return-Path
// of an earlier delivery (RFC 5321 section 4.4), and our own mail gets what it
// lacks (RFC 6409 section 8). A header that somebody signed is left alone.
func (m *Message) complete(e *header.Editor) {
	e.DeleteAll("Return-Path")
	if !m.sub.Complete {
		return
	}
	e.DeleteAll("Bcc", "Resent-Bcc")
	if m.block.Has("DKIM-Signature") || m.block.Has("ARC-Seal") {
		return
	}
	m.a.opt.Masquerade.Header(e)
	now := e.Block()
	var front string
	if !now.Has("From") {
		front += header.Compose("From", m.author().String())
	}
	if !now.Has("Date") {
		front += header.Date(m.a.now())
	}
	if !now.Has("Message-ID") {
		front += header.MessageID(m.ID().String(), m.a.opt.Hostname)
	}
	e.Prepend([]byte(front))
}

// author is who wrote a message that does not say so.
func (m *Message) author() mail.Address {
	if from := m.msg.Envelope.From; !from.IsNull() {
		return from
	}
	return mail.Address{Local: "MAILER-DAEMON", Domain: m.a.opt.Hostname}
}
