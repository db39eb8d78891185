//go:build !linux

package badger

import "os"

// datasync waits until the data of a file is on stable storage.
func datasync(f *os.File) error { return f.Sync() }
