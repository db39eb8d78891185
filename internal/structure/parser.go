package structure

import (
	"bytes"
	"strings"
)

const (
	// maxBoundary bounds a boundary, in octets. RFC 2046 section 5.1.1 allows
	// 70; longer ones occur.
	maxBoundary = 998
	// maxDelimiter bounds what is looked at of a line in a body: the dashes,
	// the boundary and some white space.
	maxDelimiter = maxBoundary + 128
)

// Parser takes in a message. The zero value is not ready; use NewParser. It is
// not safe for concurrent use.
//
// It holds a stack of frames, one for each part that is open, and looks only
// at the lines that can matter: those of a header, and those that begin with
// "-" while a boundary is open. Such a line is found with one lookup, however
// many boundaries are open.
type Parser struct {
	pos       position
	lineStart bool // pos is at the start of a line

	// The line being gathered: its beginning as far as it is kept, and where
	// it started.
	gathering bool
	line      []byte
	cut       bool // line is not the whole line
	start     position

	stack    []frame
	inHeader bool // the top frame's header is being read
	fields   fieldSet
	// open maps the boundaries looked for to the innermost frame of each.
	open  map[string]int
	parts int
	// kept counts what is held of the headers below the top, up to MaxKept.
	kept int
	root *Part
	// raw is the header of the message while it is read; rawCut tells that it is
	// not all of it. What is kept of it goes to known.
	raw    []byte
	rawCut bool
	known  Fields
}

// position is a place in the message.
type position struct {
	off   int64   // octets before it
	lines int64   // line feeds before it
	tail  [3]byte // the last octets before it
}

// frame is an open part.
type frame struct {
	part  *Part
	lines int64 // position.lines at the start of the body
	// boundary is what divides an open multipart, "" if there is nothing to
	// look for (any more). shadowed is the outer frame with the same boundary.
	boundary string
	shadowed int
	// delimited: a delimiter was seen. full: the last part that is told apart
	// is open, and takes all up to the close delimiter.
	delimited, full bool
	digest          bool
}

const noFrame = -1

// NewParser returns a Parser at the first octet of a message.
func NewParser() *Parser {
	p := &Parser{lineStart: true, open: make(map[string]int), root: &Part{}}
	p.push(p.root, true)
	return p
}

// Write takes the next octets. It never fails.
func (p *Parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if p.gathering || p.lineStart && (p.inHeader || b[0] == '-' && len(p.open) > 0) {
			b = p.gather(b)
		} else {
			b = p.skim(b)
		}
	}
	return n, nil
}

// skim passes over body up to the next line that may be a delimiter.
func (p *Parser) skim(b []byte) []byte {
	n := len(b)
	if len(p.open) > 0 {
		if i := bytes.Index(b, []byte("\n-")); i >= 0 {
			n = i + 1
		}
	}
	p.advance(b[:n])
	return b[n:]
}

// gather collects one line and has it looked at when it is whole.
func (p *Parser) gather(b []byte) []byte {
	if !p.gathering {
		p.gathering, p.cut, p.start, p.line = true, false, p.pos, p.line[:0]
	}
	n, whole := len(b), false
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		n, whole = i+1, true
	}
	limit := maxDelimiter
	if p.inHeader {
		limit = MaxHeader
	}
	keep := min(n, limit-len(p.line))
	p.cut = p.cut || keep < n
	p.advance(b[:n])
	line := b[:keep]
	if len(p.line) > 0 || !whole {
		p.line = append(p.line, line...)
		line = p.line
	}
	if whole {
		p.gathering = false
		p.take(line)
	}
	return b[n:]
}

// advance moves the position behind b, which is not empty.
func (p *Parser) advance(b []byte) {
	p.pos.off += int64(len(b))
	p.pos.lines += int64(bytes.Count(b, []byte("\n")))
	for _, c := range b[max(0, len(b)-len(p.pos.tail)):] {
		p.pos.tail = [3]byte{p.pos.tail[1], p.pos.tail[2], c}
	}
	p.lineStart = b[len(b)-1] == '\n'
}

// take looks at a line that began at p.start.
func (p *Parser) take(line []byte) {
	if !p.cut && bytes.HasPrefix(line, []byte("--")) && p.delimiter(line) {
		return
	}
	if !p.inHeader {
		return
	}
	top := &p.stack[len(p.stack)-1]
	if top.part == p.root {
		p.collect(line)
	}
	switch p.fields.add(line, top.part.Envelope != nil) {
	case endsHeader:
		p.endHeader(p.pos.off, p.pos.lines)
	case isBody:
		p.endHeader(p.start.off, p.start.lines)
		if p.inHeader {
			// The body is a message of its own, and this is its first line.
			p.take(line)
		}
	}
}

// collect takes a line of the message's own header.
func (p *Parser) collect(line []byte) {
	if p.rawCut = p.rawCut || p.cut || len(p.raw)+len(line) > MaxHeader; p.rawCut {
		p.raw = nil
		return
	}
	p.raw = append(p.raw, line...)
}

// delimiter acts on a line if it is a delimiter of an open multipart.
func (p *Parser) delimiter(line []byte) bool {
	boundary := bytes.TrimRight(line[2:], " \t\r\n")
	i, ok := p.open[string(boundary)]
	last := false
	if !ok {
		boundary, last = bytes.CutSuffix(boundary, []byte("--"))
		if i, ok = p.open[string(boundary)]; !ok || !last {
			return false
		}
	}
	if p.stack[i].full && !last {
		return false
	}
	p.closeTo(i+1, p.start.edge())
	p.stack[i].delimited = true
	if last {
		p.forget(i)
		return true
	}
	p.openChild(i)
	return true
}

// openChild begins the next part of the multipart in frame i, the top.
func (p *Parser) openChild(i int) {
	part := &Part{HeaderStart: p.pos.off}
	parent := &p.stack[i]
	parent.part.Children = append(parent.part.Children, part)
	if p.parts < MaxParts {
		p.push(part, false)
		return
	}
	parent.full = true
	p.push(part, false)
	p.inHeader = false
	part.BodyStart = p.pos.off
	part.setOpaque()
	p.stack[len(p.stack)-1].lines = p.pos.lines
}

// push opens a part whose header begins.
func (p *Parser) push(part *Part, message bool) {
	if message {
		part.Envelope = &Envelope{}
	}
	p.parts++
	p.stack = append(p.stack, frame{part: part, shadowed: noFrame})
	p.inHeader = true
	p.fields.reset()
}

// endHeader ends the header of the top frame; its body begins at the offset
// given, with so many lines before it.
func (p *Parser) endHeader(off, lines int64) {
	depth := len(p.stack)
	top := &p.stack[depth-1]
	part := top.part
	part.BodyStart, top.lines = off, lines
	p.inHeader = false
	if part == p.root {
		p.known, p.raw = keep(p.raw), nil
	}

	boundary := strings.Clone(part.fill(&p.fields, depth > 1 && p.stack[depth-2].digest))
	if part != p.root {
		p.charge(part)
	}
	switch {
	case !part.isMultipart() && !part.isMessage():
	case depth == MaxDepth || part.isMessage() && p.parts >= MaxParts:
		part.setOpaque()
	case part.isMessage():
		part.Embedded = &Part{HeaderStart: off}
		p.push(part.Embedded, true)
	case boundary != "" && len(boundary) <= maxBoundary:
		top.digest = part.Subtype == "digest"
		top.boundary = boundary
		if outer, ok := p.open[boundary]; ok {
			top.shadowed = outer
		}
		p.open[boundary] = depth - 1
	}
}

// forget stops looking for the boundary of frame i.
func (p *Parser) forget(i int) {
	f := &p.stack[i]
	switch {
	case f.boundary == "":
	case f.shadowed != noFrame:
		p.open[f.boundary] = f.shadowed
	default:
		delete(p.open, f.boundary)
	}
	f.boundary, f.full = "", false
}

// edge is where bodies end: at end, with so many lines before it, unless a
// body or a part of it begins behind that (the line end before a delimiter
// belongs to the delimiter, but is also the end of an empty line that ends a
// header); then at next.
type edge struct {
	end, lines      int64
	next, nextLines int64
}

// edge returns the edge that a delimiter at this position makes.
func (at position) edge() edge {
	e := edge{end: at.off - 1, lines: at.lines, next: at.off, nextLines: at.lines}
	before := at.tail[1]
	if before == '\r' {
		e.end--
		before = at.tail[0]
	}
	if before == '\n' {
		e.lines-- // what the delimiter takes away was an empty line
	}
	return e
}

// closeTo ends the bodies of all frames from the top down to n.
func (p *Parser) closeTo(n int, e edge) {
	for len(p.stack) > n && p.inHeader {
		p.endHeader(e.next, e.nextLines)
	}
	var inner int64 // where the last part inside ends
	for len(p.stack) > n {
		i := len(p.stack) - 1
		f := &p.stack[i]
		if inner = max(inner, f.part.BodyStart); inner <= e.end {
			f.part.BodyEnd, f.part.Lines = e.end, e.lines-f.lines
		} else {
			f.part.BodyEnd, f.part.Lines = inner, e.nextLines-f.lines
		}
		inner = f.part.BodyEnd
		if f.part.isMultipart() && len(f.part.Children) == 0 {
			f.part.Children = []*Part{f.soleChild()}
		}
		p.forget(i)
		p.stack = p.stack[:i]
	}
}

// soleChild is what a multipart shows that has no parts: all its text if no
// delimiter was found, so that readers see it, else nothing.
func (f *frame) soleChild() *Part {
	child := &Part{HeaderStart: f.part.BodyStart, BodyStart: f.part.BodyStart, BodyEnd: f.part.BodyStart}
	if !f.delimited {
		child.BodyEnd, child.Lines = f.part.BodyEnd, f.part.Lines
	}
	child.setDefault("text", "plain")
	return child
}

// charge takes what a part keeps of its header out of the message's budget,
// and empties the part of it if that goes beyond.
func (p *Parser) charge(part *Part) {
	// What is kept may share memory with the whole of the fields.
	n := p.fields.size + perItem*part.items()
	if p.kept+n > MaxKept {
		part.empty()
		return
	}
	p.kept += n
}

// Finish ends the message and returns what was found. The parser cannot be
// used after that.
func (p *Parser) Finish() *Message {
	if p.gathering {
		p.gathering = false
		p.take(p.line)
	}
	lines := p.pos.lines
	if !p.lineStart {
		lines++
	}
	p.closeTo(0, edge{p.pos.off, lines, p.pos.off, lines})
	return &Message{Size: p.pos.off, Root: p.root, Fields: p.known}
}
