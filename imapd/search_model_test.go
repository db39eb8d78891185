package imapd

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

// TestSearchModel asks random questions about messages of which all is known, and
// holds the answers of SEARCH, in each of its forms, and of SORT against what a
// simple look at each message says.
func TestSearchModel(t *testing.T) {
	const messages, questions = 60, 1500
	h := newHouse(t, nil)
	m := &searchModel{rnd: rand.New(rand.NewPCG(7, 0))}
	for i := range messages {
		m.deposit(h, i%7 > 0)
	}
	server, client := net.Pipe()
	defer client.Close()
	client.SetDeadline(time.Now().Add(5 * time.Minute))
	h.srv.serveLoggedIn(server, "alice")
	c := newMessageReader(t, client)
	c.say("select", "SELECT INBOX")
	for i := range questions {
		key, want := m.key(3)
		var found []int
		for seq := 1; seq <= messages; seq++ {
			if want(seq) {
				found = append(found, seq)
			}
		}
		switch i % 4 {
		case 0, 1:
			c.numbers("* SEARCH", found, "SEARCH %s", key)
		case 2:
			c.numbers("* SEARCH", m.uids(found), "UID SEARCH %s", key)
			c.extended(found, key)
		case 3:
			keys, order := m.order()
			slices.SortStableFunc(found, order)
			c.numbers("* SORT", found, "SORT (%s) UTF-8 %s", keys, key)
		}
		if t.Failed() {
			return
		}
	}
}

// numbers compares the numbers of a response.
func (c *messageReader) numbers(name string, want []int, format string, args ...any) {
	c.t.Helper()
	for _, n := range want {
		name += " " + strconv.Itoa(n)
	}
	got := c.say("a", format, args...)
	if len(got) != 1 || "* "+strings.Trim(got[0].line, "[]* ") != name {
		c.t.Errorf("%s\ngot  %v\nwant %s", fmt.Sprintf(format, args...), got, name)
	}
}

// extended compares an ESEARCH response.
func (c *messageReader) extended(want []int, key string) {
	c.t.Helper()
	got := c.say("a", "SEARCH RETURN (MIN MAX COUNT) %s", key)
	line := fmt.Sprintf("[* ESEARCH [TAG a] COUNT %d]", len(want))
	if len(want) > 0 {
		line = fmt.Sprintf("[* ESEARCH [TAG a] MIN %d MAX %d COUNT %d]", want[0], want[len(want)-1], len(want))
	}
	if len(got) != 1 || got[0].line != line {
		c.t.Errorf("%s\ngot  %v\nwant %s", key, got, line)
	}
}

// sample is what is known of a message.
type sample struct {
	uid            spool.UID
	flags          spool.Flags
	internal, sent time.Time
	size           int
	from, subject  string
	tag            string // of the field X-Tag, "" if there is none
	body           string
}

type searchModel struct {
	rnd  *rand.Rand
	list []sample
}

func (m *searchModel) pick(list ...string) string { return list[m.rnd.IntN(len(list))] }

// word is one of those that messages are made of.
func (m *searchModel) word() string {
	return m.pick("alpha", "Bravo", "CHARLIE", "delta", "Äpfel", "öl", "x-ray", "yankee zulu", "größer")
}

func (m *searchModel) words() string {
	var list []string
	for range m.rnd.IntN(5) {
		list = append(list, m.word())
	}
	return strings.Join(list, " ")
}

// deposit makes a message.
func (m *searchModel) deposit(h *house, withStructure bool) {
	k := sample{
		from:    m.pick("ann", "Ben", "carl") + "@" + m.pick("example.org", "example.net"),
		subject: m.words(),
		body:    m.words() + "\r\n" + m.words() + "\r\n",
		sent:    time.Date(2024, time.Month(1+m.rnd.IntN(3)), 1+m.rnd.IntN(28), m.rnd.IntN(24), 0, 0, 0, time.FixedZone("", (m.rnd.IntN(20)-10)*3600)),
	}
	for _, f := range systemFlags() {
		if m.rnd.IntN(2) == 0 {
			k.flags.System |= systemFlag(f)
		}
	}
	if m.rnd.IntN(3) == 0 {
		k.flags.Keywords = []string{"$Work"}
	}
	var b strings.Builder
	field := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	field("From", k.from)
	field("Subject", m.encoded(k.subject))
	field("Date", k.sent.Format(time.RFC1123Z))
	if m.rnd.IntN(2) == 0 {
		k.tag = m.pick("red", "Green", "blue")
		field("X-Tag", k.tag)
	}
	field("MIME-Version", "1.0")
	m.writeBody(&b, k.body)
	k.size = b.Len()
	k.uid = h.deposit("alice", "INBOX", "", b.String(), k.flags, withStructure)
	k.internal = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC) // by the house
	m.list = append(m.list, k)
}

func (m *searchModel) encoded(s string) string {
	switch m.rnd.IntN(3) {
	case 0:
		return mime.QEncoding.Encode("utf-8", s)
	case 1:
		return mime.BEncoding.Encode("utf-8", s)
	}
	return s
}

// writeBody writes the rest of a message, whose text it encodes in some way.
func (m *searchModel) writeBody(b *strings.Builder, text string) {
	const begin = "Content-Type: text/plain; charset=utf-8\r\n"
	var part strings.Builder
	switch m.rnd.IntN(4) {
	case 0:
		part.WriteString(begin + "Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(text)) + "\r\n")
	case 1:
		part.WriteString(begin + "Content-Transfer-Encoding: quoted-printable\r\n\r\n")
		w := quotedprintable.NewWriter(&part)
		w.Write([]byte(text))
		w.Close()
	case 2:
		part.WriteString("Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
		for _, r := range text {
			part.WriteByte(byte(r))
		}
	case 3:
		part.WriteString(begin + "Content-Transfer-Encoding: 8bit\r\n\r\n" + text)
	}
	if m.rnd.IntN(2) == 0 {
		b.WriteString(part.String())
		return
	}
	b.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\nnothing\r\n--b\r\n" + part.String() + "\r\n--b--\r\n")
}

// key makes a key, and what finds it.
func (m *searchModel) key(depth int) (string, func(seq int) bool) {
	if depth == 0 || m.rnd.IntN(3) == 0 {
		text, is := m.simple()
		return text, func(seq int) bool { return is(&m.list[seq-1]) }
	}
	a, inA := m.key(depth - 1)
	b, inB := m.key(depth - 1)
	switch m.rnd.IntN(5) {
	case 0:
		return "NOT " + m.grouped(a), func(seq int) bool { return !inA(seq) }
	case 1:
		return "OR " + m.grouped(a) + " " + m.grouped(b), func(seq int) bool { return inA(seq) || inB(seq) }
	case 2:
		low, high := 1+m.rnd.IntN(len(m.list)), 1+m.rnd.IntN(len(m.list))
		return fmt.Sprintf("%d:%d %s", low, high, a), func(seq int) bool {
			return seq >= min(low, high) && seq <= max(low, high) && inA(seq)
		}
	}
	return "(" + a + ") " + b, func(seq int) bool { return inA(seq) && inB(seq) }
}

// grouped makes one key of several.
func (m *searchModel) grouped(key string) string { return "(" + key + ")" }

// simple makes a key that has none inside.
func (m *searchModel) simple() (string, func(k *sample) bool) {
	switch m.rnd.IntN(9) {
	case 0:
		f := systemFlags()[m.rnd.IntN(5)]
		name := strings.ToUpper(string(f[1:]))
		if m.rnd.IntN(2) == 0 {
			return name, func(k *sample) bool { return k.flags.System&systemFlag(f) != 0 }
		}
		return "UN" + name, func(k *sample) bool { return k.flags.System&systemFlag(f) == 0 }
	case 1:
		return "KEYWORD $wOrK", func(k *sample) bool { return len(k.flags.Keywords) > 0 }
	case 2:
		size := m.list[m.rnd.IntN(len(m.list))].size
		if m.rnd.IntN(2) == 0 {
			return fmt.Sprintf("LARGER %d", size), func(k *sample) bool { return k.size > size }
		}
		return fmt.Sprintf("SMALLER %d", size), func(k *sample) bool { return k.size < size }
	case 3:
		return m.date()
	case 4:
		uid := m.list[m.rnd.IntN(len(m.list))].uid
		return fmt.Sprintf("UID %d:*", uid), func(k *sample) bool { return k.uid >= uid }
	case 5:
		part := m.pick("ann", "BEN", "@example.org", "example", "nobody")
		return "FROM " + part, func(k *sample) bool { return has(k.from, part) }
	case 6:
		tag := m.pick("", "ED", "green", "u")
		return fmt.Sprintf("HEADER x-tag %q", tag), func(k *sample) bool { return k.tag != "" && has(k.tag, tag) }
	case 7:
		word := m.searched()
		return fmt.Sprintf(`SUBJECT "%s"`, word), func(k *sample) bool { return has(k.subject, word) }
	}
	word := m.searched()
	if m.rnd.IntN(2) == 0 {
		return fmt.Sprintf(`BODY "%s"`, word), func(k *sample) bool { return has(k.body, word) }
	}
	return fmt.Sprintf(`TEXT "%s"`, word), func(k *sample) bool { return has(k.body, word) || has(k.subject, word) }
}

// searched is a word, or a piece of it, in another case.
func (m *searchModel) searched() string {
	word := []rune(m.word())
	if len(word) > 4 && m.rnd.IntN(2) == 0 {
		word = word[len(word)/2:]
	}
	if m.rnd.IntN(2) == 0 {
		return strings.ToUpper(string(word))
	}
	return strings.ToLower(string(word))
}

// has knows no case, but does not take "ß" for "ss".
func has(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// date makes a key of dates: that of the zone in which the message was sent.
func (m *searchModel) date() (string, func(k *sample) bool) {
	day := time.Date(2024, time.Month(1+m.rnd.IntN(3)), 1+m.rnd.IntN(28), 0, 0, 0, 0, time.UTC)
	of := func(k *sample) time.Time {
		return time.Date(k.sent.Year(), k.sent.Month(), k.sent.Day(), 0, 0, 0, 0, time.UTC)
	}
	text := day.Format("2-Jan-2006")
	switch m.rnd.IntN(5) {
	case 0:
		return "SENTBEFORE " + text, func(k *sample) bool { return of(k).Before(day) }
	case 1:
		return "SENTON " + text, func(k *sample) bool { return of(k).Equal(day) }
	case 2:
		return "SENTSINCE " + text, func(k *sample) bool { return !of(k).Before(day) }
	case 3:
		return "SINCE " + text, func(k *sample) bool { return !k.internal.Before(day) }
	}
	return "BEFORE " + text, func(k *sample) bool { return k.internal.Before(day) }
}

// uids are those of messages.
func (m *searchModel) uids(seqs []int) []int {
	list := make([]int, len(seqs))
	for i, seq := range seqs {
		list[i] = int(m.list[seq-1].uid)
	}
	return list
}

// order makes keys of SORT and what compares messages by them.
func (m *searchModel) order() (keys string, compare func(a, b int) int) {
	compare = func(a, b int) int { return cmp.Compare(a, b) }
	for range 1 + m.rnd.IntN(3) {
		key := m.pick("DATE", "SIZE", "FROM", "ARRIVAL")
		by := m.by(key)
		if m.rnd.IntN(2) == 0 {
			forward := by
			by = func(a, b *sample) int { return forward(b, a) }
			key = "REVERSE " + key
		}
		next := compare
		compare = func(a, b int) int {
			if c := by(&m.list[a-1], &m.list[b-1]); c != 0 {
				return c
			}
			return next(a, b)
		}
		keys = strings.TrimSpace(key + " " + keys)
	}
	return keys, compare
}

func (m *searchModel) by(key string) func(a, b *sample) int {
	switch key {
	case "DATE":
		return func(a, b *sample) int { return a.sent.Compare(b.sent) }
	case "SIZE":
		return func(a, b *sample) int { return cmp.Compare(a.size, b.size) }
	case "FROM":
		mailbox := func(k *sample) string { name, _, _ := strings.Cut(strings.ToLower(k.from), "@"); return name }
		return func(a, b *sample) int { return cmp.Compare(mailbox(a), mailbox(b)) }
	}
	return func(a, b *sample) int { return a.internal.Compare(b.internal) }
}
