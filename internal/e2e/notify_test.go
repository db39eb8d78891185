package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// TestNotify has a session say NOTIFY, and then nothing more while mail arrives and
// another works in the account.
func TestNotify(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	conn, err := tls.Dial("tcp", d.addr("imaps"), d.cert.client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	// hear reads on until a line matches; with next, it is the next one.
	hear := func(what, pattern string, next bool) {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if ok, _ := regexp.MatchString("^"+pattern+"\r\n$", line); ok {
				return
			} else if next {
				t.Fatalf("%s: heard %q, want %s", what, line, pattern)
			}
		}
	}
	say := func(tag, command string) {
		t.Helper()
		fmt.Fprintf(conn, "%s %s\r\n", tag, command)
		hear(command, tag+" OK .*", false)
	}
	say("a", fmt.Sprintf("LOGIN %q %q", bob, password))
	say("b", "SELECT INBOX")
	say("c", "NOTIFY SET (selected (MessageNew (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName SubscriptionChange))")

	d.send(letter("first"), alice, bob)
	hear("new mail", `\* 1 EXISTS`, true)
	hear("the end of what was asked for", `\)`, false)

	worker := d.imap(bob, password, nil)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(worker.Create("Projects", nil).Wait())
	hear("CREATE", `\* LIST \(\\HasNoChildren\) "/" "Projects"`, true)
	must(worker.Subscribe("Projects").Wait())
	hear("SUBSCRIBE", `\* LIST \(\\HasNoChildren \\Subscribed\) "/" "Projects"`, true)
	if _, err := worker.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	// \Recent may be told, and not to whom.
	if _, err := worker.Move(imap.SeqSetNum(1), "Projects").Wait(); err != nil {
		t.Fatal(err)
	}
	hear("MOVE out", `\* 1 EXPUNGE`, false)
	hear("MOVE in", `\* STATUS "Projects" \(MESSAGES 1 UIDNEXT 2 UIDVALIDITY [0-9]+ UNSEEN 1\)`, false)
	must(worker.Rename("Projects", "Done", nil).Wait())
	hear("RENAME", `\* LIST \(\\HasNoChildren\) "/" "Done" \("OLDNAME" \("Projects"\)\)`, false)
	fmt.Fprint(conn, "d LOGOUT\r\n")
	hear("LOGOUT", `\* BYE .*`, false)
}
