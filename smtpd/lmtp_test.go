package smtpd

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

// moving is a directory from which some move away in the middle of a session.
type moving struct {
	fakeDirectory
	gone *atomic.Value // of a set of names
}

func (d moving) Resolve(to mail.Address, trace func(accept.Step)) (accept.Targets, error) {
	if strings.Contains(d.gone.Load().(string), " "+to.Local+" ") {
		return accept.Targets{}, mail.ErrNoSuchUser
	}
	return d.fakeDirectory.Resolve(to, trace)
}

// TestLMTPRecipientHasLeft: a recipient that is gone when the message comes has
// its own reply, and costs the others nothing.
func TestLMTPRecipientHasLeft(t *testing.T) {
	gone := new(atomic.Value)
	gone.Store("")
	h := open(t, func(o *Options) {
		o.Role = LMTP
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	h.srv.policy.accept = accept.New(accept.Options{
		Intake: h.spool, Directory: moving{gone: gone},
		Route: func(w accept.Way) spool.Destination { return spool.Destination{Route: "mx", Domain: w.To.Domain} },
	})
	h.srv.opt.Accept = h.srv.policy.accept
	c := h.dial()
	r := bufio.NewReader(c)
	begin := "MAIL FROM:<carol@remote.example>\r\nRCPT TO:<alice@local.example>\r\nRCPT TO:<bob@local.example>\r\n"
	expectCodes(t, c, r, "", "220")
	expectCodes(t, c, r, "LHLO client.example\r\n", "250")
	for _, step := range []struct {
		gone, send string
		codes      []string
	}{
		{" alice ", "DATA\r\n", []string{"354"}},
		{" alice ", "Subject: x\r\n\r\nhello\r\n.\r\n", []string{"550", "250"}},
		{" alice bob ", "DATA\r\n", []string{"550"}},
		{" bob ", "BDAT 14 LAST\r\nSubject: x\r\n\r\n", []string{"250", "550"}},
		{" alice bob ", "BDAT 14 LAST\r\nSubject: x\r\n\r\n", []string{"550", "550"}},
		{" alice bob ", "BDAT 14\r\nSubject: x\r\n\r\n", []string{"550"}},
	} {
		if !strings.HasPrefix(step.send, "Subject") {
			gone.Store("")
			expectCodes(t, c, r, begin, "250", "250", "250")
			gone.Store(step.gone)
		}
		expectCodes(t, c, r, step.send, step.codes...)
		if !strings.HasPrefix(step.send, "DATA") {
			expectCodes(t, c, r, "RSET\r\n", "250")
		} else if step.codes[0] != "354" {
			expectCodes(t, c, r, "NOOP\r\nRSET\r\n", "250", "250")
		}
	}
	if a, b := len(h.inbox("alice")), len(h.inbox("bob")); a != 1 || b != 1 {
		t.Errorf("alice has %d, bob %d", a, b)
	}
}

// expectCodes sends something and reads replies with these codes.
func expectCodes(t *testing.T, c net.Conn, r *bufio.Reader, send string, codes ...string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprint(c, send); err != nil {
		t.Fatal(err)
	}
	for i, code := range codes {
		line := ""
		for more := true; more; more = len(line) > 3 && line[3] == '-' {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("reply %d to %q: %v", i+1, send, err)
			}
		}
		if !strings.HasPrefix(line, code+" ") {
			t.Fatalf("reply %d to %q is %q, want %s", i+1, send, line, code)
		}
	}
}
