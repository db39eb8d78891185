package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"restante/internal/needs"
	"restante/internal/standin"
)

// pebble is a local ACME authority: Pebble, from the PATH or $RESTANTE_PEBBLE.
type pebble struct {
	t         testing.TB
	directory string // its URL
	manage    string
	cmd       *exec.Cmd
	log       output
	ended     chan struct{}
	argv      []string
}

func pebbleProgram(t testing.TB) string {
	t.Helper()
	switch path := os.Getenv("RESTANTE_PEBBLE"); path {
	case "":
	case "none":
		t.Skip("there is no Pebble here")
	default:
		return path
	}
	path, err := exec.LookPath("pebble")
	if err != nil {
		needs.Lacking(t, "pebble is neither in the PATH nor in $RESTANTE_PEBBLE")
	}
	return path
}

// newPebble prepares an authority whose certificates are good for so long, and
// that asks at the two ports. Its own certificate is that of the daemon's
// folder, which a daemon with acme has no other use for.
func (d *daemon) newPebble(validity time.Duration, httpPort, tlsPort string, names *standin.DNS) *pebble {
	d.t.Helper()
	addr, _ := freeAddr(d.t)
	manage, _ := freeAddr(d.t)
	var ports [2]int
	fmt.Sscan(httpPort+" "+tlsPort, &ports[0], &ports[1])
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "managementListenAddress": manage,
		"certificate": filepath.Join(d.dir, "tls.crt"), "privateKey": filepath.Join(d.dir, "tls.key"),
		"httpPort": ports[0], "tlsPort": ports[1],
		"retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "x", "validityPeriod": int(validity.Seconds())}},
	}})
	if err != nil {
		d.t.Fatal(err)
	}
	p := &pebble{t: d.t, directory: "https://" + addr + "/dir", manage: "https://" + manage}
	p.argv = []string{pebbleProgram(d.t), "-config", d.write("pebble.json", string(config)), "-dnsserver", names.Addr()}
	d.t.Cleanup(func() {
		p.stop()
		if d.t.Failed() {
			d.t.Logf("the authority's log ends with:\n%s", p.log.tail(4<<10))
		}
	})
	return p
}

func (p *pebble) start(client *tls.Config) {
	p.t.Helper()
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	p.cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func() { defer close(p.ended); _ = p.cmd.Wait() }() // it is killed
	eventually(p.t, "the authority answers", func() bool {
		_, err := get(p.directory, client)
		return err == nil
	})
}

func (p *pebble) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		p.cmd = nil
	}
}

// roots are those of the certificates that it issues.
func (p *pebble) roots(client *tls.Config) *x509.CertPool {
	p.t.Helper()
	text, err := get(p.manage+"/roots/0", client)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		p.t.Fatalf("the authority's root: %v", err)
	}
	return pool
}

func get(url string, client *tls.Config) ([]byte, error) {
	c := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: client, DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// withACME is the base configuration with certificates from an authority.
func withACME(more string) string {
	before, rest, _ := strings.Cut(base, "[tls]\n")
	_, after, _ := strings.Cut(rest, "\n\n")
	return before + "[tls]\nacme = true\nacme_ca = \"tls.crt\"\n" + more + "\n" + after
}

// shown is the certificate that a client is shown that asks for a name; it is
// an error if roots do not vouch for it.
func (d *daemon) shown(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	dialer := &net.Dialer{Timeout: patience}
	c, err := tls.DialWithDialer(dialer, "tcp", d.addr("imaps"), &tls.Config{ServerName: name, RootCAs: roots, InsecureSkipVerify: roots == nil})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

func acmeNames(t testing.TB) *standin.DNS {
	t.Helper()
	names, err := standin.NewDNS("mx.example.org. A 127.0.0.1", "imap.example.org. A 127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	return names
}

// TestACME begins without its authority, gets its certificates when it comes,
// by either kind of challenge, and keeps them when it is gone.
func TestACME(t *testing.T) {
	pebbleProgram(t)
	t.Parallel()
	d := prepare(t)
	web, webPort := freeAddr(t)
	alpn, alpnPort := freeAddr(t)
	p := d.newPebble(90*24*time.Hour, webPort, alpnPort, acmeNames(t))
	configure := func(more string) {
		d.write("config.toml", withACME(fmt.Sprintf("acme_directory = %q\nacme_email = \"admin@example.org\"\n%s\n", p.directory, more)))
	}
	configure(fmt.Sprintf("acme_http_address = %q\n", web))
	d.start()
	logged := func(words string) {
		t.Helper()
		eventually(t, words, func() bool { return strings.Contains(d.log.String(), words) })
	}
	logged(`msg="cannot get a certificate, serving another meanwhile" domain=mx.example.org error="account at ` + p.directory)
	first, err := d.shown("mx.example.org", nil)
	if err != nil || first.Subject.CommonName != "mx.example.org" || !strings.Contains(first.Issuer.String(), "self-signed") {
		t.Fatalf("before there is one: %v %v", first, err)
	}

	// One of its names leads nowhere; that is no harm to the other.
	p.start(d.cert.client)
	busy := d.smtp()
	configure(fmt.Sprintf("acme_http_address = %q\nacme_domains = [\"gone.example.org\", \"mx.example.org\"]\n", web))
	d.signal(syscall.SIGHUP)
	roots := p.roots(d.cert.client)
	eventually(t, "the certificate is there", func() bool { _, err := d.shown("mx.example.org", roots); return err == nil })
	logged("domain=gone.example.org error=\"challenge http-01: ")
	if err := busy.expect(250, "NOOP"); err != nil {
		t.Errorf("a connection did not outlive the new certificate: %v", err)
	}
	issued, err := d.shown("", nil)
	if err != nil {
		t.Fatal(err)
	}

	// By TLS-ALPN-01, for one more name. The one there is is not got again.
	configure(fmt.Sprintf("acme_http_address = \"\"\nacme_tls_address = %q\nacme_domains = [\"mx.example.org\", \"imap.example.org\"]\n", alpn))
	d.signal(syscall.SIGHUP)
	eventually(t, "the second certificate is there", func() bool { _, err := d.shown("imap.example.org", roots); return err == nil })
	same := func(what string) {
		t.Helper()
		now, err := d.shown("mx.example.org", roots)
		if err != nil || !now.Equal(issued) {
			t.Errorf("%s: another certificate is shown, or none: %v", what, err)
		}
	}
	same("after a reload")

	// Without the authority, and after a restart.
	p.stop()
	d.restart()
	same("after a restart")
	if _, err := d.shown("imap.example.org", roots); err != nil {
		t.Error(err)
	}
	secrets := 0
	err = filepath.WalkDir(filepath.Join(d.state, "acme"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		secrets++
		info, err := e.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			err = fmt.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil || secrets != 3 {
		t.Errorf("%d files, %v", secrets, err)
	}
}

// TestACMERenewal has certificates of some seconds renewed while it runs. A third
// of that has to be enough for a renewal on a busy machine.
func TestACMERenewal(t *testing.T) {
	pebbleProgram(t)
	t.Parallel()
	d := prepare(t)
	web, webPort := freeAddr(t)
	p := d.newPebble(24*time.Second, webPort, "1", acmeNames(t))
	p.start(d.cert.client)
	d.write("config.toml", withACME(fmt.Sprintf("acme_directory = %q\nacme_http_address = %q\n", p.directory, web)))
	d.start()
	roots := p.roots(d.cert.client)
	busy := d.smtp()
	var last *x509.Certificate
	for range 3 {
		eventually(t, "a new certificate is shown", func() bool {
			now, err := d.shown("mx.example.org", roots)
			var gone x509.CertificateInvalidError
			if errors.As(err, &gone) && gone.Reason == x509.Expired {
				t.Fatal("a certificate that has run out is shown")
			}
			if err != nil || last != nil && now.Equal(last) {
				return false
			}
			last = now
			return true
		})
	}
	if err := busy.expect(250, "NOOP"); err != nil {
		t.Errorf("a connection did not outlive the renewals: %v", err)
	}
	d.stop()
}

// TestACMESocket answers at a socket that the service manager opened.
func TestACMESocket(t *testing.T) {
	pebbleProgram(t)
	t.Parallel()
	d := prepare(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := d.newPebble(90*24*time.Hour, port, "1", acmeNames(t))
	p.start(d.cert.client)
	d.write("config.toml", withACME(fmt.Sprintf("acme_directory = %q\nacme_http_address = \"192.0.2.1:80\"\n", p.directory)))

	// LISTEN_PID is the process's own, which only it can know.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$; export LISTEN_PID; exec "$@"`, "sh", binary(t), "serve", "--state", d.state, "--config", d.config)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=acme-http")
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // ProcessState has it
	d.cmd, d.ended = cmd, ended
	d.ready()
	roots := p.roots(d.cert.client)
	eventually(t, "the certificate is there", func() bool { _, err := d.shown("mx.example.org", roots); return err == nil })
	d.stop()
}
