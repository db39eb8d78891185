package smtpd

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"restante/spool/spooltest"
)

// modelData is what a DATA means, said in another way than the code says it:
// the text up to the first CR LF "." CR LF, or "." CR LF at once, without the
// dots that lines begin with.
func modelData(in string) (message, rest string, ok bool) {
	text, rest, ok := strings.Cut("\r\n"+in, "\r\n.\r\n")
	if !ok {
		return "", "", false
	}
	return strings.TrimPrefix(strings.ReplaceAll(text+"\r\n", "\r\n.", "\r\n"), "\r\n"), rest, true
}

// modelBare tells whether a message has line ends that are none.
func modelBare(message string) bool {
	return strings.ContainsAny(strings.ReplaceAll(message, "\r\n", ""), "\r\n")
}

// newTestBody is a body of a connection on which the client has sent input.
func newTestBody(t testing.TB, r io.Reader) *body {
	srv := New(testOptions(spooltest.NewMemory(spooltest.MemoryOptions{})))
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	c := newConn(srv, server, netip.Addr{})
	c.in = newInput(r, &srv.buffers)
	return &body{conn: c, opened: true}
}

// FuzzData: for any input, cut up in any way, the body is what the model says,
// and exactly what follows its end is left to be commands.
func FuzzData(f *testing.F) {
	for _, s := range []string{
		".\r\n", "..\r\n.\r\n", "a\r\n.\r\nQUIT\r\n", "a\r\n..\r\n...b\r\n.\r\n", "a\n.\n\r\n.\r\n",
		"a\r\r\n.\r\nb", "a\r\n.\n.\r\n\r\n.\r\n", "\r\n.\r\n.\r\n", ".\r.\r\n\r\n.\r\n", ".\r\r\n.\r\n", "\r\r\r\n\n.\r\n.\r\n",
		"no end", "a\r\n.\r", "grüße\r\n.\r\n",
	} {
		f.Add(s, uint8(1))
		f.Add(s, uint8(64))
	}
	f.Fuzz(func(t *testing.T, in string, step uint8) {
		want, rest, ok := modelData(in)
		b := newTestBody(t, iotest.OneByteReader(strings.NewReader(in)))
		if step%2 == 0 {
			b = newTestBody(t, strings.NewReader(in))
		}
		got, err := readBySteps(b, int(step)/2+1)
		if !ok {
			if err != errGone {
				t.Fatalf("%q has no end, and gave %q, %v", in, got, err)
			}
			return
		}
		left, _ := io.ReadAll(b.conn.in)
		if err != nil || got != want || string(left) != rest {
			t.Fatalf("%q: got %q, %q, %v; want %q, %q", in, got, left, err, want, rest)
		}
		if b.bare != modelBare(want) {
			t.Errorf("%q: bare is %v", in, b.bare)
		}
		if eight := strings.ContainsFunc(want, func(r rune) bool { return r >= 0x80 }); b.eightBit != eight {
			t.Errorf("%q: eightBit is %v", in, b.eightBit)
		}
		if b.size != int64(len(want)) {
			t.Errorf("%q: size is %d", in, b.size)
		}
	})
}

func readBySteps(r io.Reader, step int) (string, error) {
	var all bytes.Buffer
	p := make([]byte, step)
	for {
		n, err := r.Read(p)
		all.Write(p[:n])
		switch {
		case err == io.EOF:
			return all.String(), nil
		case err != nil:
			return all.String(), err
		}
	}
}

// The model itself agrees with the examples of RFC 5321 section 4.5.2.
func TestModelData(t *testing.T) {
	for in, want := range map[string]string{
		".\r\n":               "",
		"a\r\n.\r\n":          "a\r\n",
		"..\r\n.a\r\n.\r\n":   ".\r\na\r\n",
		"\r\n.\r\n":           "\r\n",
		"a\n.\nb\r\n.\r\nc":   "a\n.\nb\r\n",
		"..\r\n...\r\n.\r\nx": ".\r\n..\r\n",
	} {
		if got, _, ok := modelData(in); !ok || got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func BenchmarkData(b *testing.B) {
	in := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 100_000) + ".\r\n"
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, newTestBody(b, strings.NewReader(in)), make([]byte, 32<<10))
		if n != int64(len(in)-3) || err != nil {
			b.Fatal(n, err)
		}
	}
}
