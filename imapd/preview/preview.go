// Package preview makes the few words of a message that lists of messages show
// (RFC 8970): the beginning of its first text, without tags, quotations and
// needless white space.
//
// What is read is bounded, whatever the message. HTML is not understood, only
// stripped: a message can say in its preview what it does not show.
package preview

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode"

	"golang.org/x/net/html"

	"restante/internal/structure"
)

const (
	// Length is that of a preview, in characters (RFC 8970 section 3.1).
	Length = 200
	// maxPlain and maxHTML bound what is read of a decoded text, in octets. HTML
	// begins with styles, often long ones.
	maxPlain = 16 << 10
	maxHTML  = 256 << 10
	// maxToken bounds a tag or a run of text, in octets.
	maxToken = 64 << 10
)

// Parts returns the parts a preview can be made of, the best first: the first
// text, and where it has alternatives those after it.
func Parts(root *structure.Part) []*structure.Part { return collect(root, nil) }

func collect(p *structure.Part, list []*structure.Part) []*structure.Part {
	switch {
	case p.Disposition == "attachment":
	case p.Type == "multipart" && p.Subtype == "alternative":
		// The plain form stands first, but need not.
		from := len(list)
		for _, c := range p.Children {
			list = collect(c, list)
		}
		for i := from; i < len(list); i++ {
			if list[i].Subtype == "plain" {
				plain := list[i]
				copy(list[from+1:i+1], list[from:i])
				list[from] = plain
				break
			}
		}
	case p.Type == "multipart":
		for _, c := range p.Children {
			list = collect(c, list)
		}
	case p.Type == "text" && (p.Subtype == "plain" || p.Subtype == "html"):
		list = append(list, p)
	}
	return list
}

// maxParts bounds the parts that are tried.
const maxParts = 4

// Make returns the preview of the first part that gives one. Text opens a part
// with its transfer encoding and its character set undone. It fails with the
// errors of that.
func Make(root *structure.Part, text func(p *structure.Part) (io.Reader, error)) (string, error) {
	parts := Parts(root)
	for _, p := range parts[:min(len(parts), maxParts)] {
		r, err := text(p)
		if err != nil {
			return "", err
		}
		var s summary
		if p.Subtype == "html" {
			err = s.html(r)
		} else {
			err = s.plain(r)
		}
		if err != nil {
			return "", err
		}
		if s.n > 0 {
			return s.b.String(), nil
		}
	}
	return "", nil
}

// summary gathers words.
type summary struct {
	b    strings.Builder
	n    int  // characters
	gap  bool // white space comes before the next word
	full bool
}

// write adds text.
func (s *summary) write(text string) {
	for _, r := range text {
		switch {
		case s.full:
			return
		case unicode.IsSpace(r) || unicode.IsControl(r):
			s.gap = true
			continue
		case invisible(r):
			continue
		}
		between := s.gap && s.n > 0
		if s.full = s.n >= Length || between && s.n+1 >= Length; s.full {
			return
		}
		if between {
			s.b.WriteByte(' ')
			s.n++
		}
		s.b.WriteRune(r)
		s.n++
		s.gap = false
	}
}

// invisible tells of characters with which mailings fill their previews, and of
// what is no character.
func invisible(r rune) bool {
	switch {
	case r == unicode.ReplacementChar, r == 0xad, r == 0x34f, r == 0xfeff, r >= 0x200b && r <= 0x200f, r >= 0x2060 && r <= 0x2064:
		return true
	}
	return false
}

// plain takes lines up to a signature, and leaves quotations out.
func (s *summary) plain(r io.Reader) error {
	lines := bufio.NewReaderSize(io.LimitReader(r, maxPlain), maxPlain)
	for !s.full {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "-- " && s.n > 0 {
			return nil
		}
		if !strings.HasPrefix(text, ">") {
			s.write(text)
			s.gap = true
		}
		if err != nil {
			return nil
		}
	}
	return nil
}

// html takes the text between tags.
func (s *summary) html(r io.Reader) error {
	limited := &tellingReader{r: io.LimitReader(r, maxHTML)}
	z := html.NewTokenizer(limited)
	z.SetMaxBuf(maxToken)
	hidden := ""
	for !s.full {
		switch z.Next() {
		case html.ErrorToken:
			return limited.err
		case html.TextToken:
			if hidden == "" {
				s.write(string(z.Text()))
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			switch tag := string(name); tag {
			case "script", "style", "title", "template":
				if hidden == "" {
					hidden = tag
				}
			}
			s.gap = s.gap || !inline(string(name))
		case html.EndTagToken:
			name, _ := z.TagName()
			if string(name) == hidden {
				hidden = ""
			}
			s.gap = s.gap || !inline(string(name))
		case html.SelfClosingTagToken:
			s.gap = true
		}
	}
	return nil
}

// inline tells of tags that do not end a word.
func inline(tag string) bool {
	switch tag {
	case "a", "b", "em", "font", "i", "small", "span", "strong", "sub", "sup", "u":
		return true
	}
	return false
}

// tellingReader keeps the error of a reader, which is not the HTML's.
type tellingReader struct {
	r   io.Reader
	err error
}

func (t *tellingReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}
