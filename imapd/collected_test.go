package imapd

import (
	"testing"

	"github.com/emersion/go-imap/v2"

	"restante/internal/mail"
	"restante/spool"
)

// Who reads of a message more than its header has collected it.
func TestCollected(t *testing.T) {
	type told struct {
		id mail.ID
		e  spool.Event
	}
	list := make(chan told, 10)
	h := newHouse(t, func(o *Options) { o.Story = func(id mail.ID, e spool.Event) { list <- told{id, e} } })
	h.deposit("alice", "INBOX", "", "Subject: x\r\n\r\ntext\r\n", spool.Flags{}, true)
	c := h.client(nil)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		what string
		item imap.FetchItemBodySection
		want bool
	}{
		{"header", imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader}, false},
		{"header of a part", imap.FetchItemBodySection{Part: []int{1}, Specifier: imap.PartSpecifierMIME}, false},
		{"all", imap.FetchItemBodySection{}, true},
		{"all, without a mark", imap.FetchItemBodySection{Peek: true}, true},
		{"text", imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierText}, true},
		{"part", imap.FetchItemBodySection{Peek: true, Part: []int{1}}, true},
	} {
		if _, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{&f.item}}).Collect(); err != nil {
			t.Fatal(err)
		}
		if got := len(list) == 1; got != f.want || len(list) > 1 {
			t.Errorf("%s: told %d times", f.what, len(list))
		}
		for len(list) > 0 {
			got := <-list
			if got.id.IsZero() || got.e.Kind != spool.EventCollected || got.e.By != "alice" || got.e.Text != "alice/INBOX" || got.e.Addr != "127.0.0.1" {
				t.Errorf("%s: told %+v", f.what, got)
			}
		}
	}
}
