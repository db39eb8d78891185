package structure

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"restante/internal/corpus"
	"restante/internal/header"
)

// divide is what accept does with a message: its header with an empty line
// behind it, and the body.
func divide(message []byte) (head, body []byte) {
	block, rest, err := header.Read(bytes.NewReader(message), len(message)+1)
	if err != nil {
		return message, nil
	}
	head = bytes.Clone(block.Raw())
	b := new(bytes.Buffer)
	b.ReadFrom(rest)
	if !block.Separated() {
		head = append(head, "\r\n"...)
	}
	return head, b.Bytes()
}

// checkRehead holds Rehead against a parser that reads everything anew.
func checkRehead(t *testing.T, message []byte, final func(head []byte) []byte) bool {
	t.Helper()
	head, body := divide(message)
	p := NewParser()
	p.Write(head)
	p.Write(body)
	last := final(head)
	got, ok := p.Finish().Rehead(last)
	if !ok {
		return false
	}
	want := parse(append(bytes.Clone(last), body...), 0, nil)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got.Root, want.Root)
	}
	return true
}

const traceFields = "Received: from a.example by b.example; Mon, 23 Nov 2026 01:00:00 +0000\r\n" +
	"Authentication-Results: b.example; none\r\n"

func inFront(text string) func([]byte) []byte {
	return func(head []byte) []byte { return append([]byte(text), head...) }
}

func TestReheadOfCorpus(t *testing.T) {
	for _, c := range corpus.Messages() {
		t.Run(c.Name, func(t *testing.T) {
			message := c.Bytes()
			if !checkRehead(t, message, inFront(traceFields)) {
				t.Error("fields in front cannot be put there")
			}
			if !checkRehead(t, message, inFront("Subject: another\r\nFrom: x@y.example\r\nContent-Language: de\r\n")) {
				t.Error("fields of the envelope cannot be put in front")
			}
			if !checkRehead(t, message, inFront("Content-Type: text/plain; charset=utf-8\r\n")) {
				t.Error("it cannot be made text")
			}
			if !checkRehead(t, message, func(head []byte) []byte { return []byte("Subject: nothing left\r\n\r\n") }) {
				t.Error("the header cannot be taken away")
			}
			checkRehead(t, message, inFront("Content-Type: multipart/mixed; boundary=another\r\n"))
			checkRehead(t, message, inFront("Content-Type: message/rfc822\r\n"))
		})
	}
}

func TestReheadRefuses(t *testing.T) {
	const message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
	for name, head := range map[string]string{
		"another boundary":  "Content-Type: multipart/mixed; boundary=c\r\n\r\n",
		"a digest":          "Content-Type: multipart/digest; boundary=b\r\n\r\n",
		"a message":         "Content-Type: message/rfc822\r\n\r\n",
		"no empty line":     "Subject: x\r\n",
		"half a line":       "Subject: x\r\n\r",
		"an empty line too": "Subject: x\r\n\r\n\r\n",
		"no field":          "no field at all\r\n\r\n",
	} {
		if checkRehead(t, []byte(message), func([]byte) []byte { return []byte(head) }) {
			t.Errorf("%s: taken", name)
		}
	}
	if !checkRehead(t, []byte(message), func([]byte) []byte { return []byte("Content-Type: multipart/related;\r\n boundary=\"b\"\r\n\r\n") }) {
		t.Error("the same boundary: not taken")
	}
}

func FuzzRehead(f *testing.F) {
	for _, c := range corpus.Messages() {
		if b := c.Bytes(); len(b) < 4<<10 {
			f.Add(b, traceFields)
			f.Add(b, "Content-Type: multipart/mixed; boundary=b\r\n")
		}
	}
	f.Fuzz(func(t *testing.T, message []byte, fields string) {
		if strings.Contains(fields, "\n\n") || strings.Contains(fields, "\n\r\n") {
			return
		}
		checkRehead(t, message, inFront(fields))
	})
}
