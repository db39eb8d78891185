package badger

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// chain is a full backup and the increments on it, in their order. All of them
// are sorted by key, so that one pass over all of them at once does.
type chain []*link

type link struct {
	*backupReader
	files []BackupFile
	ended bool
}

func openChain(backups []io.Reader) (chain, error) {
	var c chain
	for _, r := range backups {
		b, err := newBackupReader(r)
		if err != nil {
			return nil, err
		}
		c = append(c, &link{backupReader: b})
	}
	slices.SortStableFunc(c, func(a, b *link) int {
		return cmp.Or(cmp.Compare(a.info.Since, b.info.Since), cmp.Compare(a.info.Version, b.info.Version))
	})
	for i, l := range c {
		switch {
		case l.info.Format > formatVersion:
			return nil, fmt.Errorf("%w: its spool has format %d, this program knows %d", ErrBackup, l.info.Format, formatVersion)
		case i == 0 && l.info.Since != 0:
			return nil, fmt.Errorf("%w: there is no full backup", ErrBase)
		case i > 0 && l.info.Since == 0:
			return nil, fmt.Errorf("%w: there are two full backups", ErrBase)
		case i > 0 && (l.info.Spool != c[0].info.Spool || l.info.Spool == SpoolID{}):
			return nil, fmt.Errorf("%w: the increment of %s is of another spool", ErrBase, l.info.Created.Format(time.RFC3339))
		case i > 0 && l.info.Since != c[i-1].info.Version:
			return nil, fmt.Errorf("%w: the one of %s follows on version %d, not on %d", ErrBase,
				l.info.Created.Format(time.RFC3339), l.info.Since, c[i-1].info.Version)
		}
	}
	if len(c) == 0 {
		return nil, fmt.Errorf("%w: none is given", ErrBackup)
	}
	return c, nil
}

// next returns the next record of the newest state. io.EOF tells that all
// backups were read to their ends and are good.
func (c chain) next() (key, value []byte, err error) {
	newest := c[len(c)-1]
	if err := newest.advance(); err != nil {
		return nil, nil, err
	}
	if newest.ended {
		for _, l := range c {
			for !l.ended {
				if err := l.advance(); err != nil {
					return nil, nil, err
				}
			}
		}
		return nil, nil, io.EOF
	}
	for i := len(c) - 1; ; i-- {
		l := c[i]
		for !l.ended && string(l.key) < string(newest.key) {
			if err := l.advance(); err != nil {
				return nil, nil, err
			}
		}
		if l.ended || string(l.key) != string(newest.key) {
			return nil, nil, fmt.Errorf("%w: its base has no record %.80q", ErrBase, newest.key)
		}
		if l.kind == frameRecord {
			return l.key, l.value, nil
		}
		if i == 0 {
			return nil, nil, fmt.Errorf("%w: a full backup leaves records out", ErrBackup)
		}
	}
}

// advance goes to the next record; files are put aside.
func (l *link) advance() error {
	for {
		err := l.backupReader.next()
		if errors.Is(err, io.EOF) && !errors.Is(err, ErrBackup) {
			l.ended = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("backup of %s: %w", l.info.Created.Format(time.RFC3339), err)
		}
		if l.kind != frameFile {
			return nil
		}
		l.files = append(l.files, BackupFile{Name: l.name, Data: l.value})
		l.value = nil
	}
}
