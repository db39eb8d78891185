package badger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"restante/spool"
	"restante/spool/segment"
)

// RestoreOptions says where a spool is restored to, and as what.
type RestoreOptions struct {
	// Dir must not exist, or be empty; its parent must exist.
	Dir    string
	Logger *slog.Logger
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// MinFree is the free space at which it gives up, DefaultMinFree if 0.
	MinFree int64
	// UIDs says whether mailboxes keep their UIDVALIDITY.
	UIDs UIDs
	// Queue says what becomes of tasks that are queued.
	Queue QueueAs
	// Finish, if not nil, is called when all has been read and found good, and
	// before Dir is there; an error of it gives everything up.
	Finish func(RestoreInfo) error
}

// UIDs is what a restored spool says of UIDs that IMAP clients know.
type UIDs uint8

const (
	// RenewUIDs gives every mailbox a new UIDVALIDITY. What came in after the
	// backup had UIDs that will be given again, to other messages; clients must
	// not take the one for the other, and fetch everything anew.
	RenewUIDs UIDs = iota
	// KeepUIDs leaves them: nothing happened after the backup.
	KeepUIDs
)

// QueueAs is what becomes of queued tasks.
type QueueAs uint8

const (
	// AsQueued goes on delivering. What was delivered after the backup will be
	// delivered again.
	AsQueued QueueAs = iota
	// AsHeld holds them all, until somebody has looked at them.
	AsHeld
)

// RestoreInfo tells what was restored.
type RestoreInfo struct {
	// BackupInfo is that of the newest backup; Keys is the number of records
	// that came from older ones.
	BackupInfo
	// Files are the newest backup's.
	Files []BackupFile
}

// RestoringSuffix is in the name of the directory that a restored spool has
// until it is complete; what follows it is random.
const RestoringSuffix = ".restoring-"

// Restore makes a spool from a full backup and any increments on it, in any
// order. It is a spool of its own: backups of it begin with a full one. Memory
// is bounded. When it fails, with ErrBackup if a backup is damaged or cut off
// and ErrBase if they do not follow on each other, nothing is left behind; when
// its process dies, a directory that is no spool may be.
func Restore(ctx context.Context, opt RestoreOptions, backups ...io.Reader) (RestoreInfo, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.MinFree == 0 {
		opt.MinFree = DefaultMinFree
	}
	opt.Dir = filepath.Clean(opt.Dir)
	if err := vacant(opt.Dir); err != nil {
		return RestoreInfo{}, fmt.Errorf("restore: %w", err)
	}
	chain, err := openChain(backups)
	if err != nil {
		return RestoreInfo{}, fmt.Errorf("restore: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(opt.Dir), filepath.Base(opt.Dir)+RestoringSuffix)
	if err != nil {
		return RestoreInfo{}, fmt.Errorf("restore: %w", err)
	}
	info, err := restore(ctx, opt, chain, work)
	if err != nil {
		return RestoreInfo{}, fmt.Errorf("restore: %w", errors.Join(err, os.RemoveAll(work)))
	}
	return info, nil
}

// restore does it in the directory work, and gives that its name at the end.
func restore(ctx context.Context, opt RestoreOptions, chain chain, work string) (info RestoreInfo, err error) {
	db, err := badgerdb.Open(badgerOptions(Options{Dir: work, Logger: opt.Logger}).WithMemTableSize(restoreMemTable))
	if err != nil {
		return info, err
	}
	segments, err := segment.Open(segment.Options{Dir: filepath.Join(work, segmentsName), Logger: opt.Logger})
	if err != nil {
		return info, errors.Join(err, db.Close())
	}
	r := &restorer{opt: opt, db: db, dir: work, chain: chain, segments: segments}
	info, err = r.run(ctx)
	if err := errors.Join(err, segments.Sync(), segments.Close(), db.Close()); err != nil {
		return info, err
	}
	// Close has written everything to tables.
	if err := syncTree(work); err != nil {
		return info, err
	}
	if opt.Finish != nil {
		if err := opt.Finish(info); err != nil {
			return info, err
		}
	}
	if err := os.Remove(opt.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	if err := os.Rename(work, opt.Dir); err != nil {
		return info, err
	}
	return info, syncFile(filepath.Dir(opt.Dir))
}

// vacant fails unless a directory is empty or missing.
func vacant(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && len(list) > 0:
		return fmt.Errorf("%s is not empty: %w", dir, fs.ErrExist)
	}
	return err
}

// syncTree makes a directory durable with the files in it.
func syncTree(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range list {
		if err := syncFile(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return syncFile(dir)
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// restorer writes the records of a chain into an empty Badger.
type restorer struct {
	opt   RestoreOptions
	db    *badgerdb.DB
	dir   string
	chain chain

	t        *tx
	segments *segment.Store
	long     longBody
	// validity is the UIDVALIDITY given last, if they are renewed.
	validity uint64
	damaged  uint64
}

// validityGap is more than UIDVALIDITYs can have been given in the second of
// the restoring, and before it since the backup if the clock went wrong.
const validityGap = 1 << 16

const (
	// restoreMemTable is small: Badger holds on to several times its size for
	// each of up to eight tables when it is written to without a pause.
	restoreMemTable = 8 << 20
	// restoreBatch bounds a transaction of more than one record, in octets.
	// Badger's own bound is 15 % of the memtable, which a single record of less
	// than the value threshold fits.
	restoreBatch = restoreMemTable / 8
)

func (r *restorer) run(ctx context.Context) (info RestoreInfo, err error) {
	r.t = &tx{txn: r.db.NewTransaction(true)}
	defer func() { r.t.discard() }()
	for {
		if ctx.Err() != nil {
			return info, context.Cause(ctx)
		}
		key, value, err := r.chain.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return info, err
		}
		if taken, err := r.body(key, value); err != nil {
			return info, err
		} else if taken {
			continue
		}
		if err := r.fit(len(key) + len(value)); err != nil {
			return info, err
		}
		if err := r.record(key, value); err != nil {
			return info, err
		}
	}
	if r.long.open {
		if err := r.endBody(); err != nil {
			return info, err
		}
	}
	if r.validity > 0 {
		if err := r.t.set(metaKey(metaUIDValidity), encodeCounter(r.validity)); err != nil {
			return info, err
		}
	}
	if err := r.t.renewIdentity(); err != nil {
		return info, err
	}
	if err := r.turn(); err != nil {
		return info, err
	}
	newest := r.chain[len(r.chain)-1]
	info = RestoreInfo{BackupInfo: newest.info, Files: newest.files}
	info.Damaged = r.damaged
	return info, nil
}

// room fails with spool.ErrFull when the disk is filling up.
func (r *restorer) room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if int64(st.Bavail)*int64(st.Bsize) < r.opt.MinFree {
		return fmt.Errorf("%w: less than %d octets free", spool.ErrFull, r.opt.MinFree)
	}
	return nil
}

// fit makes sure that the transaction holds a record of a size more.
func (r *restorer) fit(size int) error {
	if r.t.entries < maxBatchEntries && r.t.size+int64(size) <= restoreBatch {
		return nil
	}
	return r.turn()
}

// turn commits the transaction and begins another.
func (r *restorer) turn() error {
	if err := r.room(); err != nil {
		return err
	}
	if err := r.t.commit(); err != nil {
		return err
	}
	r.t = &tx{txn: r.db.NewTransaction(true)}
	return nil
}

// record writes one record, as the restored spool is to have it. Both slices
// are the chain's.
func (r *restorer) record(key, value []byte) error {
	key = slices.Clone(key)
	payload, err := unseal(key, value)
	if err != nil {
		r.damaged++ // it stays what it is, and is reported wherever it is read
		r.t.entries++
		r.t.size += int64(len(key) + len(value))
		return r.t.txn.Set(key, slices.Clone(value))
	}
	payload = append(make([]byte, 0, len(payload)+sumLen), payload...)
	switch {
	case key[0] == kMessage:
		if payload, err = r.message(idOf(key), payload); err != nil {
			return fmt.Errorf("message: %w", err)
		}
	case key[0] == kOnce:
		once, err := decodeOnce(payload)
		left := once.until.Sub(r.opt.Now())
		if err != nil || left <= 0 {
			return err
		}
		return r.t.setFor(key, payload, left)
	case r.opt.Queue == AsHeld && (key[0] == kQueue || key[0] == kTimer):
		return nil
	case r.opt.Queue == AsHeld && key[0] == kTask:
		if payload, err = r.held(payload); err != nil {
			return fmt.Errorf("task %s: %w", taskOf(key), err)
		}
	case r.opt.UIDs == RenewUIDs && string(key) == string(metaKey(metaUIDValidity)):
		if r.validity, err = decodeCounter(payload); err != nil {
			return fmt.Errorf("UIDVALIDITY: %w", err)
		}
		r.validity = max(r.validity, uint64(uint32(r.opt.Now().Unix()))) + validityGap
		return nil // run writes it
	case r.opt.UIDs == RenewUIDs && key[0] == kMailbox:
		if payload, err = r.renewed(payload); err != nil {
			return fmt.Errorf("mailbox: %w", err)
		}
	}
	return r.t.set(key, payload)
}

func (r *restorer) held(payload []byte) ([]byte, error) {
	task, err := decodeTask(payload)
	if err != nil || task.state != spool.Queued {
		return payload, err
	}
	task.state, task.held, task.timer = spool.Held, r.opt.Now(), time.Time{}
	return task.encode(), nil
}

func (r *restorer) renewed(payload []byte) ([]byte, error) {
	m, err := decodeMailbox(0, payload)
	if err != nil {
		return nil, err
	}
	r.validity++
	m.UIDValidity = uint32(r.validity)
	return encodeMailbox(&m), nil
}
