package structure

import (
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// What stands in for the side of an address that is missing. A nil host would
// make the address a group, and a person without a name.
const (
	missingMailbox = "MISSING_MAILBOX"
	missingHost    = "MISSING_DOMAIN"
)

// Envelope returns the message's envelope in the words of go-imap.
func (m *Message) Envelope() *imap.Envelope { return m.Root.Envelope.imap() }

func (e *Envelope) imap() *imap.Envelope {
	out := &imap.Envelope{
		Date:      e.Sent,
		Subject:   DecodeWords(e.Subject),
		InReplyTo: messageIDs(e.InReplyTo),
		From:      imapAddresses(e.From),
		Sender:    imapAddresses(e.Sender),
		ReplyTo:   imapAddresses(e.ReplyTo),
		To:        imapAddresses(e.To),
		Cc:        imapAddresses(e.Cc),
		Bcc:       imapAddresses(e.Bcc),
	}
	if ids := messageIDs(e.MessageID); len(ids) > 0 {
		out.MessageID = ids[0]
	}
	return out
}

// imapAddresses returns nil for an empty list: of Sender and Reply-To go-imap
// then says what RFC 9051 section 7.5.2 asks for, the From.
func imapAddresses(list []Address) []imap.Address {
	var out []imap.Address
	for _, a := range list {
		switch a.Kind {
		case GroupStart:
			out = append(out, imap.Address{Mailbox: orMissing(DecodeWords(a.Name), missingMailbox)})
			continue
		case GroupEnd:
			out = append(out, imap.Address{})
			continue
		}
		out = append(out, imap.Address{
			Name:    DecodeWords(a.Name),
			Mailbox: orMissing(a.Mailbox, missingMailbox),
			Host:    orMissing(a.Host, missingHost),
		})
	}
	return out
}

func orMissing(s, missing string) string {
	if s == "" {
		return missing
	}
	return s
}

// messageIDs returns what stands in angle brackets, or if there are none, the
// first word.
func messageIDs(s string) (ids []string) {
	if !strings.Contains(s, "<") {
		if words := strings.Fields(s); len(words) > 0 {
			return words[:1]
		}
		return nil
	}
	for {
		_, rest, ok := strings.Cut(s, "<")
		id, after, closed := strings.Cut(rest, ">")
		if !ok || !closed {
			return ids
		}
		if id = strings.TrimSpace(id); id != "" {
			ids = append(ids, id)
		}
		s = after
	}
}

// BodyStructure returns the tree of parts in the words of go-imap, with the
// extension data. Every multipart in it has a child.
func (m *Message) BodyStructure() imap.BodyStructure { return m.Root.imap() }

func (p *Part) imap() imap.BodyStructure {
	disposition := p.imapDisposition()
	if p.isMultipart() {
		out := &imap.BodyStructureMultiPart{
			Subtype: p.Subtype,
			Extended: &imap.BodyStructureMultiPartExt{
				Params:      paramMap(p.Params),
				Disposition: disposition,
				Language:    p.Language,
				Location:    p.Location,
			},
		}
		for _, c := range p.Children {
			out.Children = append(out.Children, c.imap())
		}
		return out
	}
	out := &imap.BodyStructureSinglePart{
		Type:        p.Type,
		Subtype:     p.Subtype,
		Params:      paramMap(p.Params),
		ID:          p.ID,
		Description: p.Description,
		Encoding:    p.Encoding,
		Size:        uint32(min(p.BodyEnd-p.BodyStart, math.MaxUint32)),
		Extended: &imap.BodyStructureSinglePartExt{
			Disposition: disposition,
			Language:    p.Language,
			Location:    p.Location,
		},
	}
	switch {
	case p.Embedded != nil:
		out.MessageRFC822 = &imap.BodyStructureMessageRFC822{
			Envelope:      p.Embedded.Envelope.imap(),
			BodyStructure: p.Embedded.imap(),
			NumLines:      p.Lines,
		}
	case p.Type == "text":
		out.Text = &imap.BodyStructureText{NumLines: p.Lines}
	}
	return out
}

func (p *Part) imapDisposition() *imap.BodyStructureDisposition {
	if p.Disposition == "" {
		return nil
	}
	return &imap.BodyStructureDisposition{Value: p.Disposition, Params: paramMap(p.DispositionParams)}
}

func paramMap(params []Param) map[string]string {
	if len(params) == 0 {
		return nil
	}
	m := make(map[string]string, len(params))
	for _, p := range params {
		m[p.Name] = p.Value
	}
	return m
}
