package header

import (
	"bytes"
	"strings"
	"testing"

	"restante/internal/corpus"
)

const sample = "From x\r\nReceived: a\r\nX-A: 1\r\n\tmore\r\nno field\r\nx-a: 2\r\nTo: b\r\n\r\n"

func TestEditorLeavesWhatItDoesNotChange(t *testing.T) {
	for _, c := range corpus.Messages() {
		block, _, err := Read(bytes.NewReader(c.Bytes()), 1<<20)
		if err != nil {
			continue
		}
		e := block.Edit()
		got := e.Block()
		if !bytes.Equal(got.Raw(), block.Raw()) && string(got.Raw()) != string(block.Raw())+"\r\n" {
			t.Errorf("%s:\n%q\nwant\n%q", c.Name, got.Raw(), block.Raw())
		}
	}
}

func TestEdit(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(e *Editor)
		want string
	}{
		{"prepend", func(e *Editor) { e.Prepend([]byte("A: 1\r\nB: 2\r\n")) }, "A: 1\r\nB: 2\r\n" + sample},
		{"append", func(e *Editor) { e.Append("Z", "z") }, strings.Replace(sample, "To: b\r\n", "To: b\r\nZ: z\r\n", 1)},
		{"insert in front", func(e *Editor) { e.Insert(0, "Z", "z") }, "Z: z\r\n" + sample},
		{"insert", func(e *Editor) { e.Insert(1, "Z", "z") }, strings.Replace(sample, "X-A: 1", "Z: z\r\nX-A: 1", 1)},
		{"insert far behind", func(e *Editor) { e.Insert(9, "Z", "z") }, strings.Replace(sample, "To: b\r\n", "To: b\r\nZ: z\r\n", 1)},
		{"change", func(e *Editor) { e.Change("X-a", 1, "new") }, strings.Replace(sample, "X-A: 1\r\n\tmore\r\n", "X-A: new\r\n", 1)},
		{"change the second", func(e *Editor) { e.Change("X-a", 2, "new\r\n folded") }, strings.Replace(sample, "x-a: 2\r\n", "x-a: new\r\n folded\r\n", 1)},
		{"change none", func(e *Editor) { e.Change("X-a", 3, "new") }, sample},
		{"delete", func(e *Editor) { e.Delete("x-A", 2) }, strings.Replace(sample, "x-a: 2\r\n", "", 1)},
		{"delete none", func(e *Editor) { e.Delete("x-A", 0) }, sample},
		{"delete all", func(e *Editor) { e.DeleteAll("X-a", "to") }, "From x\r\nReceived: a\r\nno field\r\n\r\n"},
		{"what was added can be found", func(e *Editor) { e.Prepend([]byte("A: 1\r\nB: 2\r\n")); e.Delete("B", 1) }, "A: 1\r\n" + sample},
		{"injection by value", func(e *Editor) { e.Append("Z", "z\r\nBcc: x\r\n\r\nbody\x00\rx") },
			strings.Replace(sample, "To: b\r\n", "To: b\r\nZ: z\r\n\tBcc: x\r\n\tbodyx\r\n", 1)},
		{"injection by name", func(e *Editor) { e.Append("Z: z\r\nBcc", "x") }, strings.Replace(sample, "To: b\r\n", "To: b\r\nZzBcc: x\r\n", 1)},
		{"no name", func(e *Editor) { e.Append(":", "x"); e.Change("To", 1, "\r\n\r\n c") }, strings.Replace(sample, "To: b\r\n", "To: \r\n c\r\n", 1)},
	} {
		e := Parse([]byte(sample)).Edit()
		c.do(e)
		if got := string(e.Block().Raw()); got != c.want {
			t.Errorf("%s:\n%q\nwant\n%q", c.name, got, c.want)
		}
	}
	e := Parse([]byte("A: unfinished")).Edit()
	e.Append("B", "b")
	if got := string(e.Block().Raw()); got != "A: unfinished\r\nB: b\r\n" {
		t.Errorf("%q", got)
	}
}

func FuzzEditor(f *testing.F) {
	f.Add([]byte(sample), "X-A", "a\r\n\r\nb", 1)
	f.Add([]byte("x\n\ny"), "", ":", 0)
	f.Fuzz(func(t *testing.T, raw []byte, name, value string, n int) {
		b := Parse(raw)
		fields := len(b.Fields())
		e := b.Edit()
		if got := e.Block().Raw(); !bytes.Equal(got, b.Raw()) && !bytes.Contains(got, b.Raw()) {
			t.Fatalf("%q becomes %q", b.Raw(), got)
		}
		e.Insert(n, name, value)
		e.Append(name, value)
		e.Change(name, n, value)
		now := e.Block()
		// A line that continued what was no field may continue a new field
		// now, but no more fields can come of it than were put in.
		if got := len(now.Fields()); got > fields+2 || now.Separated() != b.Separated() {
			t.Fatalf("%d fields, then %d, in %q", fields, got, now.Raw())
		}
	})
}

func TestMapDomains(t *testing.T) {
	hide := func(domain string) string {
		if strings.HasSuffix(domain, ".internal.example") {
			return "example.org"
		}
		return ""
	}
	for in, want := range map[string]string{
		"From: a@Host.INTERNAL.example\r\n": "From: a@example.org\r\n",
		"To: A <a@h.internal.example>, b@x.example,\r\n\t\"c@h.internal.example\" <c@h.internal.example>\r\n":  "To: A <a@example.org>, b@x.example,\r\n\t\"c@h.internal.example\" <c@example.org>\r\n",
		"To: g: a@h.internal.example, (b@h.internal.example) \"x@h.internal.example\"@h.internal.example;\r\n": "To: g: a@example.org, (b@h.internal.example) \"x@h.internal.example\"@example.org;\r\n",
		"To: a@[192.0.2.1], @, a@\r\n":            "To: a@[192.0.2.1], @, a@\r\n",
		"To: a@h.internal.example.org\r\n":        "To: a@h.internal.example.org\r\n",
		"To: \"unclosed a@h.internal.example\r\n": "To: \"unclosed a@h.internal.example\r\n",
		"To: (unclosed a@h.internal.example\r\n":  "To: (unclosed a@h.internal.example\r\n",
		"To: a@h.internal.example":                "To: a@example.org",
	} {
		if got := string(MapDomains([]byte(in), hide)); got != want {
			t.Errorf("%q\nbecomes %q\nwant    %q", in, got, want)
		}
	}
}

func TestPhrase(t *testing.T) {
	for in, want := range map[string]string{
		"a@b.example":                         "",
		"Alice <a@b.example>":                 "Alice",
		`"Alice, A: <x>" <a@b.example>`:       `"Alice, A: <x>"`,
		"=?utf-8?q?J=C3=B6rg?= <a@b.example>": "=?utf-8?q?J=C3=B6rg?=",
		"A <a@b.example>, B <b@b.example>":    "",
		"a@b.example, B <b@b.example>":        "",
		"g: A <a@b.example>;":                 "",
		"<a@b.example>":                       "",
		`"unclosed <a@b.example>`:             "",
	} {
		if got := Phrase(in); got != want {
			t.Errorf("%q has the phrase %q, want %q", in, got, want)
		}
	}
}

// Whatever stands in a field, it stays one field, and only domains change.
func FuzzMapDomains(f *testing.F) {
	f.Add([]byte("From: \"a\\\"@x\" <a@x.example>, (c@x.example) b@y.example\r\n"))
	f.Add([]byte("To: @@x..\"\r\n\t(\\"))
	f.Add([]byte(":!\n!@\xb2\xb2@x.To::"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got := MapDomains(raw, func(string) string { return "" }); !bytes.Equal(got, raw) {
			t.Fatalf("%q becomes %q", raw, got)
		}
		// It is given fields; other lines may become one.
		if fields := Parse(raw).Fields(); len(fields) != 1 || !bytes.Equal(fields[0].Raw, raw) {
			return
		}
		got := MapDomains(raw, func(string) string { return "new.example" })
		if len(Parse(got).Fields()) != len(Parse(raw).Fields()) || bytes.Count(got, []byte("@")) != bytes.Count(raw, []byte("@")) {
			t.Fatalf("%q becomes %q", raw, got)
		}
		if p := Phrase(string(raw)); len(p) > len(raw) {
			t.Fatalf("%q has the phrase %q", raw, p)
		}
	})
}
