package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/maildrop"
)

// strangeDaemon answers a control socket as it is told.
type strangeDaemon struct {
	place
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request)
	asked  url.Values
}

func newStrangeDaemon(t *testing.T) *strangeDaemon {
	dir, err := os.MkdirTemp("", "hand") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &strangeDaemon{place: place{cfg: config.Default(), state: dir, socket: filepath.Join(dir, "s"), maildrop: filepath.Join(dir, "drop")}}
	s.cfg.Spool.MinFree = 0
	if err := maildrop.Make(s.maildrop); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return
		}
		s.mu.Lock()
		s.asked = r.URL.Query()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	})}
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return s
}

// dropped takes what is in the maildrop.
func (s *strangeDaemon) dropped(t *testing.T) (all []dropped) {
	t.Helper()
	c := maildrop.NewCollector(maildrop.Options{Dir: s.maildrop, Take: func(_ context.Context, i *maildrop.Item) error {
		var d dropped
		if err := json.Unmarshal(i.Envelope, &d); err != nil {
			return err
		}
		all = append(all, d)
		return nil
	}})
	if err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestHandOver says what becomes of a message for each of a daemon's moods.
func TestHandOver(t *testing.T) {
	s := newStrangeDaemon(t)
	text, err := collect(strings.NewReader("Subject: x\n\nx\n"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	status := func(status int, code control.Code) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":"no","code":%q}`, code)
		}
	}
	cut := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, c := range []struct {
		what   string
		answer func(http.ResponseWriter, *http.Request)
		code   int
		drop   bool
	}{
		{"accepted", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"id":"06H0AUEDU7PI71FC"}`)
		}, exitOK, false},
		{"cut off after it was all read", cut, exitOK, true},
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, exitOK, true},
		{"answers nonsense", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "what?") }, exitOK, true},
		{"in doubt", status(503, control.CodeUnavailable), exitOK, true},
		{"full", status(507, control.CodeFull), exitOK, true},
		{"faulty", status(500, control.CodeInternal), exitOK, true},
		{"too large", status(413, control.CodeTooLarge), exDataErr, false},
		{"no such user", status(422, control.CodeNoSuchUser), exNoUser, false},
		{"bad request", status(400, control.CodeBadRequest), exUsage, false},
		{"forbidden", status(403, control.CodeForbidden), exNoPerm, false},
	} {
		s.mu.Lock()
		s.answer = c.answer
		s.mu.Unlock()
		patience := time.Minute
		if c.what == "silent" {
			patience = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		said, code, err := s.handOver(ctx, control.Submission{Recipients: []string{"alice"}}, text)
		cancel()
		if code != c.code || (err == nil) != (code == exitOK) || (said == "") != (err != nil) {
			t.Errorf("%s: %q, %d, %v", c.what, said, code, err)
		}
		got := s.dropped(t)
		if len(got) == 1 != c.drop || len(got) > 1 {
			t.Errorf("%s: %d messages in the maildrop", c.what, len(got))
			continue
		}
		s.mu.Lock()
		once := s.asked.Get("once")
		s.mu.Unlock()
		if len(once) != 32 || c.drop && got[0].Submission.Once != once {
			t.Errorf("%s: it went under the names %q and %+v", c.what, once, got)
		}
	}
	// Where there is no room, and where there is no maildrop.
	s.answer = cut
	s.cfg.Spool.MinFree = 1 << 60
	if _, code, err := s.handOver(t.Context(), control.Submission{Recipients: []string{"alice"}}, text); code != exTempFail || err == nil {
		t.Errorf("no room: %d, %v", code, err)
	}
	s.maildrop += "x"
	if _, code, err := s.handOver(t.Context(), control.Submission{Recipients: []string{"alice"}}, text); code != exTempFail || err == nil {
		t.Errorf("no maildrop: %d, %v", code, err)
	}
}
