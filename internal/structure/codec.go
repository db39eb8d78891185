package structure

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrFormat is wrapped by the errors of Decode.
var ErrFormat = errors.New("structure: malformed encoding")

// The encoding is a version octet, what a Record has, the size, and the root part.
// Numbers are varints; text is its length and its octets; a list is its length and
// its elements. A part gives its offsets relative to the start of the body that it
// lies in, so that they are short.
//
// Version 1 had no References, versions 1 and 2 nothing for a Record; they are
// read all the same.
const (
	version      = 3
	plainVersion = 2
	oldVersion   = 1
)

// What a part has, as bits of its first octet. The last ones tell of the fields of
// its envelope that are there and empty.
const (
	hasEnvelope = 1 << iota
	hasEmbedded
	emptyDate
	emptySubject
	emptyInReplyTo
	emptyMessageID

	anyEmpty = emptyDate | emptySubject | emptyInReplyTo | emptyMessageID
)

// routed is set in the kind of an address that has a route. Older encodings do
// without.
const routed = 0x80

// bits is how e stands in the first octet of a part.
func (e EmptyFields) bits() (b byte) {
	for _, f := range []struct {
		is  bool
		bit byte
	}{{e.Date, emptyDate}, {e.Subject, emptySubject}, {e.InReplyTo, emptyInReplyTo}, {e.MessageID, emptyMessageID}} {
		if f.is {
			b |= f.bit
		}
	}
	return b
}

// Encode returns the message in the format that Decode reads.
func (m *Message) Encode() []byte {
	e := encoder{b: make([]byte, 0, 2048), old: m.Root.Envelope.NoReferences}
	if e.old {
		e.b = append(e.b, oldVersion)
	} else {
		e.b = append(e.b, version)
		e.record(m)
	}
	e.number(m.Size)
	e.part(m.Root, 0)
	return e.b
}

type encoder struct {
	b   []byte
	old bool // in the format of oldVersion
}

func (e *encoder) number(n int64) { e.b = binary.AppendUvarint(e.b, uint64(n)) }

func (e *encoder) text(list ...string) {
	for _, s := range list {
		e.number(int64(len(s)))
		e.b = append(e.b, s...)
	}
}

func (e *encoder) params(list []Param) {
	e.number(int64(len(list)))
	for _, p := range list {
		e.text(p.Name, p.Value)
	}
}

func (e *encoder) part(p *Part, base int64) {
	var has byte
	if p.Envelope != nil {
		has |= hasEnvelope | p.Envelope.Empty.bits()
	}
	if p.Embedded != nil {
		has |= hasEmbedded
	}
	e.b = append(e.b, has)
	e.number(p.HeaderStart - base)
	e.number(p.BodyStart - p.HeaderStart)
	e.number(p.BodyEnd - p.BodyStart)
	e.number(p.Lines)
	e.text(p.Type, p.Subtype)
	e.params(p.Params)
	e.text(p.ID, p.Description, p.Encoding, p.MD5, p.Location, p.Disposition)
	e.params(p.DispositionParams)
	e.number(int64(len(p.Language)))
	e.text(p.Language...)
	if p.Envelope != nil {
		e.envelope(p.Envelope)
	}
	if p.Embedded != nil {
		e.part(p.Embedded, p.BodyStart)
	}
	e.number(int64(len(p.Children)))
	for _, c := range p.Children {
		e.part(c, p.BodyStart)
	}
}

func (e *encoder) envelope(v *Envelope) {
	e.text(v.Date, v.Subject, v.InReplyTo, v.MessageID)
	if !e.old {
		e.text(v.References)
	}
	e.date(v.Sent)
	for _, list := range v.lists() {
		e.number(int64(len(*list)))
		for _, a := range *list {
			if a.Route != "" {
				e.b = append(e.b, byte(a.Kind)|routed)
				e.text(a.Name, a.Mailbox, a.Host, a.Route)
				continue
			}
			e.b = append(e.b, byte(a.Kind))
			e.text(a.Name, a.Mailbox, a.Host)
		}
	}
}

func (e *encoder) date(t time.Time) {
	if t.IsZero() {
		e.b = append(e.b, 0)
		return
	}
	_, zone := t.Zone()
	e.b = append(e.b, 1)
	e.b = binary.AppendVarint(e.b, t.Unix())
	e.b = binary.AppendVarint(e.b, int64(zone))
}

// Decode reads what Encode wrote. It fails with ErrFormat on anything else,
// also on encodings of messages that a Parser cannot return.
func Decode(b []byte) (*Message, error) {
	r, err := Open(b)
	if err != nil {
		return nil, err
	}
	return r.Message()
}

// Message decodes all that is known of the message. It fails like Decode.
func (r Record) Message() (*Message, error) {
	d := decoder{b: r.core, old: r.old}
	m := &Message{Size: d.number(), Fields: r.Fields}
	m.Root = d.part(0, m.Size, 1)
	if !d.bad && (len(d.b) > 0 || m.Root.Envelope == nil || m.Root.HeaderStart != 0 || !r.Fields.sound()) {
		d.bad = true
	}
	if d.bad {
		return nil, ErrFormat
	}
	return m, nil
}

// decoder reads from b; after a fault it is bad, and returns zeros.
type decoder struct {
	b        []byte
	old, bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) octet() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// number reads a number from 0 to 2^62, so that two of them can be added.
func (d *decoder) number() int64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > 1<<62 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return int64(n)
}

// between reads a number relative to base and requires base <= n <= limit.
func (d *decoder) between(base, limit int64) int64 {
	n := d.number()
	if n > limit-base {
		d.fail()
		return base
	}
	return base + n
}

func (d *decoder) signed() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// count reads the length of a list; every element has an octet at least.
func (d *decoder) count() int {
	n := d.number()
	if n > int64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.count()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) params() (list []Param) {
	for range d.count() {
		list = append(list, Param{d.text(), d.text()})
		if d.bad {
			return nil
		}
	}
	return list
}

// part reads a part that lies within [base, limit].
func (d *decoder) part(base, limit int64, depth int) *Part {
	p := &Part{}
	if depth > MaxDepth {
		d.fail()
		return p
	}
	has := d.octet()
	p.HeaderStart = d.between(base, limit)
	p.BodyStart = d.between(p.HeaderStart, limit)
	p.BodyEnd = d.between(p.BodyStart, limit)
	p.Lines = d.between(0, limit)
	p.Type, p.Subtype = d.text(), d.text()
	p.Params = d.params()
	p.ID, p.Description, p.Encoding = d.text(), d.text(), d.text()
	p.MD5, p.Location, p.Disposition = d.text(), d.text(), d.text()
	p.DispositionParams = d.params()
	for range d.count() {
		p.Language = append(p.Language, d.text())
	}
	if has&hasEnvelope != 0 {
		p.Envelope = d.envelope()
		p.Envelope.Empty = EmptyFields{
			Date:      has&emptyDate != 0,
			Subject:   has&emptySubject != 0,
			InReplyTo: has&emptyInReplyTo != 0,
			MessageID: has&emptyMessageID != 0,
		}
	}
	if has&hasEmbedded != 0 {
		p.Embedded = d.part(p.BodyStart, p.BodyEnd, depth+1)
	}
	for range d.count() {
		p.Children = append(p.Children, d.part(p.BodyStart, p.BodyEnd, depth+1))
		if d.bad {
			return p
		}
	}
	if !d.bad && !p.sound(has) {
		d.fail()
	}
	return p
}

// sound tells whether the kind of the part and what it holds go together.
func (p *Part) sound(has byte) bool {
	return isToken(p.Type) && isToken(p.Subtype) && has <= hasEnvelope|hasEmbedded|anyEmpty && (has&hasEnvelope != 0 || has&anyEmpty == 0) &&
		p.isMultipart() == (len(p.Children) > 0) &&
		p.isMessage() == (p.Embedded != nil) &&
		(p.Embedded == nil || p.Embedded.Envelope != nil &&
			p.Embedded.HeaderStart == p.BodyStart && p.Embedded.BodyEnd == p.BodyEnd)
}

// date reads a date, as seconds and the zone's offset; it is not ok if there is none.
func (d *decoder) date() (seconds, zone int64, ok bool) {
	if d.octet() == 0 {
		return 0, 0, false
	}
	seconds, zone = d.signed(), d.signed()
	// The years 0 to 9999, which every date format can hold.
	if seconds < -62167219200+86400 || seconds > 253402300799-86400 || zone <= -86400 || zone >= 86400 {
		d.fail()
	}
	return seconds, zone, !d.bad
}

func (d *decoder) envelope() *Envelope {
	v := &Envelope{Date: d.text(), Subject: d.text(), InReplyTo: d.text(), MessageID: d.text(), NoReferences: d.old}
	if !d.old {
		v.References = d.text()
	}
	if seconds, zone, ok := d.date(); ok {
		v.Sent = time.Unix(seconds, 0).In(time.FixedZone("", int(zone)))
	}
	for _, list := range v.lists() {
		for range d.count() {
			kind := d.octet()
			a := Address{Kind: AddressKind(kind &^ routed), Name: d.text(), Mailbox: d.text(), Host: d.text()}
			if kind&routed != 0 {
				if a.Route = d.text(); a.Kind != Mailbox || a.Route == "" {
					d.fail()
				}
			}
			if a.Kind > GroupEnd {
				d.fail()
			}
			if d.bad {
				return v
			}
			*list = append(*list, a)
		}
	}
	return v
}
