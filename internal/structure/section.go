package structure

import (
	"bytes"

	"github.com/emersion/go-imap/v2"

	"restante/internal/header"
)

// Section returns where the octets of a body section (RFC 9051 section
// 6.4.5.1) lie: [off, end) of the stored message. It is not ok if there is no
// such part, or if the part has no such section.
//
// Where a mailbox shows further fields in front of the message, they are not
// counted here. They belong to the whole message, to its HEADER, and to the
// MIME of part 1 if that is the message itself.
func (m *Message) Section(part []int, specifier imap.PartSpecifier) (off, end int64, ok bool) {
	if len(part) == 0 {
		switch specifier {
		case imap.PartSpecifierNone:
			return 0, m.Size, true
		case imap.PartSpecifierHeader:
			return m.Root.HeaderStart, m.Root.BodyStart, true
		case imap.PartSpecifierText:
			return m.Root.BodyStart, m.Root.BodyEnd, true
		}
		return 0, 0, false
	}
	p := m.part(part)
	switch {
	case p == nil:
	case specifier == imap.PartSpecifierNone:
		return p.BodyStart, p.BodyEnd, true
	case specifier == imap.PartSpecifierMIME:
		return p.HeaderStart, p.BodyStart, true
	case p.Embedded == nil:
	case specifier == imap.PartSpecifierHeader:
		return p.Embedded.HeaderStart, p.Embedded.BodyStart, true
	case specifier == imap.PartSpecifierText:
		return p.Embedded.BodyStart, p.Embedded.BodyEnd, true
	}
	return 0, 0, false
}

// Part returns the part of a number as IMAP counts them, nil if it is not
// there. The part 1 of a message that is no multipart is the message itself.
func (m *Message) Part(number []int) *Part {
	if len(number) == 0 {
		return m.Root
	}
	return m.part(number)
}

func (m *Message) part(number []int) *Part {
	// at is a container: its parts are counted; or, once chosen by a number,
	// a part, to be opened if there is another number.
	at, chosen := m.Root, false
	for _, n := range number {
		if chosen {
			switch {
			case at.Embedded != nil:
				at = at.Embedded
			case !at.isMultipart():
				return nil
			}
		}
		switch {
		case at.isMultipart() && n >= 1 && n <= len(at.Children):
			at = at.Children[n-1]
		case at.isMultipart() || n != 1:
			return nil
		}
		chosen = true
	}
	return at
}

// FilterHeader returns the fields of a header that are named in fields, or
// with not those that are not, octet by octet as they stand, and the empty
// line that ends the header if it is there: IMAP's HEADER.FIELDS. Lines that
// are no fields are left out.
func FilterHeader(head []byte, fields []string, not bool) []byte {
	out, _ := AppendFields(nil, head, fields, not)
	return out
}

// AppendFields is FilterHeader that appends to dst, and tells whether there was
// an empty line.
func AppendFields(dst, head []byte, fields []string, not bool) (out []byte, ended bool) {
	open, wanted := false, false
	for len(head) > 0 {
		n := bytes.IndexByte(head, '\n') + 1
		if n == 0 {
			n = len(head)
		}
		line := head[:n]
		head = head[n:]
		if string(line) == "\r\n" || string(line) == "\n" {
			return append(dst, line...), true
		}
		if name, _, ok := header.Cut(line); ok {
			open, wanted = true, Named(name, fields) != not
		} else if open = open && (line[0] == ' ' || line[0] == '\t'); !open {
			continue
		}
		if wanted {
			dst = append(dst, line...)
		}
	}
	return dst, false
}

// Named tells whether a name is one of a list, in any case.
func Named(name []byte, list []string) bool {
	for _, s := range list {
		if Equal(name, s) {
			return true
		}
	}
	return false
}

// Equal tells whether two names are the same, in any case.
func Equal(name []byte, s string) bool {
	if len(name) != len(s) {
		return false
	}
	for i, c := range name {
		d := s[i]
		if c == d {
			continue
		}
		if c |= 0x20; c != d|0x20 || c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
