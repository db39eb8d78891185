package recall

import (
	"restante/internal/mail"
	"restante/spool"
)

// Bodies is a spool.Bodies that remembers what Gather has found beside bodies. It is
// safe for concurrent use.
type Bodies struct {
	spool.Bodies
	records memory[mail.ID, []byte]
}

// NewBodies returns a Bodies before another.
func NewBodies(of spool.Bodies) *Bodies {
	return &Bodies{Bodies: of, records: memory[mail.ID, []byte]{limit: maxRecords}}
}

// perRecord is what a record costs beyond its octets.
const perRecord = 64

// Gather implements spool.Bodies.
func (b *Bodies) Gather(ids []mail.ID, bodies bool) ([]spool.Gathered, error) {
	if bodies {
		return b.Bodies.Gather(ids, true)
	}
	list := make([]spool.Gathered, len(ids))
	var missing []mail.ID
	var at []int
	m := &b.records
	m.mu.Lock()
	for i, id := range ids {
		if r, ok := m.find(id); ok {
			list[i].Structure = r
			continue
		}
		missing, at = append(missing, id), append(at, i)
	}
	m.mu.Unlock()
	if len(missing) == 0 {
		return list, nil
	}
	got, err := b.Bodies.Gather(missing, false)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, g := range got {
		list[at[i]] = g
		if g.Err == nil && g.Structure != nil {
			m.keep(missing[i], g.Structure, len(g.Structure)+perRecord)
		}
	}
	if len(got) < len(missing) {
		list = list[:at[len(got)]]
	}
	return list, nil
}
