package milter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"restante/internal/mail"
	"restante/internal/screen"
)

// Bounds of what a filter may change about one message.
const (
	maxChanges     = 2000
	maxChangedSize = 1 << 20 // of fields and addresses
	// maxName is the longest name of a field, by what a line can have (RFC 5322
	// section 2.1.1).
	maxName = 997
)

// changes collects what a filter makes of a message.
type changes struct {
	leadSpace bool // values come with the space after the colon
	verdict   screen.Verdict
	body      replacement
	count     int
	size      int
}

// take heeds one packet at the end of the message. It tells whether it was the
// last; the verdict is complete then.
func (c *changes) take(a answer) (done bool, err error) {
	switch a.says {
	case saysContinue, saysAccept:
		c.verdict.Body, err = c.body.reader()
		return err == nil, err
	case saysReplBody:
		if len(a.data) > 0 {
			return false, c.body.write(a.data)
		}
	}
	c.count++
	c.size += len(a.data)
	if c.count > maxChanges || c.size > maxChangedSize {
		return false, protocolError("it changes too much")
	}
	switch a.says {
	case saysReplBody:
		return false, c.body.write(nil)
	case saysAddRcpt, saysAddRcptP:
		return false, recipient(&c.verdict.Add, a.data)
	case saysDelRcpt:
		return false, recipient(&c.verdict.Remove, a.data)
	case saysFrom:
		from, err := address(a.data)
		c.verdict.From = &from
		return false, err
	case saysAddHeader:
		return false, c.field(screen.Append, 0, a.data)
	case saysInsHeader:
		return false, c.indexed(screen.Insert, a.data)
	case saysChgHeader:
		return false, c.indexed(screen.Change, a.data)
	case saysHold:
		s, _ := cutNUL(a.data)
		c.verdict.Quarantine = oneLine(string(s))
		if c.verdict.Quarantine == "" {
			c.verdict.Quarantine = "by a mail filter"
		}
		return false, nil
	}
	v, err := conclusion(a)
	if err != nil {
		return false, err
	}
	c.body.drop()
	c.verdict = v
	return true, nil
}

// address reads one address, null or not. Its parameters do not matter to us.
func address(data []byte) (mail.Address, error) {
	s, _ := cutNUL(data)
	bare := strings.TrimSpace(string(s))
	if in, ok := strings.CutPrefix(bare, "<"); ok {
		bare = strings.TrimSuffix(in, ">")
	}
	var a mail.Address
	if err := a.UnmarshalText([]byte(bare)); err != nil {
		return mail.Address{}, protocolError("%v", err)
	}
	return a, nil
}

// recipient appends an address to a list.
func recipient(list *[]mail.Address, data []byte) error {
	a, err := address(data)
	if err == nil && a.IsNull() {
		err = protocolError("a recipient without an address")
	}
	*list = append(*list, a)
	return err
}

// indexed reads a number and a field.
func (c *changes) indexed(op screen.EditOp, data []byte) error {
	if len(data) < 4 {
		return protocolError("a field without an index")
	}
	// An index that is no number of fields, 1<<31 and above, is beyond them all.
	index := int(min(binary.BigEndian.Uint32(data), 1<<31-1))
	return c.field(op, index, data[4:])
}

// field reads a field's name and value. An empty value takes a field out.
func (c *changes) field(op screen.EditOp, index int, data []byte) error {
	name, rest := cutNUL(data)
	value, _ := cutNUL(rest)
	if !isName(name) {
		return protocolError("a field with the name %.40q", name)
	}
	if op == screen.Change {
		index = max(index, 1)
		if len(value) == 0 {
			op = screen.Delete
		}
	}
	c.verdict.Edits = append(c.verdict.Edits, screen.Edit{Op: op, Name: string(name), Index: index, Value: fold(value, c.leadSpace)})
	return nil
}

// isName follows RFC 5322 section 2.2.
func isName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return len(name) > 0 && len(name) <= maxName
}

// fold makes a field's value of what a filter sends: its line ends, of whatever
// kind, become CRLF, each followed by white space, so that the value can
// neither end its field nor the header.
func fold(value []byte, leadSpace bool) string {
	value = bytes.ReplaceAll(value, []byte("\r\n"), []byte("\n"))
	value = bytes.ReplaceAll(value, []byte("\r"), []byte("\n"))
	if leadSpace {
		value = bytes.TrimPrefix(value, []byte(" "))
	}
	var b strings.Builder
	for i, line := range bytes.Split(value, []byte("\n")) {
		switch {
		case i == 0:
		case len(bytes.TrimLeft(line, " \t")) == 0:
			continue // a line of nothing but white space is obsolete
		case line[0] == ' ' || line[0] == '\t':
			b.WriteString("\r\n")
		default:
			b.WriteString("\r\n\t")
		}
		b.Write(line)
	}
	return b.String()
}

// conclusion is the verdict of an answer that ends a message with no changes.
func conclusion(a answer) (screen.Verdict, error) {
	switch a.says {
	case saysAccept:
		return screen.Verdict{}, nil
	case saysDiscard:
		return screen.Verdict{Discard: true}, nil
	case saysReject:
		return refuse(550, 5, "The message was refused by a mail filter"), nil
	case saysTempfail, saysShutdown:
		return refuse(451, 4, "The message was refused for now by a mail filter"), nil
	case saysReply:
		s, _ := cutNUL(a.data)
		status, err := parseReply(string(s))
		return screen.Verdict{Refuse: status}, err
	case saysConnFail:
		return screen.Verdict{}, fmt.Errorf("the filter gives up: it says %q", a.says)
	}
	return screen.Verdict{}, protocolError("it says %q", a.says)
}

func refuse(code, class int, text string) screen.Verdict {
	return screen.Verdict{Refuse: mail.Status{Code: code, Enhanced: [3]int{class, 7, 1}, Text: text}}
}

// cutNUL cuts data at its first NUL.
func cutNUL(data []byte) (before, after []byte) {
	before, after, _ = bytes.Cut(data, []byte{0})
	return before, after
}
