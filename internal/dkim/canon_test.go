package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"strings"
	"testing"
)

// recorder is a hash that keeps what it is given.
type recorder struct {
	hash.Hash
	bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.Buffer.Write(p) }
func (r *recorder) Sum(b []byte) []byte         { return append(b, r.Bytes()...) }
func (r *recorder) Reset()                      { r.Buffer.Reset() }

// canonicalBody gives the canonical form itself, written in pieces of n octets.
func canonicalBody(form, text string, n int) string {
	b := newBody(form)
	b.hash = &recorder{Hash: sha256.New()}
	for len(text) > 0 {
		k := min(n, len(text))
		b.Write([]byte(text[:k]))
		text = text[k:]
	}
	out := string(b.sum())
	if int64(len(out)) != b.size {
		return "the size is wrong"
	}
	return out
}

func TestBody(t *testing.T) {
	long := strings.Repeat("x", 3*bodyBuffer)
	for _, c := range []struct{ in, relaxed, simple string }{
		{"", "", "\r\n"},
		{"\r\n", "", "\r\n"},
		{"\r\n\r\n\r\n", "", "\r\n"},
		{" \t\r\n \r\n", "", " \t\r\n \r\n"},
		{"   ", "", "   \r\n"},
		{"a", "a\r\n", "a\r\n"},
		{"a\r\n", "a\r\n", "a\r\n"},
		{"a\r\n\r\n\r\n", "a\r\n", "a\r\n"},
		{"a\r\n\r\nb", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
		{" a \t b  \r\n", " a b\r\n", " a \t b  \r\n"},
		{"\t\ta", " a\r\n", "\t\ta\r\n"},
		{"a \r\n \r\nb\r\n", "a\r\n\r\nb\r\n", "a \r\n \r\nb\r\n"},
		{" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n", " C \r\nD \t E\r\n"}, // RFC 6376 section 3.4.5
		{"a\nb\n\n", "a\r\nb\r\n", "a\r\nb\r\n"},
		{"a\rb \rc\r", "a\rb \rc\r\r\n", "a\rb \rc\r\r\n"},
		{"a\r\r\n", "a\r\r\n", "a\r\r\n"},
		{"a \r b", "a \r b\r\n", "a \r b\r\n"},
		{long + "  " + long + "\r\n\r\n", long + " " + long + "\r\n", long + "  " + long + "\r\n"},
	} {
		for n := 1; n <= len(c.in)+1 && n < 10; n++ {
			if got := canonicalBody(relaxed, c.in, n); got != c.relaxed {
				t.Errorf("relaxed %q in pieces of %d: %q, want %q", clip(c.in), n, clip(got), clip(c.relaxed))
			}
			if got := canonicalBody(simple, c.in, n); got != c.simple {
				t.Errorf("simple %q in pieces of %d: %q, want %q", clip(c.in), n, clip(got), clip(c.simple))
			}
		}
	}
}

// A body of nothing but line ends must not be held.
func TestBodyHoldsNothing(t *testing.T) {
	b := newBody(relaxed)
	piece := bytes.Repeat([]byte("\r\n"), 4096)
	if n := testing.AllocsPerRun(100, func() { b.Write(piece) }); n != 0 {
		t.Errorf("%v allocations for each piece", n)
	}
	if cap(b.buf) != bodyBuffer {
		t.Errorf("the buffer has grown to %d", cap(b.buf))
	}
}

func TestField(t *testing.T) {
	for _, c := range []struct{ in, relaxed, simple string }{
		{"A: X\r\n", "a:X\r\n", "A: X\r\n"},
		{"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n", "B : Y\t\r\n\tZ  \r\n"}, // RFC 6376 section 3.4.5
		{"Subject:\r\n", "subject:\r\n", "Subject:\r\n"},
		{"Subject: a\n b\n", "subject:a b\r\n", "Subject: a\r\n b\r\n"},
		{"X-y:a:b", "x-y:a:b\r\n", "X-y:a:b\r\n"},
	} {
		if got := string(appendField(nil, relaxed, []byte(c.in))); got != c.relaxed {
			t.Errorf("relaxed %q: %q", c.in, got)
		}
		if got := string(appendField(nil, simple, []byte(c.in))); got != c.simple {
			t.Errorf("simple %q: %q", c.in, got)
		}
	}
}

func TestWithoutB(t *testing.T) {
	for in, want := range map[string]string{
		"DKIM-Signature: a=1; b=xyz; c=2\r\n":         "DKIM-Signature: a=1; b=; c=2\r\n",
		"DKIM-Signature: b = x\r\n\ty ;bh=b=q\r\n":    "DKIM-Signature: b =;bh=b=q\r\n",
		"DKIM-Signature: z=From:b=1|x; ab=2; b=3\r\n": "DKIM-Signature: z=From:b=1|x; ab=2; b=",
	} {
		if got := string(withoutB([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
