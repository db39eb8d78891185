package imapd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStress has sessions of one mailbox work at the same time, without any order
// between them, and now and then has them all stop and hear what is left to hear:
// then what each believes by the responses alone must be what a session that comes
// anew is told. Flags that only one session sets must be what that one has made of
// them. A session in IDLE takes part, and one with QRESYNC that leaves at a
// checkpoint and comes back at the next with what it knew.
//
// Meanwhile no client may be told what contradicts what it was told before: see
// hear.
func TestStress(t *testing.T) {
	rounds, seed := 25, uint64(1)
	if os.Getenv("RESTANTE_HEAVY") != "" {
		rounds, seed = 800, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	s := &stress{t: t, h: newHouse(t, nil), recent: new(firstTold)}
	for i, ability := range []string{"", "", "CONDSTORE", "QRESYNC", "QRESYNC"} {
		m, c := s.join(i, ability, seed)
		s.workers = append(s.workers, &worker{m: m, c: c, mine: "$Mine" + c.name, own: make(map[uint32]bool)})
	}
	s.idlerModel, s.idler = s.join(5, "", seed)
	s.sleeperModel, s.sleeper = s.join(6, "QRESYNC", seed)
	s.witnessModel, s.witness = s.join(7, "CONDSTORE", seed)
	s.checkpoint()
	for range rounds {
		if s.round(); !t.Failed() {
			s.checkpoint()
		}
		if t.Failed() {
			return
		}
	}
}

type stress struct {
	t       *testing.T
	h       *house
	recent  *firstTold
	workers []*worker
	idler   *modelClient
	sleeper *modelClient
	// witness selects the mailbox at each checkpoint.
	witness *modelClient

	idlerModel, sleeperModel, witnessModel *model
}

// worker is a client that does random things.
type worker struct {
	m *model
	c *modelClient
	// mine is a keyword that nobody else sets; own is which messages have it.
	mine string
	own  map[uint32]bool
}

// join begins a session, with a model of its own that knows nothing of the mailbox.
func (s *stress) join(i int, ability string, seed uint64) (*model, *modelClient) {
	s.t.Helper()
	m := &model{t: s.t, rnd: rand.New(rand.NewPCG(seed, uint64(i))), h: s.h, recent: s.recent}
	c := m.join(i, ability)
	return m, c
}

// round has all work, and waits for them.
func (s *stress) round() {
	done := make(chan struct{})
	s.together(func(w *worker) {
		for range 12 {
			w.act()
		}
	}, done, func() { s.idlerModel.idle(s.idler, done) })
}

// together has each worker do something in a goroutine of its own, and the idler
// something until done, which is closed when the workers are through.
func (s *stress) together(work func(w *worker), done chan struct{}, idle func()) {
	var working, idling sync.WaitGroup
	s.idlerModel.apart = true
	idling.Go(idle)
	for _, w := range s.workers {
		w.m.apart = true
		working.Go(func() { work(w) })
	}
	working.Wait()
	close(done)
	idling.Wait()
	s.idlerModel.apart = false
	for _, w := range s.workers {
		w.m.apart = false
	}
}

// act does something.
func (w *worker) act() {
	m, c := w.m, w.c
	switch n := m.rnd.IntN(100); {
	case n < 22 && len(c.view) < 30:
		flags := []string{`(\Seen)`, `($Label1 \Draft)`, `()`, `(\Deleted)`, `($Label4)`}[m.rnd.IntN(5)]
		m.mustSay(c, "APPEND INBOX "+flags+" {2+}\r\nx\n")
	case n < 50 && len(c.view) > 0:
		w.store()
	case n < 58:
		m.mustSay(c, "EXPUNGE")
	case n < 70 && len(c.view) > 0:
		m.mustSay(c, fmt.Sprintf("FETCH %s (UID %s)", m.someOf(len(c.view)), c.items()))
	case n < 73 && len(c.view) > 0:
		// Others may have expunged them all.
		m.say(c, "MOVE "+strconv.Itoa(1+m.rnd.IntN(len(c.view)))+" Trash")
	case n < 80:
		m.mustSay(c, "UID SEARCH DELETED")
	case n < 84:
		c.view = nil
		m.mustSay(c, "SELECT INBOX")
		m.learn(c)
	default:
		m.learn(c)
	}
}

// store changes flags of some messages: those that all change, or its own.
func (w *worker) store() {
	m, c := w.m, w.c
	if m.know(c); len(c.view) == 0 {
		return
	}
	op := []string{"+", "-"}[m.rnd.IntN(2)]
	silent := []string{"", ".SILENT"}[m.rnd.IntN(2)]
	flag := []string{`\Seen`, `\Deleted`, "$Label1", "$Label2", "$Label3", w.mine, w.mine}[m.rnd.IntN(7)]
	set := m.someOf(len(c.view))
	for n := range numbersOf(set, len(c.view)) {
		b := &c.view[n-1]
		if flag == w.mine {
			w.own[b.uid] = op == "+"
		}
		if silent != "" {
			b.flags = changed(b.flags, op, flag)
		}
	}
	m.mustSay(c, fmt.Sprintf("STORE %s %sFLAGS%s (%s)", set, op, silent, flag))
}

// idle stays in IDLE until done is closed.
func (m *model) idle(c *modelClient, done <-chan struct{}) {
	m.log = append(m.log, "C"+c.name+": IDLE")
	c.holding = false
	go func() {
		fmt.Fprint(c.conn, "t IDLE\r\n")
		<-done
		fmt.Fprint(c.conn, "DONE\r\n")
	}()
	if reply := m.listen(c); !strings.HasPrefix(reply, "OK") {
		m.fatalf(c, "%s", reply)
	}
}

// checkpoint has all hear what there is, and compares.
func (s *stress) checkpoint() {
	s.t.Helper()
	s.together(func(w *worker) { w.m.mustSay(w.c, "NOOP") }, make(chan struct{}), func() { s.idlerModel.mustSay(s.idler, "NOOP") })
	if s.t.Failed() {
		return
	}
	truth := s.witness
	truth.view = nil
	s.witnessModel.mustSay(truth, "SELECT INBOX")
	s.witnessModel.learn(truth)
	for _, w := range s.workers {
		w.m.agrees(w.c, truth)
		for _, b := range truth.view {
			has := strings.Contains(b.flags, w.mine)
			if want, known := w.own[b.uid]; known && has != want {
				w.m.fatalf(w.c, "UID %d has flags %s, and the client has set and unset %s last: %v", b.uid, b.flags, w.mine, want)
			}
		}
	}
	s.idlerModel.agrees(s.idler, truth)
	s.wake(truth)
	s.witnessModel.mustSay(truth, "UNSELECT")
}

// agrees tells whether what a client believes is what is true.
func (m *model) agrees(c, truth *modelClient) {
	m.t.Helper()
	if len(c.view) != len(truth.view) {
		m.fatalf(c, "checkpoint: the client knows %d messages, there are %d", len(c.view), len(truth.view))
	}
	for i, b := range c.view {
		is := truth.view[i]
		switch {
		case b.uid != 0 && b.uid != is.uid:
			m.fatalf(c, "checkpoint: message %d is UID %d, the client believes %d", i+1, is.uid, b.uid)
		case b.flags != "?" && b.flags != is.flags:
			m.fatalf(c, "checkpoint: UID %d has flags %s, the client believes %s", is.uid, is.flags, b.flags)
		case b.flags != "?" && b.modseq != 0 && b.modseq != is.modseq:
			m.fatalf(c, "checkpoint: UID %d has MODSEQ %d, the client believes %d", is.uid, is.modseq, b.modseq)
		}
	}
	if !maps.Equal(c.keywords, truth.keywords) {
		m.fatalf(c, "checkpoint: the client knows the keywords %v, the mailbox has %v",
			slices.Sorted(maps.Keys(c.keywords)), slices.Sorted(maps.Keys(truth.keywords)))
	}
	m.compareRecent(c)
}

// wake has the sleeper come back with what it knew, compares that, and has it
// leave with what is true now.
func (s *stress) wake(truth *modelClient) {
	s.t.Helper()
	m, c := s.sleeperModel, s.sleeper
	if c.remembered != nil {
		c.view = nil
		m.mustSay(c, fmt.Sprintf("SELECT INBOX (QRESYNC (1 %d))", c.highest))
		want := make(map[uint32]string)
		for _, b := range truth.view {
			want[b.uid] = b.flags
		}
		if !maps.Equal(c.remembered, want) {
			m.fatalf(c, "the client comes back to %v, and is made to believe %v", want, c.remembered)
		}
		c.remembered = nil
	}
	c.view = nil
	m.mustSay(c, "SELECT INBOX")
	m.learn(c)
	m.agrees(c, truth)
	c.remembered = make(map[uint32]string)
	for _, b := range c.view {
		c.remembered[b.uid] = b.flags
	}
	m.mustSay(c, "UNSELECT")
}
