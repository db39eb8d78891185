package certs

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSelfSignedIsRenewedInTime lets ten years go by without a restart.
func TestSelfSignedIsRenewedInTime(t *testing.T) {
	now := time.Now()
	var log bytes.Buffer
	s := open(t, Options{Directory: t.TempDir(), Hostname: "mail.example.org", Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	first, made := s.Leaf(), 1
	last := s.Fingerprint()
	for end := now.AddDate(10, 0, 0); now.Before(end); now = now.Add(24 * time.Hour) {
		if nap := s.tend(t.Context()); nap <= 0 || nap > longestNap {
			t.Fatalf("a nap of %v", nap)
		}
		if f := s.Fingerprint(); f != last {
			last = f
			made++
		}
		if left := s.Leaf().NotAfter.Sub(now); left < renewal-25*time.Hour {
			t.Fatalf("%v are left on %v", left, now)
		}
	}
	if made < 5 || made > 7 {
		t.Errorf("%d certificates in ten years", made)
	}
	if string(s.Leaf().RawSubjectPublicKeyInfo) != string(first.RawSubjectPublicKeyInfo) {
		t.Error("the key has changed")
	}
	// When it cannot be written the old one stays, and the log tells.
	now = s.Leaf().NotAfter
	s.mu.Lock()
	s.opt.Directory = "/dev/null/x"
	s.mu.Unlock()
	s.tend(t.Context())
	if s.Fingerprint() != last || !strings.Contains(log.String(), "cannot be renewed") {
		t.Errorf("no word of it: %s", &log)
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	now := time.Now()
	var log bytes.Buffer
	dir, other := t.TempDir(), t.TempDir()
	open(t, Options{Directory: dir, Hostname: "one.example"})
	open(t, Options{Directory: other, Hostname: "two.example"})
	s := open(t, Options{
		Certificate: filepath.Join(dir, selfCertificate), Key: filepath.Join(dir, selfKey),
		Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	move := func(name string) {
		t.Helper()
		if err := os.Rename(filepath.Join(other, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.tend(t.Context())
	if log.Len() > 0 {
		t.Errorf("told: %s", &log)
	}
	// Half of a renewal is none.
	move(selfCertificate)
	s.tend(t.Context())
	if s.Leaf().Subject.CommonName != "one.example" || !strings.Contains(log.String(), "stays in use") {
		t.Errorf("%s is in use: %s", s.Leaf().Subject.CommonName, &log)
	}
	move(selfKey)
	s.tend(t.Context())
	if s.Leaf().Subject.CommonName != "two.example" || !strings.Contains(log.String(), "new certificate is in use") {
		t.Errorf("%s is in use: %s", s.Leaf().Subject.CommonName, &log)
	}
	log.Reset()
	for _, left := range []time.Duration{15 * 24 * time.Hour, 13 * 24 * time.Hour, 13*24*time.Hour - time.Hour, 11 * 24 * time.Hour, -time.Hour} {
		now = s.Leaf().NotAfter.Add(-left)
		s.tend(t.Context())
	}
	if soon, over := strings.Count(log.String(), "runs out soon"), strings.Count(log.String(), "has run out"); soon != 2 || over != 1 {
		t.Errorf("%d and %d warnings:\n%s", soon, over, &log)
	}
}

func TestRunEnds(t *testing.T) {
	s := open(t, Options{Directory: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	if err := s.Reload(Options{Directory: t.TempDir()}); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
