package imapd

import (
	"bytes"
	"net"
	"os/exec"
	"strings"
	"testing"

	"restante/internal/needs"
)

// TestImaplib has Python's client collect a message.
func TestImaplib(t *testing.T) {
	python := needs.Program(t, "python3")
	h := newHouse(t, nil)
	_, port, _ := net.SplitHostPort(h.addr)
	cmd := exec.Command(python, "-", port)
	cmd.Stdin = strings.NewReader(imaplibScript)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || out.String() != "well\n" {
		t.Errorf("%v: %s", err, out.String())
	}
}

const imaplibScript = `
import imaplib, ssl, sys, time
context = ssl._create_unverified_context()
m = imaplib.IMAP4_SSL("127.0.0.1", int(sys.argv[1]), ssl_context=context)
m.login("alice", "secret")
message = b"From: bob@example.org\r\nSubject: hello\r\n\r\n" + b"text\r\n" * 20000
def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]
ok(m.append("INBOX", "(\\Flagged)", imaplib.Time2Internaldate(time.time()), message))
assert ok(m.select("INBOX")) == [b"1"]
assert ok(m.search(None, "FLAGGED", "SUBJECT", "hello")) == [b"1"]
assert ok(m.fetch("1", "(BODY[])"))[0][1] == message
assert b"Seen" in ok(m.fetch("1", "(FLAGS)"))[0]
ok(m.create('"a folder"'))
ok(m.copy("1", '"a folder"'))
assert ok(m.status('"a folder"', "(MESSAGES)"))[0].endswith(b"(MESSAGES 1)")
ok(m.store("1", "+FLAGS", "\\Deleted"))
assert ok(m.expunge()) == [b"1"]
ok(m.close())
m.logout()
print("well")
`
