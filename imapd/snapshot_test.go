package imapd

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"restante/spool"
)

// intruder is a spool in which something happens while a mailbox is being selected.
type intruder struct {
	spool.Mailboxes
	acts chan func()
}

func (i intruder) TakeRecent(id spool.MailboxID, upto spool.UID) (spool.UID, error) {
	select {
	case act := <-i.acts:
		act()
	default:
	}
	return i.Mailboxes.TakeRecent(id, upto)
}

// TestSelectTellsOneMoment has mail arrive while SELECT is answered: the answer is of
// the moment before, and the next command tells.
func TestSelectTellsOneMoment(t *testing.T) {
	acts := make(chan func(), 1)
	h := newHouse(t, func(o *Options) { o.Mailboxes = intruder{o.Mailboxes, acts} })
	h.deposit("alice", "INBOX", "", "one\r\n", spool.Flags{}, true)
	acts <- func() { h.deposit("alice", "INBOX", "", "two\r\n", spool.Flags{}, true) }
	conn := h.dial()
	r := bufio.NewReader(conn)
	exists := func(tag, command string) (list []string) {
		t.Helper()
		fmt.Fprintf(conn, "%s %s\r\n", tag, command)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, tag+" ") {
				return list
			}
			if n, is := strings.CutSuffix(line, " EXISTS\r\n"); is {
				list = append(list, n)
			}
		}
	}
	exists("a", "LOGIN alice secret")
	if got := exists("b", "SELECT INBOX"); len(got) != 1 || got[0] != "* 1" {
		t.Errorf("SELECT tells %q", got)
	}
	if got := exists("c", "NOOP"); len(got) != 1 || got[0] != "* 2" {
		t.Errorf("NOOP tells %q", got)
	}
}
