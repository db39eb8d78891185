package badger

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// fillMailbox puts n entries into alice's INBOX, which share a few bodies, and
// returns how many it has.
func fillMailbox(b *testing.B, e *Engine, n int) (id spool.MailboxID, entries int) {
	const bodies, step = 16, 500
	var ids []mail.ID
	for range bodies {
		ids = append(ids, commit(b, e, []byte("Subject: x\r\n\r\nx\r\n"), forAlice).ID)
	}
	m, err := e.Mailbox("alice", spool.Inbox)
	if err != nil {
		b.Fatal(err)
	}
	now := e.opt.Now()
	var index *indexing
	bulk(b, e, n, func(t *tx, i int) error {
		if i%step == 0 { // the beginning of an operation, which may be run again
			row, err := t.row(m.ID)
			if err != nil {
				return err
			}
			m, index = row, t.index(m.ID)
		}
		m.ModSeq++
		entry := spool.Entry{Message: ids[i%bodies], InternalDate: now, Size: 17}
		if err := t.addEntry(&m, index, &entry, now); err != nil {
			return err
		}
		if i%step == step-1 || i == n-1 {
			for j, id := range ids {
				if err := t.ref(id, (step+bodies-1-j)/bodies); err != nil {
					return err
				}
			}
			if err := index.flush(); err != nil {
				return err
			}
			return t.setRow(&m)
		}
		return nil
	})
	return m.ID, bodies + n
}

// BenchmarkMailbox shows what a mailbox costs as it grows: opening it (the row
// and all UIDs), for the first time after the spool was opened and later;
// reading all entries, likewise; appending, flagging and expunging one message;
// and asking for the last 1, 100 and 10,000 changes. Times are medians, but for
// the first ones.
//
//	go test ./spool/badger -run '^$' -bench Mailbox -benchtime 300x
func BenchmarkMailbox(b *testing.B) {
	for _, n := range sizes() {
		e := open(b, Options{})
		id, entries := fillMailbox(b, e, n)
		e = reopen(b, e)
		m := &mailboxBench{B: b, e: e, id: id, entries: entries}
		first := []time.Duration{m.median(1, m.open), m.median(1, m.list)}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			m.B = b
			m.report("first-open-µs", first[0])
			m.report("first-entries-µs", first[1])
			m.report("open-µs", m.median(9, m.open))
			m.report("entries-µs", m.median(3, m.list))
			m.report("append-µs", m.median(b.N, m.append))
			m.report("flag-µs", m.median(b.N, m.flag))
			m.report("expunge-µs", m.median(b.N, m.expunge))
			for _, changes := range []int{1, 100, 10_000} {
				m.report(strconv.Itoa(changes)+"-changes-µs", m.median(min(b.N, 100), func() { m.changes(changes) }))
			}
		})
	}
}

type mailboxBench struct {
	*testing.B
	e       *Engine
	id      spool.MailboxID
	entries int
	uids    []spool.UID
}

// median runs f some times.
func (m *mailboxBench) median(times int, f func()) time.Duration {
	took := make([]time.Duration, times)
	for i := range took {
		start := time.Now()
		f()
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[times/2]
}

func (m *mailboxBench) report(name string, took time.Duration) {
	m.ReportMetric(float64(took)/1e3, name)
}

func (m *mailboxBench) must(err error) {
	if err != nil {
		m.Helper()
		m.Fatal(err)
	}
}

func (m *mailboxBench) open() {
	o, err := m.e.Overview(m.id)
	m.must(err)
	if m.uids = o.UIDs; len(o.UIDs) != m.entries {
		m.Fatalf("%d UIDs of %d", len(o.UIDs), m.entries)
	}
}

func (m *mailboxBench) list() {
	n := 0
	for _, err := range m.e.Entries(m.id, 1, 0) {
		m.must(err)
		n++
	}
	if n != m.entries {
		m.Fatalf("%d entries of %d", n, m.entries)
	}
}

func (m *mailboxBench) append() {
	commit(m, m.e, []byte("Subject: x\r\n\r\nx\r\n"), forAlice)
	m.entries++
}

// some picks a message at random.
func (m *mailboxBench) some() []spool.UID {
	return []spool.UID{m.uids[rand.IntN(len(m.uids))]}
}

func (m *mailboxBench) flag() {
	_, err := m.e.Flag(m.id, m.some(), spool.FlagAdd, spool.Flags{System: spool.Seen}, spool.ModSeqUnbounded)
	m.must(err)
}

// expunge is STORE +FLAGS \Deleted and EXPUNGE.
func (m *mailboxBench) expunge() {
	_, err := m.e.Flag(m.id, m.some(), spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded)
	m.must(err)
	gone, err := m.e.Expunge(m.id, nil)
	m.must(err)
	m.entries -= len(gone)
}

func (m *mailboxBench) changes(n int) {
	row, err := m.e.MailboxByID(m.id)
	m.must(err)
	n = min(n, m.entries-1)
	c, _, err := m.e.Changes(m.id, row.ModSeq-spool.ModSeq(n))
	m.must(err)
	if len(c) == 0 || len(c) > n {
		m.Fatalf("%d changes, want up to %d", len(c), n)
	}
}
