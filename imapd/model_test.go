package imapd

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

// TestModel has four sessions of one mailbox do random things, one at a time, and
// holds what each was told against a simple model of the mailbox: the flags of
// each UID. A plain client, one with CONDSTORE, one with QRESYNC, which leaves and
// comes back with what it knows, and one with UIDONLY take part. The mailbox is
// that of one account, or one that is shared by four.
//
// A client believes only responses. Whenever it must have heard everything (after
// a command that EXPUNGE may follow) what it believes must be the model; at any
// other time no response may contradict the model, or name a message by a number
// that is another's.
func TestModel(t *testing.T) {
	steps, seed := 3000, uint64(1)
	if os.Getenv("RESTANTE_HEAVY") != "" {
		steps, seed = 100_000, uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	all := map[string]string{"alice": "lrswite", "bob": "lrswite", "carol": "lrswite", "dave": "lrswite"}
	for _, c := range []struct {
		name, mailbox, owner string
		accounts             []string
	}{
		{"Own", "INBOX", "alice", []string{"alice", "alice", "alice", "alice"}},
		{"Shared", `"Shared Folders/Team"`, "shared/Team", []string{"alice", "bob", "carol", "dave"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(o *Options) { o.Shared = []Shared{{Name: "Team", Account: "shared/Team", Rights: all}} })
			// The mailbox in question is the first, with the UIDVALIDITY 1.
			if _, err := h.store.CreateMailbox(c.owner, spool.Inbox, spool.UseNone); err != nil {
				t.Fatal(err)
			}
			m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), h: h, box: make(map[uint32]string), next: 1, recent: new(firstTold)}
			m.name = c.mailbox
			for i, ability := range []string{"", "CONDSTORE", "QRESYNC", "UIDONLY"} {
				m.account = c.accounts[i]
				m.clients = append(m.clients, m.join(i, ability))
			}
			m.run(steps)
		})
	}
}

// run has the clients take turns.
func (m *model) run(steps int) {
	for m.step = 0; m.step < steps; m.step++ {
		m.turn(m.clients[m.rnd.IntN(len(m.clients))])
		if m.t.Failed() {
			return
		}
	}
	for _, c := range m.clients {
		m.say(c, "NOOP")
		m.compare(c)
	}
}

// model is the mailbox as it must be: flags by UID, as modelFlags writes them. It has
// no box where others change the mailbox at the same time (TestStress).
type model struct {
	t   *testing.T
	rnd *rand.Rand
	// account is whose the next client is, and name what clients call the mailbox: alice
	// and INBOX if they are "".
	account, name string

	h       *house
	box     map[uint32]string
	next    uint32
	step    int
	clients []*modelClient
	log     []string
	recent  *firstTold
	// apart tells that the client acts in a goroutine of its own.
	apart bool
}

// fatalf ends the test, or the goroutine of a client that has one of its own.
func (m *model) fatalf(c *modelClient, format string, args ...any) {
	m.t.Helper()
	fail := m.t.Fatalf
	if m.apart {
		defer runtime.Goexit()
		fail = m.t.Errorf
	}
	fail("step %d, client %s: %s\n%s", m.step, c.name, fmt.Sprintf(format, args...), strings.Join(m.log[max(0, len(m.log)-60):], "\n"))
}

func (m *model) join(i int, ability string) *modelClient {
	if m.account == "" {
		m.account, m.name = "alice", "INBOX"
	}
	server, conn := net.Pipe()
	m.h.srv.serveLoggedIn(server, m.account)
	m.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Minute))
	c := &modelClient{name: strconv.Itoa(i), ability: ability, conn: conn, r: bufio.NewReader(conn)}
	if ability != "" {
		m.say(c, "ENABLE "+ability)
	}
	m.say(c, "SELECT "+m.name)
	m.learn(c)
	return c
}

// turn has a client do something. One with QRESYNC or UIDONLY then asks for the UIDs of what
// is new, since VANISHED means nothing to it otherwise.
func (m *model) turn(c *modelClient) {
	m.t.Helper()
	m.act(c)
	if c.hearsVanished() && slices.ContainsFunc(c.view, func(b believed) bool { return b.uid == 0 }) {
		m.know(c)
	}
}

// act has a client do something.
func (m *model) act(c *modelClient) {
	m.t.Helper()
	switch n := m.rnd.IntN(100); {
	case n < 18 && len(m.box) < 30:
		m.append(c)
	case n < 48 && len(c.view) > 0:
		m.store(c)
	case n < 58:
		m.expunge(c)
	case n < 68 && len(c.view) > 0:
		m.say(c, c.named("FETCH", m.someOf(len(c.view)), fmt.Sprintf("(UID %s)", c.items())))
	case n < 73 && len(c.view) > 0:
		m.move(c)
	case n < 79:
		m.search(c)
	case n < 85:
		m.comeBack(c)
	case n < 92:
		m.learn(c)
	default:
		m.say(c, "NOOP")
		m.compare(c)
	}
}

func (m *model) append(c *modelClient) {
	flags := []string{`(\Seen)`, `($Label1 \Draft)`, `()`, `(\Deleted)`}[m.rnd.IntN(4)]
	// The model comes first: the reply may have the flags already.
	m.box[m.next] = modelFlags(strings.Fields(strings.Trim(flags, "()"))...)
	m.next++
	m.say(c, "APPEND "+m.name+" "+flags+" {2+}\r\nx\n")
	m.compare(c)
}

// know has a client ask until it knows all UIDs: of what arrives it only hears the
// number.
func (m *model) know(c *modelClient) {
	for asked := false; !asked || slices.ContainsFunc(c.view, func(b believed) bool { return b.uid == 0 }); asked = true {
		m.learn(c)
	}
}

// someOf writes a set of numbers up to n.
func (m *model) someOf(n int) string {
	a, b := 1+m.rnd.IntN(n), 1+m.rnd.IntN(n)
	switch m.rnd.IntN(4) {
	case 0:
		return fmt.Sprintf("%d:%d", a, b)
	case 1:
		return fmt.Sprintf("%d,%d", a, b)
	case 2:
		return fmt.Sprintf("%d:*", a)
	}
	return strconv.Itoa(a)
}

// numbersOf is what a set stands for, of n.
func numbersOf(set string, n int) map[int]bool {
	out := make(map[int]bool)
	for part := range strings.SplitSeq(set, ",") {
		a, b, is := strings.Cut(strings.ReplaceAll(part, "*", strconv.Itoa(n)), ":")
		if !is {
			b = a
		}
		from, _ := strconv.Atoi(a)
		to, _ := strconv.Atoi(b)
		for i := min(from, to); i <= max(from, to); i++ {
			out[i] = true
		}
	}
	return out
}

// store changes flags of some messages, by number.
func (m *model) store(c *modelClient) {
	op := []string{"", "+", "-"}[m.rnd.IntN(3)]
	silent := []string{"", ".SILENT"}[m.rnd.IntN(2)]
	flag := []string{`\Seen`, `\Deleted`, `$Label1`, `\Flagged`}[m.rnd.IntN(4)]
	// What the numbers mean can only be told if the client knows the UIDs: it asks.
	// Else it does not: it may not have heard yet of what others have done.
	if slices.ContainsFunc(c.view, func(b believed) bool { return b.uid == 0 }) {
		m.know(c)
	}
	if len(c.view) == 0 {
		return
	}
	set := m.someOf(len(c.view))
	for n := range numbersOf(set, len(c.view)) {
		b := &c.view[n-1]
		if old, there := m.box[b.uid]; there {
			m.box[b.uid] = changed(old, op, flag)
		} else if m.box != nil {
			continue
		}
		if silent != "" {
			b.flags = changed(b.flags, op, flag)
		}
	}
	m.mustSay(c, c.named("STORE", set, fmt.Sprintf("%sFLAGS%s (%s)", op, silent, flag)))
}

// changed is what an operation makes of flags, which are "?" if they are unknown.
func changed(old, op, flag string) string {
	have := strings.Fields(strings.Trim(old, "()"))
	switch {
	case op == "":
		return modelFlags(flag)
	case old == "?":
		return old
	case op == "+":
		return modelFlags(append(have, flag)...)
	}
	return modelFlags(slices.DeleteFunc(have, func(s string) bool { return s == flag })...)
}

func (m *model) expunge(c *modelClient) {
	for uid, flags := range m.box {
		if strings.Contains(flags, `\Deleted`) {
			delete(m.box, uid)
		}
	}
	m.say(c, "EXPUNGE")
	m.compare(c)
}

// move takes some messages out of the mailbox.
func (m *model) move(c *modelClient) {
	m.know(c)
	if len(c.view) == 0 {
		return
	}
	set := m.someOf(len(c.view))
	for n := range numbersOf(set, len(c.view)) {
		delete(m.box, c.view[n-1].uid)
	}
	m.say(c, c.named("MOVE", set, "Trash"))
	m.compare(c)
}

// search looks for a flag by UID.
func (m *model) search(c *modelClient) {
	m.say(c, "UID SEARCH DELETED")
	var want []uint32
	for uid, flags := range m.box {
		if strings.Contains(flags, `\Deleted`) {
			want = append(want, uid)
		}
	}
	// A message that the client had not heard of when it asked is not found.
	for _, uid := range c.found {
		if !slices.Contains(want, uid) {
			m.fatalf(c, "UID %d is found, and not deleted", uid)
		}
	}
	m.compare(c)
}

// comeBack has a client with QRESYNC leave and take up what it knows, and others
// select once more.
func (m *model) comeBack(c *modelClient) {
	if c.ability != "QRESYNC" {
		c.view = nil
		m.say(c, "SELECT "+m.name)
		m.learn(c)
		return
	}
	// HIGHESTMODSEQ is known from a command that has told everything.
	m.expunge(c)
	m.know(c)
	since := c.highest
	c.remembered = make(map[uint32]string)
	for _, b := range c.view {
		c.remembered[b.uid] = b.flags
	}
	m.say(c, "UNSELECT")
	for range m.rnd.IntN(4) {
		other := m.clients[m.rnd.IntN(2)]
		m.turn(other)
	}
	c.view = nil
	validity := uint32(1)
	m.say(c, fmt.Sprintf("SELECT %s (QRESYNC (%d %d))", m.name, validity, since))
	if !maps.Equal(c.remembered, m.box) {
		m.fatalf(c, "the client comes back to %v, and is made to believe %v", m.box, c.remembered)
	}
	c.remembered = nil
	m.learn(c)
}
