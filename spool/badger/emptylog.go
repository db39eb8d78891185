package badger

import (
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
)

// emptyLogs is how many log files a kill can leave empty: the one of the
// memtable and the value log.
const emptyLogs = 2

// openBadger opens the storage. Badger makes a log file first and gives it a
// size then; a kill between the two leaves an empty one. The next opening fills
// it in and fails, as if it had not been there, and only the one after that
// takes it. Nothing is in such a file, so we open again.
func openBadger(opt badgerdb.Options) (*badgerdb.DB, error) {
	for try := 0; ; try++ {
		db, err := badgerdb.Open(opt)
		// The error is wrapped in words alone.
		if err == nil || try == emptyLogs || !strings.HasSuffix(err.Error(), z.NewFile.Error()) {
			return db, err
		}
	}
}
