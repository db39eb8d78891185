package spooltest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// memoryMessage is a committed message.
type memoryMessage struct {
	info      spool.Info // References is kept up to date
	body      []byte     // never changed after the commit
	structure []byte
	tasksMade int
}

// memoryStaged is a message on its way in. Its commit ends it, and a failed
// commit leaves it open, so that the same settlement can be tried again.
type memoryStaged struct {
	m    *Memory
	id   mail.ID
	body []byte
}

// Create implements spool.Intake.
func (m *Memory) Create() (spool.Staged, error) {
	if err := m.enter(OpCreate); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	s := &memoryStaged{m: m, id: m.ids.Next(m.now())}
	m.staging[s] = true
	return s, nil
}

func (s *memoryStaged) Write(p []byte) (int, error) {
	if err := s.m.enter(OpWrite); err != nil {
		return 0, err
	}
	defer s.m.mu.Unlock()
	if !s.m.staging[s] {
		return 0, fmt.Errorf("write: %w", spool.ErrClosed)
	}
	s.body = append(s.body, p...)
	return len(p), nil
}

func (s *memoryStaged) ID() mail.ID { return s.id }

func (s *memoryStaged) Size() int64 { return int64(len(s.body)) }

func (s *memoryStaged) Abort() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.m.staging, s)
}

// Commit implements spool.Staged. It never waits, so the context matters only
// if it has ended before; then nothing is stored.
func (s *memoryStaged) Commit(ctx context.Context, msg spool.Message) (spool.Receipt, error) {
	r, err := s.commit(ctx, msg)
	if err != nil {
		return spool.Receipt{}, err
	}
	if err := s.m.faults.check(OpCommitted); err != nil {
		return spool.Receipt{}, err
	}
	return r, nil
}

func (s *memoryStaged) commit(ctx context.Context, msg spool.Message) (spool.Receipt, error) {
	m := s.m
	if err := m.enter(OpCommit); err != nil {
		return spool.Receipt{}, err
	}
	defer m.mu.Unlock()
	if err := uncertain(ctx); err != nil {
		return spool.Receipt{}, fmt.Errorf("commit: %w", err)
	}
	if err := m.checkMessage(s, msg); err != nil {
		return spool.Receipt{}, fmt.Errorf("commit: %w", err)
	}
	if err := m.checkOnce(s, msg); err != nil {
		return spool.Receipt{}, fmt.Errorf("commit: %w", err)
	}
	return m.store(s, msg), nil
}

// CommitAll implements spool.Intake.
func (m *Memory) CommitAll(ctx context.Context, list []spool.Staging, replaced spool.Place) ([]spool.Receipt, error) {
	r, err := m.commitAll(ctx, list, replaced)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if err := m.faults.check(OpCommitted); err != nil {
		return nil, err
	}
	return r, nil
}

func (m *Memory) commitAll(ctx context.Context, list []spool.Staging, replaced spool.Place) ([]spool.Receipt, error) {
	if err := m.enter(OpCommit); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if err := uncertain(ctx); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > spool.MaxTogether {
		return nil, errors.New("no messages, or too many")
	}
	var box *memoryMailbox
	if replaced != (spool.Place{}) {
		var err error
		if box, err = m.byID(replaced.Mailbox); err != nil {
			return nil, err
		}
		if len(box.pick([]spool.UID{replaced.UID})) == 0 {
			return nil, spool.ErrNotFound
		}
	}
	var staged []*memoryStaged
	for _, one := range list {
		s, ours := one.Staged.(*memoryStaged)
		if !ours || s.m != m || slices.Contains(staged, s) {
			return nil, errors.New("a message of another spool, or twice the same")
		}
		if err := m.checkMessage(s, one.Message); err != nil {
			return nil, err
		}
		staged = append(staged, s)
	}
	for i, s := range staged {
		if err := m.checkOnce(s, list[i].Message); err != nil {
			return nil, err
		}
	}
	var out []spool.Receipt
	for i, s := range staged {
		out = append(out, m.store(s, list[i].Message))
	}
	if box != nil {
		box.row.ModSeq++
		m.removeEntries(box, []spool.UID{replaced.UID})
		m.notify(box.row.ID)
	}
	return out, nil
}

// memoryOnce is a message that must not be taken again until then.
type memoryOnce struct {
	id    mail.ID
	until time.Time
}

// checkOnce looks whether a message was committed before, and notes it if not.
func (m *Memory) checkOnce(s *memoryStaged, msg spool.Message) error {
	if msg.Once == ([32]byte{}) || msg.OnceFor <= 0 {
		return nil
	}
	now := m.now()
	if o, ok := m.once[msg.Once]; ok && o.until.After(now) {
		return &spool.DuplicateError{ID: o.id}
	}
	m.once[msg.Once] = memoryOnce{s.id, now.Add(msg.OnceFor)}
	return nil
}

// uncertain returns the error of a context that has ended.
func uncertain(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", spool.ErrUncertain, err)
	}
	return nil
}

// checkMessage finds everything that could make store fail, so that store
// changes all or is not called.
func (m *Memory) checkMessage(s *memoryStaged, msg spool.Message) error {
	if !m.staging[s] {
		return spool.ErrClosed
	}
	if len(msg.Deposits) == 0 && len(msg.Tasks) == 0 {
		return errors.New("a message needs a deposit or a task")
	}
	if len(msg.Head) > spool.MaxHead || msg.OnceFor > spool.MaxOnce {
		return errors.New("too long a head, or too long a time")
	}
	for _, d := range msg.Deposits {
		name := depositName(d)
		if name != spool.Inbox && m.find(d.Account, name) == nil {
			return fmt.Errorf("deposit to %q of %q: %w", name, d.Account, spool.ErrNoMailbox)
		}
	}
	return checkTasks(0, msg.Tasks)
}

func checkTasks(made int, tasks []spool.Task) error {
	if made+len(tasks) > math.MaxUint16 {
		return errors.New("too many tasks for one message")
	}
	for _, t := range tasks {
		if len(t.Recipients) == 0 {
			return fmt.Errorf("task for %s without recipients", t.Destination)
		}
		if err := t.Destination.Check(); err != nil {
			return err
		}
	}
	return nil
}

// store makes a checked message of a staged one.
func (m *Memory) store(s *memoryStaged, msg spool.Message) spool.Receipt {
	now := m.now()
	delete(m.staging, s)
	stored := &memoryMessage{
		info: spool.Info{
			ID:       s.id,
			Envelope: msg.Envelope,
			Size:     int64(len(msg.Head) + len(s.body)),
			Hash:     sha256.Sum256(slices.Concat(s.body, msg.Head)),
		},
		body:      slices.Concat(msg.Head, s.body),
		structure: slices.Clone(msg.Structure),
	}
	stored.info.Envelope.Arrived = now
	m.messages[s.id] = stored
	r := spool.Receipt{ID: s.id}
	for _, d := range msg.Deposits {
		r.Deposited = append(r.Deposited, m.deposit(stored, d))
	}
	for _, t := range msg.Tasks {
		r.Tasks = append(r.Tasks, m.addTask(stored, t, taskTimes{
			made:    now,
			queued:  now,
			warns:   after(now, t.Warn),
			expires: after(now, t.Expire),
		}))
	}
	m.beginStory(stored, msg, r.Tasks)
	return r
}

func depositName(d spool.Deposit) string {
	if d.Mailbox == "" {
		return spool.Inbox
	}
	return spool.CanonicalName(d.Mailbox)
}

func (m *Memory) deposit(msg *memoryMessage, d spool.Deposit) spool.Deposited {
	now := m.now()
	b := m.find(d.Account, depositName(d))
	if b == nil {
		b = m.addMailbox(d.Account, spool.Inbox, spool.UseNone)
	}
	date := d.InternalDate
	if date.IsZero() {
		date = now
	}
	b.row.ModSeq++
	uid := m.addEntry(b, spool.Entry{
		Message:      msg.info.ID,
		Flags:        applyFlags(spool.Flags{}, spool.FlagSet, d.Flags),
		InternalDate: date,
		Prefix:       slices.Clone(d.Prefix),
		Size:         int64(len(d.Prefix)) + msg.info.Size,
	})
	m.notify(b.row.ID)
	return spool.Deposited{Mailbox: b.row.ID, UIDValidity: b.row.UIDValidity, UID: uid}
}

// after returns the instant d from now, or zero if d is 0, which means never.
func after(now time.Time, d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// unreference takes one reference from a message and frees it with the last.
func (m *Memory) unreference(id mail.ID) {
	msg := m.messages[id]
	msg.info.References--
	if msg.info.References == 0 {
		delete(m.messages, id)
	}
}
