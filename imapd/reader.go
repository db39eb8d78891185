package imapd

import (
	"iter"

	"restante/internal/mail"
	"restante/spool"
)

const (
	// batchMessages is how many messages are read at a time, and batchOctets how
	// much of their bodies; one is read in any case.
	batchMessages = 256
	batchOctets   = 512 << 10
)

// need is how far a command looks at messages.
type need uint8

const (
	needEntry     need = iota // at their entries
	needStructure             // at what was found out at delivery
	needBody                  // at their text
)

// reader reads messages one after the other, and of many of them at once what a
// command needs to know. Its messages are used again: the batch is all there is in
// memory of a mailbox.
type reader struct {
	bodies spool.Bodies
	batch  []message
	list   []*message
	ids    []mail.ID
	work   workspace
	// done is called after each message that scan is done with.
	done func()
}

// batches visits the entries that are wanted, at most batchMessages at a time.
func batches(list iter.Seq2[spool.Entry, error], wanted func(e *spool.Entry) bool, visit func(entries []spool.Entry) error) error {
	var batch []spool.Entry
	for e, err := range list {
		if err != nil {
			return err
		}
		if batch = append(batch, e); !wanted(&batch[len(batch)-1]) {
			batch = batch[:len(batch)-1]
			continue
		}
		if len(batch) == batchMessages {
			if err := visit(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return visit(batch)
}

// begin returns a batch of messages with these entries, at most batchMessages.
func (r *reader) begin(entries []spool.Entry) []*message {
	if n := len(entries) - len(r.batch); n > 0 {
		r.batch = append(r.batch, make([]message, n)...)
	}
	r.list = r.list[:0]
	for i := range entries {
		r.batch[i].close()
		r.batch[i] = message{bodies: r.bodies, entry: entries[i], work: &r.work}
		r.list = append(r.list, &r.batch[i])
	}
	return r.list
}

// end closes what is open of the batch.
func (r *reader) end() {
	for i := range r.batch {
		r.batch[i].close()
	}
}

// each visits messages, with what is needed of them in memory as far as that is
// possible. Of their bodies not more than batchOctets are.
func (r *reader) each(list []*message, n need, visit func(m *message) error) error {
	for len(list) > 0 {
		some := list
		if n == needBody {
			some = list[:bounded(list)]
		}
		got, err := r.gather(some, n)
		if err != nil {
			return err
		}
		some = some[:got]
		for _, m := range some {
			err := visit(m)
			if n != needEntry {
				m.close()
			}
			if err != nil {
				return err
			}
		}
		list = list[len(some):]
	}
	return nil
}

// bounded returns how many of the first messages are to be read together.
func bounded(list []*message) int {
	octets := int64(0)
	for i, m := range list {
		if octets += m.entry.Size; octets > batchOctets && i > 0 {
			return i
		}
	}
	return len(list)
}

// gather reads what is needed of the first messages, and returns of how many.
func (r *reader) gather(list []*message, n need) (int, error) {
	if n == needEntry {
		return len(list), nil
	}
	r.ids = r.ids[:0]
	for _, m := range list {
		r.ids = append(r.ids, m.entry.Message)
	}
	got, err := r.bodies.Gather(r.ids, n == needBody)
	if err != nil {
		return 0, err
	}
	for i := range got {
		list[i].gathered, list[i].has = got[i], true
	}
	return len(got), nil
}
