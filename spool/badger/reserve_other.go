//go:build !linux

package badger

import "os"

// reserve gives a file its blocks beforehand, where that can be done.
func reserve(*os.File, int64) error { return nil }
