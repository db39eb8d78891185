//go:build !linux

package badger

// adviseRandom does nothing where it is not known to help.
func adviseRandom(string) {}
