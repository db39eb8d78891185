package imapd

import (
	"restante/imapd/wire"
	"restante/internal/structure"
)

// What stands in for the side of an address that is missing. A nil host would
// make the address a group, and a person without a name.
const (
	missingMailbox = "MISSING_MAILBOX"
	missingHost    = "MISSING_DOMAIN"
)

// writeEnvelope writes an ENVELOPE (RFC 9051 section 7.5.2). Fields are as they
// stand in the message, encoded words included.
func writeEnvelope(w *wire.Encoder, e *structure.Envelope) {
	w.Raw("(")
	writeField(w, e.Date, e.Empty.Date)
	w.Raw(" ")
	writeField(w, e.Subject, e.Empty.Subject)
	sender, replyTo := e.Sender, e.ReplyTo
	if len(sender) == 0 {
		sender = e.From
	}
	if len(replyTo) == 0 {
		replyTo = e.From
	}
	for _, list := range [][]structure.Address{e.From, sender, replyTo, e.To, e.Cc, e.Bcc} {
		w.Raw(" ")
		writeAddresses(w, list)
	}
	w.Raw(" ")
	writeField(w, e.InReplyTo, e.Empty.InReplyTo)
	w.Raw(" ")
	writeField(w, e.MessageID, e.Empty.MessageID)
	w.Raw(")")
}

// writeField writes a field: NIL if it is missing.
func writeField(w *wire.Encoder, value string, empty bool) {
	if empty {
		w.Raw(`""`)
		return
	}
	w.NString(value)
}

func writeAddresses(w *wire.Encoder, list []structure.Address) {
	if len(list) == 0 {
		w.Raw("NIL")
		return
	}
	w.Raw("(")
	for _, a := range list {
		switch a.Kind {
		case structure.GroupStart:
			w.Raw("(NIL NIL ").String(or(a.Name, missingMailbox)).Raw(" NIL)")
		case structure.GroupEnd:
			w.Raw("(NIL NIL NIL NIL)")
		default:
			w.Raw("(").NString(a.Name).Raw(" NIL ").String(or(a.Mailbox, missingMailbox)).Raw(" ").String(or(a.Host, missingHost)).Raw(")")
		}
	}
	w.Raw(")")
}

func or(s, missing string) string {
	if s == "" {
		return missing
	}
	return s
}

// writeStructure writes a BODY, or with extensions a BODYSTRUCTURE.
func writeStructure(w *wire.Encoder, p *structure.Part, extensions bool) {
	w.Raw("(")
	if p.Type == "multipart" {
		for _, c := range p.Children {
			writeStructure(w, c, extensions)
		}
		w.Raw(" ").String(p.Subtype)
		if extensions {
			w.Raw(" ")
			writeParams(w, p.Params)
			writeExtensions(w, p)
		}
		w.Raw(")")
		return
	}
	w.String(p.Type).Raw(" ").String(p.Subtype).Raw(" ")
	writeParams(w, p.Params)
	w.Raw(" ").NString(p.ID).Raw(" ").NString(p.Description).Raw(" ").String(p.Encoding).
		Raw(" ").Number(uint64(p.BodyEnd - p.BodyStart))
	switch {
	case p.Embedded != nil:
		w.Raw(" ")
		writeEnvelope(w, p.Embedded.Envelope)
		w.Raw(" ")
		writeStructure(w, p.Embedded, extensions)
		w.Raw(" ").Number(uint64(p.Lines))
	case p.Type == "text":
		w.Raw(" ").Number(uint64(p.Lines))
	}
	if extensions {
		w.Raw(" ").NString(p.MD5)
		writeExtensions(w, p)
	}
	w.Raw(")")
}

// writeExtensions writes what parts of all kinds have.
func writeExtensions(w *wire.Encoder, p *structure.Part) {
	w.Raw(" ")
	if p.Disposition == "" {
		w.Raw("NIL")
	} else {
		w.Raw("(").String(p.Disposition).Raw(" ")
		writeParams(w, p.DispositionParams)
		w.Raw(")")
	}
	w.Raw(" ")
	switch len(p.Language) {
	case 0:
		w.Raw("NIL")
	case 1:
		w.String(p.Language[0])
	default:
		w.Raw("(")
		for i, l := range p.Language {
			if i > 0 {
				w.Raw(" ")
			}
			w.String(l)
		}
		w.Raw(")")
	}
	w.Raw(" ").NString(p.Location)
}

func writeParams(w *wire.Encoder, list []structure.Param) {
	if len(list) == 0 {
		w.Raw("NIL")
		return
	}
	w.Raw("(")
	for i, p := range list {
		if i > 0 {
			w.Raw(" ")
		}
		w.String(p.Name).Raw(" ").String(p.Value)
	}
	w.Raw(")")
}
