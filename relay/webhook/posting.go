package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/mail"
	"restante/relay"
)

// The fields of a request that are ours; docs/routes.md describes them.
const (
	envelopeField  = "Restante-Envelope"
	signatureField = "Restante-Signature"
	keyField       = "Idempotency-Key"
)

// maxEnvelope bounds the envelope in a field, in octets: programs behind proxies
// have 8 KiB for a field. A message with more recipients is posted several
// times.
const maxEnvelope = 6 << 10

// envelope is what a program is told beside the message.
type envelope struct {
	ID         string      `json:"id"`
	Task       string      `json:"task"`
	From       string      `json:"from"`
	Recipients []recipient `json:"recipients"`
	EnvID      string      `json:"envid,omitempty"`
	Arrived    time.Time   `json:"arrived"`
	Account    string      `json:"account,omitempty"`
	Client     string      `json:"client,omitempty"`
	Helo       string      `json:"helo,omitempty"`
	Protocol   string      `json:"protocol,omitempty"`
	Priority   int         `json:"priority,omitempty"`
}

type recipient struct {
	To       string `json:"to"`
	Original string `json:"original,omitempty"`
}

// envelope describes the job for some of its recipients.
func (d *delivery) envelope(batch []int) envelope {
	env := &d.job.Envelope
	e := envelope{
		ID: d.job.Task.Message.String(), Task: d.job.Task.String(), From: env.From.String(),
		EnvID: env.EnvID, Arrived: env.Arrived.UTC(), Account: env.Client.Account,
		Helo: env.Client.Helo, Protocol: env.Client.Protocol, Priority: env.Priority,
	}
	if env.Client.Addr.IsValid() {
		e.Client = env.Client.Addr.String()
	}
	for _, i := range batch {
		r := d.job.Recipients[i]
		e.Recipients = append(e.Recipients, recipient{r.To.String(), r.Original})
	}
	return e
}

// batches divides recipients into those that one request has room for.
func (d *delivery) batches(all []int) [][]int {
	if d.job.Route.Hook.Format == relay.HookJSON {
		return [][]int{all}
	}
	var list [][]int
	base := len(ascii(d.envelope(nil)))
	size := base
	var batch []int
	for _, i := range all {
		r := d.job.Recipients[i]
		n := len(ascii(recipient{r.To.String(), r.Original})) + 1
		if len(batch) > 0 && size+n > maxEnvelope {
			list, batch, size = append(list, batch), nil, base
		}
		batch, size = append(batch, i), size+n
	}
	return append(list, batch)
}

// ascii is JSON that can stand in a field.
func ascii(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}" // strings and numbers only: it cannot be
	}
	var out strings.Builder
	for _, r := range string(b) {
		switch {
		case r < 0x7f:
			out.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}

// key names the posting of a message to some recipients, in every attempt in
// the same way.
func key(e envelope) string {
	h := sha256.New()
	for _, r := range e.Recipients {
		fmt.Fprintf(h, "%d:%s", len(r.To), r.To)
	}
	return e.Task + "-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// posting is one request, and what became of it.
type posting struct {
	url     *url.URL
	header  http.Header
	content *content
	contact relay.Contact
	// kept tells that the connection was one of a former delivery.
	kept bool
	// begun tells that a part of the message was sent, whole that all was.
	begun, whole atomic.Bool
	// reading counts the readers of the message that are open: the transport
	// may hold one for some time after it has returned.
	reading sync.WaitGroup
	// unread is what kept us from reading the message.
	unread atomic.Pointer[error]
}

// prepare makes the request to one URL. An error is our own trouble.
func (c *Courier) prepare(d *delivery, batch []int, to string) (*posting, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	p := &posting{url: u, header: make(http.Header), contact: relay.Contact{Host: u.Hostname(), Began: time.Now()}}
	env, hook := d.envelope(batch), d.job.Route.Hook
	p.header.Set("User-Agent", "restante")
	p.header.Set(keyField, key(env))
	field := ""
	switch hook.Format {
	case relay.HookJSON:
		p.header.Set("Content-Type", "application/json")
		p.content, err = partsOf(d.job.Body, env)
	default:
		field = ascii(env)
		p.header.Set("Content-Type", "message/rfc822")
		p.header.Set(envelopeField, field)
		p.content = whole(d.job.Body)
	}
	if err != nil {
		return nil, err
	}
	if hook.Token != nil {
		token, err := hook.Token()
		if err != nil {
			return nil, fmt.Errorf("token of the webhook: %w", err)
		}
		p.header.Set("Authorization", "Bearer "+token)
	}
	if hook.Secret == nil {
		return p, p.content.measure(nil)
	}
	secret, err := hook.Secret()
	if err != nil {
		return nil, fmt.Errorf("secret of the webhook: %w", err)
	}
	signature, err := sign(secret, c.opt.Now(), field, p.content)
	p.header.Set(signatureField, signature)
	return p, err
}

// sign makes the signature of a request: HMAC-SHA256 over the time, the
// envelope if it stands in a field, and the body, with dots between them.
func sign(secret string, now time.Time, field string, body *content) (string, error) {
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, at+"."+field+".")
	if err := body.measure(mac); err != nil {
		return "", err
	}
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil)), nil
}

// request is the request, with what watches its way.
func (p *posting) request(ctx context.Context) *http.Request {
	trace := &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			p.kept = info.Reused
			p.contact.Addr = info.Conn.RemoteAddr().String()
			if conn, ok := info.Conn.(*tls.Conn); ok {
				p.contact.TLS, p.contact.Verified = tls.VersionName(conn.ConnectionState().Version), "PKIX"
			}
		},
	}
	body := func() (io.ReadCloser, error) { return p.reader(), nil }
	r := &http.Request{
		Method: http.MethodPost, URL: p.url, Host: p.url.Host, Header: p.header,
		Body: p.reader(), GetBody: body, ContentLength: p.content.size,
	}
	return r.WithContext(httptrace.WithClientTrace(ctx, trace))
}

// reader reads the content, and notes how far that goes.
func (p *posting) reader() io.ReadCloser {
	// Another reader is another attempt: the first led to nobody.
	p.begun.Store(false)
	p.whole.Store(false)
	p.reading.Add(1)
	w := &watched{p: p, r: p.content.reader()}
	w.close = sync.OnceFunc(func() {
		w.r.Close()
		p.reading.Done()
	})
	return w
}

type watched struct {
	p     *posting
	r     io.ReadCloser
	n     int64
	close func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	w.n += int64(n)
	if n > 0 {
		w.p.begun.Store(true)
	}
	switch {
	case w.n == w.p.content.size:
		w.p.whole.Store(true)
	case err == io.EOF:
		// The message is shorter than it was.
		err = io.ErrUnexpectedEOF
		w.p.unread.Store(&err)
	case err != nil && !errors.Is(err, io.ErrClosedPipe):
		w.p.unread.Store(&err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.close()
	return nil
}

// remote is the program as statuses name it.
func (p *posting) remote() string {
	if p.contact.Addr == "" {
		return p.contact.Host
	}
	return p.contact.Host + " [" + p.contact.Addr + "]"
}

// failed is the verdict on a request that was not answered.
func (p *posting) failed(err error) verdict {
	s := mail.Status{Code: 451, Enhanced: [3]int{4, 4, 1}, Remote: p.remote()}
	if unread := p.unread.Load(); unread != nil {
		s.Enhanced, s.Text, s.Remote = [3]int{4, 3, 0}, "the stored message cannot be read: "+mail.Line((*unread).Error(), maxText), ""
		return verdict{status: s, ours: true}
	}
	reason := err.Error()
	if op := (*url.Error)(nil); errors.As(err, &op) {
		reason = op.Err.Error()
	}
	bad := (*tls.CertificateVerificationError)(nil)
	switch {
	case errors.As(err, &bad):
		s.Enhanced, s.Text = [3]int{4, 7, 5}, "TLS: "+mail.Line(bad.Error(), maxText)
	case p.whole.Load():
		s.Enhanced, s.Text = [3]int{4, 4, 2}, "no answer to the message, which may have been delivered: "+mail.Line(reason, maxText)
	case p.begun.Load():
		s.Enhanced, s.Text = [3]int{4, 4, 2}, "while posting: "+mail.Line(reason, maxText)
	default:
		s.Text = "connecting: " + mail.Line(reason, maxText)
	}
	return verdict{status: s, unreached: true, begun: p.begun.Load(), elsewhere: !p.whole.Load()}
}
