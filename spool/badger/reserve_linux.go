package badger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve gives a file its blocks beforehand, so that what is later written to
// it through memory finds room. A file system that cannot do that is no error.
func reserve(f *os.File, octets int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, octets)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
