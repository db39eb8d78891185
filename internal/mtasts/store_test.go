package mtasts

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/standin"
)

// world is a domain's name server and web server.
type world struct {
	t     *testing.T
	web   *standin.Web
	trust *standin.Authority
	dir   string
	now   time.Time

	mu  sync.Mutex
	txt map[string]string // "" is SERVFAIL
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	ca, err := standin.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	if names == nil {
		names = []string{"mta-sts.example.com", "mta-sts.example.net"}
	}
	cert, err := ca.Issue(standin.Spec{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, web: standin.NewWeb(cert), trust: ca, dir: filepath.Join(t.TempDir(), "sts"), now: time.Unix(1e9, 0), txt: make(map[string]string)}
	t.Cleanup(w.web.Close)
	return w
}

func (w *world) open() *Store {
	w.t.Helper()
	s, err := Open(Options{
		Dir: w.dir, Now: func() time.Time { return w.now }, LookupTXT: w.lookup,
		Transport: NewTransport(&tls.Config{RootCAs: w.trust.Pool}, w.web.Dial),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) lookup(_ context.Context, name string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text, ok := w.txt[name]
	switch {
	case !ok:
		return nil, &net.DNSError{IsNotFound: true}
	case text == "":
		return nil, &net.DNSError{IsTemporary: true}
	}
	return []string{text}, nil
}

func (w *world) publish(domain, id string, lines ...string) {
	w.mu.Lock()
	w.txt["_mta-sts."+domain] = "v=STSv1; id=" + id
	w.mu.Unlock()
	w.web.Policy(domain, lines...)
}

// is tells what holds for a domain: its first mx, "none", and the error.
func is(t *testing.T, s *Store, domain, want string) {
	t.Helper()
	p, ok, err := s.Policy(context.Background(), domain)
	got := "none"
	if ok {
		got = strings.Join(p.MX, " ")
	}
	if err != nil {
		got += ", " + string(Result(err))
	}
	if got != want {
		t.Errorf("%s: %q (%v), want %q", domain, got, err, want)
	}
}

func lines(mx string, age int) []string {
	return []string{"version: STSv1", "mode: enforce", "mx: " + mx, fmt.Sprint("max_age: ", age)}
}

func TestStore(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	is(t, s, "example.com", "none")
	w.publish("example.com", "1", lines("mx1.example.com", 86400)...)
	is(t, s, "example.com", "mx1.example.com")
	is(t, s, "example.com", "mx1.example.com")
	if n := len(w.web.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
	// The same id means the same policy; a new one is fetched.
	w.publish("example.com", "1", lines("mx2.example.com", 86400)...)
	is(t, s, "example.com", "mx1.example.com")
	w.publish("example.com", "2", lines("mx3.example.com", 86400)...)
	is(t, s, "example.com", "mx3.example.com")
	// What is known holds on while the domain's record or web server is away.
	delete(w.txt, "_mta-sts.example.com")
	is(t, s, "example.com", "mx3.example.com")
	w.txt["_mta-sts.example.com"] = ""
	is(t, s, "example.com", "mx3.example.com")
	w.publish("example.com", "3", "nonsense")
	is(t, s, "example.com", "mx3.example.com, sts-policy-invalid")
	// It is not asked again at once, and after a restart it is still known.
	n := len(w.web.Requests())
	is(t, s, "example.com", "mx3.example.com, sts-policy-invalid")
	if len(w.web.Requests()) != n {
		t.Error("a server that fails is asked again at once")
	}
	s = w.open()
	is(t, s, "example.com", "mx3.example.com, sts-policy-invalid")
	w.now = w.now.Add(pause)
	w.publish("example.com", "4", lines("mx4.example.com", 86400)...)
	is(t, s, "example.com", "mx4.example.com")
	// It runs out.
	delete(w.txt, "_mta-sts.example.com")
	w.now = w.now.Add(24 * time.Hour)
	is(t, s, "example.com", "none")
	s.refresh(context.Background())
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestRefresh(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	w.publish("example.com", "1", lines("mx.example.com", 7*86400)...)
	w.publish("example.net", "1", lines("mx.example.net", 3600)...)
	is(t, s, "example.com", "mx.example.com")
	is(t, s, "example.net", "mx.example.net")
	w.now = w.now.Add(31 * time.Minute)
	s.refresh(context.Background()) // the second alone is past its half
	w.now = w.now.Add(31 * time.Minute)
	w.mu.Lock()
	delete(w.txt, "_mta-sts.example.net")
	w.mu.Unlock()
	is(t, s, "example.net", "mx.example.net") // it holds, as fetched anew
	w.now = w.now.Add(24 * time.Hour)
	s.refresh(context.Background())
	is(t, s, "example.net", "none")
	if n := len(w.web.Requests()); n != 4 {
		t.Errorf("%d requests: %v", n, w.web.Requests())
	}
	// Nobody uses it: it is left alone.
	w.now = w.now.Add(idle)
	if due := s.due(); len(due) != 0 {
		t.Errorf("due: %v", due)
	}
}

func TestFetchFaults(t *testing.T) {
	w := newWorld(t)
	good := strings.Join(lines("mx.example.com", 60), "\n")
	page := func(kind, body string, code int) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			rw.WriteHeader(code)
			fmt.Fprint(rw, body)
		}
	}
	for name, tt := range map[string]struct {
		page http.HandlerFunc
		want string
	}{
		"good":       {page("text/plain; charset=utf-8", good, 200), "mx.example.com"},
		"not found":  {page("text/plain", good, 404), "none, sts-policy-fetch-error"},
		"created":    {page("text/plain", good, 201), "none, sts-policy-fetch-error"},
		"HTML":       {page("text/html", good, 200), "none, sts-policy-fetch-error"},
		"no type":    {page("", good, 200), "none, sts-policy-fetch-error"},
		"too large":  {page("text/plain", good+strings.Repeat("\nx: y", 20000), 200), "none, sts-policy-invalid"},
		"empty":      {page("text/plain", "", 200), "none, sts-policy-invalid"},
		"redirected": {http.RedirectHandler("https://mta-sts.example.net/.well-known/mta-sts.txt", http.StatusMovedPermanently).ServeHTTP, "none, sts-policy-fetch-error"},
	} {
		t.Run(name, func(t *testing.T) {
			w.dir = filepath.Join(t.TempDir(), "sts")
			w.publish("example.com", "1")
			w.publish("example.net", "1", lines("mx.example.net", 60)...)
			w.web.Handle("mta-sts.example.com/.well-known/mta-sts.txt", tt.page)
			is(t, w.open(), "example.com", tt.want)
		})
	}
	for _, r := range w.web.Requests() {
		if strings.Contains(r, "example.net") {
			t.Error("a redirect was followed")
		}
	}
}

func TestWebCertificate(t *testing.T) {
	w := newWorld(t, "example.com", "www.example.com")
	w.publish("example.com", "1", lines("mx.example.com", 60)...)
	is(t, w.open(), "example.com", "none, sts-webpki-invalid")
}

// Files that are none of ours, or of another domain, are not believed.
func TestLoad(t *testing.T) {
	w := newWorld(t)
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"example.com.json": `{"domain":"example.net"}`,
		"example.net.json": `not JSON`,
		"old.example.json": `{"domain":"old.example","policy":{"mode":"enforce","mx":["a.b"],"max_age":1},"fetched":"2001-01-01T00:00:00Z"}`,
		".new-123":         `{`,
	} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := w.open()
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 || len(s.known) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestStoreIsBounded(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	s.mu.Lock()
	for i := range maxPolicies + 1 {
		s.put(&entry{Domain: fmt.Sprintf("d%05d.example", i), Used: w.now.Add(time.Duration(i) * time.Second), Fetched: w.now})
	}
	if len(s.known) > maxPolicies || s.known["d00000.example"] != nil || s.known[fmt.Sprintf("d%05d.example", maxPolicies)] == nil {
		t.Errorf("%d policies", len(s.known))
	}
	size := 0
	for _, e := range s.known {
		size += e.size()
	}
	if size != s.size {
		t.Errorf("size %d, counted %d", size, s.size)
	}
	big := entry{Domain: "big.example", Used: w.now.Add(time.Hour * 24)}
	big.Policy.MX = []string{strings.Repeat("x", maxOctets-1000)}
	s.put(&big)
	if s.size > maxOctets || s.known["big.example"] == nil {
		t.Errorf("%d octets", s.size)
	}
	s.mu.Unlock()
}

// Many deliveries at a time ask the domain once.
func TestOneFetch(t *testing.T) {
	w := newWorld(t)
	w.publish("example.com", "1", lines("mx.example.com", 60)...)
	s := w.open()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { is(t, s, "example.com", "mx.example.com") })
	}
	all.Wait()
	if n := len(w.web.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}
