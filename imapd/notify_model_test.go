package imapd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestNotifyModel has two sessions do random things, as TestModel does, while others
// only listen, without a command: what they believe must become what the mailbox is,
// and nothing that they hear may be impossible. Two have it selected, with and without
// QRESYNC; one hears of it as of any mailbox. To another one expunges come delayed: it
// uses numbers, which must be what it believes, and hears of expunges only where it may.
func TestNotifyModel(t *testing.T) {
	steps, seed := 1000, uint64(1)
	if os.Getenv("RESTANTE_HEAVY") != "" {
		steps, seed = 30_000, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	h := newHouse(t, nil)
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), h: h, box: make(map[uint32]string), next: 1, recent: new(firstTold)}
	for i, ability := range []string{"", "CONDSTORE"} {
		m.clients = append(m.clients, m.join(i, ability))
	}
	var listeners []*modelClient
	for i, ability := range []string{"", "QRESYNC"} {
		c := m.join(len(m.clients)+i, ability)
		m.say(c, "NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
		listeners = append(listeners, c)
	}
	status := m.join(9, "")
	m.say(status, "UNSELECT")
	m.say(status, "NOTIFY SET (inboxes (MessageNew MessageExpunge FlagChange))")
	delayed := m.join(8, "")
	m.say(delayed, "NOTIFY SET (selected-delayed (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
	delayed.listens = true
	for m.step = 0; m.step < steps; m.step++ {
		m.turn(m.clients[m.rnd.IntN(len(m.clients))])
		// Now and then they have not read for a while.
		if m.rnd.IntN(4) > 0 {
			continue
		}
		for _, c := range listeners {
			m.overhear(c)
		}
		m.listenForStatus(status)
		if m.rnd.IntN(2) == 0 {
			m.say(delayed, "NOOP")
			m.compare(delayed)
		} else if len(delayed.view) > 0 {
			m.say(delayed, "FETCH "+m.someOf(len(delayed.view))+" (UID FLAGS)")
		}
		if t.Failed() {
			return
		}
	}
}

// overhear reads until the client believes what is.
func (m *model) overhear(c *modelClient) {
	m.t.Helper()
	c.listens = true
	for !m.believes(c) {
		m.hear(c, m.line(c))
	}
}

// line reads one that is not the answer to a command.
func (m *model) line(c *modelClient) string {
	m.t.Helper()
	line, err := c.r.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	m.log = append(m.log, "S"+c.name+": "+line)
	if err != nil {
		m.fatalf(c, "%v; it believes %v, the mailbox is %v", err, c.view, m.box)
	}
	return line
}

func (m *model) believes(c *modelClient) bool {
	return slices.EqualFunc(c.view, slices.Sorted(maps.Keys(m.box)), func(b believed, uid uint32) bool {
		return b.uid == uid && b.flags == m.box[uid]
	})
}

var modelStatus = regexp.MustCompile(`^\* STATUS INBOX \((.*)\)$`)

// listenForStatus reads until the last STATUS is what the mailbox is like.
func (m *model) listenForStatus(c *modelClient) {
	m.t.Helper()
	unseen := 0
	for _, flags := range m.box {
		if !strings.Contains(flags, `\Seen`) {
			unseen++
		}
	}
	want := fmt.Sprintf("MESSAGES %d UIDNEXT %d UIDVALIDITY 1 UNSEEN %d", len(m.box), m.next, unseen)
	for c.status != want && (c.status != "" || m.next > 1) {
		f := modelStatus.FindStringSubmatch(m.line(c))
		if f == nil {
			m.fatalf(c, "something else than STATUS")
		}
		c.status = f[1]
	}
}
