package milter

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"restante/internal/mail"
	mt "restante/internal/milter/miltertest"
	"restante/internal/screen"
)

// TestDialogue compares all that a filter is told.
func TestDialogue(t *testing.T) {
	full := `C unknown|4||192.0.2.7
H client.example
M <alice@example.org>|BODY=8BITMIME
R <bob@example.net>
R <"c d"@example.net>
T
L Received|from x
	by y
L Subject| two  spaces 
L X-Empty|
N
B body
E
Q
`
	const none = noConnect | noHelo | noMail | noRcpt | noData | noHeader | noEndHeader | noBody
	for _, c := range []struct {
		name string
		opt  mt.Options
		want string
	}{
		{"all of it", mt.Options{}, full},
		{"over a Unix socket", mt.Options{Network: "unix"}, full},
		{"with the space after the colon", mt.Options{Protocol: leadSpace},
			strings.NewReplacer("|from x", "| from x", "| two", "|  two").Replace(full)},
		{"version 2 has no DATA", mt.Options{Version: 2}, strings.Replace(full, "T\n", "", 1)},
		{"no answers wanted", mt.Options{Protocol: muteConnect | muteHelo | muteMail | muteRcpt | muteData | muteHeader | muteEndHead | muteBody}, full},
		{"nothing but the end", mt.Options{Protocol: none}, "E\nQ\n"},
		{"no more of the connection", mt.Options{Answer: at('C', mt.Say('a'))}, "C unknown|4||192.0.2.7\nQ\n"},
		{"no more of the message", mt.Options{Answer: at('M', mt.Say('a'))}, full[:strings.Index(full, "R ")] + "A\nQ\n"},
		{"no more of the body", mt.Options{Protocol: canSkip, Answer: at('B', mt.Say('s'))}, full},
		{"it takes its time", mt.Options{Answer: at('N', mt.Say('p'), mt.Say('p'), mt.Say('c'))}, full},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := mt.New(t, c.opt)
			v, err := judged(client(t, f, Options{}), message(), "bo", "dy")
			if err != nil {
				t.Fatal(err)
			}
			if v.Refuse.Code != 0 || v.Discard || len(v.Edits) > 0 || v.Body != nil {
				t.Errorf("the verdict is %+v", v)
			}
			if got := dialogue(f.Sessions(t)[0]); got != c.want {
				t.Errorf("it was told\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestBodyInChunks(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 3*maxData/16)
	f := mt.New(t, mt.Options{})
	if _, err := judged(client(t, f, Options{}), message(), long[:100], long[100:]); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range f.Sessions(t)[0] {
		if c.Code == 'B' {
			got.Write(c.Data)
			if got.Len() < len(long) && len(c.Data) != maxData {
				t.Errorf("a chunk of %d octets", len(c.Data))
			}
		}
	}
	if got.String() != long {
		t.Errorf("%d octets came, of %d", got.Len(), len(long))
	}
}

// TestSkip sends the rest of a body that the filter does not want to nobody.
func TestSkip(t *testing.T) {
	f := mt.New(t, mt.Options{Protocol: canSkip, Answer: at('B', mt.Say('s'))})
	if _, err := judged(client(t, f, Options{}), message(), strings.Repeat("x", 5*maxData)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(dialogue(f.Sessions(t)[0]), "\nB "); n != 1 {
		t.Errorf("%d chunks came after a skip of the first", n)
	}
}

func TestMacros(t *testing.T) {
	f := mt.New(t, mt.Options{})
	m := message()
	m.Envelope.Client.Account = "alice@example.org"
	if _, err := judged(client(t, f, Options{}), m, "x"); err != nil {
		t.Fatal(err)
	}
	everywhere := map[string]string{
		"i": m.ID.String(), "j": "mx.example.org", "v": "restante", "_": "unknown [192.0.2.7]",
		"{daemon_name}": "mx.example.org", "{client_addr}": "192.0.2.7", "{client_name}": "unknown",
		"{tls_version}": "TLSv1.3", "{cipher}": "TLS_AES_128_GCM_SHA256", "{auth_authen}": "alice@example.org",
		"{mail_addr}": "alice@example.org", "{mail_host}": "example.org",
	}
	var rcpts []string
	for _, c := range f.Sessions(t)[0] {
		switch c.Code {
		case 'C', 'H', 'M', 'R', 'T', 'N', 'E':
			for name, value := range everywhere {
				if c.Macros[name] != value {
					t.Errorf("at %q %s is %q, want %q", c.Code, name, c.Macros[name], value)
				}
			}
			if (c.Macros["{rcpt_addr}"] != "") != (c.Code == 'R') {
				t.Errorf("at %q {rcpt_addr} is %q", c.Code, c.Macros["{rcpt_addr}"])
			}
		}
		if c.Code == 'R' {
			rcpts = append(rcpts, c.Macros["{rcpt_addr}"])
		}
	}
	if got := strings.Join(rcpts, " "); got != `bob@example.net "c d"@example.net` {
		t.Errorf("the recipients' macros are %s", got)
	}
}

// TestRefusals are verdicts at every step of the way.
func TestRefusals(t *testing.T) {
	refused := "550 5.7.1 The message was refused by a mail filter"
	later := "451 4.7.1 The message was refused for now by a mail filter"
	for _, c := range []struct {
		say  []mt.Act
		want string
	}{
		{[]mt.Act{mt.Say('r')}, refused},
		{[]mt.Act{mt.Say('t')}, later},
		{[]mt.Act{mt.Say('4')}, later},
		{[]mt.Act{mt.Say('p'), mt.Say('p'), mt.Say('r')}, refused},
		{[]mt.Act{mt.Say('d')}, "discard"},
		{[]mt.Act{mt.Say('a')}, "accept"},
		{[]mt.Act{mt.Reply("554 5.7.1 Spam message rejected")}, "554 5.7.1 Spam message rejected"},
		{[]mt.Act{mt.Reply("451-4.7.1 Greylisted,\r\n451 4.7.1 come again")}, "451 4.7.1 Greylisted, come again"},
		{[]mt.Act{mt.Reply("550 no enhanced code")}, "550 5.0.0 no enhanced code"},
		{[]mt.Act{mt.Reply("421 4.7.0 closing")}, "451 4.7.0 closing"},
		{[]mt.Act{mt.Reply("550 4.7.1 another class")}, "550 5.0.0 another class"},
		{[]mt.Act{mt.Reply("550")}, "550 5.0.0 Refused by a mail filter"},
		{[]mt.Act{mt.Reply("550 5.7.1 a\x07b\xff\u00e4\t" + strings.Repeat("x", 500))}, "550 5.7.1 a?b?? " + strings.Repeat("x", 394)},
	} {
		for _, code := range "CHMRTLNBE" {
			t.Run(fmt.Sprintf("%.20q at %c", c.want, code), func(t *testing.T) {
				f := mt.New(t, mt.Options{Answer: at(byte(code), c.say...)})
				v, err := judged(client(t, f, Options{}), message(), "x")
				got := "accept"
				switch {
				case err != nil:
					got = err.Error()
				case v.Refuse.Code != 0:
					got = v.Refuse.String()
				case v.Discard:
					got = "discard"
				}
				if got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				commands := f.Sessions(t)[0]
				if last := commands[len(commands)-1]; last.Code != 'Q' {
					t.Errorf("the session ended with %s", last)
				}
			})
		}
	}
}

func TestChanges(t *testing.T) {
	f := mt.New(t, mt.Options{Answer: at('E',
		mt.AddHeader("X-Spam", "no"),
		mt.InsHeader(0, "X-First", "a\n b\nc\r\n\td\r\re\n\n"),
		mt.InsHeader(2, "X-Third", "colon: here"),
		mt.ChgHeader(2, "Received", "changed"),
		mt.ChgHeader(0, "Subject", ""),
		mt.Say('+', "<new@example.net>\x00"),
		mt.Say('2', "<\"e f\"@example.net>\x00NOTIFY=NEVER\x00"),
		mt.Say('p'),
		mt.Say('-', "<bob@example.net>\x00"),
		mt.Say('e', "<>\x00"),
		mt.Say('q', "looks bad\nreally\x00"),
		mt.Say('b', "new\nbody\r"), mt.Say('b', "\nwith\rline ends"),
		mt.Say('c'),
	)})
	v, err := judged(client(t, f, Options{}), message(), "x")
	if err != nil {
		t.Fatal(err)
	}
	want := []screen.Edit{
		{Op: screen.Append, Name: "X-Spam", Value: "no"},
		{Op: screen.Insert, Name: "X-First", Value: "a\r\n b\r\n\tc\r\n\td\r\n\te"},
		{Op: screen.Insert, Index: 2, Name: "X-Third", Value: "colon: here"},
		{Op: screen.Change, Index: 2, Name: "Received", Value: "changed"},
		{Op: screen.Delete, Index: 1, Name: "Subject"},
	}
	if !slices.Equal(v.Edits, want) {
		t.Errorf("edits\n%+v\nwant\n%+v", v.Edits, want)
	}
	if got := fmt.Sprint(v.Add, v.Remove); got != `[new@example.net "e f"@example.net] [bob@example.net]` {
		t.Errorf("recipients %s", got)
	}
	if v.From == nil || !v.From.IsNull() {
		t.Errorf("the sender is %v", v.From)
	}
	if v.Quarantine != "looks bad really" {
		t.Errorf("quarantine %q", v.Quarantine)
	}
	if got := body(t, v); got != "new\r\nbody\r\nwith\r\nline ends" {
		t.Errorf("body %q", got)
	}
}

// TestLeadingSpace: a filter that is given the space gives it back.
func TestLeadingSpace(t *testing.T) {
	f := mt.New(t, mt.Options{Protocol: leadSpace, Answer: at('E', mt.AddHeader("A", " b"), mt.AddHeader("A", "b"), mt.Say('c'))})
	v, err := judged(client(t, f, Options{}), message())
	if err != nil || len(v.Edits) != 2 || v.Edits[0].Value != "b" || v.Edits[1].Value != "b" {
		t.Errorf("%+v %v", v.Edits, err)
	}
}

func TestLargeBody(t *testing.T) {
	dir := t.TempDir()
	piece := strings.Repeat("0123456789abc\r\n", 4096) + "\r" // its end comes with the next
	var acts []mt.Act
	for range 20 {
		acts = append(acts, mt.Say('b', piece), mt.Say('b', "\n"))
	}
	f := mt.New(t, mt.Options{Answer: at('E', append(acts, mt.Say('a'))...)})
	v, err := judged(client(t, f, Options{Dir: dir}), message())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v.Body.(*os.File); !ok {
		t.Errorf("a body of %d octets is in a %T", len(piece)*20, v.Body)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v would be left after a crash", left)
	}
	if got := body(t, v); got != strings.Repeat(piece+"\n", 20) {
		t.Errorf("a body of %d octets, want %d", len(got), 20*(len(piece)+1))
	}
}

// TestEmptyBody: a filter may leave nothing of a body.
func TestEmptyBody(t *testing.T) {
	f := mt.New(t, mt.Options{Answer: at('E', mt.Say('b'), mt.Say('c'))})
	v, err := judged(client(t, f, Options{}), message(), "x")
	if err != nil || v.Body == nil || body(t, v) != "" {
		t.Errorf("body %v, %v", v.Body, err)
	}
}

// TestClosedBeforeTheEnd: a client that goes away takes its message with it.
func TestClosedBeforeTheEnd(t *testing.T) {
	f := mt.New(t, mt.Options{})
	j, err := client(t, f, Options{}).Begin(context.Background(), message())
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	j.Close()
	if got := dialogue(f.Sessions(t)[0]); !strings.HasSuffix(got, "N\nA\nQ\n") {
		t.Errorf("it was told\n%s", got)
	}
}

func TestFor(t *testing.T) {
	account, trusted, outside := message(), message(), message()
	account.Envelope.Client.Account, account.Trusted = "alice@example.org", true
	trusted.Trusted = true
	for _, c := range []struct {
		set  Senders
		want string
	}{
		{0, "true true true"},
		{Outside, "false false true"},
		{Trusted, "false true false"},
		{Authenticated, "true false false"},
		{Outside | Authenticated, "true false true"},
	} {
		f := mt.New(t, mt.Options{})
		var got []string
		for _, m := range []*screen.Message{account, trusted, outside} {
			j, err := client(t, f, Options{For: c.set}).Begin(context.Background(), m)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(j != nil))
			if j != nil {
				j.Close()
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%b: %s, want %s", c.set, s, c.want)
		}
	}
}

func TestStrangeMessages(t *testing.T) {
	m := message()
	m.Envelope = mail.Envelope{}
	m.Recipients, m.TLS = nil, ""
	m.Header = []byte(strings.Repeat("x", 70000) + ": y\r\nA: " + strings.Repeat("z", 70000) + "\r\nB: \x00c\r\n")
	f := mt.New(t, mt.Options{})
	if _, err := judged(client(t, f, Options{}), m); err != nil {
		t.Fatal(err)
	}
	got := dialogue(f.Sessions(t)[0])
	want := "C unknown|U\nM <>\nT\nL A|" + strings.Repeat("z", maxData-3) + "\nL B|c\nN\nE\nQ\n"
	if got != want {
		t.Errorf("it was told\n%.200s\nwant\n%.200s", got, want)
	}
}

// BenchmarkMessage is a message of 4 KiB at a filter on this machine, the
// connection included.
func BenchmarkMessage(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		b.Run(network, func(b *testing.B) {
			c := client(b, mt.New(b, mt.Options{Network: network}), Options{})
			text := strings.Repeat("x", 4<<10)
			for b.Loop() {
				if _, err := judged(c, message(), text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
