package spooltest

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"

	"restante/internal/mail"
	"restante/spool"
)

// OpenBody implements spool.Bodies.
func (m *Memory) OpenBody(id mail.ID) (spool.Body, error) {
	if err := m.enter(OpOpen); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	msg, ok := m.messages[id]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", id, spool.ErrNotFound)
	}
	return &memoryBody{m: m, r: bytes.NewReader(msg.body)}, nil
}

// Structure implements spool.Bodies.
func (m *Memory) Structure(id mail.ID) ([]byte, error) {
	if err := m.enter(OpStat); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	msg, ok := m.messages[id]
	if !ok {
		return nil, fmt.Errorf("structure of %s: %w", id, spool.ErrNotFound)
	}
	return slices.Clone(msg.structure), nil
}

// shortBody is how long a body may be, in octets, for Gather to return it.
const shortBody = 32 << 10

// Gather implements spool.Bodies.
func (m *Memory) Gather(ids []mail.ID, bodies bool) ([]spool.Gathered, error) {
	if err := m.enter(OpStat); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	// What makes bodies fail has its say when they are opened.
	bodies = bodies && !m.faults.any(OpOpen, OpRead)
	list := make([]spool.Gathered, len(ids))
	octets := 0
	for i, id := range ids {
		if octets > spool.MaxGather {
			return list[:i], nil
		}
		msg, ok := m.messages[id]
		if !ok {
			list[i].Err = fmt.Errorf("gather %s: %w", id, spool.ErrNotFound)
			continue
		}
		list[i].Structure = slices.Clone(msg.structure)
		if bodies && len(msg.body) > 0 && len(msg.body) <= shortBody {
			list[i].Body = slices.Clone(msg.body)
		}
		octets += len(list[i].Structure) + len(list[i].Body)
	}
	return list, nil
}

// Stat implements spool.Bodies.
func (m *Memory) Stat(id mail.ID) (spool.Info, error) {
	if err := m.enter(OpStat); err != nil {
		return spool.Info{}, err
	}
	defer m.mu.Unlock()
	msg, ok := m.messages[id]
	if !ok {
		return spool.Info{}, fmt.Errorf("stat %s: %w", id, spool.ErrNotFound)
	}
	return msg.info, nil
}

// memoryBody reads the octets of a message; they never change, so it needs no
// lock and outlives the message.
type memoryBody struct {
	m      *Memory
	r      *bytes.Reader
	closed atomic.Bool
}

func (b *memoryBody) Size() int64 { return b.r.Size() }

func (b *memoryBody) ReadAt(p []byte, off int64) (int, error) {
	if err := b.m.faults.check(OpRead); err != nil {
		return 0, err
	}
	if b.closed.Load() {
		return 0, fmt.Errorf("read: %w", spool.ErrClosed)
	}
	return b.r.ReadAt(p, off)
}

func (b *memoryBody) Close() error {
	b.closed.Store(true)
	return nil
}
