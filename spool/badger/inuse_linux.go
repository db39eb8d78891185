package badger

import (
	"os"

	"golang.org/x/sys/unix"
)

// inUse tells whether a process has a spool's directory locked, as Badger does.
func inUse(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}
