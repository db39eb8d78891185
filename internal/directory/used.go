package directory

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// usedEvery is how exactly it is remembered over a restart when a secret was
// used: a client that logs in for every message shall not cause a write for it.
const usedEvery = 10 * time.Minute

// used remembers when secrets were used, in a file of its own: that changes
// often, and losing it costs nothing.
type used struct {
	mu      sync.Mutex
	path    string
	log     *slog.Logger
	times   map[string]time.Time
	written map[string]time.Time
}

func usedKey(account, secret string) string { return account + " " + secret }

// open reads what an earlier run has written.
func (u *used) open(path string, log *slog.Logger) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.log = log
	if path != "" {
		path = filepath.Join(filepath.Dir(path), "accounts.used")
	}
	if u.times != nil && u.path == path {
		return
	}
	u.path, u.times, u.written = path, make(map[string]time.Time), make(map[string]time.Time)
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &u.written)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("it is not known when secrets were used", "error", err)
		u.written = make(map[string]time.Time)
	}
	for k, t := range u.written {
		u.times[k] = t
	}
}

func (u *used) last(account, secret string) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.times[usedKey(account, secret)]
}

// note remembers that a secret is used.
func (u *used) note(account, secret string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := usedKey(account, secret)
	now = now.UTC().Truncate(time.Second)
	u.times[k] = now
	if u.path == "" || now.Sub(u.written[k]) < usedEvery {
		return
	}
	u.write()
}

// keep forgets the secrets that are no more.
func (u *used) keep(there map[string]bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.times)
	for k := range u.times {
		if !there[k] {
			delete(u.times, k)
		}
	}
	if len(u.times) != n && u.path != "" {
		u.write()
	}
}

// write puts all times into the file; mu is held.
func (u *used) write() {
	b, err := json.MarshalIndent(u.times, "", "\t")
	if err == nil {
		err = replaceFile(u.path, append(b, '\n'))
	}
	if err != nil {
		u.log.Warn("it will not be known when secrets were used", "error", err)
		return
	}
	u.written = make(map[string]time.Time, len(u.times))
	for k, t := range u.times {
		u.written[k] = t
	}
}
