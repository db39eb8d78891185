package mbox

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

func TestMboxIsQuoted(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := strings.Repeat("y", 70000)
	for text, want := range map[string]string{
		"S: x\r\n\r\nFrom me\r\n>From you\r\n>>From us\r\n From\r\nFromage\r\n": "S: x\n\n>From me\n>>From you\n>>>From us\n From\nFromage\n\n",
		"no end":                         "no end\n\n",
		"":                               "\n",
		"a\rb\r\n" + long + "\r\nFrom x": "a\rb\n" + long + "\n>From x\n\n",
		// A CR at the end of what is read at a time, with and without its LF.
		strings.Repeat("z", 65535) + "\r\nFrom x\r\n":   strings.Repeat("z", 65535) + "\n>From x\n\n",
		strings.Repeat("z", 65535) + "\rFrom x\r\n":     strings.Repeat("z", 65535) + "\rFrom x\n\n",
		strings.Repeat("z", 65535) + "\r":               strings.Repeat("z", 65535) + "\r\n\n",
		strings.Repeat("From ", 20000) + "\r\nFrom\r\n": ">" + strings.Repeat("From ", 20000) + "\nFrom\n\n",
	} {
		var out strings.Builder
		m := NewWriter(&out)
		if err := m.Message(mail.MustParseAddress(`"a b"@x.example`), at, "", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		m.Flush()
		if got := out.String(); got != `From "a-b"@x.example Fri Jan  2 03:04:05 2026`+"\n"+want {
			t.Errorf("%.60q became %.120q", text, got)
		}
	}
}

// read is all that a file holds.
func read(t *testing.T, file string) (list []Message, texts []string) {
	t.Helper()
	for r := NewReader(strings.NewReader(file), 0); ; {
		m, err := r.Next()
		if err == io.EOF {
			return list, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list, texts = append(list, m), append(texts, string(text))
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	texts := []string{
		"S: x\r\n\r\nFrom me at 10:00\r\n>From you\r\n>>From us\r\n\r\nFrom them at 10:00\r\n",
		"S: x\r\n\r\n",
		"S: x\r\n\r\n\r\n\r\n",
		"S: x\r\n\r\nbare\rCR\r\n" + strings.Repeat("y", 70000) + "\r\n",
		"S: x\r\n\r\n" + strings.Repeat("z", 65535) + "\r\n>From 1:00\r\n",
		"S: x\r\n\r\n" + strings.Repeat("z", 65535) + "\rFrom 1:00\r\n",
	}
	var file strings.Builder
	w := NewWriter(&file)
	for _, text := range texts {
		if err := w.Message(mail.Address{}, at, "Status: RO\nX-Status: AF\nX-Keywords: $Forwarded b\n", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	list, got := read(t, file.String())
	if len(got) != len(texts) {
		t.Fatalf("%d messages, want %d", len(got), len(texts))
	}
	for i, m := range list {
		if got[i] != texts[i] {
			t.Errorf("%d: %.100q became %.100q", i, texts[i], got[i])
		}
		if !m.Date.Equal(at) || !slices.Equal(m.Flags, []string{"$Forwarded", `\Answered`, `\Flagged`, `\Seen`, "b"}) {
			t.Errorf("%d: %v %q", i, m.Date, m.Flags)
		}
		// The same again, from where it is said to be.
		again := NewReader(strings.NewReader(file.String()[m.At:]), m.At)
		if _, err := again.Next(); err != nil {
			t.Error(err)
		}
		if text, _ := io.ReadAll(again); string(text) != texts[i] {
			t.Errorf("%d: at %d is %.100q", i, m.At, text)
		}
	}
}

func TestFilesOfOtherPrograms(t *testing.T) {
	const file = "From - Mon Nov 30 12:00:00 2026\r\nX-Mozilla-Status: 1005\r\nX-Mozilla-Keys: $label1                 \r\nSubject: a\r\n\r\none\r\n" +
		"From here on it is text, 10:00\r\n\r\n" +
		"From b@example.org Mon Nov 30 12:00:00 2026 +0100\nX-Status: D\nSubject: b\n  folded\nX-UID: 12\n\n" +
		"From c@example.org Mon Nov  2 12:00 2026\nSubject: c\nX-Mozilla-Status: 0009\n\ntext\n\nFrom what I know\n\n" +
		"From MAILER-DAEMON Mon Nov 30 12:00:00 2026\nX-IMAP: 1 2\nSubject: DON'T DELETE\n\ninternal\n"
	list, texts := read(t, file)
	want := []string{
		"Subject: a\r\n\r\none\r\nFrom here on it is text, 10:00\r\n",
		"Subject: b\r\n  folded\r\n\r\n",
		"Subject: c\r\n\r\ntext\r\n\r\nFrom what I know\r\n",
		"Subject: DON'T DELETE\r\n\r\ninternal\r\n",
	}
	if !slices.Equal(texts, want) {
		t.Fatalf("got  %q\nwant %q", texts, want)
	}
	flags := []string{"$Forwarded", "$label1", `\Flagged`, `\Seen`}
	if !slices.Equal(list[0].Flags, flags) || list[0].Gone {
		t.Errorf("%+v", list[0])
	}
	if !slices.Equal(list[1].Flags, []string{`\Deleted`}) || list[1].Date.UTC().Hour() != 11 {
		t.Errorf("%+v", list[1])
	}
	if !list[2].Gone || !list[3].Gone || list[2].Date.Day() != 2 {
		t.Errorf("%+v %+v", list[2], list[3])
	}
}

func FuzzReader(f *testing.F) {
	f.Add("From a 1:00\nS: x\n\n>From b\n\nFrom c 2:00\n\n")
	f.Add("From " + strings.Repeat("x", 70000) + "\r")
	f.Fuzz(func(t *testing.T, file string) {
		list, texts := read(t, file)
		for i, m := range list {
			if m.At < 0 || m.At >= int64(len(file)) || i > 0 && m.At <= list[i-1].At {
				t.Errorf("message %d at %d", i, m.At)
			}
			// What was read, written again, is the same message.
			var again strings.Builder
			w := NewWriter(&again)
			if err := w.Message(mail.Address{}, m.Date, "", strings.NewReader(texts[i])); err != nil {
				t.Fatal(err)
			}
			w.Flush()
			if _, back := read(t, again.String()); len(back) != 1 {
				t.Errorf("%q became %d messages in %q", texts[i], len(back), again.String())
			}
		}
	})
}
