package e2e

import (
	"crypto/tls"
	"math/big"
	"strings"
	"syscall"
	"testing"
)

// serial is that of the certificate a new connection is shown.
func (d *daemon) serial() *big.Int {
	d.t.Helper()
	// Which certificate it is, is the question here, not whether it is good.
	conn, err := tls.Dial("tcp", d.addr("imaps"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

func TestReload(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	if d.serial().Cmp(d.cert.serial) != 0 {
		t.Fatal("the daemon does not show the configured certificate")
	}
	busy := d.smtp()
	known := func(address string) bool {
		c := d.smtp()
		defer c.close()
		if err := c.expect(250, "MAIL FROM:<>"); err != nil {
			t.Fatal(err)
		}
		r, err := c.cmd("RCPT TO:<%s>", address)
		if err != nil {
			t.Fatal(err)
		}
		return r.code == 250
	}
	if known("sales@example.org") {
		t.Fatal("an alias is known before it is there")
	}

	renewed := newCertificate(t)
	renewed.write(t, d.dir)
	d.configure("[aliases]\n\"sales@example.org\" = [\"bob@example.org\"]")
	d.signal(syscall.SIGHUP)
	eventually(t, "the new certificate is shown", func() bool { return d.serial().Cmp(renewed.serial) == 0 })
	eventually(t, "the new alias is known", func() bool { return known("sales@example.org") })
	d.cert = renewed
	if err := busy.expect(250, "NOOP"); err != nil {
		t.Errorf("a connection did not outlive the reload: %v", err)
	}
	d.send(letter("reload"), alice, "sales@example.org")
	d.inbox(bob, 1)

	// What is wrong changes nothing.
	d.configure("[aliases]\n\"sales@example.org\" = [\"alice@example.org\"]\n[smtp]\nno_such_key = 1")
	d.signal(syscall.SIGHUP)
	eventually(t, "the log tells of the bad configuration", func() bool {
		return strings.Contains(d.log.String(), "no_such_key")
	})
	d.send(letter("still there"), alice, "sales@example.org")
	d.inbox(bob, 2)
	d.stop()
}
