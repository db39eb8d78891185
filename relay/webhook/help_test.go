package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/relay"
	"restante/spool"
)

const secret = "a secret of some length"

// program is what is posted to: it keeps what it was sent, and answers as told.
type program struct {
	*httptest.Server
	mu     sync.Mutex
	got    []request
	answer func(w http.ResponseWriter, r *http.Request)
}

type request struct {
	header   http.Header
	body     string
	addr     string
	envelope envelope // of either format
}

// serve starts a program; answer is nil for 200 and no words.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *program {
	t.Helper()
	p := &program{answer: answer}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	got := request{header: r.Header, body: string(body), addr: r.RemoteAddr}
	if field := r.Header.Get(envelopeField); field != "" {
		err = json.Unmarshal([]byte(field), &got.envelope)
	} else {
		err = json.Unmarshal(body, &struct {
			Envelope *envelope `json:"envelope"`
		}{&got.envelope})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.got = append(p.got, got)
	p.mu.Unlock()
	if p.answer != nil {
		p.answer(w, r)
	}
}

func (p *program) requests() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]request(nil), p.got...)
}

// answering answers with a code and words.
func answering(code int, text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, text)
	}
}

// verifies checks a signature as docs/routes.md tells to.
func (r request) verifies(t *testing.T, key string) {
	t.Helper()
	parts := make(map[string]string)
	for word := range strings.SplitSeq(r.header.Get(signatureField), ",") {
		name, value, _ := strings.Cut(word, "=")
		parts[name] = value
	}
	mac := hmac.New(sha256.New, []byte(key))
	io.WriteString(mac, parts["t"]+"."+r.header.Get(envelopeField)+"."+r.body)
	if want := hex.EncodeToString(mac.Sum(nil)); parts["v1"] != want || parts["t"] == "" {
		t.Errorf("signature %q, want %s", r.header.Get(signatureField), want)
	}
}

// memBody is a spool.Body in memory.
type memBody struct{ *bytes.Reader }

func (memBody) Close() error { return nil }

func body(s string) spool.Body { return memBody{bytes.NewReader([]byte(s))} }

const letter = "From: a@example.org\r\nSubject: hello\r\n\r\na few words\r\n"

func job(hook relay.Hook, rcpts ...string) relay.Job {
	id, _ := mail.ParseID("01JW0000000000000000000000")
	j := relay.Job{
		Task:     spool.TaskID{Message: id, N: 1},
		Route:    &relay.Route{Name: "app", Kind: relay.HTTP, Hook: &hook},
		Envelope: mail.Envelope{From: mail.MustParseAddress("sender@example.org"), Client: mail.Client{Account: "invoices"}},
		Body:     body(letter),
	}
	if len(rcpts) == 0 {
		rcpts = []string{"b@app.test"}
	}
	for _, r := range rcpts {
		j.Recipients = append(j.Recipients, mail.Recipient{To: mail.MustParseAddress(r)})
	}
	return j
}

func courier(t *testing.T, opt Options) *Courier {
	t.Helper()
	c := New(opt)
	t.Cleanup(c.Close)
	return c
}

func deliver(t *testing.T, c *Courier, j relay.Job) relay.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := c.Deliver(ctx, j)
	if len(out.Results) != len(j.Recipients) {
		t.Fatalf("%d results for %d recipients", len(out.Results), len(j.Recipients))
	}
	return out
}

// codes are the results' codes, in order.
func codes(out relay.Outcome) (list []int) {
	for _, s := range out.Results {
		list = append(list, s.Code)
	}
	return list
}

// countedBody notes reads after it was closed.
type countedBody struct {
	spool.Body
	closed, late atomic.Bool
}

func (b *countedBody) ReadAt(p []byte, off int64) (int, error) {
	if b.closed.Load() {
		b.late.Store(true)
	}
	return b.Body.ReadAt(p, off)
}

// tornBody cannot be read to its end.
type tornBody struct{ spool.Body }

func (b tornBody) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.Size()/2 {
		return 0, spool.ErrCorrupt
	}
	return b.Body.ReadAt(p, off)
}
