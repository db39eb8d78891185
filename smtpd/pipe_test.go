package smtpd

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/logbuffer"
	"restante/spool/spooltest"
)

// pipeListener gives out connections that are pipes in memory, for tests in
// which time is not the world's.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// pipeHouse is a server behind a pipeListener.
type pipeHouse struct {
	t      *testing.T
	srv    *Server
	spool  *spooltest.Memory
	log    *logbuffer.Buffer
	listen *pipeListener
	served chan error
}

func openPipe(t *testing.T, change func(*Options)) *pipeHouse {
	t.Helper()
	h := &pipeHouse{
		t: t, spool: spooltest.NewMemory(spooltest.MemoryOptions{}),
		log: &logbuffer.Buffer{}, listen: newPipeListener(), served: make(chan error, 1),
	}
	opt := testOptions(h.spool)
	opt.Logger = slog.New(slog.NewTextHandler(h.log, nil))
	opt.Limits = Limits{}
	if change != nil {
		change(&opt)
	}
	h.srv = New(opt)
	go func() { h.served <- h.srv.Serve(context.Background(), h.listen) }()
	return h
}

// close shuts the server down and checks that nothing is left.
func (h *pipeHouse) close() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.srv.Shutdown(ctx); err != nil {
		h.t.Errorf("Shutdown: %v", err)
	}
	if n := h.spool.Staging(); n != 0 {
		h.t.Errorf("%d messages left in the making", n)
	}
}

// pipeClient talks to a server. What the server says is read all the time.
type pipeClient struct {
	t       *testing.T
	conn    net.Conn
	replies chan string // closed at the end of the connection
}

// connect returns a client's bare end of a connection.
func (h *pipeHouse) connect() net.Conn {
	client, server := net.Pipe()
	h.listen.conns <- server
	return client
}

func (h *pipeHouse) dial() *pipeClient {
	client := h.connect()
	c := &pipeClient{t: h.t, conn: client, replies: make(chan string, 1000)}
	go func() {
		defer close(c.replies)
		in := bufio.NewReader(client)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			c.replies <- strings.TrimSuffix(line, "\r\n")
		}
	}()
	return c
}

// write sends, and tells whether the server has taken it.
func (c *pipeClient) write(s string) bool {
	_, err := io.WriteString(c.conn, s)
	return err == nil
}

// want takes the next reply; "" is the end of the connection.
func (c *pipeClient) want(pattern string) {
	c.t.Helper()
	if got := <-c.replies; !like(pattern, got) {
		c.t.Fatalf("got %q, want %q", got, pattern)
	}
}

// ask sends a line and takes the reply.
func (c *pipeClient) ask(line, pattern string) {
	c.t.Helper()
	c.write(line + "\r\n")
	c.want(pattern)
}

// transaction goes as far as the recipient.
func (c *pipeClient) transaction() {
	c.t.Helper()
	c.want("220 *")
	c.ask("HELO client.example", "250 *")
	c.ask("MAIL FROM:<carol@remote.example>", "250 *")
	c.ask("RCPT TO:<alice@local.example>", "250 *")
}
