// Package logbuffer is for tests: it collects what a server or a process logs,
// so that it can be read while it is written, and shown when a test fails.
package logbuffer

import (
	"bytes"
	"sync"
)

// Buffer is a bytes.Buffer that many may use at a time. The zero value is empty.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to what is kept; it never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
