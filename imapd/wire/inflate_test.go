package wire

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func texts() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	words := make([]byte, 0, 300_000)
	for len(words) < 300_000 {
		words = append(words, strings.Repeat("abcdefg"[:1+r.IntN(7)], 1+r.IntN(50))+" "...)
	}
	return [][]byte{{}, []byte("a"), []byte("a NOOP\r\n"), bytes.Repeat([]byte("x"), 100_000), noise, words}
}

func TestInflate(t *testing.T) {
	for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.HuffmanOnly} {
		for i, text := range texts() {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			for rest := text; len(rest) > 0; {
				n := min(len(rest), 7001)
				w.Write(rest[:n])
				w.Flush()
				rest = rest[n:]
			}
			w.Close()
			z := newInflater(&b)
			got, err := io.ReadAll(z)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("level %d, text %d: %d octets of %d, %v", level, i, len(got), len(text), err)
			}
			z.close()
		}
	}
}

// A client that flushes in part ends the block, and leaves bits over: what it
// has said must be heard without another octet. The octets are those of zlib with
// Z_PARTIAL_FLUSH after "a NOOP\r\n", and then of "b NOOP\r\n".
func TestInflatePartialFlush(t *testing.T) {
	r, w := io.Pipe()
	z := newInflater(r)
	defer z.close()
	parts := partialFlush()
	for i, want := range []string{"a NOOP\r\n", "b NOOP\r\n"} {
		go w.Write(parts[i])
		got := make([]byte, len(want))
		if _, err := io.ReadFull(z, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	w.Close()
	if _, err := z.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func FuzzInflate(f *testing.F) {
	for _, text := range texts() {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestSpeed)
		w.Write(text[:min(len(text), 1000)])
		w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 1<<20))
		z := newInflater(bytes.NewReader(b))
		defer z.close()
		got, err := io.ReadAll(io.LimitReader(z, 1<<20))
		if werr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%d octets, %v; the library has %d", len(got), err, len(want))
		}
	})
}

// partialFlush was made with Python's zlib.
func partialFlush() [][]byte {
	return [][]byte{
		{0x4a, 0x54, 0xf0, 0xf3, 0xf7, 0x0f, 0xe0, 0xe5, 0x02, 0x08},
		{0xa0, 0x24, 0x28, 0x0d, 0x10},
	}
}
