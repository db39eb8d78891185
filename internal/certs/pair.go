package certs

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// Pair returns what gives the certificate and key of two PEM files, and reads
// them again when they have changed. A pair that cannot be read, or is half
// changed, is an error; one that was read and whose files are gone is not given
// any more.
func Pair(certificate, key string) func() (*tls.Certificate, error) {
	var mu sync.Mutex
	var have *tls.Certificate
	var seen [2]fileState
	return func() (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		var now [2]fileState
		for i, name := range []string{certificate, key} {
			info, err := os.Stat(name)
			if err != nil {
				return nil, err
			}
			now[i] = fileState{info.ModTime(), info.Size()}
		}
		if have != nil && now == seen {
			return have, nil
		}
		pair, err := loadPair(certificate, key)
		if err != nil {
			return nil, err
		}
		have, seen = pair, now
		return have, nil
	}
}

// fileState is by what a file that was changed is known.
type fileState struct {
	changed time.Time
	size    int64
}
