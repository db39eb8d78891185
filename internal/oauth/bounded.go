package oauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// bounded is a transport that asks for each address once in a while, and does
// not read more than it must.
type bounded struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	last map[string]time.Time
}

// errTooSoon: the answer would be the last one again. A token with a key that is
// not in that is a bad one.
var errTooSoon = errors.New("asked a moment ago")

// fetchError is that the issuer could not be asked.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// RoundTrip makes a request. An answer that is none is an error.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !b.may(r.URL.String()) {
		return nil, errTooSoon
	}
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		b.failed(r.URL.String())
		return nil, &fetchError{err}
	}
	if resp.StatusCode >= 400 {
		resp.Body.Close()
		b.failed(r.URL.String())
		return nil, &fetchError{fmt.Errorf("%s: %s", r.URL, resp.Status)}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

func (b *bounded) may(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if last, ok := b.last[address]; ok && now.Sub(last) < pause {
		return false
	}
	// There are two addresses, or a few more after redirects.
	if len(b.last) > 100 {
		clear(b.last)
	}
	b.last[address] = now
	return true
}

// failed lets the next one ask soon: nothing was learned.
func (b *bounded) failed(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[address] = b.now().Add(time.Second - pause)
}
