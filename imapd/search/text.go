package search

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"restante/imapd/casemap"
	"restante/internal/decode"
	"restante/internal/structure"
)

// chunk is how much of a text is looked at in one go, in octets.
const chunk = 32 << 10

// needles are strings that are looked for in several texts; each has to be in
// one of them.
type needles struct {
	left    [][]byte
	all     [][]byte // those of reset
	longest int
	// unmarked leaves accents out of account.
	unmarked bool
	// raw is what was read, text the folded form of it; both are used again for
	// the next part.
	raw, text []byte
}

// reset begins with the strings of a list, which is the same every time.
func (n *needles) reset(list []string) {
	n.left, n.longest = n.left[:0], 0
	if n.all == nil {
		for _, s := range list {
			n.add(s)
		}
		n.all = slices.Clone(n.left)
		return
	}
	for _, b := range n.all {
		n.left = append(n.left, b)
		n.longest = max(n.longest, len(b))
	}
}

func (n *needles) add(s string) {
	if s != "" {
		b := []byte(n.fold(s))
		n.left = append(n.left, b)
		n.longest = max(n.longest, len(b))
	}
}

func (n *needles) fold(s string) string {
	if n.unmarked {
		return casemap.Unmarked(s)
	}
	return casemap.Fold(s)
}

func (n *needles) allFound() bool { return len(n.left) == 0 }

// search reads r up to where everything was found.
func (n *needles) search(r io.Reader) error {
	if n.raw == nil {
		n.raw = make([]byte, chunk+utf8.UTFMax)
	}
	text, held := n.text[:0], 0
	for !n.allFound() {
		got, err := io.ReadFull(r, n.raw[held:held+chunk])
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		from := len(text)
		var rest []byte
		text, rest = casemap.Append(text, n.raw[:held+got], last)
		held = copy(n.raw, rest)
		if n.unmarked {
			text = append(text[:from], casemap.WithoutMarks(text[from:])...)
		}
		left := n.left[:0]
		for _, needle := range n.left {
			if !bytes.Contains(text, needle) {
				left = append(left, needle)
			}
		}
		n.left = left
		// What may be the beginning of a string is kept.
		keep := max(0, min(len(text), n.longest-1))
		text = append(text[:0], text[len(text)-keep:]...)
		n.text = text
		if last {
			return nil
		}
	}
	return nil
}

// searchPart goes through the text of a part and of those in it. Parts that
// are no text (pictures, archives) are not searched.
func searchPart(p *structure.Part, m Message, wanted *needles) error {
	if wanted.allFound() {
		return nil
	}
	for _, child := range p.Children {
		if err := searchPart(child, m, wanted); err != nil {
			return err
		}
	}
	switch {
	case len(p.Children) > 0:
		return nil
	case p.Embedded != nil:
		head, err := m.Octets(p.Embedded.HeaderStart, min(p.Embedded.BodyStart, p.Embedded.HeaderStart+MaxHeader))
		if err != nil {
			return err
		}
		b, err := io.ReadAll(head)
		if err != nil {
			return err
		}
		if err := wanted.search(strings.NewReader(readable(string(b)))); err != nil {
			return err
		}
		return searchPart(p.Embedded, m, wanted)
	case p.Type != "text" && p.Type != "message" && p.Type != "multipart":
		return nil
	}
	r, err := m.Octets(p.BodyStart, p.BodyEnd)
	if err != nil {
		return err
	}
	return wanted.search(Readable(r, p))
}

// Readable undoes what was done to a text for its transport.
func Readable(r io.Reader, p *structure.Part) io.Reader {
	if d, ok := decode.Reader(r, p.Encoding); ok {
		r = d
	}
	for _, param := range p.Params {
		if param.Name != "charset" || strings.EqualFold(param.Value, "utf-8") || strings.EqualFold(param.Value, "us-ascii") {
			continue
		}
		if enc, err := htmlindex.Get(param.Value); err == nil {
			return enc.NewDecoder().Reader(r)
		}
	}
	return r
}
