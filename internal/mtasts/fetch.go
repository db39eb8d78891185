package mtasts

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"
)

// Bounds of a fetch. RFC 8461 section 3.3 speaks of a minute; mail waits for it.
const (
	fetchTime   = 20 * time.Second
	dialTime    = 10 * time.Second
	maxRespHead = 16 << 10
)

// NewTransport is what asks for policies: without proxies, which would see to
// where mail goes, each time by a fresh connection, with a certificate that
// config, or the system, trusts. dial is net.Dialer's if nil.
func NewTransport(config *tls.Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTime}).DialContext
	}
	return &http.Transport{
		DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: dialTime,
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxRespHead,
	}
}

func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = NewTransport(nil, nil)
	}
	return &http.Client{
		Transport: transport, Timeout: fetchTime,
		// RFC 8461 section 3.3 forbids to follow them.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch asks the domain's web server for its policy.
func fetch(ctx context.Context, client *http.Client, domain string) (Policy, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+domain+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return Policy{}, fmt.Errorf("MTA-STS policy of %s: %w", domain, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Policy{}, fmt.Errorf("MTA-STS policy of %s: %w", domain, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("MTA-STS policy of %s: the server answers %d", domain, resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return Policy{}, fmt.Errorf("MTA-STS policy of %s: it is not text/plain but %.60q", domain, resp.Header.Get("Content-Type"))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxSize+1))
	if err != nil {
		return Policy{}, fmt.Errorf("MTA-STS policy of %s: %w", domain, err)
	}
	p, err := Parse(string(b))
	if err != nil {
		return Policy{}, fmt.Errorf("MTA-STS policy of %s: %w", domain, err)
	}
	return p, nil
}
