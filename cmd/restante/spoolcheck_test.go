package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/badger"
)

// restanteOut runs a command in this process.
func restanteOut(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	code = run(t.Context(), streams{in: strings.NewReader(""), out: &b, err: &b}, args)
	return code, b.String()
}

// damageState makes a state directory whose spool has lost commits: its log was
// cut off in the middle.
func damageState(t *testing.T, state string) {
	t.Helper()
	whole := t.TempDir()
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	e, err := badger.Open(badger.Options{Dir: spoolDir(whole)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for range 50 {
		s, err := e.Create()
		if err == nil {
			_, err = s.Write([]byte("Subject: x\r\n\r\nhello\r\n"))
		}
		if err == nil {
			_, err = s.Commit(context.Background(), spool.Message{Tasks: []spool.Task{{
				Destination: spool.Destination{Route: "mx"}, Recipients: []mail.Recipient{{To: mail.Address{Local: "a", Domain: "b.example"}}},
			}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// As kill -9 leaves it: open.
	if err := os.CopyFS(spoolDir(state), os.DirFS(spoolDir(whole))); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(spoolDir(state), "*.mem"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	b, err := os.ReadFile(logs[0])
	if err == nil {
		b[len(bytes.TrimRight(b, "\x00"))/2] ^= 1
		err = os.WriteFile(logs[0], b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A loss is said by the status until a repair acknowledges it, and told by the
// check's exit code.
func TestLossIsShownUntilAcknowledged(t *testing.T) {
	offline := t.TempDir()
	damageState(t, offline)
	for i, want := range []struct {
		args, text string
		code       int
	}{
		{"spool check", "acknowledged commits between", exitFindings},
		{"spool check --repair", "1 finding, 1 repaired, 0 moved aside, 0 remaining", exitFindings},
		{"spool check", "all is as it should be", exitOK},
	} {
		code, out := restanteOut(t, append(strings.Fields(want.args), "--state", offline)...)
		if code != want.code || !strings.Contains(out, want.text) {
			t.Errorf("offline, step %d: exit code %d, want %d: %s", i, code, want.code, out)
		}
	}

	p := newProcess(t)
	online := p.state()
	damageState(t, online)
	p.start("", nil, "--config", p.write("config.toml", oneListener))
	waitUp(online, func(err error) { t.Fatal(err) })
	p.waitFor(&p.err, "COMMITS ARE MISSING")
	for i, want := range []struct {
		args, text string
		code       int
	}{
		{"status", "LOST: ", exitOK},
		{"spool check", "acknowledged commits between", exitFindings},
		{"status", "LOST: ", exitOK},
		{"spool check --repair", "1 repaired", exitFindings},
		{"spool check", "all is as it should be", exitOK},
	} {
		code, out := restanteOut(t, append(strings.Fields(want.args), "--state", online)...)
		if code != want.code || !strings.Contains(out, want.text) {
			t.Errorf("online, step %d: exit code %d, want %d: %s", i, code, want.code, out)
		}
	}
	if _, out := restanteOut(t, "status", "--state", online); strings.Contains(out, "LOST") {
		t.Errorf("after the repair: %s", out)
	}
}
