package badger

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/internal/mail"
	"restante/spool"
)

// refsBatch is how many messages are held at a time while the entries of all
// mailboxes are looked through for them.
const refsBatch = 1 << 18

// counted is a message whose references are being counted.
type counted struct {
	id      mail.ID
	size    int64
	stored  uint64 // the references that r tells of
	tasks   uint32
	maxTask int32
	next    uint32 // r's next task
	found   uint32 // entries
	bad     bool   // r is missing, or cannot be read
}

// refsPass compares entries with messages, a run of messages at a time: both
// are too many to be held, and are in different orders.
type refsPass struct {
	c     *checker
	list  []counted
	after *mail.ID // the last of the run before
}

func newRefsPass(c *checker) *refsPass { return &refsPass{c: c} }

func (r *refsPass) add(m *message) error {
	r.list = append(r.list, counted{
		id: m.id, size: m.rec.size, stored: m.refs.refs, tasks: uint32(m.tasks), maxTask: int32(m.maxTask),
		next: uint32(min(m.refs.nextTask, 1<<17)), bad: !m.refsHere || m.refsErr != nil,
	})
	if len(r.list) < refsBatch {
		return nil
	}
	last := m.id
	return r.run(&last)
}

// run looks through the entries for the messages up to one; nil is no bound.
func (r *refsPass) run(last *mail.ID) error {
	c := r.c
	if err := c.entries(func(key []byte, n *spool.Entry) error {
		id := n.Message
		if r.after != nil && bytes.Compare(id[:], r.after[:]) <= 0 || last != nil && bytes.Compare(id[:], last[:]) > 0 {
			return nil
		}
		i := sort.Search(len(r.list), func(i int) bool { return bytes.Compare(r.list[i].id[:], id[:]) >= 0 })
		if i == len(r.list) || r.list[i].id != id {
			return r.dangling(key, n)
		}
		m := &r.list[i]
		m.found++
		if want := int64(len(n.Prefix)) + m.size; n.Size != want {
			c.find(damageEntry, c.keyText(key), c.resizeEntry(key), "it says %d octets, its message has %d", n.Size, want)
		}
		return nil
	}); err != nil {
		return err
	}
	for i := range r.list {
		r.judge(&r.list[i])
	}
	r.list, r.after = r.list[:0], last
	return nil
}

// entries calls f with every entry that can be read, whatever its mailbox.
func (c *checker) entries(f func(key []byte, n *spool.Entry) error) error {
	it := c.t.txn.NewIterator(badgerdb.IteratorOptions{Prefix: []byte{kEntry}})
	defer it.Close()
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		if n++; n%progressEvery == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if len(it.Item().Key()) != keyLength(kEntry) {
			continue
		}
		if err := openItem(it.Item(), func(key, p []byte, err error) error {
			if err != nil {
				return nil // the walk of the mailboxes tells
			}
			n, err := decodeEntry(uidOf(key), p)
			if err != nil {
				return nil
			}
			return f(key, &n)
		}); err != nil {
			return err
		}
	}
	return nil
}

// dangling tells of an entry whose message was not counted: it is gone, or it
// is a casualty, with which its entries go.
func (r *refsPass) dangling(key []byte, n *spool.Entry) error {
	c := r.c
	if there, err := c.t.has(idKey(kMessage, n.Message)); err != nil || there {
		return err
	}
	for _, hurt := range c.damaged {
		if hurt.id == n.Message {
			return nil
		}
	}
	c.find(damageEntry, c.keyText(key), c.dropEntry(key, viewEntry(n)), "its message %s is not there", n.Message)
	return nil
}

func (r *refsPass) judge(m *counted) {
	c, name := r.c, "message "+m.id.String()
	want := uint64(m.tasks) + uint64(m.found)
	switch {
	case want == 0:
		c.casualty(m.id, damageUnwanted, "no task and no mailbox refers to it")
	case m.bad:
		c.find(damageRecord, name, c.newRefs(m, want), "its references cannot be read; there are %d", want)
	case m.stored != want:
		c.find(damageRefs, name, c.addRefs(m, int64(want)-int64(m.stored)), "%d references are stored, there are %d", m.stored, want)
	case int64(m.next) <= int64(m.maxTask):
		c.find(damageRefs, name, c.addRefs(m, 0), "its next task would be %d, there is %d", m.next, m.maxTask)
	}
}

// newRefs makes a reference record from what was counted. While there is none
// that can be read, no verb adds or drops a reference.
func (c *checker) newRefs(m *counted, want uint64) *fix {
	id, next := m.id, uint64(m.maxTask+1)
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if _, err := load(t, idKey(kRefs, id), decodeRefs); err == nil {
			return errMoved
		}
		return t.set(idKey(kRefs, id), refsRecord{refs: want, nextTask: next}.encode())
	}}
}

func (c *checker) addRefs(m *counted, by int64) *fix {
	id, next := m.id, uint64(m.maxTask+1)
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		r, err := load(t, idKey(kRefs, id), decodeRefs)
		if err != nil {
			return errMoved
		}
		if int64(r.refs)+by <= 0 {
			return errMoved // what referred to it has gone meanwhile
		}
		r.refs = uint64(int64(r.refs) + by)
		r.nextTask = max(r.nextTask, next)
		return t.set(idKey(kRefs, id), r.encode())
	}}
}

// casualty is a message that is taken out whole: its body is damaged, or
// nothing refers to it, or nothing says what it is.
type casualty struct {
	id         mail.ID
	kind, what string
	entries    [][]byte // keys
}

// maxCasualties bounds those of one round; the next takes the others.
const maxCasualties = 10_000

func (c *checker) casualty(id mail.ID, kind, what string) {
	if !c.opt.Repair || len(c.damaged) >= maxCasualties {
		c.find(kind, "message "+id.String(), nil, "%s", what)
		return
	}
	c.damaged = append(c.damaged, &casualty{id: id, kind: kind, what: what})
}

// casualties takes them out, after looking for the entries that they have.
func (c *checker) casualties() error {
	if len(c.damaged) == 0 {
		return nil
	}
	slices.SortStableFunc(c.damaged, func(a, b *casualty) int { return bytes.Compare(a.id[:], b.id[:]) })
	if err := c.entries(func(key []byte, n *spool.Entry) error {
		i, ok := slices.BinarySearchFunc(c.damaged, n.Message, func(h *casualty, id mail.ID) int { return bytes.Compare(h.id[:], id[:]) })
		if ok {
			c.damaged[i].entries = append(c.damaged[i].entries, slices.Clone(key))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, hurt := range c.damaged {
		what := hurt.what
		if n := len(hurt.entries); n > 0 {
			what += fmt.Sprintf(" (it is in %d mailboxes)", n)
		}
		c.find(hurt.kind, "message "+hurt.id.String(), c.takeOut(hurt), "%s", what)
	}
	return nil
}
