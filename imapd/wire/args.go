package wire

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// maxRanges bounds the ranges of a set.
const maxRanges = 10_000

// Mailbox takes the name of a mailbox. It comes in modified UTF-7, or, as some
// clients have it and IMAP4rev2 wants it, in UTF-8: raw tells that only this is
// meant, and that a "&" is no more than that.
func (d *Decoder) Mailbox(raw bool) string {
	return d.name(d.AString(), raw)
}

// Pattern takes a mailbox name with wildcards (list-mailbox). One that is not
// modified UTF-7 is no fault: it only matches nothing.
func (d *Decoder) Pattern(raw bool) string {
	s, is := d.tryString()
	if !is {
		s = d.while(func(c byte) bool { return isAstringChar(c) || c == '%' || c == '*' })
		if s == "" {
			d.Fail("A mailbox name is missing")
		}
	}
	if _, err := DecodeUTF7(s); err != nil {
		raw = true
	}
	return d.name(s, raw)
}

func (d *Decoder) name(s string, raw bool) string {
	if d.err != nil {
		return ""
	}
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		d.Fail("Mailbox name is not UTF-8")
		return ""
	}
	if raw || strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) >= 0 {
		return s
	}
	name, err := DecodeUTF7(s)
	if err != nil {
		// It is well-formed as an argument, but no mailbox can have that name.
		d.Refuse(&imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot, Text: "Mailbox name is not modified UTF-7"})
		return ""
	}
	return name
}

// Flag takes a flag or a keyword.
func (d *Decoder) Flag() imap.Flag {
	system := d.Try('\\')
	name := d.while(isAstringChar)
	if name == "" {
		d.Fail("A flag is missing")
		return ""
	}
	if system {
		return imap.Flag(`\` + capital(name))
	}
	return imap.Flag(name)
}

// capital is how system flags are written.
func capital(s string) string { return strings.ToUpper(s[:1]) + strings.ToLower(s[1:]) }

// Flags takes a list of flags.
func (d *Decoder) Flags() (list []imap.Flag) {
	d.List(func() { list = append(list, d.Flag()) })
	return list
}

// Set is a set of sequence numbers or UIDs. Saved tells that it is "$", what a
// SEARCH saved (RFC 5182).
type Set struct {
	Ranges []Range
	Saved  bool
}

// Range is from Start to Stop, either of which may be the larger; 0 is "*".
type Range struct{ Start, Stop uint32 }

// Set takes a set.
func (d *Decoder) Set() Set {
	if d.Try('$') {
		return Set{Saved: true}
	}
	return d.ParseSet(d.while(func(c byte) bool { return c >= '0' && c <= '9' || c == ':' || c == '*' || c == ',' }))
}

// ParseSet reads a set; what is none is an error of the command.
func (d *Decoder) ParseSet(s string) (set Set) {
	if strings.Count(s, ",") >= maxRanges {
		d.Fail("Set has too many ranges")
		return Set{}
	}
	for part := range strings.SplitSeq(s, ",") {
		a, b, is := strings.Cut(part, ":")
		r := Range{Start: d.setNumber(a)}
		if r.Stop = r.Start; is {
			r.Stop = d.setNumber(b)
		}
		set.Ranges = append(set.Ranges, r)
	}
	if d.err != nil {
		return Set{}
	}
	return set
}

func (d *Decoder) setNumber(s string) uint32 {
	if s == "*" {
		return 0
	}
	var n uint64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > 1<<32 {
			n = 0
			break
		}
		n = n*10 + uint64(s[i]-'0')
	}
	if n == 0 || n > 1<<32-1 {
		d.Fail("Malformed set of numbers")
		return 0
	}
	return uint32(n)
}

// Fixed returns the ranges with Start <= Stop and last in the place of "*"; one
// that is "*" in an empty mailbox is left out.
func (s Set) Fixed(last uint32) []Range {
	out := make([]Range, 0, len(s.Ranges))
	for _, r := range s.Ranges {
		if r.Start == 0 {
			r.Start = last
		}
		if r.Stop == 0 {
			r.Stop = last
		}
		if r.Start > r.Stop {
			r.Start, r.Stop = r.Stop, r.Start
		}
		if r.Stop == 0 {
			continue
		}
		out = append(out, Range{max(r.Start, 1), r.Stop})
	}
	return out
}

// Merged is Fixed in ascending order, with ranges that overlap or touch made one:
// what is done for each of them is done once for each message.
func (s Set) Merged(last uint32) []Range {
	list := s.Fixed(last)
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && uint64(r.Start) <= uint64(out[n-1].Stop)+1 {
			out[n-1].Stop = max(out[n-1].Stop, r.Stop)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Date takes a date without a time, quoted or not.
func (d *Decoder) Date() time.Time {
	s := d.AString()
	t, err := time.Parse("_2-Jan-2006", s)
	if err != nil {
		t, err = time.Parse("2-Jan-2006", s)
	}
	if err != nil {
		d.Fail("Malformed date")
	}
	return t
}

// DateTime takes the date of an APPEND.
func (d *Decoder) DateTime() time.Time {
	s := d.quoted()
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		d.Fail("Malformed date")
	}
	return t
}
