package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"restante/spool/spooltest"
)

// idleBudget is what an idle connection without TLS may cost: heap and stacks,
// in octets. The aim is 20 KB; the rest is for other versions of Go.
const idleBudget = 22 << 10

// footprint is the heap and the stacks in use.
func footprint() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools had
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// idleCost opens connections that have sent much already and are idle now, and
// returns what each costs.
func idleCost(t testing.TB, n int, secure bool) int64 {
	t.Helper()
	opt := testOptions(spooltest.NewMemory(spooltest.MemoryOptions{}))
	opt.Limits = Limits{MaxConnections: n + 10, MaxPerAddress: n + 10}
	srv := New(opt)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- srv.Serve(context.Background(), l) }()
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
		<-served
	}()
	script := []string{
		"EHLO client.example\r\n", "MAIL FROM:<carol@remote.example>\r\n", "RCPT TO:<alice@local.example>\r\n",
		"BDAT 35012\r\nSubject: x\r\n" + strings.Repeat("hello\r\n", 5000), "RSET\r\n", "NOOP\r\n",
	}
	sockets := make([]int, 0, n+10)
	defer func() {
		for _, s := range sockets {
			syscall.Close(s)
		}
	}()
	scratch := bufio.NewReader(nil)
	before := int64(0)
	for i := range n + 10 {
		if i == 10 {
			before = footprint() // the first ones pay for what all share
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		plain := c.(*net.TCPConn)
		c.SetDeadline(time.Now().Add(60 * time.Second))
		scratch.Reset(c)
		expect(t, scratch, "220")
		if secure {
			io.WriteString(c, "STARTTLS\r\n")
			expect(t, scratch, "220")
			tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			if err := tc.Handshake(); err != nil {
				t.Fatal(err)
			}
			c = tc
			scratch.Reset(c)
		}
		for _, line := range script {
			io.WriteString(c, line)
			expect(t, scratch, "250")
		}
		// What is measured is the server: of the client only the socket stays.
		f, err := plain.File()
		if err != nil {
			t.Fatal(err)
		}
		s, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, s)
		f.Close()
		plain.Close()
	}
	return (footprint() - before) / int64(n)
}

func expect(t testing.TB, r *bufio.Reader, code string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, code) {
			t.Fatalf("got %q, %v, want %s", line, err, code)
		}
		if line[3] == ' ' {
			return
		}
	}
}

// An idle connection costs little, whatever it has done before.
func TestIdleConnectionMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own ideas of memory")
	}
	cost := idleCost(t, 1000, false)
	t.Logf("%d octets for an idle connection", cost)
	if cost > idleBudget {
		t.Errorf("an idle connection costs %d octets, %d are allowed", cost, idleBudget)
	}
}

// BenchmarkIdleConnection is what an idle connection costs: see the octets, not
// the time.
func BenchmarkIdleConnection(b *testing.B) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		b.Run(name, func(b *testing.B) {
			var cost int64
			for b.Loop() {
				cost = idleCost(b, 1000, secure)
			}
			b.ReportMetric(float64(cost), "octets/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}
