package badger

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// rewrite stores a record whose content is known from elsewhere.
func (c *checker) rewrite(key, payload []byte) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if there, err := t.has(key); err != nil || !there {
			return errors.Join(err, errMoved)
		}
		return t.set(key, append([]byte(nil), payload...))
	}}
}

// takeAside moves one record to the lost+found file. content is what could be
// read of it, or nil.
func (c *checker) takeAside(key []byte, content any) *fix {
	version := c.version(key)
	return &fix{
		action:  spool.ActionMovedAside,
		prepare: func() (string, error) { return c.aside.record(c.t, c.keyText(key), key, content) },
		run: func(t *tx) error {
			if t.version(key) != version {
				return errMoved
			}
			return t.delete(key)
		},
	}
}

// version tells one state of a record from another; 0 if it is not there.
func (t *tx) version(key []byte) uint64 {
	item, err := t.txn.Get(key)
	if err != nil {
		return 0
	}
	return item.Version()
}

func (c *checker) version(key []byte) uint64 { return c.t.version(key) }

func (c *checker) dropGarbage(id mail.ID) *fix {
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		if there, err := t.has(idKey(kMessage, id)); err != nil || !there {
			return errors.Join(err, errMoved)
		}
		return t.delete(idKey(kGarbage, id))
	}}
}

// rebuildMessage makes a message record for a body that only mailboxes have:
// they do without the envelope.
func (c *checker) rebuildMessage(m *message) *fix {
	key := idKey(kMessage, m.id)
	rec := messageRecord{size: m.chunks.size, chunks: m.chunks.count, packed: m.packed, hash: m.chunks.hash()}
	rec.env.Arrived = m.id.Time()
	version := c.version(key)
	return &fix{
		action:  spool.ActionRepaired,
		prepare: func() (string, error) { return c.aside.record(c.t, c.keyText(key), key, nil) },
		run: func(t *tx) error {
			if t.version(key) != version {
				return errMoved
			}
			return t.set(key, rec.encode())
		},
	}
}

// dropTask takes a task aside that cannot be read, or has no message. Its
// references are counted in the next round.
func (c *checker) dropTask(id spool.TaskID, content any) *fix {
	f := c.takeAside(taskKey(id), content)
	drop := f.run
	f.run = func(t *tx) error {
		old, err := t.task(id)
		if err := drop(t); err != nil {
			return err
		}
		if err != nil {
			return nil // its index records are found as such
		}
		return t.dropIndex(id, &old)
	}
	return f
}

func (c *checker) resetTimer(id spool.TaskID) *fix {
	var rec taskRecord
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		old, err := t.task(id)
		if err != nil {
			return errMoved
		}
		rec = old
		rec.timer = rec.firstTimer()
		return t.replaceTask(id, &old, &rec)
	}, after: func() { c.e.queue.added([]taskRecord{rec}) }}
}

// resizeEntry makes an entry's size that of its message.
func (c *checker) resizeEntry(key []byte) *fix {
	box, uid := mailboxOf(key), uidOf(key)
	return &fix{action: spool.ActionRepaired, run: func(t *tx) error {
		n, err := t.entry(box, uid)
		if err != nil {
			return errMoved
		}
		m, err := load(t, idKey(kMessage, n.Message), decodeMessage)
		if err != nil {
			return errMoved
		}
		row, err := t.row(box)
		if err != nil {
			return errMoved
		}
		size := int64(len(n.Prefix)) + m.size
		row.Size += size - n.Size
		n.Size = size
		if err := t.set(key, encodeEntry(&n)); err != nil {
			return err
		}
		return t.setRow(&row)
	}}
}

// dropEntry takes an entry aside whose message is gone.
func (c *checker) dropEntry(key []byte, content any) *fix {
	box := mailboxOf(key)
	f := c.takeAside(key, content)
	drop := f.run
	f.run = func(t *tx) error {
		n, err := t.entry(box, uidOf(key))
		if err != nil {
			return errMoved
		}
		if there, err := t.has(idKey(kMessage, n.Message)); err != nil || there {
			return errors.Join(err, errMoved)
		}
		if err := drop(t); err != nil {
			return err
		}
		return t.tombstone(box, &n, c.e.opt.Now())
	}
	f.after = func() { c.e.watch.notify([]spool.MailboxID{box}) }
	return f
}

// tombstone notes in journal and row that an entry has been deleted. A mailbox
// that is itself gone needs neither.
func (t *tx) tombstone(box spool.MailboxID, n *spool.Entry, now time.Time) error {
	row, err := t.row(box)
	if errors.Is(err, spool.ErrNoMailbox) || errors.Is(err, spool.ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	row.ModSeq++
	count(&row, n, -1)
	index := t.index(box)
	if err := index.change(n.UID, &n.Flags, nil); err != nil {
		return err
	}
	if err := index.flush(); err != nil {
		return err
	}
	if err := t.delete(journalKey(box, n.ModSeq, n.UID)); err != nil {
		return err
	}
	if err := t.set(journalKey(box, row.ModSeq, n.UID), journalLine{gone: true, at: now}.encode()); err != nil {
		return err
	}
	return t.setRow(&row)
}

// takeOut moves a message aside with all that refers to it.
func (c *checker) takeOut(hurt *casualty) *fix {
	id := hurt.id
	var boxes []spool.MailboxID
	return &fix{
		action:  spool.ActionMovedAside,
		prepare: func() (string, error) { return c.save(hurt) },
		run: func(t *tx) error {
			boxes = boxes[:0]
			dropped := uint64(0)
			for _, key := range hurt.entries {
				n, err := t.entry(mailboxOf(key), uidOf(key))
				if err != nil || n.Message != id {
					return errMoved
				}
				if err := t.delete(key); err != nil {
					return err
				}
				if err := t.tombstone(mailboxOf(key), &n, c.e.opt.Now()); err != nil {
					return err
				}
				boxes = append(boxes, mailboxOf(key))
				dropped++
			}
			var tasks [][]byte
			collect(t, idKey(kTask, id), func(key []byte) { tasks = append(tasks, key) })
			for _, key := range tasks {
				old, err := t.task(taskOf(key))
				if err == nil {
					err = t.dropTask(taskOf(key), &old)
				} else {
					return errMoved // a finding of its own
				}
				if err != nil {
					return err
				}
				dropped++
			}
			if r, err := load(t, idKey(kRefs, id), decodeRefs); err == nil && r.refs > dropped && hurt.kind != damageUnwanted {
				// One may have been added since we looked; if it is only
				// miscounted, it is taken to be so once all is as it was.
				if t.version(idKey(kRefs, id)) != c.version(idKey(kRefs, id)) {
					return errMoved
				}
			}
			return t.free(id, nil)
		},
		after: func() { c.e.watch.notify(boxes) },
	}
}

// savedMessage is what ID.json in the lost+found directory tells.
type savedMessage struct {
	ID       mail.ID        `json:"id"`
	Found    time.Time      `json:"found"`
	Why      string         `json:"why"`
	Envelope *mail.Envelope `json:"envelope,omitempty"`
	Size     int64          `json:"size"`
	// Missing are the parts of the body that could not be read: zeros in the
	// file, or what was stored if it does not match its checksum.
	Missing []savedHole  `json:"missing,omitempty"`
	Tasks   []savedTask  `json:"tasks,omitempty"`
	Entries []savedEntry `json:"entries,omitempty"`
	// Record is the record of the message as it was stored, in hexadecimal.
	Record string `json:"record,omitempty"`
}

type savedHole struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Why    string `json:"why"`
}

type savedTask struct {
	ID          spool.TaskID           `json:"id"`
	State       spool.State            `json:"state"`
	Destination string                 `json:"destination"`
	Queued      time.Time              `json:"queued"`
	Recipients  []spool.RecipientState `json:"recipients"`
}

type savedEntry struct {
	Account      string      `json:"account,omitempty"`
	Mailbox      string      `json:"mailbox,omitempty"`
	UID          spool.UID   `json:"uid"`
	Message      mail.ID     `json:"message"`
	Flags        spool.Flags `json:"flags"`
	InternalDate time.Time   `json:"internal_date"`
	Saved        time.Time   `json:"saved"`
	Prefix       string      `json:"prefix,omitempty"`
}

func viewTask(id spool.TaskID, r *taskRecord) savedTask {
	return savedTask{ID: id, State: r.state, Destination: r.dest.String(), Queued: r.queued, Recipients: r.rcpts}
}

func viewEntry(n *spool.Entry) savedEntry {
	return savedEntry{
		UID: n.UID, Message: n.Message, Flags: n.Flags,
		InternalDate: n.InternalDate, Saved: n.Saved, Prefix: string(n.Prefix),
	}
}

// save writes a message with all that is known of it to files.
func (c *checker) save(hurt *casualty) (string, error) {
	t, id := c.t, hurt.id
	s := savedMessage{ID: id, Found: c.e.opt.Now(), Why: hurt.what}
	m, err := load(t, idKey(kMessage, id), decodeMessage)
	if err == nil {
		s.Envelope, s.Size = &m.env, m.size
	} else if item, err := t.txn.Get(idKey(kMessage, id)); err == nil {
		if v, err := item.ValueCopy(nil); err == nil {
			s.Record = hex.EncodeToString(v)
		}
	}
	collect(t, idKey(kTask, id), func(key []byte) {
		if r, err := t.task(taskOf(key)); err == nil {
			s.Tasks = append(s.Tasks, viewTask(taskOf(key), &r))
		}
	})
	for _, key := range hurt.entries {
		n, err := t.entry(mailboxOf(key), uidOf(key))
		if err != nil {
			continue
		}
		view := viewEntry(&n)
		if row, err := t.row(mailboxOf(key)); err == nil {
			view.Account, view.Mailbox = row.Account, row.Name
		}
		s.Entries = append(s.Entries, view)
	}
	if err := c.saveBody(&s, &m); err != nil {
		return "", err
	}
	f, err := c.aside.create(id.String(), ".json")
	if err != nil {
		return "", err
	}
	enc := json.NewEncoder(f)
	enc.SetIndent("", "  ")
	err = enc.Encode(s)
	return f.Name(), errors.Join(err, c.aside.keep(f))
}

// saveBody writes what there is of a body, each piece in its place.
func (c *checker) saveBody(s *savedMessage, m *messageRecord) error {
	f, err := c.aside.create(s.ID.String(), ".eml")
	if err != nil {
		return err
	}
	end := int64(0)
	put := func(p []byte, length int64, missing string) error {
		if missing != "" && len(s.Missing) < 1000 {
			s.Missing = append(s.Missing, savedHole{end, length, missing})
		}
		_, err := f.WriteAt(p, end)
		end += length
		return err
	}
	if p, err2 := c.t.pieces(s.ID); err2 == nil {
		for i, ref := range p.refs {
			missing := ""
			b, err2 := c.reader.Read(ref, s.ID, p.number(i), nil)
			if err2 != nil {
				missing = err2.Error()
			}
			err = errors.Join(err, put(b, int64(ref.Length), missing))
		}
	}
	err = errors.Join(err, c.each(idKey(kChunk, s.ID), func(key, p []byte, err error) error {
		if len(key) != keyLength(kChunk) {
			return nil
		}
		missing := ""
		if err != nil {
			missing = why(err)
			p = c.t.rawValue(key)
			p = p[:max(len(p)-sumLen, 0)]
		}
		return put(p, int64(len(p)), missing)
	}))
	if rest := m.size - end; rest > 0 {
		err = errors.Join(err, put(nil, rest, "it is not there"), f.Truncate(m.size))
	}
	if err := errors.Join(err, c.aside.keep(f)); err != nil {
		return fmt.Errorf("save body: %w", err)
	}
	return nil
}

// rawValue is what is stored under a key, whatever it is worth.
func (t *tx) rawValue(key []byte) []byte {
	item, err := t.txn.Get(key)
	if err != nil {
		return nil
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil
	}
	return v
}
