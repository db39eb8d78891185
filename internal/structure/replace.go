package structure

// Rehead returns the structure that the message has when head stands in the
// place of its header: what a new parser would find in head and the body
// together, without looking at the body again. head is a whole header with the
// empty line that ends it, unless the body is empty.
//
// It is not ok where the body must be looked at again, since head divides it
// in another way: a Content-Type that became multipart or message, or has
// another boundary. Then m is of no use for the message any more. A type that
// became a simple one is always ok. m must not be used afterwards.
func (m *Message) Rehead(head []byte) (*Message, bool) {
	p := NewParser()
	p.Write(head)
	bodyless := m.Root.BodyStart == m.Size
	open := len(p.stack)
	if !bodyless && (p.gathering || p.stack[0].part.BodyStart != int64(len(head))) {
		return nil, false // the body would begin elsewhere, or be header
	}
	now := p.Finish()
	if bodyless {
		return now, true
	}
	root, old := now.Root, m.Root
	shift := root.BodyStart - old.BodyStart
	switch {
	case open == 1 && !root.isMultipart():
		// A leaf; what was divided before is no more.
	case root.isMultipart() && old.isMultipart() && sameDivision(root, old):
		root.Children = old.Children
	case root.isMessage() && old.isMessage():
		root.Embedded = old.Embedded
	default:
		return nil, false
	}
	root.Lines = old.Lines
	root.BodyEnd = old.BodyEnd + shift
	for _, c := range root.Children {
		c.move(shift)
	}
	if root.Embedded != nil {
		root.Embedded.move(shift)
	}
	return &Message{Size: m.Size + shift, Root: root, Fields: now.Fields}, true
}

// sameDivision tells whether two multiparts divide a body the same way.
func sameDivision(a, b *Part) bool {
	return parameter(a.Params, "boundary") == parameter(b.Params, "boundary") &&
		(a.Subtype == "digest") == (b.Subtype == "digest")
}

// move shifts a part and all that is in it.
func (p *Part) move(by int64) {
	p.HeaderStart += by
	p.BodyStart += by
	p.BodyEnd += by
	for _, c := range p.Children {
		c.move(by)
	}
	if p.Embedded != nil {
		p.Embedded.move(by)
	}
}
