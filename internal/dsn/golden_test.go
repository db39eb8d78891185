package dsn

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

func id(t *testing.T, s string) mail.ID {
	t.Helper()
	v, err := mail.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func refusal(to string, code int, enhanced [3]int, text string) Recipient {
	return Recipient{
		Recipient: mail.Recipient{To: mail.MustParseAddress(to)},
		Status:    mail.Status{Code: code, Enhanced: enhanced, Text: text, Remote: "mx.example.com [192.0.2.1]"},
		Attempted: now,
	}
}

// kinds are reports of every kind, by name.
func kinds(t *testing.T) map[string]*Report {
	t.Helper()
	all := make(map[string]*Report)
	add := func(name string, change func(*Report)) {
		r := sample()
		r.ID, r.Original = id(t, "06EBEF9I32273TDS"), id(t, "06EBEF9I33ILMRT5")
		change(r)
		all[name] = r
	}
	add("failed", func(*Report) {})
	add("failed-full", func(r *Report) { r.Envelope.Ret = mail.ReturnFull })
	add("failed-gone", func(r *Report) { r.Message, r.Size = nil, 0 })
	add("failed-several", func(r *Report) {
		r.Recipients = append(r.Recipients,
			refusal("carol@example.com", 552, [3]int{5, 2, 2}, "full"),
			refusal("dave@example.com", 550, [3]int{5, 1, 1}, "no such user"),
			refusal("erin@example.com", 552, [3]int{5, 2, 2}, "full"))
		// Said of carol and erin alike; of bob and dave too.
	})
	add("failed-expired", func(r *Report) {
		r.Recipients[0].Status = mail.Status{Code: 550, Enhanced: [3]int{4, 4, 7}, Text: "delivery time expired"}
		r.Recipients[0].Said = mail.Status{Code: 452, Enhanced: [3]int{4, 2, 2}, Text: "over quota", Remote: "mx.example.com [192.0.2.1]"}
	})
	add("failed-ours", func(r *Report) {
		r.Recipients[0].Status = mail.Status{Code: 556, Enhanced: [3]int{5, 1, 10}, Text: "example.com takes no mail"}
	})
	add("failed-utf8", func(r *Report) {
		r.Envelope.From = mail.MustParseAddress("änn@example.org")
		r.Recipients[0].To.Local = "bücher"
		r.Recipients[0].Original = "utf-8;bücher@example.com"
	})
	add("failed-utf8-full", func(r *Report) {
		r.Envelope.UTF8, r.Envelope.Ret = true, mail.ReturnFull
		text := strings.Replace(original, "Ann <ann", "Änn <änn", 1)
		r.Message, r.Size = strings.NewReader(text), int64(len(text))
	})
	add("delayed", func(r *Report) {
		r.Action, r.RetryUntil = Delayed, now.Add(4*24*time.Hour)
		r.Recipients[0].Status = mail.Status{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "greylisted, try later", Remote: "mx.example.com [192.0.2.1]"}
	})
	add("relayed", func(r *Report) {
		r.Action = Relayed
		r.Recipients[0].Status = mail.Status{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "queued as 4711", Remote: "mx.example.com [192.0.2.1]"}
	})
	add("relayed-deadline", func(r *Report) {
		r.Action, r.Envelope.By.At = Relayed, now.Add(time.Hour)
		r.Recipients[0].Status = mail.Status{Code: 250, Enhanced: [3]int{2, 0, 0}, Text: "queued as 4711", Remote: "mx.example.com [192.0.2.1]"}
	})
	add("delivered", func(r *Report) {
		r.Action = Delivered
		r.Recipients[0].Status = mail.Status{Code: 250, Enhanced: [3]int{2, 1, 5}, Text: "delivered to the mailbox"}
		r.Recipients[0].Attempted = time.Time{}
	})
	add("expanded", func(r *Report) {
		r.Action = Expanded
		r.Recipients[0].Status = mail.Status{Code: 250, Enhanced: [3]int{2, 1, 5}, Text: "accepted for all members"}
		r.Recipients[0].Attempted = time.Time{}
	})
	add("dead-letter", func(r *Report) {
		r.DeadLetter, r.To, r.Envelope.From = true, mail.MustParseAddress("postmaster@relay.test"), mail.Address{}
	})
	add("dead-letter-unverified", func(r *Report) {
		r.DeadLetter, r.To, r.Envelope.Unverified = true, mail.MustParseAddress("postmaster@relay.test"), true
	})
	return all
}

var boundary = regexp.MustCompile(`report-[0-9a-f]{32}`)

// The whole of every kind of report, as people and programs get it. Write the
// files anew with -update, and read what has changed.
func TestGolden(t *testing.T) {
	for name, r := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			parse(t, r)
			var buf bytes.Buffer
			if _, err := r.Write(&buf); err != nil {
				t.Fatal(err)
			}
			got := boundary.ReplaceAll(buf.Bytes(), []byte("report-of-the-test"))
			got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))
			path := filepath.Join("testdata", "golden", name+".eml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// What each class of codes means to the sender.
func TestReasons(t *testing.T) {
	said := func(code, a, b, c int, text string) mail.Status {
		return mail.Status{Code: code, Enhanced: [3]int{a, b, c}, Text: text, Remote: "mx"}
	}
	for _, c := range []struct {
		status     mail.Status
		short, why string
	}{
		{said(550, 5, 1, 1, "x"), "no such mailbox", "There is no mailbox"},
		{said(550, 0, 0, 0, "User unknown in virtual mailbox table"), "no such mailbox", "There is no mailbox"},
		{said(556, 5, 1, 10, "x"), "domain takes no mail", "takes no mail at all"},
		{said(550, 5, 1, 99, "x"), "address refused", "not accepted"},
		{said(452, 4, 2, 2, "x"), "mailbox full", "mailbox is full"},
		{said(452, 4, 2, 0, "The mailbox is full"), "mailbox full", "mailbox is full"},
		{said(552, 5, 3, 4, "x"), "message too large", "too large"},
		{said(552, 0, 0, 0, "x"), "message too large", "too large"},
		{said(552, 5, 2, 3, "x"), "message too large", "larger than"},
		{said(550, 5, 7, 1, "rejected as SPAM"), "taken for spam", "unwanted mail"},
		{said(550, 5, 7, 1, "Service refused: client blocked using bl.example"), "taken for spam", "unwanted mail"},
		{said(550, 5, 7, 1, "no"), "refused by rules", "from you"},
		{said(550, 5, 7, 26, "x"), "sender not proven", "make sure"},
		{said(550, 5, 7, 23, "x"), "sender not proven", "SPF"},
		{said(550, 5, 7, 22, "x"), "sender not proven", "signed"},
		{said(450, 4, 7, 1, "Greylisted for 300 s"), "asked to wait", "wait for a while"},
		{said(451, 0, 0, 0, "greylisting in action"), "asked to wait", "wait for a while"},
		{said(451, 4, 4, 1, "connection refused"), "mail system not reached", "does not answer"},
		{said(451, 4, 4, 3, "x"), "name not found", "looked up"},
		{said(550, 5, 4, 6, "x"), "mail loop", "circle"},
		{said(550, 4, 4, 7, "x"), "not delivered in time", "time allowed"},
		{said(530, 5, 7, 10, "x"), "encryption needed", "encrypted"},
		{said(550, 5, 7, 30, "x"), "encryption needed", "encrypted"},
		{said(535, 0, 0, 0, "x"), "login refused", "login"},
		{said(550, 5, 6, 7, "x"), "beyond ASCII", "ASCII"},
		{said(421, 0, 0, 0, "x"), "mail system trouble", "trouble"},
		{said(554, 0, 0, 0, "x"), "refused", "reason below"},
		{mail.Status{}, "not tried yet", "turn"},
	} {
		got := reasonOf(c.status)
		if got.short != c.short || !strings.Contains(got.why, c.why) || got.todo == "" {
			t.Errorf("%s: %+v", c.status, got)
		}
	}
}

// Each row says all that is needed, in whole sentences and within a subject.
func TestReasonsAreWhole(t *testing.T) {
	rows := []reason{unclear, untried, spam, waiting}
	for _, r := range reasons {
		rows = append(rows, r)
	}
	for _, r := range rows {
		if r.short == "" || len(r.short) > 30 || !strings.HasSuffix(r.why, ".") || !strings.HasSuffix(r.todo, ".") {
			t.Errorf("%+v", r)
		}
	}
	for from, to := range same {
		if _, ok := reasons[to]; !ok {
			t.Errorf("%v means %v, which is not there", from, to)
		}
	}
}

func TestSubject(t *testing.T) {
	r := sample()
	for i := range 3 {
		r.Recipients = append(r.Recipients, refusal(fmt.Sprintf("x%d@example.com", i), 550, [3]int{5, 1, 1}, "no"))
	}
	want(t, "the same for all", subjectOf(t, r), "Not delivered to bob@example.com and 3 others: no such mailbox")
	r.Recipients[1] = refusal("x@example.com", 552, [3]int{5, 2, 2}, "full")
	want(t, "not the same", subjectOf(t, r), "Not delivered to bob@example.com and 3 others")
	r.Recipients = r.Recipients[:1]
	r.Recipients[0].To.Local = strings.Repeat("long", 16)
	if s := subjectOf(t, r); len(s) > 160 {
		t.Errorf("%q", s)
	}
}

func subjectOf(t *testing.T, r *Report) string {
	t.Helper()
	h := parse(t, r).header
	return h.Get("Subject")
}
