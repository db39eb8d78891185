package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a Conn and what its client sees.
func pair(t testing.TB, opt Options) (*Conn, net.Conn) {
	t.Helper()
	server, client := net.Pipe()
	c := New(server, opt)
	t.Cleanup(func() { client.Close(); server.Close() })
	return c, client
}

// decode has a client say text, and reads one command with f. It returns what
// was answered until then.
func decode(t *testing.T, text string, limit int64, f func(d *Decoder)) (said, rest string, err, finish error) {
	t.Helper()
	c, client := pair(t, Options{Step: 5 * time.Second})
	heard := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(client)
		heard <- string(b)
	}()
	go func() {
		io.WriteString(client, text)
	}()
	d := c.Decode(limit, limit)
	f(d)
	d.End()
	err, finish = d.Err(), d.Finish()
	// What is left is the next command.
	if finish == nil && len(text) > 0 {
		line, _ := c.Line(1000)
		rest = line
	}
	c.Close()
	return <-heard, rest, err, finish
}

func TestDecoder(t *testing.T) {
	const next = "y NOOP\r\n"
	for _, tt := range []struct {
		name, text string
		f          func(d *Decoder) string
		want       string
		fault      string
	}{
		{"atom", "abc\r\n", func(d *Decoder) string { return d.Atom() }, "abc", ""},
		{"no atom", "(\r\n", func(d *Decoder) string { return d.Atom() }, "", "A word is missing"},
		{"bare LF", "abc\n", func(d *Decoder) string { return d.Atom() }, "abc", ""},
		{"quoted", `"a\"b\\c d"` + "\r\n", func(d *Decoder) string { return d.AString() }, `a"b\c d`, ""},
		{"open quote", "\"abc\r\n", func(d *Decoder) string { return d.AString() }, "", "Quoted string is not closed"},
		{"bad escape", "\"a\\b\"\r\n", func(d *Decoder) string { return d.AString() }, "", "Malformed escape"},
		{"literal", "{3+}\r\na\r\n b\r\n", func(d *Decoder) string { s := d.AString(); d.Space(); return s + d.Atom() }, "a\r\nb", ""},
		{"empty literal", "{0+}\r\n\r\n", func(d *Decoder) string { return d.AString() + "." }, ".", ""},
		{"literal is too large", "{101+}\r\n" + strings.Repeat("x", 101) + " more\r\n", func(d *Decoder) string { return d.AString() }, "", "limited to 100 octets"},
		{"literals together", "{60+}\r\n" + strings.Repeat("x", 60) + " {60+}\r\n" + strings.Repeat("y", 60) + "\r\n",
			func(d *Decoder) string { d.AString(); d.Space(); return d.AString() }, "", "limited to 100 octets"},
		{"too many arguments", "a b\r\n", func(d *Decoder) string { return d.Atom() }, "a", "Too many arguments"},
		{"trailing blank", "a \r\n", func(d *Decoder) string { return d.Atom() }, "a", ""},
		{"two blanks", "a  b\r\n", func(d *Decoder) string { s := d.Atom(); d.Space(); return s + d.Atom() }, "ab", ""},
		{"list", "(a (b c) d)\r\n", func(d *Decoder) string {
			var list []string
			var item func()
			item = func() {
				if !d.TryList(item) {
					list = append(list, d.Atom())
				}
			}
			d.List(item)
			return strings.Join(list, "")
		}, "abcd", ""},
		{"too deep", strings.Repeat("(", 200) + "\r\n", func(d *Decoder) string {
			var item func()
			item = func() { d.TryList(item) }
			d.List(item)
			return ""
		}, "", "Too many parentheses"},
		{"NIL", "nil\r\n", func(d *Decoder) string { s, ok := d.NString(); return fmt.Sprint(s, ok) }, "false", ""},
		{"number", "4294967295\r\n", func(d *Decoder) string { return fmt.Sprint(d.Number()) }, "4294967295", ""},
		{"number of 33 bits", "4294967296\r\n", func(d *Decoder) string { return fmt.Sprint(d.Number()) }, "0", "too large"},
		{"set", "1,3:5,*,7:*\r\n", func(d *Decoder) string { return fmt.Sprint(d.Set().Fixed(6)) }, "[{1 1} {3 5} {6 6} {6 7}]", ""},
		{"set with 0", "1,0\r\n", func(d *Decoder) string { return fmt.Sprint(d.Set().Ranges) }, "[]", "Malformed set"},
		{"saved set", "$\r\n", func(d *Decoder) string { return fmt.Sprint(d.Set().Saved) }, "true", ""},
		{"flags", "(\\seen $X \\Flagged)\r\n", func(d *Decoder) string { return fmt.Sprint(d.Flags()) }, `[\Seen $X \Flagged]`, ""},
		{"mailbox in UTF-7", "Entw&APw-rfe\r\n", func(d *Decoder) string { return d.Mailbox(false) }, "Entwürfe", ""},
		{"mailbox in UTF-8", "\"Entwürfe\"\r\n", func(d *Decoder) string { return d.Mailbox(false) }, "Entwürfe", ""},
		{"ampersand", "a&b\r\n", func(d *Decoder) string { return d.Mailbox(true) }, "a&b", ""},
		{"ampersand in UTF-7", "a&b\r\n", func(d *Decoder) string { return d.Mailbox(false) }, "", "not modified UTF-7"},
		{"mailbox is no text", "\"\xff\"\r\n", func(d *Decoder) string { return d.Mailbox(true) }, "", "not UTF-8"},
		{"date", "\"29-Feb-2024 12:00:00 +0130\"\r\n", func(d *Decoder) string { return d.DateTime().UTC().String() }, "2024-02-29 10:30:00 +0000 UTC", ""},
		{"no date", "\"30-Feb-2024 12:00:00 +0000\"\r\n", func(d *Decoder) string { d.DateTime(); return "" }, "", "Malformed date"},
		{"long line", strings.Repeat("x", MaxLine+10) + "\r\n", func(d *Decoder) string { d.Atom(); return "" }, "", "too long"},
		{"refused with literals to come", "? {5+}\r\nx y z {4+}\r\nabcd\r\n", func(d *Decoder) string { return d.Atom()[:0] + d.Atom() }, "", "missing"},
		{"NUL", "a\x00b\r\n", func(d *Decoder) string { return d.Atom() }, "a", "Too many arguments"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			_, rest, err, finish := decode(t, tt.text+next, 100, func(d *Decoder) { got = tt.f(d) })
			if finish != nil {
				t.Fatalf("Finish: %v", finish)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("error %v, want %q", err, tt.fault)
			}
			if rest != "y NOOP" {
				t.Errorf("the next command is %q", rest)
			}
		})
	}
}

// A literal that the client waits to be asked for is asked for, or else refused
// and never read.
func TestSynchronisingLiteral(t *testing.T) {
	said, _, err, finish := decode(t, "{3}\r\nabc\r\nx\r\n", 100, func(d *Decoder) {
		if s := d.AString(); s != "abc" {
			t.Errorf("got %q", s)
		}
	})
	if said != "+ Ready for literal data\r\n" || err != nil || finish != nil {
		t.Errorf("said %q, %v, %v", said, err, finish)
	}
	said, rest, err, finish := decode(t, "{101}\r\ny NOOP\r\n", 100, func(d *Decoder) { d.AString() })
	if said != "" || err == nil || finish != nil || rest != "y NOOP" {
		t.Errorf("said %q, %v, %v, and then read %q", said, err, finish, rest)
	}
}

// What nobody wants to throw away ends the connection.
func TestTooMuchToThrowAway(t *testing.T) {
	for _, text := range []string{"{1000+}\r\n", "{99999999999999999999+}\r\n", "x {1000+}\r\n", strings.Repeat("x", maxLost+MaxLine+100)} {
		_, _, _, finish := decode(t, text, 100, func(d *Decoder) { d.Fail("no") })
		if !errors.Is(finish, ErrLost) {
			t.Errorf("%.20q: %v", text, finish)
		}
	}
}

// Deadlines go by progress, and Stop ends only a wait.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pair(t, Options{Idle: time.Hour, Step: time.Minute, Login: 3 * time.Minute})
		go io.Copy(io.Discard, client)
		begin := time.Now()
		if err := c.Wait(); !errors.Is(err, ErrTimeout) || time.Since(begin) != 3*time.Minute {
			t.Errorf("before the login: %v after %v", err, time.Since(begin))
		}
		c.SetAuthenticated(true)
		begin = time.Now()
		if err := c.Wait(); !errors.Is(err, ErrTimeout) || time.Since(begin) != time.Hour {
			t.Errorf("between commands: %v after %v", err, time.Since(begin))
		}
		go client.Write([]byte("x NOOP"))
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		begin = time.Now()
		d := c.Decode(100, 100)
		d.Tag()
		d.Space()
		d.Word()
		if d.End(); !errors.Is(d.Err(), ErrTimeout) || time.Since(begin) != time.Minute {
			t.Errorf("in a command: %v after %v", d.Err(), time.Since(begin))
		}
		go func() {
			time.Sleep(time.Second)
			c.Stop("enough")
		}()
		begin = time.Now()
		if err := c.Wait(); !errors.Is(err, ErrStopped) || time.Since(begin) != time.Second {
			t.Errorf("stopped: %v after %v", err, time.Since(begin))
		}
	})
}

// News are told while the client is silent.
func TestWaitOr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pair(t, Options{})
		c.SetAuthenticated(true)
		lines := make(chan string, 10)
		go func() {
			s := bufio.NewScanner(client)
			for s.Scan() {
				lines <- s.Text()
			}
		}()
		news, more := make(chan struct{}, 1), make(chan struct{}, 1)
		done := make(chan error, 1)
		e := c.Encode()
		go func() {
			done <- c.WaitOr(func() error { e.Raw("* 1 EXISTS").CRLF(); return nil }, news, more)
		}()
		for _, one := range []chan struct{}{news, news, more} {
			one <- struct{}{}
			if got := <-lines; got != "* 1 EXISTS" {
				t.Errorf("got %q", got)
			}
		}
		go client.Write([]byte("DONE\r\n"))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		// What has come is not waited for, and nothing is told before it was read.
		more <- struct{}{}
		if !c.Ready() {
			t.Error("what has come is not there")
		}
		if err := c.WaitOr(func() error { t.Error("told in the midst of a line"); return nil }, news, more); err != nil {
			t.Error(err)
		}
		if line, err := c.Line(100); line != "DONE" || err != nil {
			t.Errorf("%q, %v", line, err)
		}
		if c.Ready() {
			t.Error("something is there that was read")
		}
	})
}

func TestUTF7(t *testing.T) {
	for _, s := range []string{"", "INBOX", "a&b", "&", "Entwürfe", "日本語", "a/ü/b", "😀", "~peter/mail/台北/日本語", "ä&ö"} {
		got, err := DecodeUTF7(EncodeUTF7(s))
		if got != s || err != nil {
			t.Errorf("%q became %q, which is %q, %v", s, EncodeUTF7(s), got, err)
		}
	}
	if got := EncodeUTF7("~peter/mail/台北/日本語"); got != "~peter/mail/&U,BTFw-/&ZeVnLIqe-" {
		t.Errorf("got %q", got) // the example of RFC 3501
	}
	for _, s := range []string{"&", "&AGE-", "&U,BTFw-&ZeVnLIqe-", "ü", "&A-", "&2D3,-"} {
		if got, err := DecodeUTF7(s); err == nil {
			t.Errorf("%q is taken for %q", s, got)
		}
	}
}

func TestEncoder(t *testing.T) {
	c, client := pair(t, Options{})
	heard := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(client)
		heard <- string(b)
	}()
	long := strings.Repeat("x", 3*writeBuffer)
	e := c.Encode()
	e.String("plain").Raw(" ").String(`a"b\`).Raw(" ").String("line\r\nend").Raw(" ").NString("").Raw(" ").Mailbox("Entwürfe").Raw(" ").Number(7).CRLF()
	e.UTF8 = true
	e.String("ü").Raw(" ").Mailbox("Entwürfe").Raw(" ").Mailbox("INBOX").CRLF()
	e.String(long).CRLF()
	if err := e.Literal(strings.NewReader("abc"), 3, true, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	c.Close()
	want := "\"plain\" \"a\\\"b\\\\\" {9}\r\nline\r\nend NIL \"Entw&APw-rfe\" 7\r\n\"ü\" \"Entwürfe\" INBOX\r\n" +
		fmt.Sprintf("{%d}\r\n%s\r\n~{3}\r\nabc", len(long), long)
	if got := <-heard; got != want {
		t.Errorf("got %.300q…\nwant %.300q…", got, want)
	}
}

func TestFixed(t *testing.T) {
	got := Set{Ranges: []Range{{0, 0}, {5, 0}, {0, 2}, {4, 3}}}.Fixed(0)
	if want := []Range{{1, 5}, {1, 2}, {3, 4}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
