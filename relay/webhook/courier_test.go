package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/relay"
	"restante/spool"
)

func key1() (string, error) { return secret, nil }

// The message as it is, with envelope, signature and key; the connection is
// used again.
func TestRaw(t *testing.T) {
	p := serve(t, answering(200, `{"id":"app-1"}`))
	c := courier(t, Options{})
	j := job(relay.Hook{URLs: []string{p.URL + "/in?x=1"}, Secret: key1, Token: func() (string, error) { return "tok", nil }}, "b@app.test", "ü@app.test")
	for range 2 {
		out := deliver(t, c, j)
		if !slices.Equal(codes(out), []int{250, 250}) || out.Reach != spool.Reached || out.Promised || !out.Untimed {
			t.Fatalf("%+v", out)
		}
		if len(out.Contacts) != 1 || out.Contacts[0].QueueID != "app-1" || out.Contacts[0].Host != "127.0.0.1" || out.Contacts[0].Status.Code != 250 || out.Contacts[0].Addr == "" {
			t.Errorf("%+v", out.Contacts)
		}
	}
	got := p.requests()
	if len(got) != 2 || got[0].addr != got[1].addr || got[0].header.Get(keyField) != got[1].header.Get(keyField) {
		t.Fatalf("%+v", got)
	}
	r := got[0]
	r.verifies(t, secret)
	if r.body != letter || r.header.Get("Content-Type") != "message/rfc822" || r.header.Get("Authorization") != "Bearer tok" || r.header.Get("Content-Length") != fmt.Sprint(len(letter)) {
		t.Errorf("%+v", r)
	}
	e := r.envelope
	if e.From != "sender@example.org" || len(e.Recipients) != 2 || e.Recipients[1].To != "ü@app.test" || e.Account != "invoices" || e.ID != j.Task.Message.String() || e.Task != j.Task.String() {
		t.Errorf("%+v", e)
	}
	if !strings.HasPrefix(r.header.Get(keyField), j.Task.String()+"-") {
		t.Errorf("key %q", r.header.Get(keyField))
	}
	j.Recipients = j.Recipients[:1]
	deliver(t, c, j)
	if again := p.requests()[2]; again.header.Get(keyField) == r.header.Get(keyField) {
		t.Error("other recipients have the same key")
	}
}

// What answers mean, and whose fault they are.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		code   int
		text   string
		result int
		reach  spool.Outcome
		words  string
	}{
		{204, "", 250, spool.Reached, "HTTP 204 No Content"},
		{200, "<html>fine", 250, spool.Reached, "HTTP 200 OK"},
		{200, "{broken", 250, spool.Reached, ""},
		{200, `{"results":[{"to":"b@app.test"`, 451, spool.Reached, "cannot be read"},
		{302, "", 451, spool.Unreached, "302"},
		{400, `{"text":"no\nsuch form"}`, 554, spool.Reached, "HTTP 400 Bad Request: no such form"},
		{401, "", 451, spool.Unreached, ""},
		{404, "not here\nnor there", 451, spool.Unreached, "HTTP 404 Not Found: not here"},
		{408, "", 451, spool.Reached, ""},
		{410, "", 554, spool.Reached, ""},
		{413, "", 552, spool.Reached, ""},
		{422, `{"results":[{"to":"B@app.test","code":550,"enhanced":"5.1.1","text":"nobody"}]}`, 550, spool.Reached, "nobody"},
		{404, `{"results":[{"to":"b@app.test","code":550}]}`, 550, spool.Reached, ""},
		{425, "", 451, spool.Reached, ""},
		{429, "", 451, spool.Unreached, ""},
		{500, "", 451, spool.Reached, ""},
		{503, "", 451, spool.Unreached, ""},
	} {
		p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			answering(tt.code, tt.text)(w, r)
		})
		out := deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{p.URL}}))
		s := out.Results[0]
		if s.Code != tt.result || out.Reach != tt.reach || !strings.Contains(s.Text, tt.words) || len(p.requests()) != 1 {
			t.Errorf("%d %s: %+v", tt.code, tt.text, out)
		}
		if out.Reach == spool.Unreached && (!out.Begun || out.Fault != s) {
			t.Errorf("%d: %+v", tt.code, out)
		}
	}
}

// An answer can have a result for each recipient; the others have that of its
// code.
func TestResults(t *testing.T) {
	p := serve(t, answering(200, `{"id":"x","results":[
		{"to":"<a@app.test>","code":550,"enhanced":"5.1.1","text":"no such inbox"},
		{"to":"b@app.test","code":451,"enhanced":"5.1.1"},
		{"to":"a@app.test","code":250},{"to":"stranger@app.test","code":550},
		{"to":"c@app.test","code":99}]}`))
	out := deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{p.URL}}, "a@app.test", "b@app.test", "c@app.test", "d@app.test"))
	if !slices.Equal(codes(out), []int{550, 451, 451, 250}) || out.Reach != spool.Reached {
		t.Errorf("%+v", out)
	}
	if out.Results[0].Enhanced != [3]int{5, 1, 1} || out.Results[1].Enhanced != [3]int{4, 0, 0} || out.Results[0].Remote == "" {
		t.Errorf("%+v", out.Results)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "Mon, 04 May 2026 13:00:00 GMT": time.Hour, "soon": 0, "": 0, "-5": 0,
		"Mon, 04 May 2026 11:00:00 GMT": 0, "99999999": 7 * 24 * time.Hour,
	} {
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		out := deliver(t, courier(t, Options{Now: func() time.Time { return now }}), job(relay.Hook{URLs: []string{p.URL}}))
		if out.RetryAfter != want {
			t.Errorf("%q: %v, want %v", value, out.RetryAfter, want)
		}
	}
}

// The next URL gets what the first could not be given, but not what it may have.
func TestFailover(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	good := serve(t, nil)
	for _, tt := range []struct {
		name   string
		first  string
		result int
		moved  bool
	}{
		{"nobody there", closed.URL, 250, true},
		{"busy", serve(t, answering(503, "")).URL, 250, true},
		{"refused", serve(t, answering(422, "")).URL, 554, false},
		{"error", serve(t, answering(500, "")).URL, 451, false},
		{"lost answer", serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).URL, 451, false},
	} {
		before := len(good.requests())
		out := deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{tt.first, good.URL}}))
		if moved := len(good.requests()) > before; moved != tt.moved || out.Results[0].Code != tt.result {
			t.Errorf("%s: %+v", tt.name, out)
		}
		if want := 1; tt.moved {
			want = 2
			if len(out.Contacts) != want || out.Reach != spool.Reached {
				t.Errorf("%s: %+v", tt.name, out)
			}
		}
	}
	out := deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{closed.URL}}))
	if out.Reach != spool.Unreached || out.Begun || !strings.Contains(out.Fault.Text, "connecting: ") {
		t.Errorf("%+v", out)
	}
}

// A connection that was closed while it was kept costs nothing.
func TestKeptConnectionIsGone(t *testing.T) {
	p := serve(t, nil)
	c := courier(t, Options{})
	j := job(relay.Hook{URLs: []string{p.URL}})
	deliver(t, c, j)
	p.CloseClientConnections()
	if out := deliver(t, c, j); out.Results[0].Code != 250 || len(p.requests()) != 2 {
		t.Errorf("%+v", out)
	}
}

// The certificate is checked, against the route's authorities if it has any.
func TestTLS(t *testing.T) {
	p := &program{}
	p.Server = httptest.NewTLSServer(p)
	defer p.Close()
	j := job(relay.Hook{URLs: []string{p.URL}})
	out := deliver(t, courier(t, Options{}), j)
	if out.Reach != spool.Unreached || out.Begun || !strings.Contains(out.Fault.Text, "TLS: ") || len(p.requests()) != 0 {
		t.Errorf("an unknown authority: %+v", out)
	}
	j.Route.RootCAs = p.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	j.Envelope.RequireTLS = true
	out = deliver(t, courier(t, Options{}), j)
	if out.Results[0].Code != 250 || out.TLS == "" || out.Contacts[0].Verified != "PKIX" {
		t.Errorf("a known authority: %+v", out)
	}
	j = job(relay.Hook{URLs: []string{serve(t, nil).URL}})
	j.Envelope.RequireTLS = true
	if out = deliver(t, courier(t, Options{}), j); out.Results[0].Code != 550 {
		t.Errorf("REQUIRETLS without TLS: %+v", out)
	}
}

// Every wait has an end.
func TestDeadlines(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	silent := func(w http.ResponseWriter, r *http.Request) { <-release }
	slow := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		w.(http.Flusher).Flush()
		<-release
	}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){"silent": silent, "never ending": slow} {
		p := serve(t, answer)
		c := courier(t, Options{Timeouts: Timeouts{Answer: 50 * time.Millisecond}})
		out := deliver(t, c, job(relay.Hook{URLs: []string{p.URL}}))
		if out.Reach != spool.Unreached || !out.Begun || !strings.Contains(out.Fault.Text, "may have been delivered") {
			t.Errorf("%s: %+v", name, out)
		}
	}
	// Somebody who takes nothing.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	j := job(relay.Hook{URLs: []string{"http://" + l.Addr().String()}})
	j.Body = body(strings.Repeat(letter, 1<<20))
	c := courier(t, Options{Timeouts: Timeouts{Write: 50 * time.Millisecond}})
	if out := deliver(t, c, j); out.Reach != spool.Unreached || !strings.Contains(out.Fault.Text, "while posting") {
		t.Errorf("takes nothing: %+v", out)
	}
}

// What is answered without end is read to its bound.
func TestLongAnswer(t *testing.T) {
	p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 64 {
			io.WriteString(w, strings.Repeat("words ", 16<<10))
		}
	})
	out := deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{p.URL}}))
	if out.Results[0].Code != 250 || len(out.Results[0].Text) > 2*maxText {
		t.Errorf("%+v", out)
	}
}

// An answer that comes before the end of the message is one, and nobody reads
// the message when Deliver has returned.
func TestEarlyAnswer(t *testing.T) {
	p := httptest.NewServer(http.HandlerFunc(answering(413, "too much")))
	defer p.Close()
	j := job(relay.Hook{URLs: []string{p.URL}})
	b := &countedBody{Body: body(strings.Repeat(letter, 1<<20))}
	j.Body = b
	out := deliver(t, courier(t, Options{}), j)
	b.closed.Store(true)
	if c := out.Results[0].Code; c != 552 && c != 451 {
		t.Errorf("%+v", out)
	}
	time.Sleep(50 * time.Millisecond)
	if b.late.Load() {
		t.Error("the message was read after the end")
	}
}

// A message that cannot be read is our own trouble, and is nobody's half.
func TestUnreadableBody(t *testing.T) {
	for _, format := range []relay.HookFormat{relay.HookRaw, relay.HookJSON} {
		for _, secret := range []func() (string, error){nil, key1} {
			p := serve(t, nil)
			j := job(relay.Hook{URLs: []string{p.URL}, Format: format, Secret: secret})
			j.Body = tornBody{body(strings.Repeat(letter, 10_000))}
			out := deliver(t, courier(t, Options{}), j)
			if out.Reach != spool.Unknown || out.Results[0].Code != 451 || !strings.Contains(out.Results[0].Text, "cannot be read") || len(p.requests()) != 0 {
				t.Errorf("format %d: %+v", format, out)
			}
		}
	}
	p := serve(t, nil)
	bad := func() (string, error) { return "", errors.New("no such file") }
	for _, hook := range []relay.Hook{{URLs: []string{p.URL}, Secret: bad}, {URLs: []string{p.URL}, Token: bad}} {
		out := deliver(t, courier(t, Options{}), job(hook))
		if out.Reach != spool.Unknown || !strings.Contains(out.Results[0].Text, "no such file") || len(p.requests()) != 0 {
			t.Errorf("%+v", out)
		}
	}
}

// Many recipients are several requests with the message whole, since the
// envelope stands in a field; as JSON they are one.
func TestManyRecipients(t *testing.T) {
	p := serve(t, nil)
	var rcpts []string
	for i := range 300 {
		rcpts = append(rcpts, fmt.Sprintf("%s%d@app.test", strings.Repeat("ü", 10), i))
	}
	out := deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{p.URL}, Secret: key1}, rcpts...))
	var got []string
	keys := make(map[string]bool)
	for _, r := range p.requests() {
		r.verifies(t, secret)
		if n := len(r.header.Get(envelopeField)); n > 8000 {
			t.Errorf("an envelope of %d octets", n)
		}
		keys[r.header.Get(keyField)] = true
		for _, rcpt := range r.envelope.Recipients {
			got = append(got, rcpt.To)
		}
	}
	if !slices.Equal(got, rcpts) || len(keys) < 3 || len(keys) != len(p.requests()) || slices.Contains(codes(out), 451) {
		t.Errorf("%d recipients in %d requests with %d keys: %v", len(got), len(p.requests()), len(keys), codes(out))
	}
	one := serve(t, nil)
	deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{one.URL}, Format: relay.HookJSON}, rcpts...))
	if r := one.requests(); len(r) != 1 || len(r[0].envelope.Recipients) != 300 {
		t.Errorf("%d requests as JSON", len(r))
	}
	// A program that is gone is not asked again for the rest.
	busy := serve(t, answering(503, ""))
	out = deliver(t, courier(t, Options{}), job(relay.Hook{URLs: []string{busy.URL}}, rcpts...))
	if len(busy.requests()) != 1 || out.Reach != spool.Unreached || slices.Contains(codes(out), 0) {
		t.Errorf("%d requests: %v", len(busy.requests()), codes(out))
	}
}

// The end of the daemon breaks an attempt off.
func TestBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := serve(t, func(http.ResponseWriter, *http.Request) { cancel() })
	p.answer = func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}
	out := courier(t, Options{}).Deliver(ctx, job(relay.Hook{URLs: []string{p.URL, p.URL}}))
	if out.Results[0].Code == 250 || len(p.requests()) != 1 {
		t.Errorf("%+v", out)
	}
}

func TestClientsAreBounded(t *testing.T) {
	p := serve(t, nil)
	c := courier(t, Options{})
	for range maxClients + 3 {
		deliver(t, c, job(relay.Hook{URLs: []string{p.URL}}))
	}
	if n := len(c.clients.list); n > maxClients {
		t.Errorf("%d are kept", n)
	}
}

// Couriers choose by the kind of the route.
func TestCouriers(t *testing.T) {
	p := serve(t, nil)
	j := job(relay.Hook{URLs: []string{p.URL}})
	couriers := relay.Couriers{relay.HTTP: courier(t, Options{})}
	if out := couriers.Deliver(t.Context(), j); out.Results[0].Code != 250 {
		t.Errorf("%+v", out)
	}
	j.Route = &relay.Route{Name: "mx"}
	if out := couriers.Deliver(t.Context(), j); out.Results[0].Class() != mail.Transient || out.Reach != spool.Unknown {
		t.Errorf("%+v", out)
	}
}
