package imapd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/internal/imapstring"
	"restante/spool"
)

// query is what a FETCH asks for.
type query struct {
	uid, flags, modseq, internalDate, saveDate, rfc822Size bool
	emailID, threadID, envelope, body, bodyStructure       bool
	preview                                                bool

	sections []sectionItem
	// changedSince leaves out what has not changed since then; 0 leaves out
	// nothing. vanished tells of what is gone since then, too.
	changedSince spool.ModSeq
	vanished     bool
	// window is which of the messages are meant (RFC 9394).
	window window
}

// sectionKind is what of a section is asked for.
type sectionKind uint8

const (
	bodySection sectionKind = iota
	binarySection
	binarySize
)

// sectionItem is BODY[...], BINARY[...] or BINARY.SIZE[...], or one of the older
// RFC822 items.
type sectionItem struct {
	kind      sectionKind
	part      []int
	specifier imap.PartSpecifier
	fields    []string // of HEADER.FIELDS, nil for none
	not       bool
	peek      bool
	partial   bool
	// offset and size are those of partial.
	offset, size int64
	// label is how the item is called in the response.
	label string
}

// with asks for what another query asks for, too, and for the UID, without changing
// either. Nil asks for nothing.
func (q *query) with(other *query) *query {
	switch {
	case other == nil:
		return q
	case q == nil:
		q = new(query)
	}
	sum := *q
	for _, name := range strings.Fields("FLAGS MODSEQ INTERNALDATE SAVEDATE RFC822.SIZE EMAILID THREADID ENVELOPE BODY BODYSTRUCTURE") {
		*sum.switches(name) = *q.switches(name) || *other.switches(name)
	}
	sum.uid, sum.preview = true, q.preview || other.preview
	sum.sections = slices.Clone(q.sections)
	for _, item := range other.sections {
		if !slices.ContainsFunc(q.sections, func(have sectionItem) bool { return have.label == item.label && have.size == item.size }) {
			sum.sections = append(sum.sections, item)
		}
	}
	return &sum
}

// marksSeen tells whether the FETCH sets \Seen.
func (q *query) marksSeen() bool {
	for _, item := range q.sections {
		if !item.peek && item.kind != binarySize {
			return true
		}
	}
	return false
}

// needs is how far the FETCH looks at messages.
func (q *query) needs() need {
	n := needEntry
	if q.envelope || q.body || q.bodyStructure {
		n = needStructure
	}
	if q.preview {
		n = needBody
	}
	for i := range q.sections {
		if !q.sections[i].inRecord() {
			return needBody
		}
		n = max(n, needStructure)
	}
	return n
}

// collects tells whether the FETCH reads of a message more than its header.
func (q *query) collects() bool {
	for _, item := range q.sections {
		text := item.specifier == imap.PartSpecifierNone || item.specifier == imap.PartSpecifierText
		if item.kind != binarySize && text {
			return true
		}
	}
	return false
}

// parseItems reads the items of a FETCH.
func parseItems(d *wire.Decoder) query {
	var q query
	n := 0
	if !d.TryList(func() { n++; q.item(d, false) }) {
		q.item(d, true)
	} else if n == 0 {
		d.Fail("FETCH of nothing")
	}
	return q
}

// item reads one item. A macro can only stand alone.
func (q *query) item(d *wire.Decoder, alone bool) {
	name := strings.ToUpper(d.Until("[()<"))
	if d.Peek() == '[' {
		q.section(d, name)
		return
	}
	switch {
	case alone && name == "ALL":
		q.flags, q.internalDate, q.rfc822Size, q.envelope = true, true, true, true
	case alone && name == "FAST":
		q.flags, q.internalDate, q.rfc822Size = true, true, true
	case alone && name == "FULL":
		q.flags, q.internalDate, q.rfc822Size, q.envelope, q.body = true, true, true, true, true
	case name == "RFC822":
		q.sections = append(q.sections, sectionItem{label: name})
	case name == "RFC822.HEADER":
		q.sections = append(q.sections, sectionItem{specifier: imap.PartSpecifierHeader, peek: true, label: name})
	case name == "RFC822.TEXT":
		q.sections = append(q.sections, sectionItem{specifier: imap.PartSpecifierText, label: name})
	case name == "PREVIEW":
		q.preview = true
		if !alone {
			d.TryAfterSpace(func() { q.lazy(d, d.Word()) })
		}
	default:
		if into := q.switches(name); into != nil {
			*into = true
		} else {
			d.Fail("Unknown item of FETCH")
		}
	}
}

// lazy reads the modifier of PREVIEW. It makes no difference: a preview takes no
// more than the beginning of a text (RFC 8970 section 4).
func (q *query) lazy(d *wire.Decoder, word string) {
	if word != "LAZY" {
		d.Fail("Unknown modifier of PREVIEW")
	}
}

// switches returns what an item without arguments turns on.
func (q *query) switches(name string) *bool {
	switch name {
	case "UID":
		return &q.uid
	case "FLAGS":
		return &q.flags
	case "MODSEQ":
		return &q.modseq
	case "INTERNALDATE":
		return &q.internalDate
	case "SAVEDATE":
		return &q.saveDate
	case "RFC822.SIZE":
		return &q.rfc822Size
	case "EMAILID":
		return &q.emailID
	case "THREADID":
		return &q.threadID
	case "ENVELOPE":
		return &q.envelope
	case "BODY":
		return &q.body
	case "BODYSTRUCTURE":
		return &q.bodyStructure
	}
	return nil
}

// section reads what stands in brackets, and <offset.size> after it.
func (q *query) section(d *wire.Decoder, name string) {
	item := sectionItem{}
	switch name {
	case "BODY", "BODY.PEEK":
	case "BINARY", "BINARY.PEEK":
		item.kind = binarySection
	case "BINARY.SIZE":
		item.kind = binarySize
	default:
		d.Fail("Unknown item of FETCH")
		return
	}
	name, item.peek = strings.CutSuffix(name, ".PEEK")
	d.Expect('[')
	spec := strings.ToUpper(d.Until("]("))
	item.path(d, strings.TrimSuffix(spec, " "))
	label := name + "[" + spec
	if item.fields != nil {
		d.Space()
		item.fields = item.fields[:0]
		d.List(func() { item.fields = append(item.fields, fieldName(d)) })
		if len(item.fields) == 0 {
			d.Fail("A field is missing")
		}
		label += " (" + fieldList(item.fields) + ")"
	}
	d.Expect(']')
	label += "]"
	if item.kind != binarySize && d.Try('<') {
		item.partial = true
		item.offset = int64(d.Number64())
		d.Expect('.')
		if item.size = int64(d.Number64()); item.size == 0 {
			d.Fail("A part of a section has at least one octet")
		}
		d.Expect('>')
		label += fmt.Sprintf("<%d>", item.offset)
	}
	item.label = label
	q.sections = append(q.sections, item)
}

// fieldList writes names as atoms where they are such: some clients look for them
// as they have written them.
func fieldList(names []string) string {
	var b []byte
	for i, name := range names {
		if i > 0 {
			b = append(b, ' ')
		}
		if name == "" || strings.ContainsAny(name, `(){%*"\]`) {
			b = imapstring.AppendQuoted(b, name)
		} else {
			b = append(b, name...)
		}
	}
	return string(b)
}

// fieldName takes the name of a header field, which must be fit to be repeated in
// a response.
func fieldName(d *wire.Decoder) string {
	name := d.AString()
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			d.Fail("Malformed name of a field")
			return ""
		}
	}
	return name
}

// path reads "1.2.MIME".
func (item *sectionItem) path(d *wire.Decoder, spec string) {
	if !item.parsePath(spec) {
		d.Fail("Malformed section")
	}
}

// parsePath is path; it is false for what is none.
func (item *sectionItem) parsePath(spec string) bool {
	for spec != "" {
		first, rest, more := strings.Cut(spec, ".")
		n, err := strconv.ParseUint(first, 10, 31)
		if err != nil {
			break
		}
		if n == 0 || more && rest == "" || len(item.part) > 1000 {
			return false
		}
		item.part, spec = append(item.part, int(n)), rest
	}
	switch {
	case spec == "":
	case item.kind != bodySection:
		return false
	case spec == "HEADER":
		item.specifier = imap.PartSpecifierHeader
	case spec == "TEXT":
		item.specifier = imap.PartSpecifierText
	case spec == "MIME" && len(item.part) > 0:
		item.specifier = imap.PartSpecifierMIME
	case spec == "HEADER.FIELDS", spec == "HEADER.FIELDS.NOT":
		item.specifier, item.not = imap.PartSpecifierHeader, spec == "HEADER.FIELDS.NOT"
		item.fields = []string{}
	default:
		return false
	}
	return true
}
