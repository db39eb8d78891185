package search

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"golang.org/x/text/encoding/htmlindex"

	"restante/internal/decode"
	"restante/internal/structure"
)

const chunk = 32 << 10

// needles are strings that are looked for in several texts; each has to be in
// one of them.
type needles struct {
	left    [][]byte
	longest int
}

func newNeedles(list []string) *needles {
	n := &needles{}
	for _, s := range list {
		n.add(s)
	}
	return n
}

func (n *needles) add(s string) {
	if s != "" {
		n.left = append(n.left, foldASCII([]byte(s)))
		n.longest = max(n.longest, len(s))
	}
}

func (n *needles) allFound() bool { return len(n.left) == 0 }

// search reads r up to where everything was found.
func (n *needles) search(r io.Reader) error {
	buf := make([]byte, 0, chunk+n.longest)
	for !n.allFound() {
		got, err := io.ReadFull(r, buf[len(buf):len(buf)+chunk])
		fresh := buf[len(buf) : len(buf)+got]
		foldASCII(fresh)
		buf = buf[:len(buf)+got]
		left := n.left[:0]
		for _, needle := range n.left {
			if !bytes.Contains(buf, needle) {
				left = append(left, needle)
			}
		}
		n.left = left
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		// What may be the beginning of a string is kept.
		keep := min(len(buf), n.longest-1)
		buf = append(buf[:0], buf[len(buf)-keep:]...)
	}
	return nil
}

// foldASCII makes letters lower case, in place.
func foldASCII(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
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
		if err := wanted.search(strings.NewReader(decodeHeader(unfold(string(b))))); err != nil {
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
	return wanted.search(readable(r, p))
}

// readable undoes what was done to a text for its transport.
func readable(r io.Reader, p *structure.Part) io.Reader {
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
