package control

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
	"restante/spool/spooltest"
)

func TestSubmittedMessageAsStored(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name     string
		sub      Submission
		in, want string // what must stand at the end of the stored message
		missing  []string
	}{
		{"complete", Submission{}, "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nhi\r\n", "", nil},
		{"line ends", Submission{}, "From: a@b.example\nDate: x\nMessage-ID: <1@x>\n\none\rtwo\r\n\nthree", "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\none\r\ntwo\r\n\r\nthree\r\n", nil},
		{"missing fields", Submission{}, "Subject: s\n\nhi\n", "Subject: s\r\n\r\nhi\r\n", []string{"Date", "Message-ID", "From"}},
		{"no header", Submission{}, "hello, world\n", "\r\n\r\nhello, world\r\n", []string{"Date", "Message-ID", "From"}},
		{"no body", Submission{}, "Subject: s", "Subject: s\r\n\r\n", []string{"Date", "Message-ID", "From"}},
		{"empty", Submission{}, "", "\r\n\r\n", []string{"Date", "Message-ID", "From"}},
		{"mbox line", Submission{}, "From root Mon Jan  1 00:00:00 2024\nSubject: s\n\nhi\n", "Subject: s\r\n\r\nhi\r\n", []string{"Date", "Message-ID", "From"}},
		{"dots", Submission{}, "Subject: s\n\n.\n..\n", "Subject: s\r\n\r\n.\r\n..\r\n", []string{"Date", "Message-ID", "From"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.sub.Recipients = []string{"x@a.example"}
			got := h.stored(t, h.submit(t, c.sub, c.in))
			if c.want == "" {
				c.want = c.in
			}
			if !strings.HasSuffix(got, c.want) || !strings.HasPrefix(got, "Received: ") {
				t.Fatalf("stored %q,\nwant at its end %q", got, c.want)
			}
			front := header.Parse([]byte(strings.TrimSuffix(got, c.want)))
			var names []string
			for _, f := range front.Fields() {
				names = append(names, f.Name)
			}
			if want := append([]string{"Received"}, c.missing...); !slices.Equal(names, want) {
				t.Errorf("fields in front %q, want %q", names, want)
			}
		})
	}
}

func TestSender(t *testing.T) {
	h := newHouse(t)
	me, err := h.client.Submit(t.Context(), Submission{Recipients: []string{"x@a.example"}}, strings.NewReader("\n"), -1)
	if err != nil {
		t.Fatal(err)
	}
	m, err := h.client.Message(t.Context(), me.ID)
	if err != nil {
		t.Fatal(err)
	}
	if m.Envelope.From.Domain != "here.example" || m.Envelope.From.Local == "" || m.Envelope.From.Local != m.Envelope.Helo {
		t.Errorf("default sender %s of %s", m.Envelope.From, m.Envelope.Helo)
	}
	for _, c := range []struct {
		from, name, envelope, field string
	}{
		{"bob", "", "bob@here.example", "bob@here.example"},
		{"<bob@far.example>", "Bob", "bob@far.example", "Bob <bob@far.example>"},
		{"bob@far.example", "Dr. Bob", "bob@far.example", `"Dr. Bob" <bob@far.example>`},
		{"bob@far.example", "Zoë", "bob@far.example", "=?utf-8?q?Zo=C3=AB?= <bob@far.example>"},
		{"bob@far.example", "a\nBcc: evil", "bob@far.example", "=?utf-8?q?a=0ABcc:_evil?= <bob@far.example>"},
		{"<>", "", "", "MAILER-DAEMON@here.example"},
	} {
		id := h.submit(t, Submission{From: c.from, Name: c.name, Recipients: []string{"x@a.example"}}, "\nhi")
		b := header.Parse([]byte(h.stored(t, id)))
		info, err := h.spool.Stat(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := b.Get("From"); got != c.field || info.Envelope.From.String() != c.envelope {
			t.Errorf("-f %s -F %q: envelope %s, From: %s", c.from, c.name, info.Envelope.From, got)
		}
	}
}

func TestRecipientsFromHeader(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name, in string
		args     []string
		want     []string
		kept     string
	}{
		{"all three", "To: x@a.example\nCc: Y <y@a.example>,\n z@a.example\nBcc: b@a.example,\n c@a.example\nSubject: s\n\n", nil,
			[]string{"x@a.example", "y@a.example", "z@a.example", "b@a.example", "c@a.example"},
			"To: x@a.example\r\nCc: Y <y@a.example>,\r\n z@a.example\r\nSubject: s\r\n\r\n"},
		{"and arguments", "To: x@a.example\n\n", []string{"q@a.example"}, []string{"q@a.example", "x@a.example"}, "To: x@a.example\r\n\r\n"},
		{"resent", "To: x@a.example\nResent-To: y@a.example\nResent-Bcc: z@a.example\nBcc: q@a.example\n\n", nil,
			[]string{"y@a.example", "z@a.example"}, "To: x@a.example\r\nResent-To: y@a.example\r\n\r\n"},
		{"equal fields", "Bcc: x@a.example\nTo: y@a.example\nBcc: x@a.example\n\n", nil,
			[]string{"x@a.example", "y@a.example"}, "To: y@a.example\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := h.submit(t, Submission{Recipients: c.args, FromHeader: true}, c.in)
			tasks, err := h.spool.MessageTasks(id)
			if err != nil || len(tasks) != 1 {
				t.Fatal(tasks, err)
			}
			var got []string
			for _, r := range tasks[0].Recipients {
				got = append(got, r.To.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("recipients %q, want %q", got, c.want)
			}
			if stored := h.stored(t, id); !strings.HasSuffix(stored, c.kept) {
				t.Errorf("stored %q, want at its end %q", stored, c.kept)
			}
		})
	}
	_, err := h.client.Submit(t.Context(), Submission{FromHeader: true}, strings.NewReader("Subject: s\n\n"), -1)
	wantCode(t, err, CodeBadRequest)
}

func TestRefusedMessagesLeaveNothing(t *testing.T) {
	h := newHouse(t)
	to := Submission{Recipients: []string{"x@a.example"}}
	submit := func(sub Submission, body io.Reader, size int64) error {
		_, err := h.client.Submit(t.Context(), sub, body, size)
		return err
	}
	big := strings.Repeat("x", 1<<20)
	wantCode(t, submit(to, strings.NewReader("\n"+big), int64(len(big)+1)), CodeTooLarge)
	wantCode(t, submit(to, strings.NewReader("A: "+strings.Repeat("x", 300<<10)+"\n\n"), -1), CodeTooLarge)
	wantCode(t, submit(to, strings.NewReader(strings.Repeat("Received: x\n", 101)+"\n"), -1), CodeUnprocessable)
	wantCode(t, submit(Submission{Recipients: []string{"x@a.example", "nobody"}}, strings.NewReader("\nhi"), -1), CodeNoSuchUser)
	wantCode(t, submit(Submission{Recipients: make([]string, 1001)}, strings.NewReader("\nhi"), -1), CodeBadRequest)

	broken := errors.New("the program before the pipe died")
	if err := submit(to, io.MultiReader(strings.NewReader("Subject: s\n\nhalf"), iotest.ErrReader(broken)), -1); err == nil {
		t.Error("half a message was accepted")
	}
	h.spool.Fail(spool.ErrFull, spooltest.OpCreate)
	wantCode(t, submit(to, strings.NewReader("\nhi"), -1), CodeFull)
	h.spool.Fail(nil, spooltest.OpCreate)
	h.spool.Fail(spool.ErrUncertain, spooltest.OpCommit)
	wantCode(t, submit(to, strings.NewReader("\nhi"), -1), CodeUnavailable)
	if left := h.queue(t, Filter{}); len(left) != 0 {
		t.Errorf("%d tasks are there", len(left))
	}
}

// TestStandstill holds a message back in the middle: the server gives up.
func TestStandstill(t *testing.T) {
	h := newHouse(t)
	h.server.opt.Stall = 50 * time.Millisecond
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "Subject: s\n\nhalf")
	_, err := h.client.Submit(t.Context(), Submission{Recipients: []string{"x@a.example"}}, r, -1)
	if err == nil {
		t.Fatal("accepted")
	}
	if left := h.queue(t, Filter{}); len(left) != 0 {
		t.Errorf("%d tasks are there", len(left))
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                     nil,
		"root":                                 {"root"},
		"a@x, b@y":                             {"a@x", "b@y"},
		"A B <a@x>, \"c, d\" <c@x>":            {"a@x", "c@x"},
		"a@x (comment, with (nested) comma),b": {"a@x", "b"},
		"undisclosed-recipients:;":             nil,
		"friends: a@x, B <b@y>;, c@z":          {"a@x", "b@y", "c@z"},
		`"quoted, local"@x`:                    {`"quoted, local"@x`},
		`<"a>b"@x>`:                            {`"a>b"@x`},
		"a@[IPv6:2001:db8::1], b":              {"a@[IPv6:2001:db8::1]", "b"},
		"<unclosed@x":                          {"unclosed@x"},
		`"unclosed \`:                          {`"unclosed \`},
		"(unclosed \\":                         nil,
		"[":                                    {"["},
		",,;":                                  nil,
	} {
		if got := Addresses(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add(`"a, b" <c@d>, e: f@[IPv6:::1] (x(y)z);`)
	f.Add(`<"`)
	f.Add("[\\")
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range Addresses(s) {
			if len(a) > len(s) {
				t.Errorf("%q is longer than what it came from", a)
			}
			_, _ = mail.ParseAddress(a)
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\nc\rd\r\r\n\n"))
	f.Add([]byte("\r"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := io.ReadAll(newLines(iotest.OneByteReader(strings.NewReader(string(in)))))
		if err != nil {
			t.Fatal(err)
		}
		again, err := io.ReadAll(newLines(strings.NewReader(string(in))))
		if err != nil || string(again) != string(got) {
			t.Fatalf("%q by octets, %q as a whole (%v)", got, again, err)
		}
		plain := strings.NewReplacer("\r\n", "").Replace(string(got))
		if strings.ContainsAny(plain, "\r\n") {
			t.Errorf("%q has a bare CR or LF", got)
		}
		if len(got) > 0 && !strings.HasSuffix(string(got), "\r\n") {
			t.Errorf("%q has no end", got)
		}
		if strip := strings.NewReplacer("\r", "", "\n", ""); strip.Replace(string(in)) != strip.Replace(string(got)) {
			t.Errorf("%q became %q", in, got)
		}
	})
}
