package order

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"restante/internal/structure"
	"restante/spool"
)

var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// message parses a header, whose message arrived so many minutes after epoch.
func message(uid spool.UID, minutes int, header string) (*spool.Entry, *structure.Message) {
	p := structure.NewParser()
	io.WriteString(p, strings.ReplaceAll(header, "\n", "\r\n")+"\r\n\r\n")
	return &spool.Entry{UID: uid, Size: int64(1000 - uid), InternalDate: epoch.Add(time.Duration(minutes) * time.Minute)}, p.Finish()
}

func TestSort(t *testing.T) {
	headers := []string{
		"Subject: Re: banana\nFrom: Zoe <a@x>\nTo: b@x\nDate: Wed, 1 Jan 2020 12:00:00 +0000",
		"Subject: apple\nFrom: =?utf-8?q?=C3=A4ndy?= <Z@x>\nTo: Friends: c@x;\nCc: q@x\nDate: Wed, 1 Jan 2020 10:00:00 -0500",
		"Subject: [list] BANANA\nFrom: b@x\nDate: Wed, 1 Jan 2020 11:30:00 +0000",
		"Subject: =?iso-8859-1?q?=C4pfel?=\nFrom: andy <c@x>\nTo: aa@x\nCc: p@x",
	}
	for _, c := range []struct {
		keys []Key
		want string
	}{
		{[]Key{{By: Arrival}}, "4 3 2 1"},
		{[]Key{{By: Arrival, Reverse: true}}, "1 2 3 4"},
		{[]Key{{By: Size}}, "4 3 2 1"},
		{[]Key{{By: Date}}, "4 3 1 2"},
		{[]Key{{By: Subject}}, "2 4 1 3"},
		{[]Key{{By: Subject, Reverse: true}}, "1 3 4 2"},
		{[]Key{{By: Subject}, {By: Date}}, "2 4 3 1"},
		{[]Key{{By: Subject}, {By: Date, Reverse: true}}, "2 4 1 3"},
		{[]Key{{By: From}}, "1 3 4 2"},
		{[]Key{{By: To}}, "3 4 1 2"},
		{[]Key{{By: Cc}}, "1 3 4 2"},
		{[]Key{{By: DisplayFrom}}, "4 2 3 1"},
		{[]Key{{By: DisplayTo}}, "3 4 1 2"},
		{[]Key{{By: Relevancy}}, "4 3 2 1"},
	} {
		s := Sorter{c.keys}
		var rows []Row
		for i, h := range headers {
			e, m := message(spool.UID(i+1), 10-i, h)
			rows = append(rows, s.NewRow(e, m, uint8(i+1)))
		}
		s.Sort(rows)
		var got []string
		for _, r := range rows {
			got = append(got, fmt.Sprint(r.UID))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: %v, want %s", c.keys, got, c.want)
		}
	}
}

// TestSortDamaged: a message that cannot be read has its place.
func TestSortDamaged(t *testing.T) {
	for by := Arrival; by <= Relevancy; by++ {
		s := Sorter{[]Key{{By: by}}}
		e, m := message(1, 0, "Subject: a\nFrom: a@x\nTo: a@x\nCc: a@x")
		rows := []Row{s.NewRow(e, m, 100), s.NewRow(&spool.Entry{UID: 2, InternalDate: epoch.Add(-time.Hour), Size: 1}, nil, 100)}
		s.Sort(rows)
		if first := rows[0].UID; by != Relevancy && first != 2 {
			t.Errorf("criterion %d: message %d is first", by, first)
		}
	}
}

func TestLongTextsAreCut(t *testing.T) {
	s := Sorter{[]Key{{By: Subject}}}
	e, m := message(1, 0, "Subject: "+strings.Repeat("日", 10_000))
	if n := len(s.NewRow(e, m, 0).values[0].s); n > maxText || n < maxText-8 {
		t.Errorf("%d octets are kept", n)
	}
}
