package structure

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestReferences(t *testing.T) {
	var long strings.Builder
	for i := range 400 {
		fmt.Fprintf(&long, "<message-%d@example.org>\r\n ", i)
	}
	for _, c := range []struct{ name, field, want string }{
		{"none", "", ""},
		{"folded", "References: <a@x>\r\n\t<b@x>\r\n", "<a@x> <b@x>"},
		{"the first field counts", "References: <a@x>\r\nreferences: <b@x>\r\n", "<a@x>"},
	} {
		m := parse([]byte(c.field+"Subject: s\r\n\r\nbody"), 0, nil)
		if got := m.Root.Envelope.References; strings.Join(strings.Fields(got), " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	m := parse([]byte("References: "+long.String()+"<last@example.org>\r\n\r\nbody"), 0, nil)
	got := m.Root.Envelope.References
	if len(got) > MaxReferences+100 || !strings.HasPrefix(got, "<message-0@example.org> <message-") || !strings.HasSuffix(got, "<last@example.org>") {
		t.Errorf("%d octets of a long list: %.80q", len(got), got)
	}
	back, err := Decode(m.Encode())
	if err != nil || !reflect.DeepEqual(m, back) {
		t.Errorf("after decoding: %v, %v", back, err)
	}
}

func TestShortReferences(t *testing.T) {
	for _, s := range []string{
		strings.Repeat("x", 3*MaxReferences),
		strings.Repeat("<", 3*MaxReferences),
		strings.Repeat(">", 3*MaxReferences),
		"<a@b>" + strings.Repeat("x", MaxReferences),
		strings.Repeat("x", MaxReferences) + "<a@b>",
	} {
		if got := shortReferences(s); len(got) > 2*MaxReferences+1 {
			t.Errorf("%d octets are kept of %.10q", len(got), s)
		}
	}
}

// TestOldEncoding: what was stored before there was References is read, and says
// that it does not know.
func TestOldEncoding(t *testing.T) {
	m := parse([]byte("References: <a@x>\r\nSubject: s\r\n\r\nbody"), 0, nil)
	m.Root.Envelope.References, m.Root.Envelope.NoReferences = "", true
	m.Fields = Fields{}
	b := m.Encode()
	if b[0] != oldVersion {
		t.Fatalf("version %d", b[0])
	}
	back, err := Decode(b)
	if err != nil || !reflect.DeepEqual(m, back) {
		t.Errorf("%v, %v", back, err)
	}
}
