package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"restante/internal/e2e/bench"
	"restante/internal/needs"
)

// postfix is a real Postfix that takes mail for mailboxes over TLS.
type postfix struct {
	bench.Postfix
	addr string
	dir  string // with its certificate: tls.crt and tls.key
}

// startPostfix starts one with mailboxes of the domains given, which are also
// said in the form of main.cf.
func startPostfix(t *testing.T, listen, dir, domains, boxes string) *postfix {
	t.Helper()
	needs.Program(t, "postfix")
	owner := needsRoot(t, "nobody")
	p := &postfix{Postfix: bench.Postfix{Listen: listen}, dir: dir}
	if err := os.Mkdir(p.box(""), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p.box(""), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	var err error
	p.addr, _, err = p.Start(context.Background(), dir, fmt.Sprintf(`
virtual_mailbox_domains = %[1]s
virtual_mailbox_base = %[2]s
virtual_mailbox_maps = %[3]s
virtual_minimum_uid = 1
virtual_uid_maps = static:%[4]s
virtual_gid_maps = static:%[5]s
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = %[6]s/tls.crt
smtpd_tls_key_file = %[6]s/tls.key
smtpd_tls_received_header = yes
`, domains, p.box(""), boxes, owner.Uid, owner.Gid, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := bench.Answers(context.Background(), p.addr); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *postfix) box(name string) string { return filepath.Join(p.dir, "boxes", name) }

// TestPostfix forwards through a real Postfix, with TLS required and verified.
func TestPostfix(t *testing.T) {
	t.Parallel()
	dir, _ := peerDir(t)
	p := startPostfix(t, "", dir, "example.net", "inline:{ { you@example.net = you/ } { her@example.net = her/ } }")
	hop := "localhost" + p.addr[strings.LastIndexByte(p.addr, ':'):]
	d := newDaemon(t, verifiedRoute("postfix", "example.net", hop, filepath.Join(dir, "tls.crt"), ""),
		// The certificate is for another authority.
		verifiedRoute("doubtful", "doubt.example.net", hop, "tls.crt", ""), quick(""))
	c := d.smtp()
	if _, err := c.mail([]byte(peerLetter("to postfix")), alice, "you@example.net", "nobody@example.net", "her@example.net"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"you", "her"} {
		text := maildir(t, p.box(who), 1)[0]
		wantPeerLetter(t, text, "to postfix")
		has(t, text, "with ESMTPS", "using TLSv1.3")
	}
	// Who does not exist there is told of, in Postfix's own words.
	report := string(d.inbox(alice, 1)[0].body)
	has(t, report, "Final-Recipient: rfc822; nobody@example.net", "Status: 5.1.1", "User unknown")
	if strings.Contains(report, "Final-Recipient: rfc822; you@example.net") {
		t.Errorf("the report is about who has the message:\n%s", report)
	}
	p.sameStory(t, d)
	if _, err := c.mail([]byte(peerLetter("with doubts")), alice, "you@doubt.example.net"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the certificate is refused", func() bool {
		return strings.Contains(d.must("", "queue", "list", "--json"), "certificate")
	})
}

// sameStory has restante and Postfix tell of the message to Postfix, each in its
// own way.
func (p *postfix) sameStory(t *testing.T, d *daemon) {
	t.Helper()
	list := d.traced("--recipient", "her@example.net")
	if len(list) != 1 {
		t.Fatalf("%d messages are traced", len(list))
	}
	s := list[0]
	if s.Open || s.Events[0].Kind != "accepted" || s.Events[0].Addr != "127.0.0.1" {
		t.Errorf("the story begins or ends wrong: %+v", s)
	}
	delivered, failed := 0, 0
	for _, e := range s.Events {
		switch e.Kind {
		case "delivered":
			delivered += len(e.To)
			if e.Attempt != 1 || e.Host != "localhost" || e.Addr != p.addr || e.TLS != "TLS 1.3" || e.Verified != "PKIX" || e.Status.Code != 250 || e.Seconds <= 0 {
				t.Errorf("the attempt: %+v", e)
			}
			if e.QueueID == "" {
				t.Errorf("delivered without Postfix's queue ID: %+v", e)
				continue
			}
			for _, to := range e.To {
				p.logs(t, ": "+e.QueueID+": to=<"+regexp.QuoteMeta(to)+">.* status=sent")
			}
		case "bounced":
			failed++
			if e.To[0] != "nobody@example.net" || e.Status.Code != 550 {
				t.Errorf("bounced: %+v", e)
			}
		}
	}
	if delivered != 2 || failed != 1 {
		t.Errorf("%d recipients are told to be delivered, %d returned: %s", delivered, failed, s.plot())
	}
	has(t, d.must("", "trace", s.ID), "accepted", "TLS 1.3, verified by PKIX", "User unknown", "delivered", s.Recipients[0].QueueID)
}

// logs waits until Postfix's log has a line.
func (p *postfix) logs(t *testing.T, expr string) {
	t.Helper()
	line := regexp.MustCompile(expr)
	eventually(t, "Postfix logs "+expr, func() bool {
		log, err := os.ReadFile(p.Log)
		if err != nil {
			t.Fatal(err)
		}
		return line.Match(log)
	})
}
