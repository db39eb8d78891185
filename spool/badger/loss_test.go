package badger

import (
	"bufio"
	"bytes"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

// killed opens a copy of a spool as kill -9 would leave it: what was written
// is there, and nothing was closed.
func killed(t testing.TB, e *Engine) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(dir, os.DirFS(e.opt.Dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func logsOf(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+walSuffix))
	if err != nil || len(names) == 0 {
		t.Fatalf("logs: %v, %v", names, err)
	}
	slices.Sort(names)
	return names
}

// edit changes a file in place.
func edit(t testing.TB, name string, f func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(at func(b []byte) int) func(b []byte) []byte {
	return func(b []byte) []byte {
		b[at(b)] ^= 1
		return b
	}
}

func used(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

func middle(b []byte) int { return used(b) / 2 }

func logged() (*slog.Logger, *bytes.Buffer) {
	b := new(bytes.Buffer)
	return slog.New(slog.NewTextHandler(b, nil)), b
}

// Badger drops what follows the first record of a log that it cannot read, and
// opens without an error. We must tell, and keep telling until it is
// acknowledged.
func TestLostCommitsAreReported(t *testing.T) {
	e := open(t, Options{})
	for range 150 {
		commit(t, e, []byte("Subject: x\r\n\r\nhello\r\n"), forAlice)
	}
	total := e.commits
	for name, damage := range map[string]func(b []byte) []byte{
		"flipped in the middle": flip(middle),
		"flipped at the end":    flip(func(b []byte) int { return used(b) - 1 }),
		"flipped at the start":  flip(func([]byte) int { return logHeader + 3 }),
		"cut":                   func(b []byte) []byte { return b[:used(b)/3] },
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, e)
			edit(t, logsOf(t, dir)[0], damage)
			log, out := logged()
			e := open(t, Options{Dir: dir, Logger: log})
			m, _ := e.Mailbox("alice", spool.Inbox)
			losses := e.Losses()
			if len(losses) != 1 || losses[0].Last != total {
				t.Fatalf("losses %+v, want one up to %d; %d of 150 messages are left", losses, total, m.Messages)
			}
			l := losses[0]
			// The format is commit 1, each message one more.
			if lost := uint64(150 - m.Messages); l.Commits() != lost && m.Messages > 0 {
				t.Errorf("%d commits reported, %d messages are missing", l.Commits(), lost)
			}
			if l.To.IsZero() || l.To.Before(l.From) {
				t.Errorf("between %v and %v", l.From, l.To)
			}
			if !strings.Contains(out.String(), "level=ERROR") || !strings.Contains(out.String(), "COMMITS ARE MISSING") {
				t.Errorf("log: %s", out)
			}
			// It goes on, and does not forget.
			commit(t, e, []byte("x"), forAlice)
			e = reopen(t, e)
			if again := e.Losses(); len(again) != 1 || again[0].First != l.First || again[0].Last != l.Last {
				t.Fatalf("after reopening: %+v, want %+v", again, l)
			}
			if _, err := e.Check(t.Context(), spool.CheckOptions{Repair: true}); err != nil {
				t.Fatal(err)
			}
			if got := e.Losses(); len(got) != 0 {
				t.Fatalf("after the acknowledgement: %+v", got)
			}
			e = reopen(t, e)
			if got := e.Losses(); len(got) != 0 {
				t.Fatalf("after the acknowledgement and reopening: %+v", got)
			}
		})
	}
}

// Nothing may be reported where nothing is missing: after kill -9, after a
// clean end, and when the mark lags as after a loss of power.
func TestNoLossIsNotReported(t *testing.T) {
	e := open(t, Options{})
	early := killed(t, e)
	for range 20 {
		commit(t, e, []byte("x"), forAlice)
	}
	quiet := func(name, dir string) {
		log, out := logged()
		e := open(t, Options{Dir: dir, Logger: log})
		defer e.Close()
		if got := e.Losses(); len(got) != 0 || strings.Contains(out.String(), "ERROR") {
			t.Errorf("%s: losses %+v, log: %s", name, got, out)
		}
		commit(t, e, []byte("x"), forAlice)
	}
	quiet("killed", killed(t, e))
	lagging := killed(t, e)
	old, err := os.ReadFile(filepath.Join(early, markName))
	if err == nil {
		err = os.WriteFile(filepath.Join(lagging, markName), old, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	quiet("lagging mark", lagging)
	missing := killed(t, e)
	if err := os.Remove(filepath.Join(missing, markName)); err != nil {
		t.Fatal(err)
	}
	quiet("no mark", missing)
	e.Close()
	quiet("closed", e.opt.Dir)
	quiet("again", e.opt.Dir)
}

// twoLogs returns the directory of a killed spool whose commits are in two
// logs, as after Badger has exchanged them: 1 to half, and half+1 to all.
func twoLogs(t *testing.T) (dir string, half, all uint64) {
	t.Helper()
	e := open(t, Options{})
	fill := func() []byte {
		for range 50 {
			commit(t, e, []byte("x"), forAlice)
		}
		b, err := os.ReadFile(e.wal.name(e.wal.num))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one := fill()
	half = e.commits
	both := fill()
	all = e.commits
	dir = killed(t, e)
	at := used(one)
	for ; at < used(one)+crc32.Size; at++ {
		first, _, err := scanRecords(bufio.NewReader(bytes.NewReader(both[at:])))
		if err == nil && first.number == half+1 {
			break
		}
	}
	two := append(slices.Clone(both[:logHeader]), both[at:]...)
	for num, b := range map[int][]byte{e.wal.num: one, e.wal.num + 1: two} {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(e.wal.name(num))), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, half, all
}

// A log before the last that is cut off leaves the counter as high as it
// was: the gap between the logs tells.
func TestGapBetweenLogsIsReported(t *testing.T) {
	for name, at := range map[string]func([]byte) int{
		"nowhere":       nil,
		"in the middle": middle,
		"at the end":    func(b []byte) int { return used(b) - 1 },
		"at the start":  func([]byte) int { return logHeader + 3 },
	} {
		t.Run(name, func(t *testing.T) {
			dir, half, all := twoLogs(t)
			if at != nil {
				edit(t, logsOf(t, dir)[0], flip(at))
			}
			log, out := logged()
			e := open(t, Options{Dir: dir, Logger: log})
			got := e.Losses()
			m, err := e.Mailbox("alice", spool.Inbox)
			if at == nil {
				if len(got) != 0 || err != nil || m.Messages != 100 {
					t.Fatalf("undamaged: %+v, %d messages, %v", got, m.Messages, err)
				}
				return
			}
			if len(got) != 1 || got[0].Last != half || got[0].First > half {
				t.Fatalf("losses %+v, want one up to %d (%d commits in all)\n%s", got, half, all, out)
			}
		})
	}
}

// A slot of the mark that is damaged must not hide the other, nor be taken.
func TestDamagedMark(t *testing.T) {
	e := open(t, Options{})
	for range 5 {
		commit(t, e, []byte("x"), forAlice)
	}
	high := e.commits
	e.Close()
	for slot := range 2 {
		dir := killed(t, e)
		edit(t, filepath.Join(dir, markName), flip(func([]byte) int { return slot*markSlot + 10 }))
		log, out := logged()
		h, m, err := openMark(dir, log)
		if err != nil {
			t.Fatal(err)
		}
		if m.number != high && m.number != high-1 || !strings.Contains(out.String(), "ERROR") {
			t.Errorf("slot %d damaged: mark %d, want %d or the one before; log %s", slot, m.number, high, out)
		}
		h.write(mark{high + 1, time.Now()})
		h.close()
		if _, m, err = openMarkAgain(t, dir); err != nil || m.number != high+1 {
			t.Errorf("after the next write: %d, %v", m.number, err)
		}
	}
}

func openMarkAgain(t *testing.T, dir string) (*highMark, mark, error) {
	h, m, err := openMark(dir, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { h.close() })
	}
	return h, m, err
}

func FuzzMark(f *testing.F) {
	f.Add(mark{7, time.Unix(1, 2)}.encode())
	f.Add([]byte(markMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMark(b)
		if err == nil && !bytes.Equal(m.encode(), b) {
			t.Errorf("%x came back as %x", b, m.encode())
		}
	})
}

func FuzzLogScan(f *testing.F) {
	e := open(f, Options{})
	commit(f, e, []byte("x"), forAlice)
	b, err := os.ReadFile(e.wal.name(e.wal.num))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[logHeader:used(b)])
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, last, err := scanRecords(bufio.NewReader(bytes.NewReader(b)))
		if err != nil || first.number > last.number {
			t.Errorf("%v to %v, %v", first, last, err)
		}
	})
}
