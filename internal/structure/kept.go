package structure

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"

	"restante/internal/header"
)

// MaxFields bounds the Fields that are kept of a message, in octets.
const MaxFields = 8 << 10

// Fields are the fields of a message's header, octet by octet as they stand,
// in their order: those whose names Keeps has, and all of them. So what is not
// there is not in the message either. The zero value tells of no message.
//
// It is an octet that tells how the header ends, and the fields, each after its
// length.
type Fields struct{ b []byte }

// How a header ends.
const (
	endsOpen byte = iota // without an empty line
	endsCRLF
	endsLF
)

// Keeps tells whether Fields hold the fields of a name, in any case. All are
// held but the signatures, traces and verdicts that mail collects on its way:
// they make up most of a header, and clients ask for them when somebody wants to
// see the source. What it says of a name cannot change without a new version of
// the encoding.
func Keeps(name string) bool {
	n := len(name)
	if n == 0 {
		return true
	}
	switch name[0] | 0x20 {
	case 'a':
		return !hasPrefixFold(name, "arc-") && !strings.EqualFold(name, "authentication-results") && !strings.EqualFold(name, "autocrypt")
	case 'd':
		return !strings.EqualFold(name, "dkim-signature") && !strings.EqualFold(name, "domainkey-signature")
	case 'f':
		return !strings.EqualFold(name, "face")
	case 'r':
		return !strings.EqualFold(name, "received") && !strings.EqualFold(name, "received-spf")
	case 'x':
		return !keptBack(name)
	}
	return true
}

// keptBack are the fields of Keeps that begin with an x.
func keptBack(name string) bool {
	if strings.EqualFold(name, "x-face") || strings.EqualFold(name, "x-received") {
		return true
	}
	for _, prefix := range [...]string{"x-google-", "x-gm-", "x-ms-", "x-microsoft-", "x-forefront-", "x-exchange-", "x-spam-report", "x-spam-result"} {
		if hasPrefixFold(name, prefix) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// keep makes Fields of a header. There are none if it has no first field, so that
// fields in front of it would make a difference to what it is, or if they would
// be too long.
func keep(raw []byte) Fields {
	if _, _, ok := header.Cut(raw); !ok {
		return Fields{}
	}
	block := header.Parse(raw)
	b := []byte{endsOpen}
	switch {
	case !block.Separated():
	case bytes.HasSuffix(block.Raw(), []byte("\r\n")):
		b[0] = endsCRLF
	default:
		b[0] = endsLF
	}
	for _, f := range block.Fields() {
		if !Keeps(f.Name) {
			continue
		}
		if len(b)+len(f.Raw) > MaxFields {
			return Fields{}
		}
		b = binary.AppendUvarint(b, uint64(len(f.Raw)))
		b = append(b, f.Raw...)
	}
	return Fields{b}
}

// Known tells whether there are any: for a message that is malformed, or has very
// long ones, or was stored by an older version, there are none.
func (f Fields) Known() bool { return len(f.b) > 0 }

// End is the empty line that ends the header, or "".
func (f Fields) End() string {
	switch {
	case !f.Known() || f.b[0] == endsOpen:
		return ""
	case f.b[0] == endsLF:
		return "\n"
	}
	return "\r\n"
}

// All iterates over the names, as they stand, and the whole fields. They alias
// the record.
func (f Fields) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, raw []byte) bool) {
		for b := f.b[min(1, len(f.b)):]; len(b) > 0; {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return
			}
			raw := b[size : size+int(n)]
			b = b[size+int(n):]
			name, _, _ := header.Cut(raw)
			if !yield(name, raw) {
				return
			}
		}
	}
}

// Append appends those of some names, and the empty line.
func (f Fields) Append(dst []byte, names []string) []byte {
	for name, raw := range f.All() {
		if Named(name, names) {
			dst = append(dst, raw...)
		}
	}
	return append(dst, f.End()...)
}

// sound tells whether an encoding is one that keep can make.
func (f Fields) sound() bool {
	if !f.Known() {
		return true
	}
	if f.b[0] > endsLF || len(f.b) > 2*MaxFields {
		return false
	}
	for b := f.b[1:]; len(b) > 0; {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return false
		}
		if _, _, ok := header.Cut(b[size : size+int(n)]); !ok {
			return false
		}
		b = b[size+int(n):]
	}
	return true
}
