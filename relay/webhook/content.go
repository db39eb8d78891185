package webhook

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"restante/internal/decode"
	"restante/internal/header"
	"restante/internal/structure"
	"restante/spool"
)

// content is what is posted. It is made anew each time that it is read, so
// that nothing of it is held.
type content struct {
	// size is the number of octets; measure finds it.
	size  int64
	write func(w io.Writer) error
}

// whole is a message as it is.
func whole(body spool.Body) *content {
	return &content{size: body.Size(), write: func(w io.Writer) error {
		n, err := io.Copy(w, io.NewSectionReader(body, 0, body.Size()))
		if err == nil && n != body.Size() {
			err = io.ErrUnexpectedEOF
		}
		return err
	}}
}

// measure finds the size, and writes the content to w unless that is nil.
func (c *content) measure(w io.Writer) error {
	if w == nil {
		if c.size >= 0 {
			return nil
		}
		w = io.Discard
	}
	n := &counter{w: w}
	if err := c.write(n); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	c.size = n.n
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// reader reads the content. Close waits for the end of what makes it.
func (c *content) reader() io.ReadCloser {
	r, w := io.Pipe()
	p := &piped{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		w.CloseWithError(c.write(w))
	}()
	return p
}

type piped struct {
	*io.PipeReader
	done chan struct{}
}

func (p *piped) Close() error {
	p.PipeReader.Close()
	<-p.done
	return nil
}

// parts is a message as JSON, while it is written.
type parts struct {
	body spool.Body
	w    *bufio.Writer
	err  error
	// text and html are the parts that are shown; the others are attachments.
	text, html  *structure.Part
	attachments []*structure.Part
}

// partsOf is a message in its parts. An error is one of reading it.
func partsOf(body spool.Body, env envelope) (*content, error) {
	p := structure.NewParser()
	if _, err := io.Copy(p, io.NewSectionReader(body, 0, body.Size())); err != nil {
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	found := p.Finish()
	head := make([]byte, min(found.Root.BodyStart-found.Root.HeaderStart, spool.MaxHead))
	if _, err := io.ReadFull(io.NewSectionReader(body, found.Root.HeaderStart, int64(len(head))), head); err != nil {
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	return &content{size: -1, write: func(w io.Writer) error {
		m := &parts{body: body, w: bufio.NewWriterSize(w, 32<<10)}
		m.sort(found.Root)
		m.message(env, header.Parse(head), body.Size())
		if m.err == nil {
			m.err = m.w.Flush()
		}
		return m.err
	}}, nil
}

// sort finds what is shown and what is attached.
func (m *parts) sort(p *structure.Part) {
	if len(p.Children) > 0 {
		for _, child := range p.Children {
			m.sort(child)
		}
		return
	}
	shown := p.Type == "text" && p.Disposition != "attachment"
	switch {
	case shown && p.Subtype == "plain" && m.text == nil:
		m.text = p
	case shown && p.Subtype == "html" && m.html == nil:
		m.html = p
	default:
		m.attachments = append(m.attachments, p)
	}
}

// message writes all. What is small goes through json, the rest streams.
func (m *parts) message(env envelope, head *header.Block, size int64) {
	m.put(`{"version":1,"envelope":`)
	m.value(env)
	m.put(`,"size":`)
	m.value(size)
	m.put(`,"headers":[`)
	for i, f := range head.Fields() {
		if i > 0 {
			m.put(",")
		}
		m.value(struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		}{f.Name, readable(f.Value())})
	}
	m.put("]")
	for _, t := range []struct {
		name string
		part *structure.Part
	}{{"text", m.text}, {"html", m.html}} {
		m.put(`,"` + t.name + `":`)
		if t.part == nil {
			m.put("null")
			continue
		}
		m.string(m.decoded(t.part, true))
	}
	m.put(`,"attachments":[`)
	for i, p := range m.attachments {
		if i > 0 {
			m.put(",")
		}
		m.attachment(p)
	}
	m.put("]}\n")
}

func (m *parts) attachment(p *structure.Part) {
	m.put(`{"name":`)
	m.value(fileName(p))
	m.put(`,"type":`)
	m.value(p.Type + "/" + p.Subtype)
	m.put(`,"charset":`)
	m.value(param(p.Params, "charset"))
	m.put(`,"disposition":`)
	m.value(p.Disposition)
	m.put(`,"content_id":`)
	m.value(strings.Trim(p.ID, "<> "))
	m.put(`,"content":"`)
	if m.err == nil {
		encoder := base64.NewEncoder(base64.StdEncoding, m.w)
		if _, m.err = io.Copy(encoder, m.decoded(p, false)); m.err == nil {
			m.err = encoder.Close()
		}
	}
	m.put(`"}`)
}

// decoded reads the octets of a part, and as text in UTF-8. An encoding that is
// not known stays.
func (m *parts) decoded(p *structure.Part, text bool) io.Reader {
	var r io.Reader = io.NewSectionReader(m.body, p.BodyStart, p.BodyEnd-p.BodyStart)
	if d, ok := decode.Reader(r, p.Encoding); ok {
		r = d
	}
	if text {
		if enc, err := htmlindex.Get(param(p.Params, "charset")); err == nil {
			r = enc.NewDecoder().Reader(r)
		}
	}
	return r
}

func (m *parts) put(s string) {
	if m.err == nil {
		_, m.err = m.w.WriteString(s)
	}
}

func (m *parts) value(v any) {
	b, err := json.Marshal(v)
	if m.err == nil {
		m.err = err
	}
	m.put(string(b))
}

// string writes a text as a JSON string (RFC 8259 section 7); octets that are
// no UTF-8 become U+FFFD.
func (m *parts) string(r io.Reader) {
	m.put(`"`)
	in := bufio.NewReader(r)
	for m.err == nil {
		c, size, err := in.ReadRune()
		switch {
		case err == io.EOF:
			m.put(`"`)
			return
		case err != nil:
			m.err = err
		case c == '"' || c == '\\':
			m.put(`\` + string(c))
		case c == '\n':
			m.put(`\n`)
		case c == '\r':
			m.put(`\r`)
		case c < ' ':
			m.put(fmt.Sprintf(`\u%04x`, c))
		case c == utf8.RuneError && size == 1:
			m.put("\uFFFD")
		default:
			_, m.err = m.w.WriteRune(c)
		}
	}
}

// readable decodes encoded words (RFC 2047), as far as they can be.
func readable(s string) string {
	d := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		enc, err := htmlindex.Get(charset)
		if err != nil {
			return nil, err
		}
		return enc.NewDecoder().Reader(r), nil
	}}
	if text, err := d.DecodeHeader(s); err == nil {
		s = text
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// fileName is what an attachment is called, "" if it has no name.
func fileName(p *structure.Part) string {
	if name := param(p.DispositionParams, "filename"); name != "" {
		return name
	}
	return param(p.Params, "name")
}

// param returns a parameter as text: of RFC 2231 section 4 if it has that form,
// else with the encoded words that many put there.
func param(list []structure.Param, name string) string {
	for _, p := range list {
		switch p.Name {
		case name:
			return readable(p.Value)
		case name + "*":
			charset, rest, _ := strings.Cut(p.Value, "'")
			_, text, _ := strings.Cut(rest, "'")
			octets, err := url.PathUnescape(text)
			if err != nil {
				return strings.ToValidUTF8(p.Value, "\uFFFD")
			}
			if enc, err := htmlindex.Get(charset); err == nil {
				if s, err := enc.NewDecoder().String(octets); err == nil {
					octets = s
				}
			}
			return strings.ToValidUTF8(octets, "\uFFFD")
		}
	}
	return ""
}
