package e2e

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/internal/standin"
)

// sendAs sends a message with parameters of MAIL and of each RCPT, and returns
// the queue ID.
func (c *client) sendAs(t testing.TB, message, mail string, rcpts ...string) string {
	t.Helper()
	if err := c.expect(250, "MAIL FROM:%s", mail); err != nil {
		t.Fatal(err)
	}
	for _, r := range rcpts {
		if err := c.expect(250, "RCPT TO:%s", r); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.data([]byte(message))
	if err != nil || r.code != 250 {
		t.Fatal(r, err)
	}
	_, id, _ := strings.Cut(r.text, "Accepted as ")
	id, _, _ = strings.Cut(id, " ")
	return id
}

// TestDSNAllTheWay: one report for each end of the way that was asked about,
// none for what was not, whoever ends it.
func TestDSNAllTheWay(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{Without: []string{"DSN"}})
	hop.Always(standin.Script{
		{At: standin.Rcpt, To: "refused@example.net", Code: 550, Text: "5.1.1 no such user"},
		{At: standin.Rcpt, To: "never@example.net", Code: 550, Text: "5.1.1 no such user"},
	})
	d := newDaemon(t, away(hop), quick(""))
	d.smtp().sendAs(t, letter("reports"), "<alice@example.org> RET=FULL ENVID=QQ+2B314159",
		"<bob@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@example.org",
		"<passed@example.net> NOTIFY=SUCCESS", "<refused@example.net> NOTIFY=FAILURE",
		"<never@example.net> NOTIFY=NEVER", "<silent@example.net>")
	reports := d.inbox(alice, 3)
	seen := make(map[string]bool)
	for _, m := range reports {
		r := parseReport(t, m.body)
		r.says(t, "Original-Envelope-Id: QQ+314159", "Reporting-MTA: dns; mx.example.org")
		switch {
		case strings.Contains(r.status, "Action: delivered"):
			r.says(t, "Original-Recipient: rfc822; Bob+x@example.org", "Final-Recipient: rfc822; bob@example.org", "Status: 2.1.5")
		case strings.Contains(r.status, "Action: relayed"):
			r.says(t, "Final-Recipient: rfc822; passed@example.net")
		case strings.Contains(r.status, "Action: failed"):
			r.says(t, "Final-Recipient: rfc822; refused@example.net", "Status: 5.1.1")
			if !strings.Contains(r.returned, "Hello.") {
				t.Errorf("RET=FULL returned %q", r.returned)
			}
		}
		_, action, _ := strings.Cut(r.status, "Action: ")
		action, _, _ = strings.Cut(action, "\r\n")
		seen[action] = true
		for _, quiet := range []string{"never@", "silent@"} {
			if strings.Contains(r.status, quiet) {
				t.Errorf("a report of %s", quiet)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("reports of %v", seen)
	}
	d.emptied()
}

// TestWishesReachTheNextHop: what a client asks for arrives where it can be
// done.
func TestWishesReachTheNextHop(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{Extra: []string{"DELIVERBY 60", "MT-PRIORITY MIXER"}})
	d := newDaemon(t, away(hop), quick(""))
	d.smtp().sendAs(t, letter("wishes"), "<alice@example.org> RET=HDRS ENVID=e1 MT-PRIORITY=-4 BY=7200;RT",
		"<carol@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bx@example.net")
	m := reaches(t, hop, 1)[0]
	for _, want := range []string{" RET=HDRS", " ENVID=e1", " MT-PRIORITY=-4", " BY=7"} {
		if !strings.Contains(" "+m.MailParams, want) {
			t.Errorf("no%s in %q", want, m.MailParams)
		}
	}
	if m.RcptParams[0] != "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bx@example.net" {
		t.Errorf("RCPT has %q", m.RcptParams[0])
	}
	// T asks us too; of the delivery the next hop will tell.
	parseReport(t, d.inbox(alice, 1)[0].body).says(t, "Action: relayed")
	// To return it in time is more than this next hop offers.
	d.smtp().sendAs(t, letter("in time"), "<alice@example.org> BY=30;R", "<carol@example.net>")
	parseReport(t, d.inbox(alice, 2)[1].body).says(t, "Action: failed", "Status: 5.4.7")
}

// TestNextHopOfSevenBits: text beyond ASCII reaches a next hop without 8BITMIME
// in an encoding, or comes back where a signature forbids that.
func TestNextHopOfSevenBits(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{Without: []string{"8BITMIME", "SMTPUTF8"}})
	d := newDaemon(t, away(hop), quick(""))
	const mime = "MIME-Version: 1.0\r\nMessage-ID: <%d@x>\r\nContent-Type: %s\r\n\r\n"
	d.smtp().sendAs(t, fmt.Sprintf(mime, 1, "text/plain; charset=utf-8")+"grün\r\n", "<alice@example.org> BODY=8BITMIME", "<carol@example.net>")
	if got := string(reaches(t, hop, 1)[0].Data); !strings.HasSuffix(got, "Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BCn\r\n") {
		t.Errorf("it got %q", got)
	}
	d.smtp().sendAs(t, fmt.Sprintf(mime, 2, "multipart/signed; boundary=b")+"--b\r\n\r\ngrün\r\n--b--\r\n", "<alice@example.org>", "<carol@example.net>")
	parseReport(t, d.inbox(alice, 1)[0].body).says(t, "Action: failed", "Status: 5.6.3")
}

// TestHeldUntil: mail is held for a mailbox and for elsewhere, over a restart.
func TestHeldUntil(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, away(hop), quick(""))
	began := time.Now()
	d.submission(alice).sendAs(t, letter("later"), "<alice@example.org> HOLDFOR=3", "<bob@example.org>", "<carol@example.net>")
	d.restart()
	if n := len(d.fetch(bob)) + len(hop.Messages()); n != 0 && time.Since(began) < 2900*time.Millisecond {
		t.Error("it was not held")
	}
	d.inbox(bob, 1)
	reaches(t, hop, 1)
	if took := time.Since(began); took < 2900*time.Millisecond {
		t.Errorf("released after %v", took)
	}
	d.emptied()
}

// TestLMTP: another server delivers at the Unix socket and over TCP.
func TestLMTP(t *testing.T) {
	t.Parallel()
	d := prepare(t)
	socket := filepath.Join(d.dir, "lmtp")
	d.configure("[[listener]]\nrole = \"lmtp\"\naddress = [\"unix:" + socket + "\", \"127.0.0.1:0\"]\n")
	d.start()
	for i, l := range [][2]string{{"unix", socket}, {"tcp", d.addr("lmtp")}, {"unix", socket}} {
		if l[0] == "tcp" && strings.HasPrefix(l[1], "/") {
			continue // the status names one address of a role
		}
		talk(t, l[0], l[1],
			"", "220", "LHLO other.example", "250", "MAIL FROM:<x@example.net>", "250",
			"RCPT TO:<alice@example.org>", "250", "RCPT TO:<nobody@example.org>", "550", "RCPT TO:<bob@example.org>", "250",
			"RCPT TO:<x@example.net>", "550", "DATA", "354",
			fmt.Sprintf("Subject: %d\r\n\r\nHello.\r\n.", i), "250", "", "250", "QUIT", "221")
	}
	if n := len(d.inbox(alice, 3)); n != len(d.inbox(bob, 3)) {
		t.Errorf("alice has %d", n)
	}
	// A socket that was left behind is replaced.
	d.kill()
	d.start()
	talk(t, "unix", socket, "", "220", "LHLO other.example", "250")
}

// talk sends lines and checks the codes of the replies, in turn; an empty line
// only waits for one.
func talk(t testing.TB, network, address string, dialogue ...string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	for i := 0; i < len(dialogue); i += 2 {
		if dialogue[i] != "" {
			if _, err := fmt.Fprintf(c, "%s\r\n", dialogue[i]); err != nil {
				t.Fatal(err)
			}
		}
		line := ""
		for more := true; more; more = len(line) > 3 && line[3] == '-' {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("after %q: %v", dialogue[i], err)
			}
		}
		if !strings.HasPrefix(line, dialogue[i+1]+" ") {
			t.Fatalf("%q got %q, want %s", dialogue[i], line, dialogue[i+1])
		}
	}
}

// TestProxyAndXclient: behind a proxy, and behind a filter, a client has its
// own rights and its own address in the trace.
func TestProxyAndXclient(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, "[smtp]\nproxy_networks = \"127.0.0.1\"\nxclient_networks = \"192.0.2.0/24\"\ntrusted_networks = \"10.0.0.0/8\"\n", away(hop), quick(""))
	talk(t, "tcp", d.addr("smtp"), "PROXY TCP4 203.0.113.7 192.0.2.1 4711 25", "220", "EHLO stranger.example", "250",
		"MAIL FROM:<x@example.net>", "250", "RCPT TO:<carol@example.net>", "550", "RCPT TO:<bob@example.org>", "250",
		"DATA", "354", "Subject: x\r\n\r\nHello.\r\n.", "250")
	talk(t, "tcp", d.addr("smtp"), "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25", "220", "EHLO filter.example", "250",
		"XCLIENT ADDR=10.1.2.3 HELO=printer", "220", "EHLO printer", "250",
		"MAIL FROM:<x@example.net>", "250", "RCPT TO:<carol@example.net>", "250",
		"DATA", "354", "Subject: x\r\n\r\nHello.\r\n.", "250")
	if got := string(d.inbox(bob, 1)[0].body); !strings.Contains(got, "[203.0.113.7]") {
		t.Errorf("the trace is\n%s", got)
	}
	if got := string(reaches(t, hop, 1)[0].Data); !strings.Contains(got, "[10.1.2.3]") {
		t.Errorf("the trace is\n%s", got)
	}
}
