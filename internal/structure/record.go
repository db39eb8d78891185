package structure

import "time"

// maxWire bounds what a Record has of an ENVELOPE and of a BODYSTRUCTURE, in
// octets each. Larger ones are made when somebody asks.
const maxWire = 8 << 10

// Record is an encoded Message, opened to be looked at piece by piece: what most
// commands of IMAP want is there in the form in which it goes on the wire. Its
// pieces alias the encoding. The zero value knows nothing.
type Record struct {
	// Envelope and BodyStructure are what AppendEnvelope and AppendBody, with
	// extensions, make of the message; nil if that has to be done, since they
	// are long, or differ with the client, or were not stored.
	Envelope, BodyStructure []byte
	// Fields are fields of the header as they stand.
	Fields Fields

	// core is what follows, the encoded Message; old that it has no References.
	core []byte
	old  bool
	// complete tells that what a Record has was stored, dated that a date was.
	complete, dated bool
	seconds, zone   int64
}

// Open opens what Encode wrote. It fails with ErrFormat; but what Message decodes
// is not looked at.
func Open(b []byte) (r Record, err error) {
	d := decoder{b: b}
	switch v := d.octet(); v {
	case version:
		r.complete = true
		r.seconds, r.zone, r.dated = d.date()
		r.Envelope, r.BodyStructure = d.octets(), d.octets()
		r.Fields.b = d.octets()
	case plainVersion:
	case oldVersion:
		r.old = true
	default:
		d.bad = true
	}
	if d.bad {
		return Record{}, ErrFormat
	}
	r.core = d.b
	return r, nil
}

// Sent is the day in the Date field, in the zone that it names, as midnight in
// UTC: what IMAP's SENTBEFORE, SENTON and SENTSINCE look at. Zero if there is
// none. It is not known where nothing was stored for a Record.
func (r Record) Sent() (day time.Time, known bool) {
	if !r.dated {
		return time.Time{}, r.complete
	}
	const daylong = 24 * 60 * 60
	local := r.seconds + r.zone
	if local %= daylong; local < 0 {
		local += daylong
	}
	return time.Unix(r.seconds+r.zone-local, 0).UTC(), true
}

// record writes what Open reads.
func (e *encoder) record(m *Message) {
	e.date(m.Root.Envelope.Sent)
	scratch := AppendEnvelope(make([]byte, 0, 1024), m.Root.Envelope, false)
	e.wire(scratch)
	e.wire(AppendBody(scratch[:0], m.Root, true, false))
	e.number(int64(len(m.Fields.b)))
	e.b = append(e.b, m.Fields.b...)
}

// wire writes a piece, or nothing where a client that takes UTF-8 would see it in
// another form, or where it is long.
func (e *encoder) wire(b []byte) {
	plain := len(b) <= maxWire
	for i := 0; plain && i < len(b); i++ {
		plain = b[i] < 0x80
	}
	if !plain {
		b = nil
	}
	e.number(int64(len(b)))
	e.b = append(e.b, b...)
}

// octets reads a piece; nil if there is nothing.
func (d *decoder) octets() []byte {
	n := d.count()
	if n == 0 {
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}
