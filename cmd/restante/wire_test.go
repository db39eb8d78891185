package main

import (
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"restante/internal/config"
	"restante/smtpd"
)

func TestWireLimits(t *testing.T) {
	c := config.Default().SMTP
	c.AccountMessageRate = config.Rate{Count: 7, Per: config.Hour}
	var l smtpd.Limits
	wireLimits(&l, c)
	want := smtpd.Limits{
		MaxRefused: 100, AuthDelay: time.Second, ErrorDelay: time.Second, NetworkIPv4: 32, NetworkIPv6: 64,
		StrangerRates: smtpd.Rates{
			Messages:   smtpd.Rate{Count: 300, Per: time.Minute},
			Recipients: smtpd.Rate{Count: 3000, Per: time.Minute},
		},
		AccountRates:    smtpd.Rates{Messages: smtpd.Rate{Count: 7, Per: time.Hour}},
		EnvelopeTimeout: 30 * time.Minute, TransferTimeout: 24 * time.Hour, WriteTimeout: time.Minute, MinRate: 100,
	}
	if l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
	c.MinDataRate = 0
	if wireLimits(&l, c); l.MinRate >= 0 {
		t.Errorf("no least rate became %d", l.MinRate)
	}
}

// What clients do is counted for all SMTP listeners together, and a reload does
// not forget it.
func TestLimitsOfAllListeners(t *testing.T) {
	p := newProcess(t)
	p.listenNotify()
	one, a := listenTCP(t)
	two, b := listenTCP(t)
	limits := "[smtp]\nmax_connections = 2\ntrusted_message_rate = \"1/1h\"\n"
	path := p.write("config.toml", limits)
	p.start("smtp:submission", []*os.File{a, b}, "--config", path)
	p.told("READY=1")

	greeting := func(addr string) (*textproto.Conn, string) {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute))
		tp := textproto.NewConn(c)
		line, _ := tp.ReadLine()
		return tp, line
	}
	ask := func(tp *textproto.Conn, line, want string) {
		t.Helper()
		tp.PrintfLine("%s", line)
		if got, err := tp.ReadLine(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, %v, want %s", line, got, err, want)
		}
	}
	first, _ := greeting(one)
	ask(first, "HELO x", "250")
	ask(first, "MAIL FROM:<>", "250")
	second, line := greeting(two)
	if !strings.HasPrefix(line, "220") {
		t.Fatal(line)
	}
	for _, addr := range []string{one, two} {
		if _, line := greeting(addr); !strings.HasPrefix(line, "421 4.3.2") {
			t.Errorf("a third connection, to %s, got %q", addr, line)
		}
	}
	ask(first, "QUIT", "221")
	ask(second, "QUIT", "221")

	p.write("config.toml", limits+"max_errors = 10\n")
	p.signal(syscall.SIGHUP)
	p.told("RELOADING=1")
	p.told("READY=1")
	again, _ := greeting(one)
	ask(again, "HELO x", "250")
	ask(again, "MAIL FROM:<>", "450 4.7.1")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.err)
	}
}
