package imapd

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// believed is a message as a client knows it; uid 0, flags "?" and modseq 0 are
// unknown.
type believed struct {
	uid    uint32
	flags  string // without \Recent
	recent bool
	modseq uint64
}

type modelClient struct {
	name    string
	ability string
	conn    net.Conn
	r       *bufio.Reader
	view    []believed
	// holding tells that the command must not be answered with EXPUNGE.
	holding bool
	// remembered is what it knows while it comes back with QRESYNC.
	remembered map[uint32]string
	highest    uint64
	found      []uint32
	// keywords are those that FLAGS has announced.
	keywords map[string]bool
	// recent is what RECENT said; selection tells one SELECT from another.
	recent    int
	selection string
	selected  int
	// listens tells that it hears late, so that what it hears of flags may have been;
	// status is the last that it has heard of another mailbox.
	listens bool
	status  string
}

// learn asks for all UIDs and flags.
func (m *model) learn(c *modelClient) {
	m.say(c, "UID FETCH 1:* ("+c.items()+")")
	m.compare(c)
}

// hearsVanished tells that it is told of what is gone by UID.
func (c *modelClient) hearsVanished() bool { return c.ability == "QRESYNC" || c.ability == "UIDONLY" }

// named is a command about some messages, by number or, with UIDONLY, by the UIDs of
// which the client knows.
func (c *modelClient) named(verb, set, rest string) string {
	if c.ability != "UIDONLY" {
		return verb + " " + set + " " + rest
	}
	var uids []string
	for n := range numbersOf(set, len(c.view)) {
		uids = append(uids, strconv.FormatUint(uint64(c.view[n-1].uid), 10))
	}
	return "UID " + verb + " " + strings.Join(uids, ",") + " " + rest
}

// items are what a client asks for of flags.
func (c *modelClient) items() string {
	if c.ability == "" {
		return "FLAGS"
	}
	return "FLAGS MODSEQ"
}

// mustSay is say with a command that must not fail.
func (m *model) mustSay(c *modelClient, command string) {
	m.t.Helper()
	if reply := m.say(c, command); !strings.HasPrefix(reply, "OK") {
		m.fatalf(c, "%s", reply)
	}
}

var (
	modelFetch    = regexp.MustCompile(`^\* (\d+) FETCH \((.*)\)$`)
	modelUIDFetch = regexp.MustCompile(`^\* (\d+) UIDFETCH \((.*)\)$`)
	modelUID      = regexp.MustCompile(`\bUID (\d+)`)
	modelFlagList = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	modelModSeq   = regexp.MustCompile(`\bMODSEQ \((\d+)\)`)
	modelFlags0   = regexp.MustCompile(`^\* FLAGS \(([^)]*)\)$`)
	modelNumber   = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|RECENT)$`)
	modelHighest  = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	modelVanished = regexp.MustCompile(`^\* VANISHED( \(EARLIER\))? (\S+)$`)
)

// say sends a command and takes its responses in. It returns the tagged reply.
func (m *model) say(c *modelClient, command string) string {
	m.t.Helper()
	m.log = append(m.log, "C"+c.name+": "+command)
	c.holding = strings.HasPrefix(command, "FETCH") || strings.HasPrefix(command, "STORE") || strings.HasPrefix(command, "SEARCH")
	if strings.HasPrefix(command, "SELECT") {
		c.selected++
		c.selection, c.recent = fmt.Sprintf("%s.%d", c.name, c.selected), 0
	}
	go io.WriteString(c.conn, "t "+command+"\r\n")
	return m.listen(c)
}

// listen takes in responses up to the tagged reply, which it returns.
func (m *model) listen(c *modelClient) string {
	m.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		m.log = append(m.log, "S"+c.name+": "+line)
		if err != nil {
			m.fatalf(c, "%v", err)
		}
		if f := modelHighest.FindStringSubmatch(line); f != nil {
			c.highest, _ = strconv.ParseUint(f[1], 10, 64)
		}
		if reply, is := strings.CutPrefix(line, "t "); is {
			return reply
		}
		m.hear(c, line)
	}
}

// hear changes what a client believes.
func (m *model) hear(c *modelClient, line string) {
	m.t.Helper()
	if f := modelNumber.FindStringSubmatch(line); f != nil {
		n, _ := strconv.Atoi(f[1])
		switch {
		case f[2] == "RECENT":
			c.recent = n
		case f[2] == "EXISTS" && n < len(c.view):
			m.fatalf(c, "EXISTS makes the mailbox smaller")
		case f[2] == "EXISTS":
			for len(c.view) < n {
				c.view = append(c.view, believed{flags: "?"})
			}
		case c.holding || c.hearsVanished():
			m.fatalf(c, "EXPUNGE where it must not be")
		case n < 1 || n > len(c.view):
			m.fatalf(c, "EXPUNGE of no message")
		default:
			if uid := c.view[n-1].uid; uid != 0 && m.has(uid) {
				m.fatalf(c, "UID %d is told to be gone", uid)
			}
			c.view = slices.Delete(c.view, n-1, n)
		}
		return
	}
	if f := modelFlags0.FindStringSubmatch(line); f != nil {
		c.keywords = make(map[string]bool)
		for _, k := range strings.Fields(f[1]) {
			c.keywords[k] = true
		}
		return
	}
	if f := modelVanished.FindStringSubmatch(line); f != nil {
		m.vanish(c, f[2], f[1] != "")
		return
	}
	if f := modelFetch.FindStringSubmatch(line); f != nil {
		if c.ability == "UIDONLY" {
			m.fatalf(c, "a sequence number is told")
		}
		seq, _ := strconv.Atoi(f[1])
		m.fetched(c, seq, f[2])
		return
	}
	if f := modelUIDFetch.FindStringSubmatch(line); f != nil {
		m.fetched(c, c.seqOf(f[1]), "UID "+f[1]+" "+f[2])
		return
	}
	if rest, is := strings.CutPrefix(line, "* SEARCH"); is {
		c.found = nil
		for _, s := range strings.Fields(rest) {
			if n, err := strconv.ParseUint(s, 10, 32); err == nil {
				c.found = append(c.found, uint32(n))
			}
		}
	}
}

// seqOf is where a client with UIDONLY has a message: the first of which it does not
// know the UID, if it knows none of that UID; 0 if there is none.
func (c *modelClient) seqOf(uid string) int {
	n, _ := strconv.ParseUint(uid, 10, 32)
	for _, uid := range []uint32{uint32(n), 0} {
		if i := slices.IndexFunc(c.view, func(b believed) bool { return b.uid == uid }); i >= 0 {
			return i + 1
		}
	}
	return 0
}

func (m *model) vanish(c *modelClient, set string, earlier bool) {
	m.t.Helper()
	if c.holding || !c.hearsVanished() {
		m.fatalf(c, "VANISHED where it must not be")
	}
	for part := range strings.SplitSeq(set, ",") {
		a, b, is := strings.Cut(part, ":")
		if !is {
			b = a
		}
		from, _ := strconv.Atoi(a)
		to, _ := strconv.Atoi(b)
		for uid := uint32(from); uid <= uint32(to); uid++ {
			if m.has(uid) {
				m.fatalf(c, "UID %d is told to have vanished", uid)
			}
			if earlier {
				delete(c.remembered, uid)
				continue
			}
			i := slices.IndexFunc(c.view, func(b believed) bool { return b.uid == uid })
			if i < 0 && m.box == nil {
				// It came and went before the client learned its UID.
				i = slices.IndexFunc(append(slices.Clone(c.view), believed{uid: uid + 1}), func(b believed) bool { return b.uid > uid }) - 1
				if i >= 0 && c.view[i].uid != 0 {
					i = -1
				}
			}
			if i < 0 {
				m.fatalf(c, "UID %d has vanished, which was never there", uid)
			}
			c.view = slices.Delete(c.view, i, i+1)
		}
	}
}

func (m *model) fetched(c *modelClient, seq int, items string) {
	m.t.Helper()
	if seq < 1 || seq > len(c.view) {
		m.fatalf(c, "FETCH of no message")
	}
	b := &c.view[seq-1]
	if f := modelUID.FindStringSubmatch(items); f != nil {
		uid, _ := strconv.ParseUint(f[1], 10, 32)
		if b.uid != 0 && b.uid != uint32(uid) {
			m.fatalf(c, "message %d is UID %d, and was %d", seq, uid, b.uid)
		}
		b.uid = uint32(uid)
	}
	if f := modelFlagList.FindStringSubmatch(items); f != nil {
		list := strings.Fields(f[1])
		for _, flag := range list {
			if !c.keywords[flag] && flag != `\Recent` {
				m.fatalf(c, "%s was not announced", flag)
			}
		}
		b.flags, b.recent = modelFlags(list...), slices.Contains(list, `\Recent`)
		if b.recent && b.uid != 0 {
			if first := m.recent.take(b.uid, c.selection); first != c.selection {
				m.fatalf(c, "UID %d is recent in session %s and was in %s", b.uid, c.selection, first)
			}
		}
		if b.uid != 0 && m.box != nil && m.box[b.uid] != b.flags && !c.listens {
			m.fatalf(c, "UID %d has flags %s, not %s", b.uid, m.box[b.uid], b.flags)
		}
		if c.remembered != nil && b.uid != 0 {
			c.remembered[b.uid] = b.flags
		}
		if c.ability == "QRESYNC" && b.uid == 0 {
			m.fatalf(c, "flags without the UID (RFC 7162 section 3.2.4)")
		}
	}
	if f := modelModSeq.FindStringSubmatch(items); f != nil {
		n, _ := strconv.ParseUint(f[1], 10, 64)
		if n < b.modseq {
			m.fatalf(c, "MODSEQ of message %d went back from %d to %d", seq, b.modseq, n)
		}
		b.modseq = n
	}
}

// has tells whether a message is there, as far as is known.
func (m *model) has(uid uint32) bool { return m.box != nil && m.box[uid] != "" }

// firstTold is which session was told first of each message, by UID.
type firstTold struct {
	mu sync.Mutex
	by map[uint32]string
}

// take notes that a message was \Recent in a session, and returns in which it was
// so first.
func (f *firstTold) take(uid uint32, session string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = make(map[uint32]string)
	}
	if f.by[uid] == "" {
		f.by[uid] = session
	}
	return f.by[uid]
}

// modelFlags writes flags so that they can be compared, without \Recent.
func modelFlags(list ...string) string {
	list = slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == `\Recent` })
	slices.Sort(list)
	return "(" + strings.Join(slices.Compact(list), " ") + ")"
}

// compare holds what a client believes against the model; it must have heard all.
func (m *model) compare(c *modelClient) {
	m.t.Helper()
	if m.box == nil {
		return
	}
	uids := slices.Sorted(maps.Keys(m.box))
	if len(uids) != len(c.view) {
		m.fatalf(c, "%d messages, the client knows %d", len(uids), len(c.view))
	}
	for i, b := range c.view {
		if b.uid != 0 && b.uid != uids[i] {
			m.fatalf(c, "message %d is UID %d, the client believes %d", i+1, uids[i], b.uid)
		}
		if b.uid != 0 && b.flags != "?" && b.flags != m.box[b.uid] {
			m.fatalf(c, "UID %d has flags %s, the client believes %s", b.uid, m.box[b.uid], b.flags)
		}
	}
	m.compareRecent(c)
}

// compareRecent holds what RECENT said against the flags, if they are all known.
func (m *model) compareRecent(c *modelClient) {
	m.t.Helper()
	n := 0
	for _, b := range c.view {
		if b.flags == "?" {
			return
		}
		if b.recent {
			n++
		}
	}
	if n != c.recent {
		m.fatalf(c, "RECENT is %d, and %d messages are", c.recent, n)
	}
}
