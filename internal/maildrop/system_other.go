//go:build !linux

package maildrop

import "os"

// syncFilesystem syncs the file once more: the nearest there is.
func syncFilesystem(f *os.File) error { return f.Sync() }

// freeSpace is not known.
func freeSpace(string) (free int64, ok bool) { return 0, false }
