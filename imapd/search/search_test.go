package search

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/internal/structure"
	"restante/spool"
)

type message struct {
	entry  spool.Entry
	text   string
	opened bool
	old    bool // there is no record
	err    error
	score  uint8
}

func (m *message) Found(score uint8)   { m.score = score }
func (m *message) Entry() *spool.Entry { return &m.entry }
func (m *message) Record() (structure.Record, error) {
	s, err := m.Structure()
	if err != nil || m.old {
		return structure.Record{}, err
	}
	return structure.Open(s.Encode())
}

func (m *message) Structure() (*structure.Message, error) {
	p := structure.NewParser()
	io.WriteString(p, m.text)
	return p.Finish(), nil
}

func (m *message) Header() ([]byte, error) {
	m.opened = true
	s, _ := m.Structure()
	return append(bytes.Clone(m.entry.Prefix), m.text[:s.Root.BodyStart]...), m.err
}

func (m *message) Octets(off, end int64) (io.Reader, error) {
	m.opened = true
	return strings.NewReader(m.text[off:end]), m.err
}

const sample = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r\n" +
	"To: a@example.com, \"Bee, B.\" <b@example.com>\r\n" +
	"Subject: =?iso-8859-1?q?Gr=FC=DFe?= from\r\n the coast\r\n" +
	"Date: Wed, 1 Jan 2020 23:30:00 -0800\r\n" +
	"X-Spam: =?utf-8?b?VsO2bGxpZw==?= no\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"Hello Wor=\r\nld, sch=F6n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
	"U2VjcmV0IHRleHQ=\r\n" +
	"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
	"UGljdHVyZQ==\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\n" +
	"Subject: inner\r\n\r\nforwarded words\r\n" +
	"--b--\r\n"

// key makes keys of the library's criteria.
func key(c *imap.SearchCriteria) Key {
	var keys []Key
	for _, set := range c.SeqNum {
		keys = append(keys, Key{match: func(m Message) (bool, error) { return set.Contains(3), nil }})
	}
	for _, set := range c.UID {
		var list []spool.UID
		nums, _ := set.Nums()
		for _, n := range nums {
			list = append(list, spool.UID(n))
		}
		slices.Sort(list)
		keys = append(keys, UIDs(list))
	}
	for _, f := range c.Flag {
		keys = append(keys, Flag(f))
	}
	for _, f := range c.NotFlag {
		keys = append(keys, Not(Flag(f)))
	}
	if c.Larger > 0 {
		keys = append(keys, Larger(c.Larger))
	}
	if c.Smaller > 0 {
		keys = append(keys, Smaller(c.Smaller))
	}
	keys = append(keys, Between(Internal, c.Since, c.Before))
	if !c.SentSince.IsZero() || !c.SentBefore.IsZero() {
		keys = append(keys, Between(Sent, c.SentSince, c.SentBefore))
	}
	for _, f := range c.Header {
		keys = append(keys, Field(f.Key, f.Value))
	}
	for i := range c.Not {
		keys = append(keys, Not(key(&c.Not[i])))
	}
	for i := range c.Or {
		keys = append(keys, Or(key(&c.Or[i][0]), key(&c.Or[i][1])))
	}
	for _, s := range c.Body {
		keys = append(keys, Body(s))
	}
	for _, s := range c.Text {
		keys = append(keys, Anywhere(s))
	}
	return And(keys...)
}

func TestMatch(t *testing.T) {
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	field := func(key, value string) imap.SearchCriteria {
		return imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: key, Value: value}}}
	}
	body := func(s ...string) imap.SearchCriteria { return imap.SearchCriteria{Body: s} }
	text := func(s ...string) imap.SearchCriteria { return imap.SearchCriteria{Text: s} }
	entry := spool.Entry{
		UID: 30, Size: 1000,
		Flags:        spool.Flags{System: spool.Seen, Keywords: []string{"$Work"}},
		InternalDate: time.Date(2020, 1, 2, 1, 0, 0, 0, time.FixedZone("", 3600)),
		Prefix:       []byte("Return-Path: <envelope@example.net>\r\n"),
	}
	for _, c := range []struct {
		name     string
		criteria imap.SearchCriteria
		want     bool
		opens    bool
	}{
		{"all", imap.SearchCriteria{}, true, false},
		{"number", imap.SearchCriteria{SeqNum: []imap.SeqSet{imap.SeqSetNum(1, 3)}}, true, false},
		{"other number", imap.SearchCriteria{SeqNum: []imap.SeqSet{imap.SeqSetNum(1, 2)}}, false, false},
		{"uid", imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(30), imap.UIDSetNum(29)}}, false, false},
		{"flags", imap.SearchCriteria{Flag: []imap.Flag{imap.FlagSeen, "$work"}, NotFlag: []imap.Flag{imap.FlagDeleted, "\\Recent"}}, true, false},
		{"recent", imap.SearchCriteria{Flag: []imap.Flag{"\\Recent"}}, false, false},
		{"size", imap.SearchCriteria{Larger: 999, Smaller: 1001}, true, false},
		{"too small", imap.SearchCriteria{Larger: 1000}, false, false},
		{"since", imap.SearchCriteria{Since: day("2020-01-02"), Before: day("2020-01-03")}, true, false},
		{"before", imap.SearchCriteria{Before: day("2020-01-02")}, false, false},
		{"sent in its own zone", imap.SearchCriteria{SentSince: day("2020-01-01"), SentBefore: day("2020-01-02")}, true, false},
		{"sent later", imap.SearchCriteria{SentSince: day("2020-01-02")}, false, false},
		{"from", field("From", "jÖRG"), true, false},
		{"from address", field("From", "@EXAMPLE.org"), true, false},
		{"not from", field("From", "anna"), false, false},
		{"to a name", field("To", "bee, b."), true, false},
		{"subject, folded", field("Subject", "grüße from the"), true, false},
		{"other field", field("x-spam", "völlig no"), true, false},
		{"field is there", field("X-Spam", ""), true, false},
		{"no such field", field("X-Ham", ""), false, false},
		{"a field that is not kept", field("DKIM-Signature", ""), false, true},
		{"field of the prefix", field("Return-Path", "envelope@"), true, false},
		{"body over a soft line end", body("hello world"), true, true},
		{"body in another charset", body("schön"), true, true},
		{"body in base64", body("secret TEXT"), true, true},
		{"two in different parts", body("hello", "secret"), true, true},
		{"one of two", body("hello", "absent"), false, true},
		{"picture", body("picture"), false, true},
		{"forwarded", body("forwarded words"), true, true},
		{"forwarded subject", body("subject: inner"), true, true},
		{"header is not body", body("coast"), false, true},
		{"text in the header", text("the coast"), true, true},
		{"text in the body", text("secret", "grüße"), true, true},
		{"absent text", text("absent"), false, true},
		{"not", imap.SearchCriteria{Not: []imap.SearchCriteria{body("absent")}}, true, true},
		{"or", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{field("From", "x"), {Larger: 1}}}}, true, false},
		{"nor", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{field("From", "zzz"), {Larger: 5000}}}}, false, false},
		{"cheap ones first", imap.SearchCriteria{Larger: 5000, Body: []string{"hello"}}, false, false},
	} {
		if got, err := key(&c.criteria).Match(&message{entry: entry, text: sample, old: true}); err != nil || got != c.want {
			t.Errorf("%s, stored by an older version: %v, %v; want %v", c.name, got, err, c.want)
		}
		m := &message{entry: entry, text: sample}
		got, err := key(&c.criteria).Match(m)
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
		if m.opened != c.opens {
			t.Errorf("%s: body opened: %v, want %v", c.name, m.opened, c.opens)
		}
	}
}

// TestStages: the stages of a key together are the key, and look only as far as
// they say.
func TestStages(t *testing.T) {
	never := Not(Key{})
	flag, sent, from, trace, words := Flag(imap.FlagSeen), Between(Sent, time.Time{}, time.Time{}), Field("From", "x"), Field("Received", "x"), Body("x")
	for name, c := range map[string]struct {
		k    Key
		want [3]bool // which stages there are
	}{
		"all":           {Key{}, [3]bool{}},
		"a flag":        {flag, [3]bool{true, false, false}},
		"a field":       {from, [3]bool{false, true, false}},
		"a text":        {words, [3]bool{false, false, true}},
		"of each":       {And(words, trace, from, flag, sent), [3]bool{true, true, true}},
		"one in others": {And(And(And(words, flag), Key{}), from), [3]bool{true, true, true}},
		"or":            {Or(flag, words), [3]bool{false, false, true}},
		"never":         {And(never, words), [3]bool{true, false, true}},
	} {
		stages := c.k.Stages()
		for i, st := range stages {
			if st.MatchesAll() == c.want[i] || !st.MatchesAll() && i < 2 && st.Cost != Cost(i) {
				t.Errorf("%s: stage %d matches all: %v, cost %d", name, i, st.MatchesAll(), st.Cost)
			}
		}
		m := &message{text: sample}
		want, err := c.k.Match(m)
		got := true
		for _, st := range stages {
			ok, err2 := st.Match(m)
			got, err = got && ok, errors.Join(err, err2)
		}
		if got != want || err != nil {
			t.Errorf("%s: %v by its stages, %v as a whole, %v", name, got, want, err)
		}
	}
}

func TestLongTexts(t *testing.T) {
	for _, at := range []int{0, chunk - 3, chunk, 3*chunk - 1} {
		m := &message{text: "\r\n" + strings.Repeat("x", at) + "NeedLe" + strings.Repeat("y", chunk)}
		c := imap.SearchCriteria{Body: []string{"needle", "y"}}
		if got, err := key(&c).Match(m); err != nil || !got {
			t.Errorf("at %d: %v, %v", at, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []imap.SearchCriteria{
		{Body: []string{"x"}},
		{Text: []string{"x"}},
		{Not: []imap.SearchCriteria{{Body: []string{"x"}}}},
		{Header: []imap.SearchCriteriaHeaderField{{Key: "Received"}}},
	} {
		if got, err := key(&c).Match(&message{text: sample, err: broken}); got || !errors.Is(err, broken) {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}
