package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// highMark records outside of Badger how far the commits have come, so that a
// log that Badger has cut off in silence is noticed at opening. It is a file of
// two slots that are written in turn after each sync, each with a checksum, so
// that one of them is whole whatever happens. A write does not wait for the
// device; a goroutine sees to that each second. So the mark is exact after
// kill -9, and after a loss of power it lags at worst: it never runs ahead of
// what is durable.
type highMark struct {
	file *os.File
	log  *slog.Logger
	slot int  // syncLoop's: where the next goes
	bad  bool // syncLoop's: the last write failed

	dirty atomic.Bool
	stop  chan struct{}
	done  sync.WaitGroup
}

// mark is one commit: its number, and when it was made.
type mark struct {
	number uint64
	at     time.Time
}

const (
	markName   = "highmark"
	markMagic  = "restmrk1"
	markLen    = len(markMagic) + 8 + 8 + sumLen
	markSlot   = 4096 // one page each, so that a torn write hurts one
	markPeriod = time.Second
)

func (m mark) encode() []byte {
	b := append(make([]byte, 0, markLen), markMagic...)
	b = binary.BigEndian.AppendUint64(b, m.number)
	b = binary.BigEndian.AppendUint64(b, uint64(m.at.UnixNano()))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errMark = errors.New("malformed high mark")

func decodeMark(b []byte) (m mark, err error) {
	if len(b) != markLen || string(b[:len(markMagic)]) != markMagic {
		return m, errMark
	}
	head, sum := b[:markLen-sumLen], b[markLen-sumLen:]
	if crc32.Checksum(head, castagnoli) != binary.BigEndian.Uint32(sum) {
		return m, errMark
	}
	head = head[len(markMagic):]
	return mark{binary.BigEndian.Uint64(head), time.Unix(0, int64(binary.BigEndian.Uint64(head[8:])))}, nil
}

// openMark opens the mark of a spool, making it if there is none, and returns
// what it says: the zero mark if it is new or says nothing, which is logged.
func openMark(dir string, log *slog.Logger) (*highMark, mark, error) {
	name := filepath.Join(dir, markName)
	h := &highMark{log: log, stop: make(chan struct{})}
	var high mark
	slots := make([]byte, 2*markSlot)
	old, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Info("high mark made: from now on missing commits will be noticed", "file", name)
	case err != nil:
		return nil, mark{}, fmt.Errorf("spool: high mark: %w", err)
	default:
		copy(slots, old)
		high = h.read(slots, name)
	}
	if h.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, mark{}, fmt.Errorf("spool: high mark: %w", err)
	}
	if len(old) != len(slots) {
		// All of its blocks at once: later writes shall not need any.
		_, err = h.file.WriteAt(slots, 0)
		if err == nil {
			err = h.file.Sync()
		}
		if err != nil {
			return nil, mark{}, fmt.Errorf("spool: high mark: %w", errors.Join(err, h.file.Close()))
		}
	}
	h.done.Go(h.loop)
	return h, high, nil
}

// read takes the higher of the slots, and sets the other to be written next.
func (h *highMark) read(slots []byte, name string) (high mark) {
	good := 0
	for i := range 2 {
		b := slots[i*markSlot:][:markLen]
		m, err := decodeMark(b)
		switch {
		case err == nil && m.number >= high.number:
			high, h.slot = m, 1-i
			good++
		case err == nil:
			good++
		case string(b) != string(make([]byte, markLen)):
			h.log.Error("a slot of the high mark is damaged: one commit may be missing unnoticed", "file", name, "slot", i)
		}
	}
	if good == 0 {
		h.log.Error("the high mark cannot be read: commits may be missing unnoticed", "file", name)
	}
	return high
}

// write records a commit that is durable. syncLoop alone calls it. That
// it fails is no reason to refuse mail.
func (h *highMark) write(m mark) {
	_, err := h.file.WriteAt(m.encode(), int64(h.slot*markSlot))
	if err != nil {
		if !h.bad {
			h.log.Error("the high mark cannot be written", "err", err)
		}
		h.bad = true
		return
	}
	h.bad = false
	h.slot = 1 - h.slot
	h.dirty.Store(true)
}

func (h *highMark) loop() {
	tick := time.NewTicker(markPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.sync()
		case <-h.stop:
			return
		}
	}
}

func (h *highMark) sync() {
	if !h.dirty.Swap(false) {
		return
	}
	if err := datasync(h.file); err != nil {
		h.log.Error("the high mark cannot be synced", "err", err)
	}
}

// close writes the mark out. syncLoop must have ended.
func (h *highMark) close() error {
	close(h.stop)
	h.done.Wait()
	h.sync()
	return h.file.Close()
}
