package e2e

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"restante/internal/needs"
	"restante/internal/standin"
)

// published starts a name server with records, which may have line ends behind
// them, as commands print them.
func published(t testing.TB, records ...string) *standin.DNS {
	t.Helper()
	for i := range records {
		records[i] = strings.TrimSpace(records[i])
	}
	dns, err := standin.NewDNS(records...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	return dns
}

// text joins the strings of a record as dkim keygen prints it.
func text(record string) string {
	_, value, _ := strings.Cut(strings.TrimSpace(record), ` IN TXT "`)
	return strings.ReplaceAll(strings.TrimSuffix(value, `"`), `" "`, "")
}

// verified fails the test unless a message has that many valid signatures of
// example.org, by another implementation than ours.
func verified(t testing.TB, message []byte, records map[string]string, want int) {
	t.Helper()
	got, err := msgauth.VerifyWithOptions(bytes.NewReader(message), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return []string{text(records[name])}, nil },
	})
	if err != nil || len(got) != want {
		t.Errorf("%d signatures, %v; want %d\n%s", len(got), err, want, message)
	}
	for _, v := range got {
		if v.Err != nil || v.Domain != "example.org" {
			t.Errorf("signature of %s: %v", v.Domain, v.Err)
		}
	}
}

// TestDKIMSigning follows mail of every kind of sender to the next hop, and
// reports to the sender.
func TestDKIMSigning(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := prepare(t, away(hop), quick(""), "[smtp]\ntrusted_networks = [\"127.0.0.1\"]")
	rsa := d.must("", "dkim", "keygen", "example.org", "--selector", "r")
	ed := d.must("", "dkim", "keygen", "example.org", "--selector", "e", "--type", "ed25519")
	records := map[string]string{"r._domainkey.example.org": rsa, "e._domainkey.example.org": ed}
	d.start()

	d.send(letter("trusted"), alice, "carol@example.net")
	if _, err := d.submission(alice).mail([]byte(letter("account")), alice, "carol@example.net"); err != nil {
		t.Fatal(err)
	}
	if r := run(t, d.dir, d.env, "From: alice@example.org\nSubject: local\n\n a  b \n\n\n",
		binary(t), "sendmail", "--state", d.state, "--config", d.config, "-f", alice, "carol@example.net"); r.code != 0 {
		t.Fatal(r)
	}
	d.send(strings.ReplaceAll(letter("below"), "alice@example.org", "alice@printer.example.org"), alice, "carol@example.net")
	for _, m := range reaches(t, hop, 4) {
		verified(t, m.Data, records, 2)
	}
	d.send(strings.ReplaceAll(letter("else"), "alice@example.org", "alice@else.example"), alice, "carol@example.net")
	verified(t, reaches(t, hop, 5)[4].Data, records, 0)

	hop.Always(standin.Script{{At: standin.Rcpt, Code: 550, Text: "5.1.1 nobody of that name"}})
	d.send(letter("refused"), alice, "nobody@example.net")
	report := d.inbox(alice, 1)[0].body
	_, report, _ = bytes.Cut(report, []byte("\r\n")) // Return-Path
	verified(t, report, records, 2)

	// The keys are changed while the daemon runs.
	d.must("", "dkim", "keygen", "example.org", "--selector", "new", "--type", "ed25519")
	if got := d.must("", "dkim", "record", "example.org"); strings.Count(got, "IN TXT") != 3 {
		t.Errorf("records: %s", got)
	}
	hop.Always(nil)
	d.signal(syscall.SIGHUP)
	eventually(t, "the daemon has reloaded", func() bool { return strings.Contains(d.log.String(), "msg=reloaded") })
	d.send(letter("rotated"), alice, "carol@example.net")
	if m := reaches(t, hop, 6)[5]; bytes.Count(m.Data, []byte("DKIM-Signature:")) != 3 || !bytes.Contains(m.Data, []byte("s=new;")) {
		t.Errorf("the new key does not sign:\n%s", m.Data)
	}
}

// TestAuthentication sends from outside what passes and what does not.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	dns := published(t,
		`good.example. TXT "v=spf1 ip4:127.0.0.1 -all"`, `_dmarc.good.example. TXT "v=DMARC1; p=reject"`,
		`bad.example. TXT "v=spf1 -all"`, `_dmarc.bad.example. TXT "v=DMARC1; p=reject"`,
		`junk.example. TXT "v=spf1 -all"`, `_dmarc.junk.example. TXT "v=DMARC1; p=quarantine"`,
	)
	d := newDaemon(t, "[smtp]\ntrusted_networks = []", "[dns]\nresolver = \""+dns.Addr()+"\"", "[authentication]\ndmarc = \"reject\"")
	from := func(domain string) []byte {
		claim := "Authentication-Results: mx.example.org; dmarc=pass header.from=bad.example\r\nAuthentication-Results: else.example; none\r\n"
		return []byte(claim + strings.ReplaceAll(letter(domain), "alice@example.org", "alice@"+domain))
	}
	if r, err := d.smtp().mail(from("bad.example"), "alice@bad.example", bob); err == nil || !strings.Contains(err.Error(), "550 5.7.26") {
		t.Errorf("forged mail: %v %v", r, err)
	}
	d.send(string(from("junk.example")), "alice@junk.example", bob)
	d.send(string(from("good.example")), "alice@good.example", bob)
	d.send(string(from("nothing.example")), "alice@nothing.example", bob)

	for i, want := range []string{
		"spf=pass smtp.mailfrom=alice@good.example;\r\n\tdkim=none;\r\n\tdmarc=pass header.from=good.example\r\n",
		"spf=none smtp.mailfrom=alice@nothing.example;\r\n\tdkim=none;\r\n\tdmarc=none header.from=nothing.example\r\n",
	} {
		body := string(d.inbox(bob, 2)[i].body)
		if !strings.Contains(body, "\r\nAuthentication-Results: mx.example.org;\r\n\t"+want) || strings.Count(body, "Authentication-Results: mx.example.org") != 1 ||
			!strings.Contains(body, "\r\nAuthentication-Results: else.example; none\r\n") {
			t.Errorf("want %q, and no other of ours:\n%s", want, body)
		}
	}
	junk := d.folder(bob, "Junk")
	if len(junk) != 1 || !strings.Contains(string(junk[0].body), "dmarc=fail policy.dmarc=quarantine header.from=junk.example\r\n\t(quarantined)\r\n") {
		t.Errorf("Junk: %v", junk)
	}
}

// TestDkimverify has the program of Debian's python3-dkim look at what goes out.
func TestDkimverify(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import dkim, nacl").Run() != nil {
		needs.Lacking(t, "python3-dkim and python3-nacl")
	}
	hop := nextHop(t, standin.Options{})
	d := prepare(t, away(hop))
	record := d.must("", "dkim", "keygen", "example.org", "--selector", "r")
	d.start()
	d.send(letter("for another program"), alice, "carol@example.net")
	m := reaches(t, hop, 1)[0]
	const program = "import sys, dkim; sys.exit(not dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda name, timeout=5: sys.argv[1].encode()))"
	for _, c := range []struct {
		data []byte
		want bool
	}{{m.Data, true}, {append(m.Data, "more\r\n"...), false}} {
		cmd := exec.Command(python, "-c", program, text(record))
		cmd.Stdin = bytes.NewReader(c.data)
		out, err := cmd.CombinedOutput()
		if (err == nil) != c.want {
			t.Errorf("dkimpy: %v %s, want %v", err, out, c.want)
		}
	}
}
