package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/standin"
)

// loopback is an address of this machine that nobody uses but this test: mail
// exchangers have no other port than 25, and policies none but 443.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
}

// certify writes the certificate of a server and its key, as those of peerDir, and
// its authority's beside them.
func certify(t *testing.T, dir string, authority *standin.Authority, names ...string) *standin.Certificate {
	t.Helper()
	c, err := authority.Issue(standin.Spec{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.Certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: c.Certificate.Certificate[0]},
		"tls.key": {Type: "PRIVATE KEY", Bytes: key},
		"ca.crt":  {Type: "CERTIFICATE", Bytes: authority.Certificate.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// publish starts a name server, and a web server for policies, of domains whose
// mail exchangers all are at one address, with a key.
func publish(t *testing.T, authority *standin.Authority, mx string, key []byte) *standin.DNS {
	t.Helper()
	web := loopback()
	policies, err := authority.Issue(standin.Spec{Names: []string{"mta-sts.sts.test", "mta-sts.strange.test"}})
	if err != nil {
		t.Fatal(err)
	}
	site, err := standin.NewWebAt(web+":443", policies)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.Close)
	for _, domain := range []string{"sts.test", "strange.test"} {
		site.Policy(domain, "version: STSv1", "mode: enforce", "mx: mail.sts.test", "max_age: 86400")
	}
	ours := fmt.Sprintf("%X", sha256.Sum256(key))
	another := strings.Repeat("5A", sha256.Size)
	names, err := standin.NewDNS(
		"good.test. MX 10 mail.good.test.", "mail.good.test. A "+mx, "_25._tcp.mail.good.test. TLSA 3 1 1 "+ours,
		"forged.test. MX 10 mail.forged.test.", "mail.forged.test. A "+mx, "_25._tcp.mail.forged.test. TLSA 3 1 1 "+another,
		"unsigned.test. MX 10 mail.unsigned.test.", "mail.unsigned.test. A "+mx, "_25._tcp.mail.unsigned.test. TLSA 3 1 1 "+another,
		"sts.test. MX 10 mail.sts.test.", "mail.sts.test. A "+mx, "mta-sts.sts.test. A "+web, `_mta-sts.sts.test. TXT "v=STSv1; id=1;"`,
		"strange.test. MX 10 mail.other.test.", "mail.other.test. A "+mx, "mta-sts.strange.test. A "+web, `_mta-sts.strange.test. TXT "v=STSv1; id=1;"`,
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	names.Sign("good.test", true)
	names.Sign("forged.test", true)
	return names
}

// TestPublishedTLS delivers to mail exchangers as the DNS names them, to a real
// Postfix at port 25, with what the recipients' domains publish of its TLS: TLSA
// records (DANE), or a policy of MTA-STS. Neither is believed blindly, nor passed
// over.
func TestPublishedTLS(t *testing.T) {
	t.Parallel()
	authority, err := standin.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := peerDir(t)
	cert := certify(t, dir, authority, "mail.sts.test", "mail.other.test")
	mx := loopback()
	domains := "good.test, forged.test, unsigned.test, sts.test, strange.test"
	p := startPostfix(t, mx+":25", dir, domains, "static:you/")
	names := publish(t, authority, mx, cert.Certificate.Leaf.RawSubjectPublicKeyInfo)
	d := prepare(t, fmt.Sprintf("[dns]\nresolver = %q\n", names.Addr()), slow)
	d.env = []string{"SSL_CERT_FILE=" + filepath.Join(dir, "ca.crt"), "SSL_CERT_DIR=" + filepath.Join(dir, "none")}
	d.start()
	c := d.smtp()
	delivered := 0
	for _, test := range []struct{ domain, kind, verified, status string }{
		{"good.test", "delivered", "DANE", "queued as"},
		{"forged.test", "deferred", "", "DANE"},
		{"unsigned.test", "delivered", "", "queued as"},
		{"sts.test", "delivered", "MTA-STS", "queued as"},
		{"strange.test", "deferred", "", "MTA-STS"},
	} {
		to := "you@" + test.domain
		if _, err := c.mail([]byte(peerLetter("to "+test.domain)), alice, to); err != nil {
			t.Fatal(err)
		}
		var s story
		eventually(t, "an attempt for "+test.domain, func() bool {
			list := d.traced("--recipient", to)
			if len(list) != 1 {
				return false
			}
			s = list[0]
			return len(s.Events) >= 3
		})
		e := s.Events[2]
		if e.Kind != test.kind || e.Verified != test.verified || !strings.Contains(e.Status.Text, test.status) {
			t.Errorf("%s: %+v", test.domain, e)
		}
		if test.kind == "delivered" {
			delivered++
			if e.TLS != "TLS 1.3" || !strings.HasSuffix(e.Addr, ":25") || e.QueueID == "" {
				t.Errorf("%s: %+v", test.domain, e)
			}
		}
	}
	maildir(t, p.box("you"), delivered)
}
