package structure

import "strings"

// field is a header field that the parser keeps.
type field int8

const (
	fieldDate field = iota
	fieldSubject
	fieldFrom
	fieldSender
	fieldReplyTo
	fieldTo
	fieldCc
	fieldBcc
	fieldInReplyTo
	fieldMessageID
	fieldReferences
	fieldContentType
	fieldContentID
	fieldContentDescription
	fieldContentEncoding
	fieldContentMD5
	fieldContentDisposition
	fieldContentLanguage
	fieldContentLocation
	fieldCount

	unknownField field = -1
)

// longestField is the length of the longest name of fieldNamed.
const longestField = len("content-transfer-encoding")

// fieldNamed returns the field of a name, in any case.
func fieldNamed(name []byte) field {
	if len(name) > longestField {
		return unknownField
	}
	var lower [longestField]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "date":
		return fieldDate
	case "subject":
		return fieldSubject
	case "from":
		return fieldFrom
	case "sender":
		return fieldSender
	case "reply-to":
		return fieldReplyTo
	case "to":
		return fieldTo
	case "cc":
		return fieldCc
	case "bcc":
		return fieldBcc
	case "in-reply-to":
		return fieldInReplyTo
	case "message-id":
		return fieldMessageID
	case "references":
		return fieldReferences
	case "content-type":
		return fieldContentType
	case "content-id":
		return fieldContentID
	case "content-description":
		return fieldContentDescription
	case "content-transfer-encoding":
		return fieldContentEncoding
	case "content-md5":
		return fieldContentMD5
	case "content-disposition":
		return fieldContentDisposition
	case "content-language":
		return fieldContentLanguage
	case "content-location":
		return fieldContentLocation
	}
	return unknownField
}

// repeats tells whether a second field of the name adds to the first. Of the
// others the first counts. RFC 5322 section 3.6 allows one of each; of what is
// there all the same, readers shall see every recipient.
func (f field) repeats() bool {
	return f == fieldReplyTo || f == fieldTo || f == fieldCc || f == fieldBcc
}

// fill takes from a header what a part keeps of it, and returns the boundary.
func (p *Part) fill(s *fieldSet, inDigest bool) (boundary string) {
	if p.Envelope != nil {
		p.Envelope.fill(s)
	}
	p.Encoding = "7bit"
	p.setDefault("text", "plain")
	switch typ, subtype, params, ok := parseContentType(s.text(fieldContentType)); {
	case ok:
		p.Type, p.Subtype, p.Params = typ, subtype, params
	case inDigest && !s.present[fieldContentType]:
		p.Type, p.Subtype, p.Params = "message", "rfc822", nil
	}
	if p.isMultipart() {
		boundary = strings.TrimRight(parameter(p.Params, "boundary"), " \t") // RFC 2046 section 5.1.1
	}
	p.ID = s.text(fieldContentID)
	p.Description = s.text(fieldContentDescription)
	p.MD5 = s.text(fieldContentMD5)
	p.Location = s.text(fieldContentLocation)
	if encoding := firstToken(s.text(fieldContentEncoding)); encoding != "" {
		p.Encoding = encoding
	}
	p.Disposition, p.DispositionParams = parseDisposition(s.text(fieldContentDisposition))
	p.Language = parseLanguages(s.text(fieldContentLanguage))
	return boundary
}

// setDefault makes the part what a part without Content-Type is.
func (p *Part) setDefault(typ, subtype string) {
	p.Type, p.Subtype, p.Encoding = typ, subtype, "7bit"
	p.Params = []Param{{"charset", "us-ascii"}}
}

// setOpaque makes the part a leaf that clients offer as a file.
func (p *Part) setOpaque() {
	p.Type, p.Subtype, p.Params = "application", "octet-stream", nil
	if p.Encoding == "" {
		p.Encoding = "7bit"
	}
}

// perItem is what a list element costs beyond its text, in octets of memory.
const perItem = 48

// items counts the list elements that a part holds.
func (p *Part) items() int {
	n := len(p.Params) + len(p.DispositionParams) + len(p.Language)
	if p.Envelope != nil {
		for _, list := range p.Envelope.lists() {
			n += len(*list)
		}
	}
	return n
}

// empty drops what a part holds of its header, but for its kind.
func (p *Part) empty() {
	p.ID, p.Description, p.MD5, p.Location = "", "", "", ""
	p.Params, p.DispositionParams, p.Language = nil, nil, nil
	if p.Envelope != nil {
		p.Envelope = &Envelope{}
	}
	for _, s := range []*string{&p.Type, &p.Subtype, &p.Encoding, &p.Disposition} {
		*s = strings.Clone(*s) // not to hold the field it was cut from
	}
}

// fill takes the envelope from a header.
func (e *Envelope) fill(s *fieldSet) {
	e.Date = s.text(fieldDate)
	e.Sent = parseDate(e.Date)
	e.Subject = s.text(fieldSubject)
	e.InReplyTo = s.text(fieldInReplyTo)
	e.MessageID = s.text(fieldMessageID)
	e.Empty = EmptyFields{
		Date:      e.Date == "" && s.present[fieldDate],
		Subject:   e.Subject == "" && s.present[fieldSubject],
		InReplyTo: e.InReplyTo == "" && s.present[fieldInReplyTo],
		MessageID: e.MessageID == "" && s.present[fieldMessageID],
	}
	e.References = shortReferences(s.text(fieldReferences))
	for i, list := range e.lists() {
		*list = parseAddresses(s.text(fieldFrom + field(i)))
	}
}

// lists returns the address lists in the order of RFC 9051's ENVELOPE, which
// is that of their field constants.
func (e *Envelope) lists() [6]*[]Address {
	return [...]*[]Address{&e.From, &e.Sender, &e.ReplyTo, &e.To, &e.Cc, &e.Bcc}
}

// MaxReferences bounds what is kept of References, in octets, beside its first
// identifier.
const MaxReferences = 4096

// shortReferences drops the middle of a long list: of a conversation the
// beginning tells which it is, and the end who answers whom.
func shortReferences(s string) string {
	if len(s) <= MaxReferences {
		return s
	}
	end := strings.IndexByte(s[:MaxReferences], '>') + 1
	tail := s[max(len(s)-MaxReferences, end):]
	if i := strings.IndexByte(tail, '<'); i >= 0 {
		return s[:end] + " " + tail[i:]
	}
	return s[:end]
}
