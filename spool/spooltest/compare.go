package spooltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"restante/internal/mail"
	"restante/spool"
)

// The environment variables that Compare reads, and how many steps it takes
// if there is none.
const (
	StepsVariable = "SPOOLTEST_STEPS"
	SeedVariable  = "SPOOLTEST_SEED"
	defaultSteps  = 2000
)

// Compare runs random verbs on a Memory and on another engine, on one clock,
// and fails the test when an answer or the state differs in anything that
// package spool promises. The engine is reopened in between. Steps and seed
// of 0 are taken from the environment, or else are 2000 and random; a failure
// names the seed that repeats it.
func Compare(t *testing.T, open Opener, steps int, seed uint64) {
	t.Helper()
	if steps == 0 {
		steps = int(fromEnvironment(t, StepsVariable, defaultSteps))
	}
	if seed == 0 {
		seed = fromEnvironment(t, SeedVariable, rand.Uint64N(1e9)+1)
	}
	clock := NewClock()
	w := newWorld(clock, open(t, clock.Now), seed)
	defer func() { w.other.Close() }()
	if err := w.run(t, steps); err != nil {
		t.Fatalf("seed %d, step %d: %v\nlast steps:\n  %s", seed, w.step, err, strings.Join(w.trace, "\n  "))
	}
}

func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s=%q is no number of a reasonable size", name, text)
	}
	return n
}

// world is a model and an engine that are to stay alike. IDs, UIDs and modseqs
// are each engine's own, so they are held in pairs, by the model's.
type world struct {
	rng    *rand.Rand
	clock  *Clock
	model  *Memory
	other  spool.Store
	reopen func(t *testing.T) spool.Store
	idle   func()
	step   int
	trace  []string

	messages map[mail.ID]mail.ID
	history  []mail.ID // of the model, ended ones too
	tasks    map[spool.TaskID]spool.TaskID
	leases   []leasePair // stale ones too
	boxes    map[spool.MailboxID]spool.MailboxID
	uids     map[spool.MailboxID]map[spool.UID]spool.UID
	// points are modseqs that the two had at the same time.
	points map[spool.MailboxID][]point
}

type leasePair struct{ model, other spool.Lease }

type point struct{ model, other spool.ModSeq }

func newWorld(clock *Clock, h Harness, seed uint64) *world {
	return &world{
		rng:      rand.New(rand.NewPCG(seed, 0)),
		clock:    clock,
		model:    NewMemory(MemoryOptions{Now: clock.Now}),
		other:    h.Store,
		reopen:   h.Reopen,
		idle:     h.background(),
		messages: make(map[mail.ID]mail.ID),
		tasks:    make(map[spool.TaskID]spool.TaskID),
		boxes:    make(map[spool.MailboxID]spool.MailboxID),
		uids:     make(map[spool.MailboxID]map[spool.UID]spool.UID),
		points:   make(map[spool.MailboxID][]point),
	}
}

// action is one kind of step; weight is how often it comes.
type action struct {
	name   string
	weight int
	act    func() error
}

func (w *world) actions(t *testing.T) []action {
	return []action{
		{"commit", 20, w.commit},
		{"advance", 10, w.advance},
		{"lease", 10, w.lease},
		{"settle", 40, w.settle},
		{"extend", 3, w.extend},
		{"hold", 3, w.hold},
		{"release", 3, w.release},
		{"retry", 3, w.retry},
		{"reroute", 2, w.reroute},
		{"unpin", 2, w.unpin},
		{"remove", 2, w.remove},
		{"create", 3, w.create},
		{"rename", 3, w.rename},
		{"delete", 2, w.delete},
		{"delete account", 1, w.deleteAccount},
		{"subscribe", 2, w.subscribe},
		{"flag", 12, w.flag},
		{"copy", 4, func() error { return w.transfer(false) }},
		{"move", 4, func() error { return w.transfer(true) }},
		{"expunge", 5, w.expunge},
		{"empty", 2, w.empty},
		{"changes", 6, w.changes},
		{"body", 3, w.body},
		{"reopen", 1, func() error { return w.restart(t) }},
	}
}

func (w *world) run(t *testing.T, steps int) error {
	for _, account := range accounts() {
		if err := w.createBoth(account, spool.Inbox); err != nil {
			return err
		}
	}
	actions := w.actions(t)
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for w.step = range steps {
		n := w.rng.IntN(total)
		i := slices.IndexFunc(actions, func(a action) bool { n -= a.weight; return n < 0 })
		w.note("%d: %s", w.step, actions[i].name)
		if err := actions[i].act(); err != nil {
			return fmt.Errorf("%s: %w", actions[i].name, err)
		}
		if w.step%10 == 0 || w.step == steps-1 {
			if err := w.state(); err != nil {
				return fmt.Errorf("state after %s: %w", actions[i].name, err)
			}
		}
	}
	return nil
}

// note adds a line to the trace, which holds the last ones.
func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if len(w.trace) > 40 {
		w.trace = w.trace[1:]
	}
}

// alike demands that both verbs succeeded or failed for the same reason.
func (w *world) alike(model, other error) error {
	if model != nil {
		w.note("  fails: %v", model)
	}
	if kind(model) != kind(other) {
		return fmt.Errorf("the model's error is %v, the engine's %v", model, other)
	}
	return nil
}

// kind is the error of package spool that an error wraps.
func kind(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range []error{
		spool.ErrNotFound, spool.ErrNoMailbox, spool.ErrMailboxExists, spool.ErrMailboxName,
		spool.ErrStaleLease, spool.ErrLeased, spool.ErrDestination, spool.ErrUncertain, spool.ErrClosed, spool.ErrChangesLost,
	} {
		if errors.Is(err, k) {
			return k
		}
	}
	return err
}

// pick returns one of a list, which is not empty.
func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

// often is true n times out of 100.
func (w *world) often(n int) bool { return w.rng.IntN(100) < n }

func accounts() []string { return []string{"alice", "bob"} }

func mailboxNames() []string {
	return []string{"INBOX", "a", "a/b", "a/b/c", "b", "b/b", "INBOX/x"}
}

// restart reopens both, so that both forget their leases.
func (w *world) restart(t *testing.T) error {
	if w.reopen == nil {
		return nil
	}
	w.model = w.model.Reopen()
	w.other = w.reopen(t)
	return w.state()
}
