package milter

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/internal/screen"
)

// played is a connection to a filter that says what it says whatever it is
// told.
type played struct{ io.Reader }

func (played) Write(p []byte) (int, error)   { return len(p), nil }
func (played) Close() error                  { return nil }
func (played) SetDeadline(t time.Time) error { return nil }

// packet is a packet with its length.
func packet(says byte, data string) string {
	n := len(data) + 1
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), says}) + data
}

const negotiated = "\x00\x00\x00\x06\x00\x00\x00\xff"

// FuzzFilter gives a client whatever a filter may send. No verdict that comes
// of it may break a message.
func FuzzFilter(f *testing.F) {
	spared := packet('O', negotiated+"\x00\x1f\xf3\xff") // it wants to hear of the end alone
	for _, s := range []string{
		spared + packet('c', ""),
		packet('O', negotiated+"\x00\x00\x00\x00") + strings.Repeat(packet('c', ""), 12),
		spared + packet('h', "A\x00b\nc\x00") + packet('m', "\x00\x00\x00\x01Subject\x00\x00") + packet('a', ""),
		spared + packet('i', "\xff\xff\xff\xffA\x00 b\r\n\r\nc\x00") + packet('p', "") + packet('q', "why\x00") + packet('c', ""),
		spared + packet('+', "<a@b.example>\x00") + packet('-', "\"a b\"@c.example\x00") + packet('e', "<>\x00") + packet('c', ""),
		spared + packet('b', "a\nb\r") + packet('b', "\nc\rd") + packet('c', ""),
		spared + packet('y', "550-5.7.1 a\r\n550 5.7.1 b\x00"),
		spared + "\xff\xff\xff\xffb",
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, said []byte) {
		c := New(Options{Dir: dir, MaxBody: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
		s := &session{wire: newWire(played{bytes.NewReader(said)}), timeout: time.Minute}
		if s.negotiate() != nil {
			return
		}
		j := &judge{client: c, session: s}
		defer j.Close()
		m := message()
		if j.err = j.tell(m); j.err != nil {
			return
		}
		j.Write(make([]byte, maxData+1))
		v, err := j.Verdict(context.Background())
		if err == nil {
			sound(t, v)
		}
	})
}

// sound fails the test if a verdict could break a message.
func sound(t *testing.T, v screen.Verdict) {
	t.Helper()
	if c := v.Refuse.Code; c != 0 && (c < 400 || c > 599 || c == 421 || v.Refuse.Text == "" || strings.ContainsAny(v.Refuse.Text, "\r\n\x00")) {
		t.Errorf("the refusal is %+v", v.Refuse)
	}
	for _, e := range v.Edits {
		if !isName([]byte(e.Name)) || e.Index < 0 || strings.ContainsRune(e.Value, 0) {
			t.Errorf("an edit of %+q", e.Name)
		}
		for i, line := range strings.Split(e.Value, "\r\n") {
			if strings.ContainsAny(line, "\r\n") || i > 0 && (strings.TrimLeft(line, " \t") == "" || line[0] != ' ' && line[0] != '\t') {
				t.Errorf("a value of %q", e.Value)
			}
		}
	}
	for _, a := range append(v.Add, v.Remove...) {
		if again, err := mail.ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("an address of %q", a)
		}
	}
	if strings.ContainsAny(v.Quarantine, "\r\n\x00") {
		t.Errorf("quarantine %q", v.Quarantine)
	}
	if v.Body != nil {
		b, err := io.ReadAll(v.Body)
		v.Body.Close()
		if rest := bytes.ReplaceAll(b, []byte("\r\n"), nil); err != nil || bytes.ContainsAny(rest, "\r\n") {
			t.Errorf("a body of %.200q, %v", b, err)
		}
	}
}
