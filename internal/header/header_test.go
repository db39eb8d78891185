package header

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, in, raw string
		fields        []string // name=value
		separated     bool
	}{
		{"plain", "A: 1\r\nB: 2\r\n\r\nbody\r\n", "A: 1\r\nB: 2\r\n\r\n", []string{"A=1", "B=2"}, true},
		{"folded", "A: 1\r\n\t2\r\n  3\r\n\r\n", "A: 1\r\n\t2\r\n  3\r\n\r\n", []string{"A=1\t2  3"}, true},
		{"bare LF", "A: 1\nB: 2\n 3\n\nbody\n", "A: 1\nB: 2\n 3\n\n", []string{"A=1", "B=2 3"}, true},
		{"no body", "A: 1\r\n", "A: 1\r\n", []string{"A=1"}, false},
		{"no final line end", "A: 1\r\nB: 2", "A: 1\r\nB: 2", []string{"A=1", "B=2"}, false},
		{"empty", "", "", nil, false},
		{"no header", "\r\nA: body\r\n", "\r\n", nil, true},
		{"no header and no empty line", "Hello there\r\nA: 1\r\n\r\n", "", nil, false},
		{"one line of text", "Hello", "", nil, false},
		{"junk between", "A: 1\r\njunk\r\n more junk\r\nB: 2\r\n\r\nx", "A: 1\r\njunk\r\n more junk\r\nB: 2\r\n\r\n", []string{"A=1", "B=2"}, true},
		{"mbox", "From a@b Tue\r\nA: 1\r\n\r\nx", "From a@b Tue\r\nA: 1\r\n\r\n", []string{"A=1"}, true},
		{"space before colon", "A \t: 1\r\n\r\n", "A \t: 1\r\n\r\n", []string{"A=1"}, true},
		{"empty value", "A:\r\nB: \r\n\r\n", "A:\r\nB: \r\n\r\n", []string{"A=", "B="}, true},
		{"white line is a continuation", "A: 1\r\n \r\nB: 2\r\n\r\n", "A: 1\r\n \r\nB: 2\r\n\r\n", []string{"A=1", "B=2"}, true},
		{"CR CR LF is not empty", "A: 1\r\n\r\r\nB: 2\r\n\r\n", "A: 1\r\n\r\r\nB: 2\r\n\r\n", []string{"A=1", "B=2"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{
				strings.NewReader(c.in),
				iotest.OneByteReader(strings.NewReader(c.in)),
				iotest.DataErrReader(strings.NewReader(c.in)),
			} {
				b, rest, err := Read(r, 0)
				if err != nil {
					t.Fatal(err)
				}
				if string(b.Raw()) != c.raw {
					t.Errorf("raw %q, want %q", b.Raw(), c.raw)
				}
				if b.Separated() != c.separated {
					t.Errorf("separated %v", b.Separated())
				}
				var got []string
				for _, f := range b.Fields() {
					got = append(got, f.Name+"="+f.Value())
				}
				if strings.Join(got, "|") != strings.Join(c.fields, "|") {
					t.Errorf("fields %q, want %q", got, c.fields)
				}
				body, err := io.ReadAll(rest)
				if err != nil || string(b.Raw())+string(body) != c.in {
					t.Errorf("not the octets that came: %q + %q, %v", b.Raw(), body, err)
				}
			}
		})
	}
}

func TestReadLimit(t *testing.T) {
	exact := "A: 12\r\n\r\n"
	if _, _, err := Read(strings.NewReader(exact+"body"), len(exact)); err != nil {
		t.Errorf("a header of exactly the limit: %v", err)
	}
	if _, _, err := Read(strings.NewReader(exact+"body"), len(exact)-1); err != ErrTooLarge {
		t.Errorf("one octet over the limit: %v", err)
	}
	long := io.MultiReader(strings.NewReader("A: "), endless{})
	if _, _, err := Read(long, 0); err != ErrTooLarge {
		t.Errorf("an endless line: %v", err)
	}
	b, _, err := Read(io.MultiReader(strings.NewReader("no field"), endless{}), 0)
	if err != nil || len(b.Raw()) != 0 {
		t.Errorf("an endless body without a header: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestReadError(t *testing.T) {
	cause := errors.New("line gone")
	_, _, err := Read(io.MultiReader(strings.NewReader("A: 1\r\n"), iotest.ErrReader(cause)), 0)
	if !errors.Is(err, cause) {
		t.Errorf("in the header: %v", err)
	}
	_, rest, err := Read(iotest.DataErrReader(io.MultiReader(strings.NewReader("A: 1\r\n\r\nbo"), iotest.ErrReader(cause))), 0)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(rest); string(body) != "bo" || !errors.Is(err, cause) {
		t.Errorf("in the body: %q, %v", body, err)
	}
}

func TestBlock(t *testing.T) {
	b := Parse([]byte("Received: 1\r\nRECEIVED : 2\r\nReceived-SPF: no\r\nFrom: a@b\r\nfrom: c@d\r\n\r\nreceived: body"))
	if n := b.Hops(); n != 2 {
		t.Errorf("%d hops", n)
	}
	if v, ok := b.Get("FROM"); !ok || v != "a@b" {
		t.Errorf("From: %q, %v", v, ok)
	}
	if m := b.Missing("Date", "From", "Message-ID"); strings.Join(m, ",") != "Date,Message-ID" {
		t.Errorf("missing %q", m)
	}
	if b.EightBit() || !Parse([]byte("A: \xe9\r\n")).EightBit() {
		t.Error("EightBit")
	}
	if !bytes.HasSuffix(b.Raw(), []byte("\r\n\r\n")) {
		t.Errorf("raw goes beyond the header: %q", b.Raw())
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("A: 1\r\n b\r\n\r\nbody"), 100)
	f.Add([]byte("From x\nA \t: \xe9\njunk\n\n"), 3)
	f.Add([]byte(" x\r\n\r\r\n"), 64)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		b, rest, err := Read(iotest.HalfReader(bytes.NewReader(in)), limit%200)
		if err != nil {
			if err != ErrTooLarge {
				t.Fatal(err)
			}
			return
		}
		body, err := io.ReadAll(rest)
		if err != nil || string(b.Raw())+string(body) != string(in) {
			t.Fatalf("%q + %q is not %q", b.Raw(), body, in)
		}
		left := b.Raw()
		for _, f := range b.Fields() {
			i := bytes.Index(left, f.Raw)
			if i < 0 || f.Name == "" || strings.ContainsAny(f.Value(), "\n") {
				t.Fatalf("field %q of %q", f.Raw, b.Raw())
			}
			left = left[i+len(f.Raw):]
		}
	})
}
