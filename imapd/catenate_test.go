package imapd

import (
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		text     string
		mailbox  string
		validity uint32
		uid      uint32
		part     int
		fields   int
		partial  int64 // the size
		ok       bool
	}{
		{text: "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", mailbox: "Drafts", validity: 385759045, uid: 20, ok: true},
		{text: "/Drafts;UIDVALIDITY=1/;UID=20/;section=2.1", mailbox: "Drafts", validity: 1, uid: 20, part: 2, ok: true},
		{text: "/a%20b/c/;uid=4294967295", mailbox: "a b/c", uid: 4294967295, ok: true},
		{text: "/%E2%82%AC/;UID=1/;PARTIAL=5.7", mailbox: "€", uid: 1, partial: 7, ok: true},
		{text: ";UID=7", uid: 7, ok: true},
		{text: "/;UID=7/;SECTION=HEADER.FIELDS%20(To%20Cc)", uid: 7, fields: 2, ok: true},
		{text: "/x/;UID=7/;SECTION=HEADER.FIELDS"},
		{text: "/x/;UID=7/;SECTION=TEXT%20(To)"},
		{text: "/x/;UID=7/;SECTION="},
		{text: "/x/;UID=7/;SECTION=0"},
		{text: "/x/;UID=0"},
		{text: "/x/;UID=4294967296"},
		{text: "/x/;UID=-1"},
		{text: "/x;UIDVALIDITY=0/;UID=1"},
		{text: "/x%zz/;UID=1"},
		{text: "//host/x/;UID=1"},
		{text: "imap://host/x/;UID=1"},
		{text: "x/;UID=1"},
		{text: "/x/;UID=1/;PARTIAL=-1.2"},
		{text: "/x/;UID=1/;PARTIAL=1.0"},
		{text: "/x"},
		{text: ""},
	} {
		u, ok := parseURL(c.text)
		if ok != c.ok {
			t.Errorf("%q: ok is %v", c.text, ok)
		}
		if !ok || !c.ok {
			continue
		}
		if u.mailbox != c.mailbox || u.validity != c.validity || uint32(u.uid) != c.uid ||
			len(u.section.part) != c.part || len(u.section.fields) != c.fields || u.section.partial && u.section.size != c.partial {
			t.Errorf("%q: %+v", c.text, u)
		}
		if c.fields > 0 && u.section.specifier != imap.PartSpecifierHeader {
			t.Errorf("%q: %+v", c.text, u.section)
		}
	}
}
