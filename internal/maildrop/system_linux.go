package maildrop

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFilesystem writes all there is of the file system that f is in.
func syncFilesystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// freeSpace is what is left for who is not root, in octets.
func freeSpace(dir string) (free int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}
