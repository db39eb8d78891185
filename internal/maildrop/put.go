package maildrop

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// PutOptions is where and within which bounds to put a message.
type PutOptions struct {
	// Dir is the maildrop's directory.
	Dir string
	// MinFree is the space that must be left on its disk, in octets.
	MinFree int64
	// Size is the body's, in octets, as far as it is known.
	Size int64
}

// The names of files: whole ones and those being written; then the time, so
// that they are taken in their order, and something nobody can guess.
var (
	wholeName   = regexp.MustCompile(`^m[0-9a-f]{16}-[0-9a-f]{32}$`)
	partialName = regexp.MustCompile(`^t[0-9a-f]{16}-[0-9a-f]{32}$`)
)

func newName() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%016x-%s", time.Now().UnixNano(), hex.EncodeToString(b[:]))
}

// Put puts a message into a maildrop and returns its name there. Without an
// error it is on stable storage; with one nothing of it is left, and none of
// it will be taken. The error wraps fs.ErrNotExist or fs.ErrPermission if there
// is no maildrop for this user, ErrUnsafe if it cannot be trusted, and ErrFull.
func Put(opt PutOptions, envelope []byte, body io.Reader) (name string, err error) {
	dir := filepath.Join(opt.Dir, newDir)
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("maildrop: %w", err)
	}
	if err := safe(dir, info); err != nil {
		return "", fmt.Errorf("maildrop: %w", err)
	}
	if free, ok := freeSpace(dir); ok && free-opt.Size < opt.MinFree {
		return "", fmt.Errorf("maildrop: %w: %d octets are left at %s", ErrFull, free, dir)
	}
	name = newName()
	partial, whole := filepath.Join(dir, "t"+name), filepath.Join(dir, "m"+name)
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", fmt.Errorf("maildrop: %w", err)
	}
	defer f.Close()
	if err = write(f, info, envelope, body); err == nil {
		err = os.Rename(partial, whole)
	}
	if err != nil {
		os.Remove(partial)
		return "", fmt.Errorf("maildrop: %w", err)
	}
	if err := syncDir(dir, f); err != nil {
		// If it is gone it was taken, which is all that was asked for.
		if gone := os.Remove(whole); !errors.Is(gone, fs.ErrNotExist) {
			return "", fmt.Errorf("maildrop: %w", err)
		}
	}
	return "m" + name, nil
}

// safe fails if others than the owner of the directory and root could remove
// what we put into it.
func safe(dir string, info os.FileInfo) error {
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("%s: %w: it has no sticky bit", dir, ErrUnsafe)
	}
	return nil
}

func write(f *os.File, dir os.FileInfo, envelope []byte, body io.Reader) error {
	// For the group that a setgid directory gives; whatever the umask.
	if err := f.Chmod(0o640); err != nil {
		return err
	}
	if owner, ok := dir.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && dir.Mode()&fs.ModeSetgid == 0 {
		// What root puts into another user's own maildrop that user must be
		// able to read.
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(f, 64<<10)
	e := newEncoder(w, envelope)
	if _, err := io.Copy(e, body); err != nil {
		return err
	}
	if err := e.close(); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes the names in a directory durable. Who may not open it has the
// whole file system of f synced, which is as good, and only slower.
func syncDir(dir string, f *os.File) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return syncFilesystem(f)
	}
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
