package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"

	"restante/spool"
)

// maxTableReaders bounds the tables that are in memory at once.
const maxTableReaders = 4

// checkTables reads every block of every table before Badger opens them.
// Badger would do so too if it were asked to, but a block that does not match
// its checksum makes it panic in a goroutine of its own, which ends the
// process without an error; and without being asked it takes such a block for
// the end of its table, in iterations and, worse, in compactions.
func checkTables(opt badgerdb.Options) error {
	names, err := tableNames(opt)
	if err != nil {
		return err
	}
	_, bad := readTables(names, opt)
	return bad
}

// recheckTables is checkTables beside a Badger that has them open: a table that
// is no longer in the manifest was being deleted, and is no matter.
func recheckTables(opt badgerdb.Options) error {
	names, err := tableNames(opt)
	if err != nil {
		return err
	}
	hurt, bad := readTables(names, opt)
	if bad == nil {
		return nil
	}
	if names, err = tableNames(opt); err != nil {
		return err
	}
	hurt = slices.DeleteFunc(hurt, func(name string) bool { return !slices.Contains(names, name) })
	_, bad = readTables(hurt, opt)
	return bad
}

// readTables returns the tables that are damaged, and what is wrong with them.
func readTables(names []string, opt badgerdb.Options) (hurt []string, bad error) {
	work := make(chan string)
	var readers sync.WaitGroup
	var mu sync.Mutex
	for range min(runtime.GOMAXPROCS(0), maxTableReaders) {
		readers.Go(func() {
			for name := range work {
				if err := checkTable(name, opt); err != nil {
					mu.Lock()
					bad = errors.Join(bad, fmt.Errorf("%w: table %s: %w", spool.ErrCorrupt, name, err))
					hurt = append(hurt, name)
					mu.Unlock()
				}
			}
		})
	}
	for _, name := range names {
		work <- name
	}
	close(work)
	readers.Wait()
	return hurt, bad
}

// tableNames returns the tables that belong to the storage. A file that is not
// in the manifest is left of a crash, and Badger deletes it.
func tableNames(opt badgerdb.Options) (names []string, err error) {
	f, err := os.Open(filepath.Join(opt.Dir, badgerdb.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, end, err := badgerdb.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", spool.ErrCorrupt, err)
	}
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		return nil, err
	}
	tail, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	if hasWholeRecord(tail) {
		return nil, fmt.Errorf("%w: manifest: a damaged length at %d", spool.ErrCorrupt, end)
	}
	for id := range m.Tables {
		names = append(names, table.NewFilename(id, opt.Dir))
	}
	return names, nil
}

// hasWholeRecord tells whether what Badger takes for the torn end of the
// manifest begins with a whole record whose length alone is wrong. Badger would
// cut it off with all that follows, and delete the tables that those told of.
func hasWholeRecord(tail []byte) bool {
	const head = 8 // length, checksum
	if len(tail) < head {
		return false
	}
	want, sum := binary.BigEndian.Uint32(tail[4:]), uint32(0)
	for i := head; i < len(tail) && sum != want; i++ {
		sum = crc32.Update(sum, castagnoli, tail[i:i+1])
	}
	return sum == want
}

func checkTable(name string, opt badgerdb.Options) (err error) {
	defer func() {
		// Badger means to return the block's error and trips over the missing block.
		if recover() != nil {
			err = errors.New("it has a block that cannot be read")
		}
	}()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process has the spool open; or Badger will miss it
	}
	if err != nil {
		return err
	}
	id, _ := table.ParseFileID(name)
	t, err := table.OpenInMemoryTable(data, id, &table.Options{
		BlockSize:   opt.BlockSize,
		ChkMode:     options.OnBlockRead,
		Compression: opt.Compression,
	})
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}
