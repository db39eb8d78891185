package webhook

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"restante/internal/mail"
	"restante/relay"
	"restante/spool"
)

// Options is what a Courier works with; the zero value works.
type Options struct {
	// RootCAs verifies programs, unless the route has its own; the system's if
	// nil.
	RootCAs *x509.CertPool
	// Timeouts bound an attempt.
	Timeouts Timeouts
	// Dial opens connections; net.Dialer's if nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock of signatures; time.Now if nil.
	Now func() time.Time
	// Logger gets details at debug level; the runner logs the results.
	Logger *slog.Logger
}

// Timeouts bound an attempt; fields that are zero have the defaults.
type Timeouts struct {
	// Connect is for the connection and for TLS each, 30 s; Write for each
	// piece of a message to be taken, 1 min; Answer for the answer to begin once
	// the message is over, and to come whole, 2 min; Total for all, 1 h.
	Connect, Write, Answer, Total time.Duration
}

func (t Timeouts) normal() Timeouts {
	for _, d := range []struct {
		is *time.Duration
		or time.Duration
	}{{&t.Connect, 30 * time.Second}, {&t.Write, time.Minute}, {&t.Answer, 2 * time.Minute}, {&t.Total, time.Hour}} {
		if *d.is <= 0 {
			*d.is = d.or
		}
	}
	return t
}

// Courier posts messages. It keeps connections for some seconds after a
// delivery, for the next by the same route. It is safe for concurrent use.
type Courier struct {
	opt     Options
	clients clients
}

var _ relay.Courier = (*Courier)(nil)

// New returns a Courier. Close it when no Deliver runs any more.
func New(opt Options) *Courier {
	if opt.Dial == nil {
		opt.Dial = new(net.Dialer).DialContext
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	opt.Timeouts = opt.Timeouts.normal()
	return &Courier{opt: opt}
}

// Close ends the connections that are kept.
func (c *Courier) Close() { c.clients.close() }

// Deliver implements relay.Courier.
func (c *Courier) Deliver(ctx context.Context, job relay.Job) relay.Outcome {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeouts.Total)
	defer cancel()
	d := &delivery{job: &job, out: relay.Outcome{Results: make([]mail.Status, len(job.Recipients)), Untimed: true}}
	all := make([]int, len(job.Recipients))
	for i := range all {
		all[i] = i
	}
	for _, batch := range d.batches(all) {
		if d.out.Reach == spool.Unreached || ctx.Err() != nil {
			d.decide(batch, d.out.Fault)
			continue
		}
		c.deliver(ctx, d, batch)
	}
	return d.out
}

// delivery is one job while it is worked on.
type delivery struct {
	job *relay.Job
	out relay.Outcome
}

// decide gives recipients without a result one.
func (d *delivery) decide(batch []int, s mail.Status) {
	for _, i := range batch {
		if d.out.Results[i].Code == 0 {
			d.out.Results[i] = s
		}
	}
}

// deliver posts to one URL after the other, until one has answered, or may
// have the message.
func (c *Courier) deliver(ctx context.Context, d *delivery, batch []int) {
	if env := &d.job.Envelope; env.RequireTLS && !d.secure() {
		d.decide(batch, mail.Status{Code: 550, Enhanced: [3]int{5, 7, 30}, Text: "REQUIRETLS was asked for, and the webhook is not reached by https"})
		d.out.Reach = spool.Reached
		return
	}
	for n, url := range d.job.Route.Hook.URLs {
		p, err := c.prepare(d, batch, url)
		if err != nil {
			// Our own trouble: it says nothing of the destination.
			d.decide(batch, mail.Status{Code: 451, Enhanced: [3]int{4, 3, 0}, Text: mail.Line(err.Error(), maxText)})
			return
		}
		v := c.post(ctx, d, p)
		d.note(p, v)
		last := n == len(d.job.Route.Hook.URLs)-1
		if !v.elsewhere || last || ctx.Err() != nil {
			d.conclude(batch, v)
			return
		}
		c.opt.Logger.Debug("webhook failed", "id", d.job.Task.Message, "task", d.job.Task, "url", url, "status", v.status.String())
	}
}

// secure tells whether all URLs are https.
func (d *delivery) secure() bool {
	for _, url := range d.job.Route.Hook.URLs {
		if !isSecure(url) {
			return false
		}
	}
	return true
}

// note adds a contact to the story of the message.
func (d *delivery) note(p *posting, v verdict) {
	contact := p.contact
	contact.Status, contact.QueueID = v.status, v.id
	contact.Took = time.Since(contact.Began)
	d.out.Contacts = append(d.out.Contacts, contact)
	d.out.Remote, d.out.TLS = p.remote(), contact.TLS
}

// conclude takes a verdict for what it means.
func (d *delivery) conclude(batch []int, v verdict) {
	byAddress := make(map[mail.Address]mail.Status)
	for _, r := range v.results {
		if _, ok := byAddress[r.to.Key()]; !ok {
			byAddress[r.to.Key()] = r.status
		}
	}
	for _, i := range batch {
		if s, ok := byAddress[d.job.Recipients[i].To.Key()]; ok {
			d.out.Results[i] = s
		}
	}
	d.decide(batch, v.status)
	d.out.RetryAfter = max(d.out.RetryAfter, v.retryAfter)
	d.out.Begun = d.out.Begun || v.begun
	switch {
	case v.unreached && len(v.results) == 0:
		d.out.Reach, d.out.Fault = spool.Unreached, v.status
	case !v.ours:
		d.out.Reach = spool.Reached
	}
}

// post makes one attempt at one URL. When it returns nobody reads the message
// any more.
func (c *Courier) post(ctx context.Context, d *delivery, p *posting) verdict {
	ctx, cancel := context.WithCancel(ctx)
	defer p.reading.Wait()
	defer cancel()
	client := c.clients.of(c, d.job.Route)
	response, err := client.RoundTrip(p.request(ctx))
	if timeout := net.Error(nil); err != nil && p.kept && ctx.Err() == nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
		// It died while it was kept, or before it answered a word. A program
		// that has the message all the same knows it by its key.
		client.CloseIdleConnections()
		response, err = client.RoundTrip(p.request(ctx))
	}
	if err != nil {
		return p.failed(err)
	}
	defer response.Body.Close()
	// The answer had its time to begin; from here on the whole of it has.
	timer := time.AfterFunc(c.opt.Timeouts.Answer, cancel)
	defer timer.Stop()
	text, err := readAnswer(response.Body)
	if err != nil && response.StatusCode/100 != 2 {
		return p.failed(err)
	}
	// A 2xx counts, though the words after it were lost.
	return p.judge(response.StatusCode, response.Header.Get("Retry-After"), text, c.opt.Now())
}

// errBody marks faults of the stored message.
var errBody = errors.New("message cannot be read")

// isSecure tells whether a URL is https. It has been checked.
func isSecure(url string) bool {
	u, err := http.NewRequest(http.MethodPost, url, nil)
	return err == nil && u.URL.Scheme == "https"
}
