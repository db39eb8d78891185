package badger

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/spool"
	"restante/spool/segment"
)

// BackupOptions says what a backup holds.
type BackupOptions struct {
	// Since makes an increment on the backup of that mark: it carries only what
	// has changed, and names what has not. The zero mark makes a full backup.
	Since Mark
	// Files go with it, for whoever restores it.
	Files []BackupFile
}

// Backup writes the spool as it is at the moment of the call to w, while
// everything else goes on. What was acknowledged before is in it; leases are
// not. An increment reads as much as a full backup, and writes less. It fails
// with ErrBase, before anything is written, if an increment on Since cannot
// be made. Close waits for it.
//
// We write our own records and not Badger's backup format: that carries
// deletions only as far as compaction has left their tombstones, and has
// neither an end that could be missed nor a hash.
func (e *Engine) Backup(ctx context.Context, w io.Writer, opt BackupOptions) (BackupInfo, error) {
	if err := e.enter(); err != nil {
		return BackupInfo{}, err
	}
	defer e.leave()
	e.segments.Hold()
	defer e.segments.Unhold()
	t := e.view()
	defer t.discard()
	info, err := e.backupHead(t, opt.Since)
	if err != nil {
		return BackupInfo{}, fmt.Errorf("backup: %w", err)
	}
	if err := e.verifyTables(); err != nil {
		return BackupInfo{}, fmt.Errorf("backup: %w", err)
	}
	if len(opt.Files) > maxBackupFiles {
		return BackupInfo{}, fmt.Errorf("backup: %d files are too many", len(opt.Files))
	}
	out, err := newBackupWriter(w, &info)
	if err != nil {
		return info, err
	}
	for _, f := range opt.Files {
		if err := out.file(f); err != nil {
			return info, err
		}
	}
	if err := e.backupRecords(ctx, t, out); err != nil {
		return info, err
	}
	return info, out.end()
}

// backupRecords writes all records in the order of their keys. A long body
// goes as if each of its pieces were a record of its own, b ID n, so that a
// backup has it wherever it is here, and the restored spool puts it where it
// likes.
func (e *Engine) backupRecords(ctx context.Context, t *tx, out *backupWriter) error {
	it := t.txn.NewIterator(badgerdb.IteratorOptions{})
	defer it.Close()
	long := t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: []byte{kPieces}})
	defer long.Close()
	reader := e.segments.Reader()
	defer reader.Close()
	it.Rewind()
	for long.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		for ; long.Valid() && bytes.Compare(chunkKey(idOf(long.Item().Key()), 0), key) < 0; long.Next() {
			if err := out.body(ctx, reader, long.Item()); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("backup: %w", context.Cause(ctx))
		}
		if key[0] == kPieces {
			continue
		}
		if err := out.item(it.Item()); err != nil {
			return err
		}
	}
	return nil // p comes after b
}

// body writes a long body.
func (b *backupWriter) body(ctx context.Context, reader *segment.Reader, item *badgerdb.Item) error {
	id := idOf(item.Key())
	var rec piecesRecord
	if err := openItem(item, func(_, p []byte, err error) error {
		if err == nil {
			rec, err = decodePieces(p)
		}
		if err != nil {
			rec.refs = make([]segment.Ref, 1) // one piece that cannot be read
		}
		return nil
	}); err != nil {
		return err
	}
	for i, ref := range rec.refs {
		if ctx.Err() != nil {
			return fmt.Errorf("backup: %w", context.Cause(ctx))
		}
		key := chunkKey(id, uint32(i))
		if item.Version() <= b.info.Since {
			if err := b.unchanged(key); err != nil {
				return err
			}
			continue
		}
		if cap(b.piece) < segment.Room(ref.Length)+sumLen {
			b.piece = make([]byte, 0, segment.Room(max(min(ref.Length, segment.MaxBlob), chunkSize))+sumLen)
		}
		p, err := reader.Read(ref, id, rec.number(i), b.piece)
		var value []byte // unreadable, so damaged; that it was there is all we can say
		if err == nil {
			value = seal(key, p)
		}
		if err := b.record(key, value); err != nil {
			return err
		}
	}
	return nil
}

// verifyTables reads all that Badger keeps in tables. It must come before any
// conclusion from what an iteration does not find: a block that cannot be read
// ends the iteration over its table as if there were no more, without an error.
func (e *Engine) verifyTables() (err error) {
	defer func() {
		// Badger means to return the block's error and trips over the missing block.
		if recover() != nil {
			err = fmt.Errorf("%w: a table has a block that cannot be read", spool.ErrCorrupt)
		}
	}()
	if err := e.db.VerifyChecksum(); err != nil {
		return fmt.Errorf("%w: %w", spool.ErrCorrupt, err)
	}
	return nil
}

// item writes what an increment, or a full backup, says of one record.
func (b *backupWriter) item(item *badgerdb.Item) error {
	if item.Version() <= b.info.Since {
		return b.unchanged(item.Key())
	}
	wrote := false
	err := item.Value(func(v []byte) error {
		wrote = true
		return b.record(item.Key(), v)
	})
	if err != nil && !wrote {
		// Unreadable, so damaged; that it was there is all we can say.
		return b.record(item.Key(), nil)
	}
	return err
}

// backupHead makes the head of a backup of a snapshot.
func (e *Engine) backupHead(t *tx, since Mark) (BackupInfo, error) {
	info := BackupInfo{Mark: Mark{Version: t.txn.ReadTs()}, Since: since.Version, Created: time.Unix(0, e.opt.Now().UnixNano())}
	var err error
	if info.Format, err = load(t, metaKey(metaFormat), decodeCounter); err != nil {
		return info, fmt.Errorf("format: %w", err)
	}
	info.Spool, err = load(t, metaKey(metaIdentity), decodeIdentity)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		return info, fmt.Errorf("identity: %w", err)
	}
	// The snapshot may show what is not synced yet. If that were lost after
	// all, the version would be given again to something else.
	if e.do(func(*tx) error { return nil }, nil) != nil {
		info.Spool = SpoolID{}
	}
	switch {
	case since == Mark{}:
	case info.Spool == SpoolID{}:
		return info, fmt.Errorf("%w: the spool is read-only after a fault, only a full backup is possible", ErrBase)
	case since.Spool != info.Spool:
		return info, fmt.Errorf("%w: it is of another spool, or this one was restored or repaired since; make a full backup", ErrBase)
	case since.Version > info.Version || since.Version == 0:
		return info, fmt.Errorf("%w: the spool is older than it; make a full backup", ErrBase)
	}
	return info, nil
}

// Identity returns the spool's.
func (e *Engine) Identity() (id SpoolID, err error) {
	err = e.read(func(t *tx) error {
		id, err = load(t, metaKey(metaIdentity), decodeIdentity)
		return err
	})
	return id, err
}

// renewIdentity gives the spool another identity, within a transaction.
func (t *tx) renewIdentity() error {
	var id SpoolID
	rand.Read(id[:]) // never fails
	return t.set(metaKey(metaIdentity), encodeIdentity(id))
}

func encodeIdentity(id SpoolID) []byte {
	e := newRecord()
	e.raw(id[:])
	return e.b
}

func decodeIdentity(payload []byte) (id SpoolID, err error) {
	d := openRecord(payload)
	copy(id[:], d.take(uint64(len(id))))
	return id, d.end()
}
