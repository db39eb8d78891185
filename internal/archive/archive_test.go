package archive

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"restante/internal/header"
	"restante/internal/mail"
)

func to(s string) Recipient {
	return Recipient{Recipient: mail.Recipient{To: mail.MustParseAddress(s)}}
}

func TestFieldsAreReadAsWritten(t *testing.T) {
	var ids mail.IDs
	id := ids.Next(time.Unix(1e9, 0))
	odd := to(`"a  b\\20> \"x"@example.net`)
	odd.Original, odd.Notify, odd.Route = "utf-8;bü+c=d\r\nX-Evil: 1", mail.NotifySuccess|mail.NotifyDelay, "smart host"
	odd.Reason = "550 5.1.1 no such user\r\nBcc: x (mx)"
	for name, c := range map[string]Copy{
		"plain": {Message: id, Recipients: []Recipient{to("bob@example.net")},
			Envelope: mail.Envelope{From: mail.MustParseAddress("alice@example.org")}},
		"null sender": {Message: id, Recipients: []Recipient{to("bob@example.net")}},
		"all there is": {Message: id, Rule: "year's end", Recipients: []Recipient{odd, to("bü@example.net"), to("postmaster")},
			Envelope: mail.Envelope{
				From: mail.MustParseAddress(`"a b"@example.org`), Ret: mail.ReturnFull, EnvID: "QQ 3=1+4\r\nX: y",
				EightBit: true, UTF8: true, RequireTLS: true, Priority: -3, Unverified: true,
			}},
	} {
		t.Run(name, func(t *testing.T) {
			fields := c.Fields()
			for line := range strings.SplitSeq(string(fields), "\r\n") {
				if len(line) > 998 || strings.ContainsAny(line, "\r\n") || line != "" && line[0] != 'X' && line[0] != '\t' {
					t.Errorf("line %q", line)
				}
			}
			if b := header.Parse(fields); b.Has("X-Evil") || b.Has("Bcc") || b.Has("X") {
				t.Errorf("a field was added:\n%s", fields)
			}
			got, err := Parse(append([]byte("Return-Path: <>\r\n"), fields...))
			if err != nil {
				t.Fatalf("%v in\n%s", err, fields)
			}
			for i := range c.Recipients {
				c.Recipients[i].Reason = strings.Join(strings.Fields(c.Recipients[i].Reason), " ")
			}
			for i, r := range c.Recipients {
				if one, err := ParseRecipient(r.Text()); err != nil || one.Recipient != r.Recipient || one.Route != r.Route {
					t.Errorf("recipient %d: %+v, %v", i, one, err)
				}
			}
			if !reflect.DeepEqual(got, c) {
				t.Errorf("read\n%+v\nof\n%s\nwant\n%+v", got, fields, c)
			}
		})
	}
}

func TestParseRefusesWhatIsNone(t *testing.T) {
	for _, s := range []string{
		"", "Subject: x\r\n",
		"X-Restante-Envelope-From: <a@b.example>\r\n", // nobody
		"X-Restante-Envelope-To: <a@b.example>\r\n",   // from nobody, not even <>
		"X-Restante-Envelope-From: a@b.example\r\nX-Restante-Envelope-To: <a@b.example>\r\n",
		"X-Restante-Envelope-From: <>\r\nX-Restante-Envelope-To: <>\r\n",
		"X-Restante-Envelope-From: <>\r\nX-Restante-Envelope-To: <a@b.example\r\n",
		"X-Restante-Envelope-From: <> ENVID=+4\r\nX-Restante-Envelope-To: <a@b.example>\r\n",
		"X-Restante-Envelope-From: <> MT-PRIORITY=x\r\nX-Restante-Envelope-To: <a@b.example>\r\n",
		"X-Restante-Message: ?\r\nX-Restante-Envelope-From: <>\r\nX-Restante-Envelope-To: <a@b.example>\r\n",
	} {
		if c, err := Parse([]byte(s)); !errors.Is(err, ErrFields) {
			t.Errorf("%q: %+v, %v", s, c, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("X-Restante-Message: 06H0AUEDU7PI71FC rule=a+20b\r\nX-Restante-Envelope-From: <a@b.example> RET=FULL\r\nX-Restante-Envelope-To: <\"x >\"@y.example> NOTIFY=NEVER ORCPT=rfc822;x\r\nX-Restante-Reason: 550 no\r\n")
	f.Add("X-Restante-Envelope-From: <>\r\nX-Restante-Envelope-To: <\\>\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse([]byte(s))
		if err != nil {
			return
		}
		again, err := Parse(c.Fields())
		if err != nil || len(again.Recipients) != len(c.Recipients) || again.Envelope != c.Envelope {
			t.Errorf("%+v, %v; want %+v", again, err, c)
		}
	})
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, address string
		want             bool
	}{
		{"alice@example.org", "alice@example.org", true},
		{"Alice@Example.org", "aLICE@example.org", true},
		{"alice@example.org", "bob@example.org", false},
		{"example.org", "bob@example.org", true},
		{"example.org", "bob@x.example.org", false},
		{"*.example.org", "bob@x.example.org", true},
		{"*.example.org", "bob@example.org", false},
		{"*", "bob@example.org", true},
		{"<>", "", true},
		{"<>", "bob@example.org", false},
		{"example.org", "", false},
		{"", "", false},
	} {
		a := mail.Address{}
		if c.address != "" {
			a = mail.MustParseAddress(c.address)
		}
		if got := Pattern(c.pattern).Match(a); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.address, got)
		}
	}
}

func TestRule(t *testing.T) {
	ann := mail.MustParseAddress("ann@home.example")
	here := Whither{mail.MustParseAddress("bob@home.example"), true}
	there := Whither{mail.MustParseAddress("carl@there.example"), false}
	for _, c := range []struct {
		name string
		rule Rule
		ours bool
		to   []Whither
		want bool
	}{
		{"all", Rule{}, false, []Whither{here}, true},
		{"in", Rule{Directions: In}, false, []Whither{here}, true},
		{"in, from us", Rule{Directions: In}, true, []Whither{here, there}, false},
		{"out", Rule{Directions: Out}, true, []Whither{here, there}, true},
		{"out, only here", Rule{Directions: Out}, true, []Whither{here}, false},
		{"local", Rule{Directions: Local | In}, true, []Whither{here}, true},
		{"sender", Rule{Senders: []Pattern{"home.example"}}, true, []Whither{there}, true},
		{"another sender", Rule{Senders: []Pattern{"bob@home.example"}}, true, []Whither{there}, false},
		{"recipient", Rule{Recipients: []Pattern{"there.example"}}, true, []Whither{here, there}, true},
		{"not one recipient is both", Rule{Recipients: []Pattern{"there.example"}, Directions: Local}, true, []Whither{here, there}, false},
	} {
		if got := c.rule.Matches(ann, c.ours, c.to); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	b := header.Parse([]byte("Subject: x\r\nX-Project: Apollo\r\n\r\n"))
	for _, c := range []struct {
		name, value string
		want        bool
	}{{"", "", true}, {"x-project", "", true}, {"X-Project", "apollo", true}, {"X-Project", "gemini", false}, {"X-Other", "", false}} {
		if got := (&Rule{Header: c.name, Value: c.value}).MatchesHeader(b); got != c.want {
			t.Errorf("%s: %s: %v", c.name, c.value, got)
		}
	}
	at := time.Date(2026, 11, 30, 23, 30, 0, 0, time.FixedZone("", -3600))
	if got := (&Rule{Mailbox: "J", Monthly: true}).MailboxAt(at); got != "J/2026-12" {
		t.Error(got)
	}
}
