// Package maildrop is where mail waits for a daemon that does not run: the
// sendmail command puts it there, and the daemon picks it up at its start and
// every few seconds after that.
//
// A message is one file: an envelope, which is opaque here, the body, and a
// hash of both. Put returns when the file, and its name, are on stable storage.
// The Collector removes a file only after Take has returned, by which the
// message is durable elsewhere. It may give the same file to Take again, after
// a crash between the two, so Take must know what it has taken. Nothing is
// deleted that was not taken: what cannot be understood is moved into a
// directory beside it. Only what a dead Put left half-written goes, after a day.
//
// # Directories and rights
//
// There are two in the maildrop's directory: new, where files are put, and bad,
// where the Collector moves what it cannot take. Make makes both for their
// owner alone, which is all that a daemon needs that runs as the user who sends.
//
// For a daemon with a user of its own, new is made by the administrator, with
// the mode 3733 and the daemon's user and group (systemd-tmpfiles does it). No
// program needs rights for that, as Postfix's postdrop does:
//
//   - Everybody can create files there (1733). Nobody but the daemon can list
//     them; the sticky bit keeps everybody from removing or renaming those of
//     others, and a name has 128 random bits.
//   - The setgid bit (2000) gives files the daemon's group, and with their mode
//     of 0640 nobody reads them but their owner, the daemon and root.
//   - The owner of a file is the kernel's word on who sent it.
//
// Put refuses a directory in which others could remove what it puts there. The
// Collector trusts nothing it finds: it follows no symbolic link, waits at no
// pipe, and takes only regular files with one name (a hard link may lead to
// somebody else's file) and of a bounded size. Its log tells of each file that
// it moves aside. What is left is what every shared directory has: who may put
// files there can fill its disk, up to their quota.
package maildrop

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	newDir = "new"
	badDir = "bad"
)

// Errors of Put and Take.
var (
	// ErrUnsafe: others could remove or replace what is put there.
	ErrUnsafe = errors.New("others may change what is in it")
	// ErrFull: too little free space would be left.
	ErrFull = errors.New("too little free space")
	// ErrUnfit is wrapped by errors of Take that no repetition mends: the file
	// is moved aside.
	ErrUnfit = errors.New("unfit")
)

// Make makes the directories of a maildrop, as far as they are not there, for
// their owner alone. It leaves alone what is there.
func Make(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, newDir), filepath.Join(dir, badDir)} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("maildrop: %w", err)
		}
	}
	return nil
}

// Count returns how many messages wait, for who may list them.
func Count(dir string) (int, error) {
	return count(filepath.Join(dir, newDir), wholeName.MatchString)
}

// CountBad returns how many files are in the directory of those that could not
// be taken.
func CountBad(dir string) (int, error) {
	return count(filepath.Join(dir, badDir), func(string) bool { return true })
}

func count(dir string, counts func(name string) bool) (n int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, fmt.Errorf("maildrop: %w", err)
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(batch)
		for _, name := range names {
			if counts(name) {
				n++
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("maildrop: %w", err)
		}
	}
}

// Exists tells whether there is a maildrop that this process can put mail into,
// so far as can be told beforehand.
func Exists(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, newDir))
	return err == nil && info.IsDir()
}
