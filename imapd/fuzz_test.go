package imapd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// FuzzCommands says anything to a server. It must answer, by the grammar, or close,
// whatever it is, and be there for the next client; and a panic is a fault.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{
		"a NOOP\r\n", "a FETCH 1:* (FLAGS BODY[HEADER.FIELDS (SUBJECT)]<0.10>)\r\n", "a UID SEARCH RETURN (MIN COUNT) OR SEEN NOT (TEXT \"x\" LARGER 3)\r\n",
		"a APPEND INBOX (\\Seen) {3+}\r\nabc\r\n", "a STORE 1 (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Deleted $x)\r\n", "a EXPUNGE\r\n",
		"a ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (1 2 1:5 (1 1)))\r\n", "a LIST (SUBSCRIBED) \"\" (% \"*\") RETURN (STATUS (MESSAGES))\r\n",
		"a COPY 1 Trash\r\nb MOVE 1 Sent\r\n", "a IDLE\r\nDONE\r\n", "a SEARCH {5+}\r\nhello\r\n", "a FROB {9+}\r\nb LOGOUT\r\n\r\n",
		"a RENAME INBOX old\r\nb CREATE x (USE (\\Sent))\r\n", "a STATUS INBOX (HIGHESTMODSEQ MAILBOXID)\r\n", "a ID (\"x\" NIL)\r\n",
		"a SORT (REVERSE DATE SUBJECT) UTF-8 ALL\r\nb UID THREAD REFERENCES UTF-8 TEXT x\r\n", "a UID FETCH 1:* (UID PREVIEW (LAZY)) (PARTIAL -1:-2)\r\n",
		"a UID SORT RETURN (UPDATE PARTIAL 1:2 RELEVANCY) (FROM) UTF-8 FUZZY SUBJECT one\r\nb STORE 1 +FLAGS (\\Deleted)\r\nc EXPUNGE\r\nd CANCELUPDATE \"a\"\r\n",
		"a NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[HEADER]<0.9>) MessageExpunge FlagChange)) (subtree (x \"\") (MailboxName SubscriptionChange))\r\nb CREATE x/y\r\nc UNSELECT\r\n",
		"a APPEND INBOX ([x y.z) {1+}\r\nx\r\nb FETCH 1:* (FLAGS)\r\n",
		"a NOTIFY NONE\r\nb NOTIFY SET (personal (MessageNew MessageExpunge MailboxMetadataChange ServerMetadataChange)) (mailboxes Trash NONE)\r\nc SETMETADATA \"\" (/private/x \"1\")\r\nd COPY 1 Sent\r\n",
		"a SEARCH RETURN (UPDATE (UID)) ALL\r\nb NOTIFY SET (selected-delayed (MessageNew (PREVIEW) MessageExpunge))\r\nc COPY 1 INBOX\r\nd IDLE\r\nDONE\r\n",
		"a ESEARCH IN (selected subtree (x \"\") inboxes) RETURN (COUNT) UID 1:*\r\nb LANGUAGE en\r\n",
		"a CREATE {5+}\r\n\"\\ \xc3\xa4\r\nb LIST \"\" *\r\nc LISTRIGHTS INBOX {3+}\r\nx\r\n\r\nd GETQUOTAROOT {3+}\r\na\"b\r\ne RENAME INBOX {2+}\r\n)(\r\n",
		"a APPEND INBOX CATENATE (URL {4+}\r\n]\r\n\")\r\nb SETMETADATA INBOX (/shared/x {3+}\r\n\x00\r\n)\r\nc GETMETADATA (MAXSIZE 1 DEPTH infinity) INBOX (/shared /private)\r\n",
		"a FETCH 1 (ENVELOPE BODYSTRUCTURE BINARY.SIZE[1] BINARY[1]<1.2> PREVIEW EMAILID THREADID SAVEDATE)\r\nb UID STORE 1 FLAGS ([x a.b)\r\nc FETCH 1 BODY.PEEK[HEADER.FIELDS (\"(\" x)]\r\n",
	} {
		f.Add(s)
	}
	h, errs := newQuietHouse(f)
	h.deposit("alice", "INBOX", "Return-Path: <x@y>\r\n", "Subject: one\r\n\r\ntext\r\n", spoolFlags(), true)
	f.Fuzz(func(t *testing.T, said string) {
		if strings.Contains(strings.ToUpper(said), "COMPRESS") {
			t.Skip("what comes after it is no text")
		}
		conn := &script{in: strings.NewReader("s SELECT INBOX\r\n" + said)}
		select {
		case <-h.srv.serveLoggedIn(conn, "alice"):
		case <-time.After(20 * time.Second):
			t.Fatal("the session does not end")
		}
		heard := responseReader{bufio.NewReader(&conn.out), strings.Contains(strings.ToUpper(said), "ENABLE")}
		for {
			if _, err := heard.next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if log := errs.String(); strings.Contains(log, "panic") {
			t.Fatalf("panic:\n%s", log)
		}
	})
}

// FuzzLiteral has a client put a command into a literal, which may come after
// anything: it must not be run.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{
		"a FROB ", "a APPEND INBOX ", "a APPEND INBOX (\\Seen ", "a SEARCH SUBJECT \"x", "a FETCH 1 BODY[HEADER.FIELDS (", "a LOGIN ",
		"a SELECT INBOX ", "a STORE 1 FLAGS ", "a UID ", "a", "", "a LIST (", "a ID (",
		"a CATENATE ", "a APPEND INBOX CATENATE (TEXT ", "a APPEND INBOX UTF8 (~", "a SETMETADATA \"\" (/private/x ", "a FETCH 1 BODY[",
	} {
		f.Add(s, uint16(0), "", false)
		f.Add(s, uint16(0), "", true)
	}
	f.Add("a SEARCH SUBJECT ", uint16(65509), " SUBJECT ", true)
	h, _ := newQuietHouse(f)
	h.deposit("alice", "INBOX", "Return-Path: <x@y>\r\n", "Subject: one\r\n\r\ntext\r\n", spoolFlags(), true)
	f.Fuzz(func(t *testing.T, head string, fill uint16, tail string, selected bool) {
		head += strings.Repeat("x", int(fill)) + tail
		if strings.Contains(head, "\n") || strings.Contains(strings.ToLower(head), "canary") {
			t.Skip("more than one line, or the name that is looked for")
		}
		server, client := net.Pipe()
		defer client.Close()
		s := h.srv.serveLoggedIn(server, "alice")
		go io.Copy(io.Discard, client)
		client.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if selected {
			io.WriteString(client, "s SELECT INBOX\r\n")
		}
		const inside = "x CREATE canary\r\n"
		fmt.Fprintf(client, "%s{%d+}\r\n%s\r\n", head, len(inside), inside)
		client.Close()
		select {
		case <-s:
		case <-time.After(20 * time.Second):
			t.Fatal("the session does not end")
		}
		if _, err := h.store.Mailbox("alice", "canary"); err == nil {
			t.Fatal("what was in a literal was run")
		}
	})
}
