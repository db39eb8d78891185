package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// errLocked: another process works in the state directory.
var errLocked = errors.New("in use by another process")

// lockState keeps other processes of restante out of the state directory; the
// lock ends with the process, however that ends.
func lockState(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, cause(err))
	}
	if err := giveToOwner(f, dir); err != nil {
		f.Close()
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errLocked
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// owner returns who owns a directory.
func owner(dir string) (uid, gid int, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return os.Geteuid(), os.Getegid(), nil
	}
	return int(s.Uid), int(s.Gid), nil
}

// giveToOwner hands a file that root made to whom the directory belongs to, so
// that the daemon can open it later.
func giveToOwner(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := owner(dir)
	if err != nil {
		return err
	}
	return f.Chown(uid, gid)
}

// ownState fails if the state directory is another user's: what we made in the
// spool would be closed to the daemon.
func ownState(dir string) error {
	uid, _, err := owner(dir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: start the daemon, or do this as that user", dir, uid)
	}
	return nil
}
