package badger

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

func chunkOf(key []byte) uint32 { return binary.BigEndian.Uint32(key[len(key)-4:]) }

// idWalk walks the kinds of records that have a message ID behind the kind,
// side by side.
type idWalk struct {
	c   *checker
	its map[byte]*badgerdb.Iterator
}

func (c *checker) walkIDs(kinds ...byte) *idWalk {
	w := &idWalk{c: c, its: make(map[byte]*badgerdb.Iterator)}
	for _, kind := range kinds {
		it := c.t.keys([]byte{kind})
		it.Rewind()
		w.its[kind] = it
	}
	return w
}

func (w *idWalk) close() {
	for _, it := range w.its {
		it.Close()
	}
}

// next returns the lowest ID that any kind stands at.
func (w *idWalk) next() (id mail.ID, ok bool) {
	for _, it := range w.its {
		if !it.Valid() {
			continue
		}
		// A key that is cut short has been told of as a stray; it reads as an
		// ID that ends in zeros, and is passed over there.
		if at := idOf(it.Item().Key()); !ok || bytes.Compare(at[:], id[:]) < 0 {
			id, ok = at, true
		}
	}
	return id, ok
}

// records calls f with the records of a kind that an ID has.
func (w *idWalk) records(kind byte, id mail.ID, f func(key, payload []byte, err error) error) error {
	for it := w.its[kind]; it.Valid() && idOf(it.Item().Key()) == id; it.Next() {
		if err := w.c.count(kind); err != nil {
			return err
		}
		if len(it.Item().Key()) != keyLength(kind) {
			continue
		}
		if err := openItem(it.Item(), f); err != nil {
			return err
		}
	}
	return nil
}

// message is what the walk gathers about one ID.
type message struct {
	id       mail.ID
	there    bool // m is
	err      error
	rec      messageRecord
	refs     refsRecord
	refsHere bool
	refsErr  error
	struc    bool
	strucErr error
	garbage  bool
	tasks    uint64
	maxTask  int
	chunks   bodyCheck
	// packed tells that it has a pieces record.
	packed    bool
	piecesErr error
}

// bodyCheck goes over the records, or the pieces, of a body.
type bodyCheck struct {
	count uint32
	size  int64
	// head is held back: its hash comes last.
	head, rest int64
	late       []byte
	sum        hash.Hash
	err        error // the first thing wrong with the body itself
}

func (b *bodyCheck) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// add takes the next octets of a body that is read.
func (b *bodyCheck) add(c *checker, p []byte) {
	b.size += int64(len(p))
	c.rep.Octets += int64(len(p))
	if b.sum == nil {
		b.sum, b.rest = sha256.New(), b.head
	}
	n := min(b.rest, int64(len(p)))
	b.late = append(b.late, p[:n]...)
	b.rest -= n
	b.sum.Write(p[n:])
}

// hash is that of all that was added.
func (b *bodyCheck) hash() (h [32]byte) {
	if b.sum == nil {
		return emptyHash()
	}
	b.sum.Write(b.late)
	b.late = nil
	b.sum.Sum(h[:0])
	return h
}

// messages walks everything that is stored by message, and counts references.
func (c *checker) messages() error {
	w := c.walkIDs(kMessage, kRefs, kStructure, kGarbage, kTask, kChunk, kPieces)
	defer w.close()
	refs := newRefsPass(c)
	for {
		id, ok := w.next()
		if !ok {
			return refs.run(nil)
		}
		m := message{id: id, maxTask: -1}
		if err := c.gather(w, &m); err != nil {
			return err
		}
		if c.judge(&m) {
			if err := refs.add(&m); err != nil {
				return err
			}
		}
	}
}

func (c *checker) gather(w *idWalk, m *message) error {
	return errors.Join(
		w.records(kMessage, m.id, func(_, p []byte, err error) error {
			m.there = true
			if m.err = err; err == nil {
				m.rec, m.err = decodeMessage(p)
			}
			return nil
		}),
		w.records(kRefs, m.id, func(_, p []byte, err error) error {
			m.refsHere = true
			if m.refsErr = err; err == nil {
				m.refs, m.refsErr = decodeRefs(p)
			}
			return nil
		}),
		w.records(kStructure, m.id, func(_, _ []byte, err error) error {
			m.struc, m.strucErr = true, err
			return nil
		}),
		w.records(kGarbage, m.id, func(key, _ []byte, err error) error {
			m.garbage = true
			if err != nil {
				c.find(damageRecord, c.keyText(key), c.rewrite(key, []byte{recordVersion}), "%s", why(err))
			}
			return nil
		}),
		w.records(kTask, m.id, func(key, p []byte, err error) error {
			m.tasks++
			m.maxTask = int(taskOf(key).N)
			c.task(key, p, err, m.there)
			return nil
		}),
		c.chunks(w, m),
	)
}

// chunks goes over the body. Unless bodies are to be read, or the message is
// to be made again from its body, their sizes are enough.
func (c *checker) chunks(w *idWalk, m *message) error {
	b := &m.chunks
	read := c.opt.Bodies || m.err != nil
	if m.err == nil {
		b.head = min(m.rec.head, spool.MaxHead)
	}
	it := w.its[kChunk]
	for ; it.Valid() && idOf(it.Item().Key()) == m.id; it.Next() {
		if err := c.count(kChunk); err != nil {
			return err
		}
		item := it.Item()
		if len(item.Key()) != keyLength(kChunk) {
			continue
		}
		if n := chunkOf(item.Key()); n != 0 || m.there && m.err == nil && m.rec.packed {
			c.stray(item.KeyCopy(nil), "a body's record that its message does not have")
			continue
		}
		b.count++
		if !read {
			b.size += item.ValueSize() - sumLen
			continue
		}
		if err := openItem(item, func(_, p []byte, err error) error {
			if err != nil {
				b.fail("it does not match its checksum")
			}
			b.add(c, p)
			return nil
		}); err != nil {
			return err
		}
	}
	return w.records(kPieces, m.id, func(key, p []byte, err error) error {
		m.packed = true
		rec, err2 := decodePieces(p)
		if err = cmp.Or(err, err2); err != nil {
			m.piecesErr = err
			return nil
		}
		b.pieces(c, m.id, &rec, read)
		return nil
	})
}

// pieces goes over a long body.
func (b *bodyCheck) pieces(c *checker, id mail.ID, rec *piecesRecord, read bool) {
	var buf []byte
	for i, ref := range rec.refs {
		b.count++
		if !c.e.segments.There(ref) {
			b.fail("piece %d is not there", i)
		}
		if !read {
			b.size += int64(ref.Length)
			continue
		}
		if cap(buf) < segment.Room(ref.Length) {
			buf = make([]byte, 0, segment.Room(max(min(ref.Length, segment.MaxBlob), chunkSize)))
		}
		p, err := c.reader.Read(ref, id, rec.number(i), buf)
		if err != nil {
			b.fail("piece %d: %w", i, err)
		}
		b.add(c, p)
	}
}

// body tells what is wrong with the body of a message that can be read.
func (b *bodyCheck) body(c *checker, rec *messageRecord) error {
	switch {
	case b.err != nil:
		return b.err
	case b.size != rec.size || b.count != rec.chunks:
		return fmt.Errorf("%d octets in %d parts are there, not %d in %d", b.size, b.count, rec.size, rec.chunks)
	case c.opt.Bodies && b.hash() != rec.hash:
		return errors.New("the body does not match its hash")
	}
	return nil
}

// judge tells what is wrong with what was gathered, and whether the message is
// one whose references count.
func (c *checker) judge(m *message) bool {
	name := "message " + m.id.String()
	if !m.there {
		if m.refsHere {
			c.stray(idKey(kRefs, m.id), "references of a message that is not there")
		}
		if m.struc {
			c.stray(idKey(kStructure, m.id), "structure of a message that is not there")
		}
		if m.packed {
			c.find(damageStray, c.keyText(idKey(kPieces, m.id)), c.dropStrayPieces(m.id), "a body of %d octets without its message", m.chunks.size)
		} else if !m.garbage && m.chunks.count > 0 {
			c.casualty(m.id, damageStray, fmt.Sprintf("%d octets of a body without its message", m.chunks.size))
		}
		return false
	}
	if m.garbage {
		c.find(damageStray, name, c.dropGarbage(m.id), "it has the mark of a body to be swept")
	}
	if m.strucErr != nil {
		key := idKey(kStructure, m.id)
		c.find(damageRecord, c.keyText(key), c.takeAside(key, nil), "%s; it is parsed again when it is needed", why(m.strucErr))
	}
	if m.piecesErr != nil {
		if found := c.findPieces(m); found != nil {
			key := idKey(kPieces, m.id)
			c.find(damageRecord, c.keyText(key), c.rewrite(key, found.encode()), "%s; the pieces were found", why(m.piecesErr))
			return true
		}
		m.chunks.fail("the record of its pieces: %s", why(m.piecesErr))
	} else if m.packed && m.err == nil && !m.rec.packed {
		m.chunks.fail("it has pieces that its message does not know of")
	}
	if m.err != nil {
		if m.tasks == 0 && m.chunks.err == nil {
			c.find(damageRecord, name, c.rebuildMessage(m), "%s; its body is whole, its envelope is lost", why(m.err))
		} else {
			c.casualty(m.id, damageRecord, why(m.err))
		}
		return false
	}
	if err := m.chunks.body(c, &m.rec); err != nil {
		c.casualty(m.id, damageBody, err.Error())
		return false
	}
	return true
}

// task looks at one task and adds the index records that it calls for.
func (c *checker) task(key, p []byte, err error, message bool) {
	c.tasks++
	id := taskOf(key)
	rec, err2 := decodeTask(p)
	if err == nil {
		err = err2
	}
	if err != nil {
		c.find(damageRecord, c.keyText(key), c.dropTask(id, nil), "%s", why(err))
		return
	}
	if !message {
		c.find(damageTask, c.keyText(key), c.dropTask(id, viewTask(id, &rec)), "its message is not there")
	}
	if rec.state == spool.Queued {
		c.add(&c.queue, rec.queueKey(id))
	}
	if !rec.timer.IsZero() {
		c.add(&c.timers, timerKey(rec.timer, id))
	}
	if rec.timer.IsZero() != rec.firstTimer().IsZero() {
		c.find(damageIndex, c.keyText(key), c.resetTimer(id), "it has the wrong timer")
	}
}

// strays finds records of no kind, and keys of the wrong length.
func (c *checker) strays() error {
	it := c.t.keys(nil)
	defer it.Close()
	for it.Rewind(); it.Valid(); {
		kind := it.Item().Key()[0]
		if c.names[kind] != "" {
			it.Seek([]byte{kind + 1})
			continue
		}
		c.stray(it.Item().KeyCopy(nil), "a record of no known kind")
		it.Next()
	}
	it.Rewind()
	for ; it.Valid(); it.Next() {
		key := it.Item().Key()
		if n := keyLength(key[0]); n != 0 && n != len(key) {
			c.stray(it.Item().KeyCopy(nil), "a malformed key")
		}
		if c.records++; c.records%progressEvery == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
	}
	return nil
}

func (c *checker) stray(key []byte, what string) {
	c.find(damageStray, c.keyText(key), c.takeAside(key, nil), "%s", what)
}
