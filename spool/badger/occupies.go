package badger

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// occupies is what a folder takes on its disk: allocated blocks, since
// Badger's files are sparse.
func occupies(dir string) (octets int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			return err
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				octets += st.Blocks * 512
			}
		}
		return nil
	})
	return octets, err
}
