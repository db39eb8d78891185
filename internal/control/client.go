package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"restante/internal/directory"
	"restante/internal/mail"
)

// Client speaks to the daemon behind a control socket. Its methods fail with
// an *Error when the daemon refuses, and wrap ErrNotRunning when there is none.
// It is safe for concurrent use.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of the socket at path.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		},
		// A message too large is refused before it is sent.
		ExpectContinueTimeout: 10 * time.Second,
		DisableCompression:    true,
	}}}
}

// Close gives up the connections that wait for another request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Queue iterates over the tasks that a filter lets through, by ID. An error
// ends it.
func (c *Client) Queue(ctx context.Context, f Filter) iter.Seq2[Task, error] {
	return c.List(ctx, Listing{Filter: f})
}

// List iterates over tasks as a listing asks for them. An error ends it.
func (c *Client) List(ctx context.Context, l Listing) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		resp, err := c.send(ctx, "GET", "/v1/queue", l.query(), nil, nil)
		if err != nil {
			yield(Task{}, err)
			return
		}
		defer resp.Body.Close()
		d := json.NewDecoder(resp.Body)
		if _, err := d.Token(); err != nil {
			yield(Task{}, fmt.Errorf("queue listing: %w", err))
			return
		}
		for d.More() {
			var t Task
			if err := d.Decode(&t); err != nil {
				yield(Task{}, fmt.Errorf("queue listing broke off: %w", err))
				return
			}
			if !yield(t, nil) {
				return
			}
		}
		if _, err := d.Token(); err != nil {
			yield(Task{}, fmt.Errorf("queue listing broke off: %w", err))
		}
	}
}

// Message returns all that is known of a message.
func (c *Client) Message(ctx context.Context, id mail.ID) (Message, error) {
	var m Message
	err := c.call(ctx, "GET", "/v1/messages/"+id.String(), nil, nil, &m)
	return m, err
}

// Submit hands a message over: size octets of body, or all there is if size is
// negative. When it returns without an error, the message is durable.
func (c *Client) Submit(ctx context.Context, sub Submission, body io.Reader, size int64) (Submitted, error) {
	var s Submitted
	resp, err := c.send(ctx, "POST", "/v1/messages", sub.query(), io.NopCloser(body), func(r *http.Request) {
		r.ContentLength = size
		r.Header.Set("Content-Type", "message/rfc822")
		r.Header.Set("Expect", "100-continue")
	})
	if err != nil {
		return s, err
	}
	return s, decode(resp, &s)
}

// Accounts returns the accounts by name.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	var list []Account
	err := c.call(ctx, "GET", "/v1/accounts", nil, nil, &list)
	return list, err
}

// AddAccount makes an account; addresses are further ones of its own.
func (c *Client) AddAccount(ctx context.Context, name, password string, addresses ...string) error {
	return c.call(ctx, "POST", "/v1/accounts", nil, newAccount{Name: name, Password: password, Addresses: addresses}, nil)
}

// AddApplication makes an application; senders are what it may send as.
func (c *Client) AddApplication(ctx context.Context, name, password string, senders []string, app directory.Application) error {
	return c.call(ctx, "POST", "/v1/accounts", nil, newAccount{name, password, senders, &app}, nil)
}

// AddSecret makes a further password of an account, and returns it. With imap
// it serves to collect mail too.
func (c *Client) AddSecret(ctx context.Context, account, name string, imap bool) (secret string, err error) {
	var made madeSecret
	err = c.call(ctx, "POST", "/v1/accounts/"+url.PathEscape(account)+"/secrets", nil, newSecret{name, imap}, &made)
	return made.Secret, err
}

// RevokeSecret takes such a password away.
func (c *Client) RevokeSecret(ctx context.Context, account, name string) error {
	return c.call(ctx, "DELETE", "/v1/accounts/"+url.PathEscape(account)+"/secrets/"+url.PathEscape(name), nil, nil, nil)
}

// SetPassword changes an account's password.
func (c *Client) SetPassword(ctx context.Context, name, password string) error {
	return c.call(ctx, "POST", "/v1/accounts/"+url.PathEscape(name)+"/password", nil, newPassword{password}, nil)
}

// RemoveAccount removes an account; with PurgeMail its mail too.
func (c *Client) RemoveAccount(ctx context.Context, name string, mail Keep) error {
	q := url.Values{}
	if mail == PurgeMail {
		q.Set("purge", "true")
	}
	return c.call(ctx, "DELETE", "/v1/accounts/"+url.PathEscape(name), q, nil, nil)
}

// Keep says what becomes of an account's mail.
type Keep int

// The choices of RemoveAccount.
const (
	KeepMail Keep = iota
	PurgeMail
)

// Status returns the daemon as it is now.
func (c *Client) Status(ctx context.Context) (DaemonStatus, error) {
	var s DaemonStatus
	err := c.call(ctx, "GET", "/v1/status", nil, nil, &s)
	return s, err
}

// call sends in as JSON, if it is not nil, and reads the answer into out.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.send(ctx, method, path, q, body, nil)
	if err != nil {
		return err
	}
	return decode(resp, out)
}

// send makes one request and turns any answer but success into an error. The
// caller closes the body.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, body io.Reader, prepare func(*http.Request)) (*http.Response, error) {
	u := "http://restante" + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		prepare(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

// explain says in plain words why the socket cannot be used.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (nothing answers at %s)", ErrNotRunning, c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("you may not open %s: %w", c.path, fs.ErrPermission)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fmt.Errorf("control socket %s: %w", c.path, err)
}

func readError(resp *http.Response) error {
	var e Error
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON))
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil || e.Message == "" {
		return fmt.Errorf("the daemon answered %s", resp.Status)
	}
	return &e
}

func decode(resp *http.Response, out any) error {
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("answer of the daemon: %w", err)
	}
	return nil
}
