package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestLongBinary appends messages that are too long to be changed: without octets of
// value 0 they are stored as they are, with one they are refused.
func TestLongBinary(t *testing.T) {
	h := newHouse(t, nil)
	conn := h.dial()
	r := bufio.NewReader(conn)
	tagged := func(tag string) string {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if rest, is := strings.CutPrefix(line, tag+" "); is {
				return rest
			}
		}
	}
	fmt.Fprint(conn, "a LOGIN alice secret\r\n")
	tagged("a")
	long := append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("x"), maxBinary)...)
	for _, nul := range []bool{false, true} {
		if nul {
			long[len(long)-1] = 0
		}
		fmt.Fprintf(conn, "b APPEND INBOX ~{%d+}\r\n%s\r\nc NOOP\r\n", len(long), long)
		reply := tagged("b")
		if refused := strings.HasPrefix(reply, "NO [UNKNOWN-CTE]"); refused != nul || !nul && !strings.HasPrefix(reply, "OK") {
			t.Errorf("with an octet of value 0 %v: %s", nul, reply)
		}
		if reply := tagged("c"); !strings.HasPrefix(reply, "OK") {
			t.Errorf("the next command: %s", reply)
		}
	}
	row, err := h.store.Mailbox("alice", "INBOX")
	if err != nil || row.Messages != 1 || row.Size != int64(len(long)) {
		t.Errorf("%+v, %v", row, err)
	}
}
