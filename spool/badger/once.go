package badger

import (
	"errors"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// onceRecord is what is stored under o. Badger drops it by itself when its time
// has passed; until holds by the engine's own clock.
type onceRecord struct {
	id    mail.ID
	until time.Time
}

func (r *onceRecord) encode() []byte {
	e := newRecord()
	e.raw(r.id[:])
	e.time(r.until)
	return e.b
}

func decodeOnce(payload []byte) (r onceRecord, err error) {
	d := openRecord(payload)
	copy(r.id[:], d.take(uint64(len(r.id))))
	r.until = d.time()
	return r, d.end()
}

// onceKey names a message that is not to be taken again.
func onceKey(name [32]byte) []byte { return append([]byte{kOnce}, name[:]...) }

// once fails with a *spool.DuplicateError if the message was taken before, and
// else notes that it is taken.
func (t *tx) once(id mail.ID, m *spool.Message, now time.Time) error {
	if m.Once == ([32]byte{}) || m.OnceFor <= 0 {
		return nil
	}
	key := onceKey(m.Once)
	r, err := load(t, key, decodeOnce)
	switch {
	case err == nil && r.until.After(now):
		return &spool.DuplicateError{ID: r.id}
	case err != nil && !errors.Is(err, spool.ErrNotFound) && !errors.Is(err, spool.ErrCorrupt):
		return err
	}
	r = onceRecord{id, now.Add(m.OnceFor)}
	return t.setFor(key, r.encode(), m.OnceFor)
}
