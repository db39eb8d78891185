package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"restante/internal/e2e/bench"
)

const (
	account  = "alice@example.org"
	password = "correct-horse-battery"
	patience = 5 * time.Minute
)

// client is one connection. It reads replies without looking into them.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func dial(addr string) (*client, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.r.ReadSlice('\n'); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// login logs in and selects INBOX.
func login(addr string) (*client, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	for _, command := range []string{"LOGIN " + account + " \"" + password + "\"", "SELECT INBOX"} {
		if err := c.do(command); err != nil {
			c.conn.Close()
			return nil, err
		}
	}
	return c, nil
}

// do says a command and reads up to its reply, which must be OK.
func (c *client) do(command string) error {
	c.n++
	tag := "t" + strconv.Itoa(c.n)
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, tag+" "+command+"\r\n"); err != nil {
		return err
	}
	return c.reply(tag)
}

func (c *client) reply(tag string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte(tag+" OK")):
			return nil
		case bytes.HasPrefix(line, []byte(tag+" ")):
			return fmt.Errorf("the server says %q", line)
		case !bytes.HasSuffix(line, []byte("}\r\n")):
			continue
		}
		open := bytes.LastIndexByte(line, '{')
		if size, err := strconv.Atoi(string(line[open+1 : len(line)-3])); open >= 0 && err == nil {
			if _, err := c.r.Discard(size); err != nil {
				return err
			}
		}
	}
}

// append sends messages without waiting for each reply.
func (c *client) append(from, to int) error {
	failed := make(chan error, 1)
	c.conn.SetDeadline(time.Now().Add(patience))
	go func() {
		w := bufio.NewWriterSize(c.conn, 64<<10)
		for i := from; i < to; i++ {
			m := bench.Letter(i)
			fmt.Fprintf(w, "a%d APPEND INBOX {%d+}\r\n%s\r\n", i, len(m), m)
		}
		failed <- w.Flush()
	}()
	for i := from; i < to; i++ {
		if err := c.reply("a" + strconv.Itoa(i)); err != nil {
			c.conn.Close()
			<-failed
			return err
		}
	}
	return <-failed
}

// running is a server at work.
type running struct {
	server
	addr     string
	pid      int
	appended int
}

func begin(ctx context.Context, s server, top string) (*running, error) {
	dir, err := bench.Subdir(top)
	if err != nil {
		return nil, err
	}
	r := &running{server: s}
	if r.addr, r.pid, err = s.Start(ctx, dir); err != nil {
		return r, err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := login(r.addr)
		if err == nil {
			return r, c.conn.Close()
		}
		if time.Now().After(end) || ctx.Err() != nil {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return r, fmt.Errorf("nobody answers at %s: %w\n%s", r.addr, err, log)
		}
	}
}

func (r *running) fill(n int) error {
	c, err := login(r.addr)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	r.appended = n
	return c.append(0, n)
}

// test is one measurement.
type test struct {
	name string
	do   func(r *running, c *client) error
}

func say(commands ...string) func(*running, *client) error {
	return func(_ *running, c *client) error {
		for _, s := range commands {
			if err := c.do(s); err != nil {
				return err
			}
		}
		return nil
	}
}

func tests(messages int) []test {
	const logins, appends = 200, 1000
	return []test{
		{"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)", say("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")},
		{"FETCH 1:* (FLAGS)", say("FETCH 1:* (FLAGS)")},
		{"FETCH 1:* (BODY.PEEK[])", say("FETCH 1:* (BODY.PEEK[])")},
		{"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])", say("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])")},
		{"SEARCH SUBJECT, FROM", say(`SEARCH SUBJECT "topic 7"`, `SEARCH FROM "sender42@"`)},
		{"SEARCH BODY", say(`SEARCH BODY "not to be found anywhere"`)},
		{"SEARCH of dates and flags", say("SEARCH SINCE 1-Jan-2020 UNSEEN", "SEARCH SENTSINCE 1-Jan-2030")},
		{"STORE 1:* of a flag and back", say(`STORE 1:* +FLAGS.SILENT (\Flagged)`, `STORE 1:* -FLAGS.SILENT (\Flagged)`)},
		{fmt.Sprintf("%d STORE of one message", min(messages, 1000)), func(_ *running, c *client) error {
			for i := range min(messages, 1000) {
				if err := c.do(fmt.Sprintf(`STORE %d FLAGS (\Answered)`, i+1)); err != nil {
					return err
				}
			}
			return nil
		}},
		{fmt.Sprintf("%d APPEND", appends), func(r *running, c *client) error {
			from := r.appended
			r.appended += appends
			return c.append(from, r.appended)
		}},
		{fmt.Sprintf("%d login, select, logout", logins), func(r *running, _ *client) error {
			for range logins {
				c, err := login(r.addr)
				if err != nil {
					return err
				}
				err = c.do("LOGOUT")
				c.conn.Close()
				if err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

// measure does a test once.
func (r *running) measure(ctx context.Context, t test) (figure, error) {
	if err := ctx.Err(); err != nil {
		return figure{}, err
	}
	c, err := login(r.addr)
	if err != nil {
		return figure{}, err
	}
	defer c.conn.Close()
	before, err := bench.CPUTime(r.pid)
	if err != nil {
		return figure{}, err
	}
	start := time.Now()
	if err := t.do(r, c); err != nil {
		return figure{}, err
	}
	f := figure{took: time.Since(start)}
	after, err := bench.CPUTime(r.pid)
	f.cpu = after - before
	return f, err
}
