package badger

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// What walSync rests on: after every commit the log that it syncs is the
// newest there is, however often Badger exchanges it, and again after the
// spool was reopened.
func TestSyncFollowsBadgersLog(t *testing.T) {
	e := open(t, Options{})
	body := make([]byte, inlineSize)
	for range 2 {
		first := e.wal.num
		for i := 0; e.wal.num < first+3; i++ {
			if i > 4*memTableSize/inlineSize {
				t.Fatal("Badger has not exchanged its log")
			}
			commit(t, e, body, forAlice)
			logs, err := filepath.Glob(filepath.Join(e.opt.Dir, "*"+walSuffix))
			if err != nil || len(logs) == 0 {
				t.Fatalf("logs %v, %v", logs, err)
			}
			if newest := logs[len(logs)-1]; newest != e.wal.name(e.wal.num) {
				t.Fatalf("the newest log is %s, %s was synced", newest, e.wal.name(e.wal.num))
			}
			synced, err := e.wal.synced.Stat()
			if err != nil {
				t.Fatal(err)
			}
			named, err := os.Stat(e.wal.name(e.wal.num))
			if err != nil || !os.SameFile(synced, named) {
				t.Fatalf("the file that was synced is not the one of that name (%v)", err)
			}
		}
		e = reopen(t, e)
	}
}

// A later transaction must not reach the device in a new log while an earlier
// one is not durable in the old: the committer has to know when Badger may
// change, for records of every size.
func TestLogsChangeOnlyWhenExpected(t *testing.T) {
	e := open(t, Options{})
	for _, size := range []int{4 << 10, inlineSize} {
		body := make([]byte, size)
		first := e.wal.num
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range memTableSize / 14 / size {
					s, err := e.Create()
					if err == nil {
						_, err = s.Write(body)
					}
					if err == nil {
						_, err = s.Commit(context.Background(), forBob)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if e.wal.num == first {
			t.Errorf("bodies of %d: the log was never changed", size)
		}
		if e.wal.early > 0 {
			t.Fatalf("bodies of %d: %d changes too early", size, e.wal.early)
		}
	}
}
