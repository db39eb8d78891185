package badger

import (
	"bytes"
	"errors"

	"restante/spool"
)

// index compares the q and x records with what the tasks call for: first as
// sums, and one by one only if those differ.
func (c *checker) index() error {
	for _, kind := range []byte{kQueue, kTimer} {
		var there indexSum
		if err := c.each([]byte{kind}, func(key, _ []byte, err error) error {
			switch {
			case !indexKey(key):
				c.stray(key, "a malformed key")
				return nil
			case err != nil:
				c.find(damageRecord, c.keyText(key), c.rewrite(key, []byte{recordVersion}), "%s", why(err))
			}
			c.add(&there, key)
			return nil
		}); err != nil {
			return err
		}
		want := c.queue
		if kind == kTimer {
			want = c.timers
		}
		if there == want {
			continue
		}
		if err := c.eachIndex(kind); err != nil {
			return err
		}
	}
	return nil
}

// indexKey tells whether a q or x key is one.
func indexKey(key []byte) bool {
	if key[0] == kTimer {
		return len(key) == keyLength(kTimer)
	}
	return isQueueKey(key)
}

// indexKeys are the index records that a task calls for.
func (r *taskRecord) indexKey(kind byte, id spool.TaskID) []byte {
	switch {
	case kind == kQueue && r.state == spool.Queued:
		return r.queueKey(id)
	case kind == kTimer && !r.timer.IsZero():
		return timerKey(r.timer, id)
	}
	return nil
}

// eachIndex finds the index records that are missing, and those too many.
func (c *checker) eachIndex(kind byte) error {
	if err := c.eachKey([]byte{kTask}, func(key []byte) error {
		id := taskOf(key)
		rec, err := c.t.task(id)
		if err != nil || len(key) != keyLength(kTask) {
			return nil // told already
		}
		want := rec.indexKey(kind, id)
		if want == nil {
			return nil
		}
		there, err := c.t.has(want)
		if err == nil && !there {
			c.find(damageIndex, "task "+id.String(), c.addIndex(kind, id), "it is missing from the %s", c.names[kind])
		}
		return err
	}); err != nil {
		return err
	}
	return c.eachKey([]byte{kind}, func(key []byte) error {
		if !indexKey(key) {
			return nil
		}
		id := taskOf(key)
		rec, err := c.t.task(id)
		if err == nil && bytes.Equal(rec.indexKey(kind, id), key) {
			return nil
		}
		if err != nil && !errors.Is(err, spool.ErrNotFound) && !errors.Is(err, spool.ErrCorrupt) {
			return err
		}
		what := "its task is not there"
		if err == nil {
			what = "its task stands elsewhere"
		}
		c.find(damageIndex, c.keyText(key), c.dropIndexKey(kind, key), "%s", what)
		return nil
	})
}

// eachKey is each without the values.
func (c *checker) eachKey(prefix []byte, f func(key []byte) error) error {
	it := c.t.keys(prefix)
	defer it.Close()
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		if n++; n%progressEvery == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if err := f(it.Item().KeyCopy(nil)); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) addIndex(kind byte, id spool.TaskID) *fix {
	var rec taskRecord
	return &fix{action: spool.ActionRepaired, run: func(t *tx) (err error) {
		if rec, err = t.task(id); err != nil {
			return errMoved
		}
		key := rec.indexKey(kind, id)
		if key == nil {
			return errMoved
		}
		return t.set(key, []byte{recordVersion})
	}, after: func() { c.e.queue.added([]taskRecord{rec}) }}
}

// dropIndexKey deletes an index record: all that it says is in its task.
func (c *checker) dropIndexKey(kind byte, key []byte) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		rec, err := t.task(taskOf(key))
		if err == nil && bytes.Equal(rec.indexKey(kind, taskOf(key)), key) {
			return errMoved
		}
		return t.delete(key)
	}}
}

// destinations looks at the back-offs.
func (c *checker) destinations() error {
	return c.each([]byte{kDestination}, func(key, p []byte, err error) error {
		d, ok := destinationOf(key)
		if !ok || !bytes.Equal(destinationKey(kDestination, d), key) {
			c.stray(key, "a malformed key")
			return nil
		}
		if err == nil {
			_, err = decodeDestination(p)
		}
		if err == nil {
			return nil
		}
		f := c.takeAside(key, nil)
		f.after = func() {
			q := &c.e.queue
			q.mu.Lock()
			defer q.mu.Unlock()
			n := q.node(d)
			n.rec = destinationRecord{}
			q.look(d)
			q.place(n)
		}
		c.find(damageRecord, c.keyText(key), f, "%s; its back-off ends", why(err))
		return nil
	})
}

// meta looks at the counters: none may be behind what has been given.
func (c *checker) meta() error {
	if err := c.each([]byte{kMeta}, func(key, p []byte, err error) error {
		name := string(key[1:])
		switch name {
		case metaMailbox, metaUIDValidity:
			return nil // below, whether there or not
		case metaCommits:
			if err == nil {
				_, err = decodeCommits(p)
			}
		}
		if err == nil {
			return nil
		}
		var f *fix
		if name == metaCommits {
			// Every commit writes it again; it only takes one that is not empty.
			f = &fix{action: spool.ActionRepaired, run: func(t *tx) error { return t.delete(metaKey(metaCommits + "-")) }}
		}
		c.find(damageRecord, c.keyText(key), f, "%s", why(err))
		return nil
	}); err != nil {
		return err
	}
	if c.highest == 0 {
		return nil
	}
	c.counter(metaMailbox, uint64(c.highest))
	c.counter(metaUIDValidity, uint64(c.validity))
	return nil
}

// counter sees to it that a counter is at least as high as what was given.
func (c *checker) counter(name string, least uint64) {
	key := metaKey(name)
	v, err := load(c.t, key, decodeCounter)
	if err == nil && v >= least {
		return
	}
	what := "it is not there"
	if err == nil {
		what = "it is behind"
	} else if !errors.Is(err, spool.ErrNotFound) {
		what = why(err)
	}
	c.find(damageCounter, c.keyText(key), &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		v, err := load(t, key, decodeCounter)
		if err == nil && v >= least {
			return errMoved
		}
		return t.set(key, encodeCounter(least))
	}}, "%s; %d has been given", what, least)
}
