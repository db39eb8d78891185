package badger

import (
	"os"
	"path/filepath"
	"testing"
)

// What walSync rests on: after every commit the log that it syncs is the
// newest there is, however often Badger exchanges it, and again after the
// spool was reopened.
func TestSyncFollowsBadgersLog(t *testing.T) {
	e := open(t, Options{})
	body := make([]byte, chunkSize)
	for range 2 {
		first := e.wal.num
		for i := 0; e.wal.num < first+3; i++ {
			if i > 4*memTableSize/chunkSize {
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
			synced, err := e.wal.file.Stat()
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
