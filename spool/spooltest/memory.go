package spooltest

import (
	"fmt"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// MemoryOptions is what a Memory works with.
type MemoryOptions struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Memory is a spool.Store that lives in maps under one mutex. It loses
// everything with the process, and keeps everything over Reopen.
type Memory struct {
	faults faults
	wake   chan struct{}
	rotas  map[spool.Destination]*spool.Rota

	mu       sync.Mutex
	closed   bool
	watchers map[spool.MailboxID]map[chan struct{}]bool
	accounts spool.Watchers
	staging  map[*memoryStaged]bool
	*memoryState
}

// memoryState is what a durable engine would have on disk.
type memoryState struct {
	now          func() time.Time
	ids          mail.IDs
	messages     map[mail.ID]*memoryMessage
	once         map[[32]byte]memoryOnce
	stories      map[mail.ID]*memoryStory
	tasks        map[spool.TaskID]*memoryTask
	destinations map[spool.Destination]*memoryDestination
	// rests are until when a destination is not asked about (Claim.Rest), turns
	// when one with due tasks was leased from last.
	rests     map[spool.Destination]time.Time
	turns     map[spool.Destination]uint64
	turn      uint64
	lastToken uint64

	mailboxes     map[spool.MailboxID]*memoryMailbox
	subscriptions map[mailboxName]bool
	// lastMailbox and lastValidity only ever grow, so that neither an ID nor
	// a UIDVALIDITY comes twice, not even for another account of that name.
	lastMailbox  spool.MailboxID
	lastValidity uint32
}

var _ spool.Store = (*Memory)(nil)

// NewMemory returns an empty Memory.
func NewMemory(opt MemoryOptions) *Memory {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return newMemory(&memoryState{
		now:           opt.Now,
		messages:      make(map[mail.ID]*memoryMessage),
		once:          make(map[[32]byte]memoryOnce),
		stories:       make(map[mail.ID]*memoryStory),
		tasks:         make(map[spool.TaskID]*memoryTask),
		destinations:  make(map[spool.Destination]*memoryDestination),
		rests:         make(map[spool.Destination]time.Time),
		turns:         make(map[spool.Destination]uint64),
		mailboxes:     make(map[spool.MailboxID]*memoryMailbox),
		subscriptions: make(map[mailboxName]bool),
	})
}

func newMemory(state *memoryState) *Memory {
	return &Memory{
		wake:        make(chan struct{}, 1),
		rotas:       make(map[spool.Destination]*spool.Rota),
		watchers:    make(map[spool.MailboxID]map[chan struct{}]bool),
		staging:     make(map[*memoryStaged]bool),
		memoryState: state,
	}
}

// Close makes every further verb fail with spool.ErrClosed. Bodies that are
// open stay readable.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	clear(m.staging)
	for _, t := range m.tasks {
		t.token = 0
	}
	return nil
}

// Reopen closes m and returns a Memory with all that was committed, as a
// durable engine has it after a restart: staged bodies and leases are gone,
// faults too.
func (m *Memory) Reopen() *Memory {
	m.Close()
	return newMemory(m.memoryState)
}

// Staging returns the number of staging areas that nobody has ended yet; a
// test of a room expects 0 when the room is at rest.
func (m *Memory) Staging() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.staging)
}

// enter begins a verb: it runs the fault hooks and takes the mutex, which the
// caller releases unless there is an error.
func (m *Memory) enter(op Op) error {
	if err := m.faults.check(op); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return fmt.Errorf("%s: %w", op, spool.ErrClosed)
	}
	return nil
}

// signal fills a channel that holds one signal.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
