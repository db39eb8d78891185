package tlsrpt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// spread is within what time after midnight UTC reports begin.
	spread = 4 * time.Hour
	// every is how often the counts are written, and what is due is looked for;
	// retry is the least time between two tries of what could not be sent.
	every = 5 * time.Minute
	retry = time.Hour
	// postTime bounds one report by HTTPS.
	postTime = 30 * time.Second
)

// Options are those of NewReporter. Book, LookupTXT, Submit, Hostname and Contact
// are required.
type Options struct {
	Book      *Book
	LookupTXT func(ctx context.Context, name string) ([]string, error)
	// Submit queues a report by mail. It must mark it so that it is not
	// reported on.
	Submit func(ctx context.Context, from, to string, message []byte) error
	// Transport makes requests; nil is the usual one.
	Transport http.RoundTripper
	// Hostname, Contact and Organization say who we are.
	Hostname, Contact, Organization string
	Logger                          *slog.Logger
	Now                             func() time.Time
}

// Reporter makes and sends reports.
type Reporter struct {
	opt    Options
	client *http.Client
	after  time.Duration
	next   time.Time
}

// NewReporter returns a Reporter.
func NewReporter(opt Options) *Reporter {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Organization == "" {
		opt.Organization = opt.Hostname
	}
	client := &http.Client{
		Transport: opt.Transport, Timeout: postTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Reporter{opt: opt, client: client, after: rand.N(spread)}
}

// Run sends what is due and writes the counts, until ctx ends; then it writes
// them once more.
func (r *Reporter) Run(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.opt.Book.Save()
		case <-ticker.C:
			r.send(ctx)
			if err := r.opt.Book.Save(); err != nil {
				r.opt.Logger.Warn("counts for reports on TLS cannot be kept", "error", err)
			}
		}
	}
}

// send reports each day that is over, if it is late enough.
func (r *Reporter) send(ctx context.Context) {
	now := r.opt.Now().UTC()
	if now.Sub(now.Truncate(24*time.Hour)) < r.after || now.Before(r.next) {
		return
	}
	for date, domains := range r.opt.Book.over() {
		for _, domain := range domains {
			if ctx.Err() != nil {
				return
			}
			if err := r.tell(ctx, date, domain); err != nil {
				r.opt.Logger.Info("report on TLS cannot be sent, will be tried again", "domain", domain, "day", date, "error", err)
				r.next = now.Add(retry)
				continue
			}
			r.opt.Book.done(date, domain)
		}
	}
}

// tell sends one report to all that the domain names. One that has it is enough;
// an error means that nobody has.
func (r *Reporter) tell(ctx context.Context, date, domain string) error {
	records, err := r.opt.LookupTXT(ctx, "_smtp._tls."+domain)
	if missing := (*net.DNSError)(nil); errors.As(err, &missing) && missing.IsNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	list := targets(records)
	if len(list) == 0 {
		return nil
	}
	rep, err := r.compose(date, domain, r.opt.Book.of(date, domain))
	if err != nil {
		return err
	}
	var failed error
	told := false
	for _, to := range list {
		if strings.HasPrefix(strings.ToLower(to), "https:") {
			err = r.post(ctx, to, rep)
		} else {
			err = r.opt.Submit(ctx, r.opt.Contact, to, rep.message(to, r.opt.Now()))
		}
		if err == nil {
			told = true
			r.opt.Logger.Info("report on TLS", "domain", domain, "day", date, "to", to)
			continue
		}
		failed = fmt.Errorf("%s: %w", to, err)
	}
	if told {
		return nil
	}
	return failed
}

// post sends a report by HTTPS (RFC 8460 section 5.4).
func (r *Reporter) post(ctx context.Context, to string, rep report) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(rep.gz))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/tlsrpt+gzip")
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the server answers %d", resp.StatusCode)
	}
	return nil
}
