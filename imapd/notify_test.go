package imapd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

// listener is a client that says NOTIFY and then nothing more.
func listener(t *testing.T, conn net.Conn, groups string) *bufio.Reader {
	t.Helper()
	go io.WriteString(conn, "a NOTIFY SET "+groups+"\r\n")
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "a OK NOTIFY completed\r\n" {
			return r
		}
	}
}

// TestNotifyBehind has more happen than is kept apart while the client does not read:
// it is told then how each mailbox is, and not of every step.
func TestNotifyBehind(t *testing.T) {
	const boxes, rounds = spool.MaxNews + 100, 5
	h := newHouse(t, nil)
	for i := range boxes {
		if _, err := h.store.CreateMailbox("alice", fmt.Sprintf("b%d", i), spool.UseNone); err != nil {
			t.Fatal(err)
		}
	}
	server, conn := net.Pipe()
	h.srv.serveLoggedIn(server, "alice")
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	r := listener(t, conn, "(personal (MessageNew MessageExpunge MailboxName))")
	for range rounds {
		for i := range boxes {
			h.deposit("alice", fmt.Sprintf("b%d", i), "", "x", spool.Flags{}, false)
		}
	}
	if err := h.store.DeleteMailbox("alice", "b0"); err != nil {
		t.Fatal(err)
	}
	status := regexp.MustCompile(`^\* STATUS "(b\d+)" \(MESSAGES (\d+) `)
	known := make(map[string]string)
	complete, deleted, lines := 0, false, 0
	for complete < boxes-1 || !deleted {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%d mailboxes known, deleted %v: %v", complete, deleted, err)
		}
		lines++
		deleted = deleted || line == "* LIST (\\NonExistent) \"/\" \"b0\"\r\n"
		if f := status.FindStringSubmatch(line); f != nil && f[1] != "b0" {
			if known[f[1]] = f[2]; f[2] == fmt.Sprint(rounds) {
				complete++
			}
		}
	}
	// What it was told before it stopped reading, and then each once.
	if most := 2 * boxes; lines > most {
		t.Errorf("%d lines for %d mailboxes", lines, boxes)
	}
}

// TestNotifyGoneAgain has a new message be expunged before the client is told of it: it
// hears the UID all the same, or VANISHED would mean nothing to it.
func TestNotifyGoneAgain(t *testing.T) {
	h := newHouse(t, nil)
	server, conn := net.Pipe()
	h.srv.serveLoggedIn(server, "alice")
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	go io.WriteString(conn, "s SELECT INBOX\r\nn NOTIFY NONE\r\n")
	r := bufio.NewReader(conn)
	until := func(want string) {
		t.Helper()
		for line := ""; line != want+"\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("%v, waiting for %s", err, want)
			}
		}
	}
	until("n OK NOTIFY completed")
	// The first is so large that the server waits in the midst of it.
	h.deposit("alice", "INBOX", "", strings.Repeat("0123456789\r\n", 100_000), spool.Flags{}, true)
	h.deposit("alice", "INBOX", "", "x", spool.Flags{System: spool.Deleted}, true)
	go io.WriteString(conn, "a ENABLE QRESYNC\r\nb NOTIFY SET (selected (MessageNew (BODY.PEEK[]) MessageExpunge))\r\n")
	until("* 2 EXISTS")
	until("* 1 FETCH (UID 1 BODY[] {1200000}")
	box, err := h.store.Mailbox("alice", "INBOX")
	if err == nil {
		_, err = h.store.Expunge(box.ID, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	until("* 2 FETCH (UID 2)")
	until("b OK NOTIFY completed")
	until("* VANISHED 2")
}

// TestNotifyShutdown ends sessions that are waiting for news.
func TestNotifyShutdown(t *testing.T) {
	h := newHouse(t, nil)
	conn := h.dial()
	if _, err := io.WriteString(conn, "l LOGIN alice secret\r\n"); err != nil {
		t.Fatal(err)
	}
	r := listener(t, conn, "(selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))")
	h.deposit("alice", "INBOX", "", "x", spool.Flags{}, false)
	if line, err := r.ReadString('\n'); err != nil || line != "* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1 UNSEEN 1)\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	done := make(chan error, 1)
	go func() { done <- h.srv.Shutdown(t.Context()) }()
	if line, err := r.ReadString('\n'); err != nil || line != "* BYE Server is shutting down\r\n" {
		t.Errorf("%q, %v", line, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := h.store.Watched(); n != 0 {
		t.Errorf("%d accounts and attributes are still watched", n)
	}
}

// TestNotifyEnds has sessions take back what they have asked for, each in its way:
// nothing is watched for them any more.
func TestNotifyEnds(t *testing.T) {
	for _, end := range []string{"NOTIFY NONE", "NOTIFY SET (selected NONE)", "UNAUTHENTICATE", "LOGOUT"} {
		h := newHouse(t, nil)
		server, conn := net.Pipe()
		over := h.srv.serveLoggedIn(server, "alice")
		conn.SetDeadline(time.Now().Add(time.Minute))
		r := listener(t, conn, "(subscribed (MailboxName))")
		if n := h.store.Watched(); n != 3 { // the account, and who may be granted rights
			t.Errorf("%d accounts and attributes are watched", n)
		}
		go io.WriteString(conn, "b "+end+"\r\n")
		for line := ""; !strings.HasPrefix(line, "b OK "); {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("%s: %v", end, err)
			}
		}
		if end == "LOGOUT" {
			<-over
		}
		if n := h.store.Watched(); n != 0 {
			t.Errorf("after %s %d accounts and attributes are still watched", end, n)
		}
		conn.Close()
	}
}

// TestNotifyTooMuch asks for more mailboxes and groups than one NOTIFY may name.
func TestNotifyTooMuch(t *testing.T) {
	h := newHouse(t, nil)
	server, conn := net.Pipe()
	h.srv.serveLoggedIn(server, "alice")
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(conn)
	group := func(i int) string { return fmt.Sprintf(" (mailboxes b%d (MailboxName))", i) }
	many := func(n int, one func(int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(one(i))
		}
		return b.String()
	}
	name := func(i int) string { return fmt.Sprintf("b%d ", i) }
	for _, test := range []struct{ command, want string }{
		{"NOTIFY SET" + many(maxGroups, group), "a OK "},
		{"NOTIFY SET" + many(maxGroups+1, group), "a NO [NOTIFICATIONOVERFLOW] "},
		{"NOTIFY SET (mailboxes (" + many(maxSources, name) + ") (MailboxName))", "a OK "},
		{"NOTIFY SET (mailboxes (" + many(maxSources+1, name) + ") (MailboxName))", "a NO [NOTIFICATIONOVERFLOW] "},
		{"NOTIFY SET (mailboxes (" + many(maxSources, name) + ") (MailboxName))" + group(0), "a NO [NOTIFICATIONOVERFLOW] "},
	} {
		go io.WriteString(conn, "a "+test.command+"\r\n")
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, test.want) {
			t.Errorf("%.40s…: %q, %v", test.command, line, err)
		}
	}
}
