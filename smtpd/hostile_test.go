package smtpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd are clients that take up a server, until its context ends.
type crowd struct {
	addr   string
	noise  []byte
	ctx    context.Context
	all    sync.WaitGroup
	inside sync.WaitGroup // those that are not connected yet
}

// dialFrom connects from an address of this machine, so that networks differ.
func (w *crowd) dialFrom(host string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	c, err := d.DialContext(w.ctx, "tcp", w.addr)
	if err == nil {
		context.AfterFunc(w.ctx, func() { c.Close() })
	}
	return c, err
}

// join runs clients that do something on each connection, over and over.
func (w *crowd) join(n int, network string, do func(c net.Conn)) {
	for i := range n {
		host := fmt.Sprintf("%s.%d", network, 1+i/50)
		w.inside.Add(1)
		w.all.Go(func() {
			arrived := sync.OnceFunc(w.inside.Done)
			defer arrived()
			for w.ctx.Err() == nil {
				c, err := w.dialFrom(host)
				if err == nil {
					arrived()
					do(c)
					c.Close()
				}
				// Nobody who is really elsewhere comes back faster.
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// slow sends one octet of its commands now and then.
func (w *crowd) slow(c net.Conn) {
	go io.Copy(io.Discard, c)
	for _, octet := range []byte("EHLO slow.example\r\nMAIL FROM:<s@slow.example>\r\n" + strings.Repeat("NOOP\r\n", 1000)) {
		if _, err := c.Write([]byte{octet}); err != nil {
			return
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-w.ctx.Done():
			return
		}
	}
}

// random sends random octets.
func (w *crowd) random(c net.Conn) {
	go io.Copy(io.Discard, c)
	for {
		from := rand.IntN(len(w.noise) - 1<<10)
		if _, err := c.Write(w.noise[from : from+1<<10]); err != nil {
			return
		}
	}
}

// endless sends a line without an end.
func (w *crowd) endless(c net.Conn) {
	go io.Copy(io.Discard, c)
	b := []byte(strings.Repeat("x", 4<<10))
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// deaf sends commands and reads no reply.
func (w *crowd) deaf(c net.Conn) {
	b := []byte(strings.Repeat("NOOP\r\n", 100))
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// normal sends messages, each on a connection of its own, and returns how long
// each took from the dialling to the last reply.
func (h *house) normal(t *testing.T, n int) []time.Duration {
	t.Helper()
	var all []time.Duration
	for range n {
		begin := time.Now()
		c, err := net.Dial("tcp", h.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(begin.Add(time.Minute))
		in := bufio.NewReader(c)
		expect(t, in, "220")
		for _, step := range [][2]string{
			{"EHLO client.example\r\n", "250"},
			{"MAIL FROM:<carol@remote.example>\r\nRCPT TO:<alice@local.example>\r\nDATA\r\n", "250"},
			{"", "250"}, {"", "354"},
			{"Subject: x\r\n\r\n" + strings.Repeat("hello\r\n", 500) + ".\r\n", "250"},
		} {
			io.WriteString(c, step[0])
			expect(t, in, step[1])
		}
		all = append(all, time.Since(begin))
		c.Close()
	}
	slices.Sort(all)
	return all
}

func summary(d []time.Duration) string {
	return fmt.Sprintf("median %v, 95 %% within %v, longest %v", d[len(d)/2], d[len(d)*95/100], d[len(d)-1])
}

// TestCrowd is no test: it is the process of the crowd, which has to share
// processors with the server, but not its scheduler. It ends with its input.
func TestCrowd(t *testing.T) {
	addr := os.Getenv("RESTANTE_CROWD")
	if addr == "" {
		t.Skip("only by TestHostileBesideNormal")
	}
	slow, _ := strconv.Atoi(os.Getenv("RESTANTE_CROWD_SLOW"))
	hostile, _ := strconv.Atoi(os.Getenv("RESTANTE_CROWD_HOSTILE"))
	ctx, cancel := context.WithCancel(context.Background())
	w := &crowd{addr: addr, ctx: ctx, noise: make([]byte, 1<<20)}
	for i := range w.noise {
		w.noise[i] = byte(rand.Uint32())
	}
	w.join(slow, "127.0.1", w.slow)
	w.join(hostile/3, "127.0.2", w.random)
	w.join(hostile/3, "127.0.3", w.endless)
	w.join(hostile-hostile/3*2, "127.0.4", w.deaf)
	w.inside.Wait()
	fmt.Println("crowd is there")
	io.Copy(io.Discard, os.Stdin)
	cancel()
	w.all.Wait()
}

// bringCrowd has them come, and returns what sends them away.
func bringCrowd(t *testing.T, addr string, slow, hostile int) (sendAway func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrowd$", "-test.v")
	cmd.Env = append(os.Environ(), "RESTANTE_CROWD="+addr,
		"RESTANTE_CROWD_SLOW="+strconv.Itoa(slow), "RESTANTE_CROWD_HOSTILE="+strconv.Itoa(hostile))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(stdout)
	for line := ""; !strings.Contains(line, "crowd is there"); {
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		stdin.Close()
		io.Copy(io.Discard, in)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the crowd: %v", err)
		}
	}
}

// A normal client gets its messages through beside slow and hostile ones. How
// long that takes is printed, and compared by people: it depends on how many
// processors clients and server have to share. RESTANTE_HEAVY=1 has as many as
// a server must bear.
func TestHostileBesideNormal(t *testing.T) {
	slow, hostile, messages := 100, 18, 20
	if os.Getenv("RESTANTE_HEAVY") != "" {
		slow, hostile, messages = 2000, 200, 300
	}
	h := open(t, func(o *Options) {
		o.Limits = Limits{MaxConnections: 3000}
		o.Logger = nil
	})
	h.normal(t, 5)
	alone := h.normal(t, messages)
	sendAway := bringCrowd(t, h.addr.String(), slow, hostile)
	disturbed := h.normal(t, messages)
	sendAway()
	t.Logf("%d messages alone: %s", messages, summary(alone))
	t.Logf("beside %d slow and %d hostile clients: %s", slow, hostile, summary(disturbed))
	if n := len(h.messages()); n != 2*messages+5 {
		t.Errorf("%d messages were stored, %d were acknowledged", n, 2*messages+5)
	}
}
