package decode

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	long := strings.Repeat("=C3=A4", 2000)
	for _, c := range []struct{ name, encoding, in, want string }{
		{"7bit", "7bit", "a=20b", "a=20b"},
		{"none", "", "a", "a"},
		{"base64", "Base64", "SGVsbG8s\r\nIHdvcmxk", "Hello, world"},
		{"base64 padded", "base64", "SGVsbG8=\r\n", "Hello"},
		{"base64 unpadded", "base64", "SGVsbG8", "Hello"},
		{"base64 glued", "base64", "SGk=SGk=", "HiHi"},
		{"base64 with dirt", "base64", "S-G\x00V*sbG8 ?=", "Hello"},
		{"base64, one too many", "base64", "SGVsb", "Hel"},
		{"quoted-printable", "quoted-printable", "a=3Db=\r\nc \t\r\nd=C3=A4", "a=bc\r\ndä"},
		{"soft line end with blanks", "quoted-printable", "a= \r\nb", "ab"},
		{"bare line feeds", "quoted-printable", "a=\nb\nc", "ab\nc"},
		{"malformed escapes", "quoted-printable", "=zz =4 100%=", "=zz =4 100%="},
		{"long line", "quoted-printable", long, strings.Repeat("ä", 2000)},
		{"long line of equals signs", "quoted-printable", strings.Repeat("=", 9000), strings.Repeat("=", 9000)},
	} {
		for kind, r := range map[string]io.Reader{
			"whole":   strings.NewReader(c.in),
			"by byte": iotest.OneByteReader(strings.NewReader(c.in)),
		} {
			d, ok := Reader(r, c.encoding)
			if !ok {
				t.Fatalf("%s: unknown encoding", c.name)
			}
			if got, err := io.ReadAll(d); err != nil || string(got) != c.want {
				t.Errorf("%s, %s: got %q, %v; want %q", c.name, kind, got, err, c.want)
			}
		}
	}
	if _, ok := Reader(nil, "x-uuencode"); ok {
		t.Error("x-uuencode is known")
	}
}

func TestErrorsPass(t *testing.T) {
	broken := errors.New("broken")
	for _, enc := range []string{"base64", "quoted-printable"} {
		d, _ := Reader(io.MultiReader(strings.NewReader("SGk="), iotest.ErrReader(broken)), enc)
		if got, err := io.ReadAll(d); !errors.Is(err, broken) || len(got) == 0 {
			t.Errorf("%s: %q, %v", enc, got, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("Hello, wörld = \r\n x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b64, qp bytes.Buffer
		w := base64.NewEncoder(base64.StdEncoding, &b64)
		w.Write(data)
		w.Close()
		q := quotedprintable.NewWriter(&qp)
		q.Binary = true
		q.Write(data)
		q.Close()
		for enc, in := range map[string]*bytes.Buffer{"base64": &b64, "quoted-printable": &qp} {
			d, _ := Reader(in, enc)
			if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: got %q, %v; want %q", enc, got, err, data)
			}
			raw, _ := Reader(bytes.NewReader(data), enc)
			if got, err := io.ReadAll(raw); err != nil || len(got) > len(data) {
				t.Errorf("%s: %d octets became %d, %v", enc, len(data), len(got), err)
			}
		}
	})
}
