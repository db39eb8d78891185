package main

import (
	"bufio"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// greeted connects to a Unix socket and reads the greeting.
func greeted(t *testing.T, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220 ") {
		t.Fatalf("greeting %q, %v", line, err)
	}
	return c, r
}

// TestLMTPSocketOfTheServiceManager: one that is passed is used and stays when
// the daemon ends.
func TestLMTPSocketOfTheServiceManager(t *testing.T) {
	p := newProcess(t)
	p.listenNotify()
	path := p.dir + "/lmtp"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p.start("lmtp", []*os.File{f})
	f.Close()
	p.told("READY=1")
	c, r := greeted(t, path)
	if _, err := c.Write([]byte("LHLO x\r\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "250-") {
		t.Fatalf("LHLO: %q, %v", line, err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of the service manager is gone: %v", err)
	}
}

// TestLMTPSocketOfOurs: it is made for everybody, serves over a reload, and is
// gone afterwards; a file that is no socket is not touched.
func TestLMTPSocketOfOurs(t *testing.T) {
	p := newProcess(t)
	p.listenNotify()
	path := p.dir + "/lmtp"
	config := "[[listener]]\nrole = \"lmtp\"\naddress = \"unix:" + path + "\"\n"
	file := p.write("config.toml", config)
	p.start("", nil, "--config", file)
	p.told("READY=1")
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSocket == 0 || info.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v", info, err)
	}
	greeted(t, path)
	p.write("config.toml", config+"[smtp]\nmax_hops = 7\n")
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	greeted(t, path)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there")
	}

	precious := newProcess(t)
	path = precious.write("precious", "not a socket")
	file = precious.write("config.toml", "[[listener]]\nrole = \"lmtp\"\naddress = \"unix:"+path+"\"\n")
	precious.start("", nil, "--config", file)
	if code := precious.exit(); code != 1 || !strings.Contains(precious.err.String(), "cannot listen on unix:"+path) {
		t.Errorf("exit code %d: %s", code, &precious.err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "not a socket" {
		t.Errorf("the file has %q, %v", text, err)
	}
}
