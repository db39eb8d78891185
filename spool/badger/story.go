package badger

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/internal/mail"
	"restante/spool"
)

// A story is a record of how it began (h), one for each task of what happened
// to it (e), and one of what happened beside the tasks (n). Those are read and
// written whole, which spool.KeepEvents bounds. They do not depend on the
// message's own records: it may be gone.

// beginStory writes how a message's story begins, if there is something to tell.
func (c *commitment) beginStory(t *tx, rec *messageRecord) error {
	if len(c.m.Events) == 0 {
		return nil
	}
	r := storyRecord{
		from: rec.env.From, messageID: spool.BareMessageID(c.m.MessageID), size: rec.size, arrived: rec.env.Arrived,
		events: c.m.Opening(c.receipt.Tasks, rec.env.Arrived),
	}
	return t.set(idKey(kStory, c.s.id), r.encode())
}

// tell adds to the story of a task, if its message has one.
func (t *tx) tell(id spool.TaskID, events ...spool.Event) error {
	if len(events) == 0 {
		return nil
	}
	return t.addEvents(taskEventsKey(id), id.Message, events)
}

// addEvents adds to a record of events. One that is damaged is begun anew: a
// delivery must not depend on it.
func (t *tx) addEvents(key []byte, id mail.ID, events []spool.Event) error {
	if ok, err := t.has(idKey(kStory, id)); err != nil || !ok {
		return err
	}
	kept, err := t.events(key, id)
	if err != nil && !errors.Is(err, spool.ErrNotFound) && !errors.Is(err, spool.ErrCorrupt) {
		return err
	}
	return t.set(key, encodeEvents(spool.KeepEvents(kept, events...)))
}

// note adds what is about no task to the story of a message, if it has one.
func (t *tx) note(id mail.ID, events []spool.Event) error {
	if len(events) == 0 {
		return nil
	}
	return t.addEvents(idKey(kNotes, id), id, events)
}

func (t *tx) events(key []byte, id mail.ID) (list []spool.Event, err error) {
	err = t.get(key, func(p []byte) error {
		list, err = decodeEvents(id, p)
		return err
	})
	return list, err
}

// Note implements spool.Stories.
func (e *Engine) Note(id mail.ID, events ...spool.Event) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	events = spool.Dated(events, e.opt.Now())
	err := e.do(func(t *tx) error { return t.note(id, events) }, nil)
	if err != nil {
		return fmt.Errorf("note on %s: %w", id, err)
	}
	return nil
}

// Story implements spool.Stories.
func (e *Engine) Story(id mail.ID) (spool.Story, error) {
	if err := e.enter(); err != nil {
		return spool.Story{}, err
	}
	defer e.leave()
	t := e.view()
	defer t.discard()
	s, err := e.story(t, id)
	if err != nil {
		return s, fmt.Errorf("story of %s: %w", id, err)
	}
	return s, nil
}

// story reads all of one.
func (e *Engine) story(t *tx, id mail.ID) (spool.Story, error) {
	s := spool.Story{ID: id}
	r, err := load(t, idKey(kStory, id), func(p []byte) (storyRecord, error) { return decodeStory(id, p) })
	if err != nil {
		return s, err
	}
	s.From, s.MessageID, s.Size, s.Arrived, s.Events = r.from, r.messageID, r.size, r.arrived, r.events
	if err := t.eachEvents(id, func(list []spool.Event) { s.Events = append(s.Events, list...) }); err != nil {
		return s, err
	}
	var tasks []spool.TaskInfo
	e.tasks(t, idKey(kTask, id), spool.TaskID{}, func(info spool.TaskInfo, err2 error) bool {
		tasks, err = append(tasks, info), errors.Join(err, err2)
		return true
	})
	s.Tell(tasks)
	return s, err
}

// eachEvents calls f with the events of each task, and of none.
func (t *tx) eachEvents(id mail.ID, f func([]spool.Event)) error {
	var keys [][]byte
	collect(t, idKey(kTaskEvents, id), func(key []byte) { keys = append(keys, key) })
	for _, key := range append(keys, idKey(kNotes, id)) {
		list, err := t.events(key, id)
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			return err
		}
		f(list)
	}
	return nil
}

// clockSlack is how far the time in a queue ID and the arrival may be apart the
// wrong way, since a clock was set; a message arrives after its ID was made,
// but hardly more than transferSlack.
const (
	clockSlack    = time.Hour
	transferSlack = 24 * time.Hour
)

// Search implements spool.Stories. It reads the beginnings of stories backwards
// in time, and the rest of those that may be wanted.
func (e *Engine) Search(q spool.Search) iter.Seq2[spool.Story, error] {
	return func(yield func(spool.Story, error) bool) {
		if err := e.enter(); err != nil {
			yield(spool.Story{}, err)
			return
		}
		defer e.leave()
		t := e.view()
		defer t.discard()
		it := t.txn.NewIterator(badgerdb.IteratorOptions{Reverse: true, PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		w := newWanted(&q)
		for it.Seek(lastStory(q.Until)); it.ValidForPrefix([]byte{kStory}); it.Next() {
			key := it.Item().KeyCopy(nil)
			id := idOf(key)
			if len(key) != keyLength(kStory) {
				continue // malformed: Check tells
			}
			if !q.Since.IsZero() && id.Time().Before(q.Since.Add(-transferSlack)) {
				return
			}
			maybe := false
			err := openItem(it.Item(), func(_, p []byte, err error) error {
				if err == nil {
					maybe, err = w.maybe(p)
				}
				return err
			})
			var s spool.Story
			if err == nil && maybe {
				s, err = e.story(t, id)
			}
			if err != nil {
				if !yield(spool.Story{ID: id}, fmt.Errorf("story of %s: %w", id, err)) {
					return
				}
				continue
			}
			if maybe && q.Matches(&s) && !yield(s, nil) {
				return
			}
		}
	}
}

// lastStory is where to begin for what arrived until then.
func lastStory(until time.Time) []byte {
	id := mail.ID(bytes.Repeat([]byte{0xff}, len(mail.ID{})))
	if !until.IsZero() {
		id = idAt(until.Add(clockSlack))
	}
	return idKey(kStory, id)
}

// idAt is an ID as it is made at a time.
func idAt(at time.Time) mail.ID {
	var ids mail.IDs
	return ids.Next(at)
}

// wanted is a search that is held against the beginning of a story.
type wanted struct {
	q                 *spool.Search
	messageID         string
	about             mail.Address
	sender, recipient mail.Address
}

func newWanted(q *spool.Search) *wanted {
	key := func(a *mail.Address) (k mail.Address) {
		if a != nil {
			k = a.Key()
		}
		return k
	}
	w := &wanted{q: q, sender: key(q.Sender), recipient: key(q.Recipient)}
	w.messageID, w.about = q.Names()
	return w
}

// maybe tells whether a story that begins so may be wanted.
func (w *wanted) maybe(payload []byte) (bool, error) {
	r, to, err := decodeStoryHead(payload)
	q := w.q
	switch {
	case err != nil:
		return false, err
	case !q.Since.IsZero() && r.arrived.Before(q.Since), !q.Until.IsZero() && r.arrived.After(q.Until):
		return false, nil
	case q.Sender != nil && r.from.Key() != w.sender:
		return false, nil
	}
	among := func(a mail.Address) bool {
		return slices.ContainsFunc(to, func(b mail.Address) bool { return b.Domain == a.Domain && b.Key() == a })
	}
	if q.Recipient != nil && !among(w.recipient) {
		return false, nil
	}
	return w.messageID == "" || r.messageID == w.messageID ||
		!w.about.IsNull() && (r.from.Key() == w.about || among(w.about)), nil
}

// forgetStep is how many records one transaction of ForgetStories deletes.
const forgetStep = 1000

// ForgetStories implements spool.Stories. IDs are in the order of time, so that
// only what is old enough is looked at.
func (e *Engine) ForgetStories(kept time.Duration, max int) (dropped int, end bool, err error) {
	if err := e.enter(); err != nil {
		return 0, false, err
	}
	defer e.leave()
	e.forgetting.Lock()
	defer e.forgetting.Unlock()
	over, end, err := e.storiesOver(e.opt.Now().Add(-kept), max)
	if err != nil {
		return 0, false, fmt.Errorf("forget stories: %w", err)
	}
	for len(over) > 0 {
		n, records := 0, 0
		for n < len(over) && (n == 0 || records < forgetStep) {
			records += len(over[n])
			n++
		}
		if err := e.dropRecords(slices.Concat(over[:n]...)); err != nil {
			return dropped, false, fmt.Errorf("forget stories: %w", err)
		}
		dropped += n
		over = over[n:]
	}
	return dropped, end, nil
}

// dropRecords deletes keys, a bounded number in one transaction; the last ones
// are those by which the others are found.
func (e *Engine) dropRecords(keys [][]byte) error {
	for chunk := range slices.Chunk(keys, 2*forgetStep) {
		if err := e.do(func(t *tx) error {
			for _, key := range chunk {
				if err := t.delete(key); err != nil {
					return err
				}
			}
			return nil
		}, nil); err != nil {
			return err
		}
	}
	return nil
}

// storiesOver looks at the next stories, and returns the keys of those that
// have been over since a time.
func (e *Engine) storiesOver(since time.Time, max int) (over [][][]byte, end bool, err error) {
	t := e.view()
	defer t.discard()
	it := t.keys([]byte{kStory})
	defer it.Close()
	tasks := t.keys([]byte{kTask})
	defer tasks.Close()
	start := e.forgot
	if start == nil {
		start = []byte{kStory}
	}
	for it.Seek(start); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if len(key) != keyLength(kStory) {
			continue
		}
		id := idOf(key)
		if id.Time().After(since) {
			break
		}
		if max--; max < 0 {
			e.forgot = key
			return over, false, nil
		}
		if prefix := idKey(kTask, id); seekPrefix(tasks, prefix) {
			continue
		}
		last, err := t.lastEvent(id)
		if err != nil && !errors.Is(err, spool.ErrCorrupt) {
			return nil, false, err
		}
		if last.After(since) {
			continue
		}
		var keys [][]byte
		collect(t, idKey(kTaskEvents, id), func(k []byte) { keys = append(keys, k) })
		// The notes go whether there are any or not: one may be on its way.
		over = append(over, append(keys, idKey(kNotes, id), key))
	}
	e.forgot = nil
	return over, true, nil
}

func seekPrefix(it *badgerdb.Iterator, prefix []byte) bool {
	it.Seek(prefix)
	return it.ValidForPrefix(prefix)
}

// lastEvent is when the last thing happened to a message.
func (t *tx) lastEvent(id mail.ID) (last time.Time, err error) {
	r, err := load(t, idKey(kStory, id), func(p []byte) (storyRecord, error) { return decodeStory(id, p) })
	if err != nil {
		return last, err
	}
	later := func(list []spool.Event) {
		for i := range list {
			if list[i].At.After(last) {
				last = list[i].At
			}
		}
	}
	last = r.arrived
	later(r.events)
	return last, t.eachEvents(id, later)
}
