package remote

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestReadReply(t *testing.T) {
	tests := []struct {
		name, in string
		code     int
		enhanced [3]int
		text     string
		err      error
	}{
		{name: "plain", in: "250 ok\r\n", code: 250, text: "ok"},
		{name: "enhanced", in: "550 5.1.1 no such user\r\n", code: 550, enhanced: [3]int{5, 1, 1}, text: "no such user"},
		{name: "several lines", in: "550-5.7.1 not\r\n550-5.7.1 for\r\n550 5.7.1 you\r\n", code: 550, enhanced: [3]int{5, 7, 1}, text: "not for you"},
		{name: "class differs from code", in: "450 5.1.1 odd\r\n", code: 450, text: "5.1.1 odd"},
		{name: "code alone", in: "250\r\n", code: 250},
		{name: "bare LF", in: "250-a\n250 b\n", code: 250, text: "a b"},
		{name: "control characters", in: "250 a\x1b[31m\tb\x00\r\n", code: 250, text: "a [31m b"},
		{name: "not UTF-8", in: "250 caf\xe9\r\n", code: 250, text: "caf?"},
		{name: "codes differ", in: "250-a\r\n550 b\r\n", err: errReply},
		{name: "no code", in: "hello\r\n", err: errReply},
		{name: "1yz", in: "150 wait\r\n", err: errReply},
		{name: "6yz", in: "650 what\r\n", err: errReply},
		{name: "no separator", in: "250ok\r\n", err: errReply},
		{name: "cut off", in: "250-a\r\n", err: io.ErrUnexpectedEOF},
		{name: "empty", in: "", err: io.ErrUnexpectedEOF},
		{name: "too many lines", in: strings.Repeat("250-a\r\n", maxReplyLines) + "250 a\r\n", err: errReply},
		{name: "line too long", in: "250 " + strings.Repeat("a", maxReplySize) + "\r\n", err: errReply},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rep, err := readReply(bufio.NewReader(strings.NewReader(tt.in)))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			s := rep.status("mx")
			if s.Code != tt.code || s.Enhanced != tt.enhanced || s.Text != tt.text || s.Remote != "mx" {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// An endless reply must cost no more than the bound.
func TestReadReplyBounded(t *testing.T) {
	endless := &counter{r: repeat("250-and so on\r\n")}
	if _, err := readReply(bufio.NewReader(endless)); !errors.Is(err, errReply) {
		t.Fatalf("error %v", err)
	}
	if endless.n > 2*maxReplySize {
		t.Errorf("read %d octets", endless.n)
	}
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

type repeat string

func (r repeat) Read(p []byte) (int, error) { return copy(p, r), nil }

func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "550-5.1.1 a\r\n550 5.1.1 b\r\n", "421\r\n", "250-x\n250 y\n", "250 \xff\x00\r\n", "999 x\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rep, err := readReply(bufio.NewReader(strings.NewReader(string(in))))
		if err != nil {
			return
		}
		if rep.code < 200 || rep.code > 599 || len(rep.lines) == 0 || len(rep.lines) > maxReplyLines {
			t.Fatalf("code %d, %d lines", rep.code, len(rep.lines))
		}
		s := rep.status("")
		if !utf8.ValidString(s.Text) || len(s.Text) > maxText+len("…") {
			t.Fatalf("text %q", s.Text)
		}
		for _, r := range s.Text {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q in text", r)
			}
		}
		if s.Enhanced != [3]int{} && s.Enhanced[0] != s.Code/100 {
			t.Fatalf("%d with %v", s.Code, s.Enhanced)
		}
	})
}
