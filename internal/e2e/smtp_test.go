package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// reply is an SMTP reply; the lines of a long one are joined with newlines.
type reply struct {
	code int
	text string
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, r.text) }

// client is one SMTP connection that can send any octets. Its methods return
// errors of the connection; replies of any code are none.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// dialSMTP connects, over TLS from the start if config is not nil, and takes
// the greeting and a reply to EHLO.
func dialSMTP(addr string, config *tls.Config) (*client, error) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	c := &client{conn, bufio.NewReader(conn)}
	r, err := c.reply()
	if err == nil && r.code != 220 {
		err = fmt.Errorf("greeting: %s", r)
	}
	if err == nil {
		err = c.hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) hello() error {
	return c.expect(250, "EHLO client.example.net")
}

func (c *client) close() { c.conn.Close() }

// quit ends the session in order.
func (c *client) quit() error {
	defer c.close()
	return c.expect(221, "QUIT")
}

// reply reads one reply.
func (c *client) reply() (reply, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	var r reply
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return reply{}, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if len(line) < 4 {
			return reply{}, fmt.Errorf("malformed reply %q", line)
		}
		if r.code, err = strconv.Atoi(line[:3]); err != nil {
			return reply{}, fmt.Errorf("malformed reply %q", line)
		}
		r.text += line[4:]
		if line[3] == ' ' {
			return r, nil
		}
		r.text += "\n"
	}
}

// send writes octets as they are.
func (c *client) send(b []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(b)
	return err
}

// cmd sends one command and reads the reply.
func (c *client) cmd(format string, args ...any) (reply, error) {
	if err := c.send(fmt.Appendf(nil, format+"\r\n", args...)); err != nil {
		return reply{}, err
	}
	return c.reply()
}

// expect is cmd for commands whose reply must have a code.
func (c *client) expect(code int, format string, args ...any) error {
	r, err := c.cmd(format, args...)
	if err == nil && r.code != code {
		err = fmt.Errorf("%s: got %s, want %d", fmt.Sprintf(format, args...), r, code)
	}
	return err
}

// startTLS changes to TLS and says EHLO again.
func (c *client) startTLS(config *tls.Config) error {
	if err := c.expect(220, "STARTTLS"); err != nil {
		return err
	}
	c.conn = tls.Client(c.conn, config)
	c.r = bufio.NewReader(c.conn)
	return c.hello()
}

func (c *client) auth(user, password string) error {
	return c.expect(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
}

// envelope sends MAIL and RCPT, all of which must be taken.
func (c *client) envelope(from string, to ...string) error {
	if err := c.expect(250, "MAIL FROM:<%s>", from); err != nil {
		return err
	}
	for _, a := range to {
		if err := c.expect(250, "RCPT TO:<%s>", a); err != nil {
			return err
		}
	}
	return nil
}

// data sends a message with DATA and returns the reply to it. A message
// without a final CRLF is given one, as DATA demands.
func (c *client) data(message []byte) (reply, error) {
	if err := c.expect(354, "DATA"); err != nil {
		return reply{}, err
	}
	if err := c.send(append(stuff(message), ".\r\n"...)); err != nil {
		return reply{}, err
	}
	return c.reply()
}

// stuff is RFC 5321 section 4.5.2, and a final CRLF.
func stuff(message []byte) []byte {
	message = lines(message)
	b := bytes.ReplaceAll(message, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(b, []byte(".")) {
		b = append([]byte("."), b...)
	}
	return bytes.Clone(b)
}

// lines is the message as DATA carries it, with a CRLF at its end.
func lines(message []byte) []byte {
	if len(message) > 0 && !bytes.HasSuffix(message, []byte("\r\n")) {
		return append(bytes.Clone(message), "\r\n"...)
	}
	return message
}

// bdat sends a message in chunks (RFC 3030) and returns the last reply.
func (c *client) bdat(message []byte, chunk int) (reply, error) {
	r := bytes.NewReader(message)
	for {
		n, last := min(chunk, r.Len()), ""
		if n == r.Len() {
			last = " LAST"
		}
		piece := make([]byte, n)
		_, _ = io.ReadFull(r, piece) // n is what there is
		if err := c.send(append(fmt.Appendf(nil, "BDAT %d%s\r\n", n, last), piece...)); err != nil {
			return reply{}, err
		}
		rep, err := c.reply()
		if err != nil || rep.code != 250 || last != "" {
			return rep, err
		}
	}
}

// mail sends one message whole. Anything but 250 is an error. It returns the
// text of the last reply, which holds the queue ID.
func (c *client) mail(message []byte, from string, to ...string) (string, error) {
	if err := c.envelope(from, to...); err != nil {
		return "", err
	}
	r, err := c.data(message)
	if err == nil && r.code != 250 {
		err = fmt.Errorf("message refused: %s", r)
	}
	return r.text, err
}

// smtp connects to the daemon's port 25 for the length of the test.
func (d *daemon) smtp() *client {
	d.t.Helper()
	c, err := dialSMTP(d.addr("smtp"), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.close)
	return c
}

// submission connects to the submission port and logs in.
func (d *daemon) submission(user string) *client {
	d.t.Helper()
	c, err := dialSMTP(d.addr("submission"), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.close)
	if err := c.startTLS(d.cert.client); err != nil {
		d.t.Fatal(err)
	}
	if err := c.auth(user, password); err != nil {
		d.t.Fatal(err)
	}
	return c
}

// send hands one message over at port 25, as a trusted client.
func (d *daemon) send(message, from string, to ...string) {
	d.t.Helper()
	c := d.smtp()
	if _, err := c.mail([]byte(message), from, to...); err != nil {
		d.t.Fatal(err)
	}
	if err := c.quit(); err != nil {
		d.t.Fatal(err)
	}
}

// letter is a small message with a subject.
func letter(subject string) string {
	return "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: " + subject +
		"\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") +
		"@example.org>\r\n\r\nHello.\r\n.dot\r\n"
}
