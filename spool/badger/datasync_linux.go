package badger

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync waits until the data of a file is on stable storage.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
