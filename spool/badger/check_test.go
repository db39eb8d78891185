package badger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// force writes past everything that keeps records consistent.
func force(t testing.TB, e *Engine, f func(t *tx) error) {
	t.Helper()
	if err := e.do(f, nil); err != nil {
		t.Fatal(err)
	}
}

// scribble overwrites a stored value without a checksum that fits.
func scribble(key []byte) func(t *tx) error {
	return func(t *tx) error {
		t.entries++
		return t.txn.Set(key, []byte("scribbled over, all of it"))
	}
}

// spoil overwrites a piece of the long body, or with nil ends its file there.
func (p *patient) spoil(piece int, with []byte) func(*tx) error {
	return func(t *tx) error {
		rec, err := t.pieces(p.big.ID)
		if err != nil {
			return err
		}
		ref := rec.refs[piece]
		name := filepath.Join(p.opt.Dir, segmentsName, fmt.Sprintf("%08d.seg", ref.Segment))
		if with == nil {
			return os.Truncate(name, int64(ref.Offset))
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(with, int64(ref.Offset)+1000)
		return errors.Join(err, f.Close())
	}
}

func check(t testing.TB, e *Engine, repair bool) (spool.CheckReport, []spool.Finding) {
	t.Helper()
	var list []spool.Finding
	rep, err := e.Check(context.Background(), spool.CheckOptions{
		Repair: repair, Bodies: true, Found: func(f spool.Finding) { list = append(list, f) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != rep.Findings {
		t.Errorf("%d findings told, %d counted", len(list), rep.Findings)
	}
	return rep, list
}

// patient is a spool with something of everything.
type patient struct {
	*Engine
	now         time.Time
	inbox, arch spool.MailboxID
	mailed      []mail.ID // in INBOX, UIDs 1 to 5; the first in Archive too
	queued      []spool.Receipt
	big         spool.Receipt // queued and deposited, of 6 pieces
}

func letter(n int) []byte { return bytes.Repeat([]byte("0123456789abcde\n"), n/16) }

func newPatient(t testing.TB) *patient {
	p := &patient{now: time.Now()}
	p.Engine = open(t, Options{Now: func() time.Time { return p.now }})
	both := forAlice
	both.Structure = []byte("structure")
	for i := range 5 {
		p.mailed = append(p.mailed, commit(t, p.Engine, fmt.Appendf(nil, "Subject: %d\r\n\r\nhello\r\n", i), both).ID)
	}
	for i := range 3 {
		m := forBob
		m.Tasks = []spool.Task{m.Tasks[0], m.Tasks[0]}
		m.Tasks[1].Destination.Domain = fmt.Sprintf("d%d.example", i)
		m.Tasks[1].Expire = time.Hour
		p.queued = append(p.queued, commit(t, p.Engine, letter(64), m))
	}
	both.Tasks = forBob.Tasks
	p.big = commit(t, p.Engine, letter(5*chunkSize+64), both)
	arch, err := p.CreateMailbox("alice", "Archive", spool.UseArchive)
	if err != nil {
		t.Fatal(err)
	}
	box, err := p.Mailbox("alice", spool.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	p.inbox, p.arch = box.ID, arch.ID
	if _, err := p.Copy(p.inbox, []spool.UID{1}, p.arch, spool.FlagMask{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Flag(p.inbox, []spool.UID{2, 3}, spool.FlagAdd, spool.Flags{System: spool.Seen | spool.Deleted}, spool.ModSeqUnbounded); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Expunge(p.inbox, []spool.UID{3}); err != nil {
		t.Fatal(err)
	}
	if err := p.Subscribe("alice", "Archive", true); err != nil {
		t.Fatal(err)
	}
	note := "kept"
	if err := p.SetAttributes(p.arch, map[string]*string{"note": &note}); err != nil {
		t.Fatal(err)
	}
	if err := p.Hold(p.queued[2].Tasks[0]); err != nil {
		t.Fatal(err)
	}
	leases, _, err := p.Lease(spool.Claim{Max: 1, Lifetime: time.Minute})
	if err != nil || len(leases) != 1 {
		t.Fatal(len(leases), err)
	}
	if err := p.Settle(context.Background(), leases[0], spool.Settlement{
		Attempted: true, Results: []spool.Result{{Status: mail.Status{Code: 451}}}, Delay: time.Hour,
		Destination: spool.Reach{Outcome: spool.Unreached, Backoff: time.Hour},
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

func editRow(id spool.MailboxID, f func(*spool.Mailbox)) func(*tx) error {
	return func(t *tx) error {
		m, err := t.row(id)
		if err != nil {
			return err
		}
		f(&m)
		return t.setRow(&m)
	}
}

func editTask(id spool.TaskID, f func(*taskRecord)) func(*tx) error {
	return func(t *tx) error {
		r, err := t.task(id)
		if err != nil {
			return err
		}
		f(&r)
		return t.set(taskKey(id), r.encode())
	}
}

// damages are ways in which a spool can be wrong.
type damage struct {
	name string
	kind string // what Check must call it
	do   func(p *patient) func(t *tx) error
	// aside are texts that must be in the lost+found directory afterwards.
	aside func(p *patient) []string
	// lost is how many of the 7 messages may no longer be in the spool.
	lost int
}

func drop(keys ...[]byte) func(t *tx) error {
	return func(t *tx) error {
		for _, k := range keys {
			if err := t.delete(k); err != nil {
				return err
			}
		}
		return nil
	}
}

func damages() []damage {
	id := func(kind byte, i int) func(p *patient) func(t *tx) error {
		return func(p *patient) func(t *tx) error { return scribble(idKey(kind, p.mailed[i])) }
	}
	return []damage{
		{name: "message, only in a mailbox", kind: damageRecord, do: id(kMessage, 0)},
		{name: "message, queued", kind: damageRecord, lost: 1,
			do:    func(p *patient) func(*tx) error { return scribble(idKey(kMessage, p.queued[0].ID)) },
			aside: func(p *patient) []string { return []string{p.queued[0].ID.String(), string(letter(64)), "d0.example"} }},
		{name: "references", kind: damageRecord, do: id(kRefs, 1)},
		{name: "references gone", kind: damageRecord, do: func(p *patient) func(*tx) error { return drop(idKey(kRefs, p.mailed[1])) }},
		{name: "structure", kind: damageRecord, do: id(kStructure, 1)},
		{name: "structure of nothing", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(idKey(kStructure, mail.ID{1}), []byte("s")) }
		}},
		{name: "references of nothing", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(idKey(kRefs, mail.ID{1}), refsRecord{1, 1}.encode()) }
		}},
		{name: "piece", kind: damageBody, lost: 1,
			do: func(p *patient) func(*tx) error { return p.spoil(2, []byte("*")) },
			aside: func(p *patient) []string {
				return []string{string(letter(2 * chunkSize)), "Archive", "bob", "missing"}[:1]
			}},
		{name: "piece gone", kind: damageBody, lost: 1,
			do:    func(p *patient) func(*tx) error { return p.spoil(5, nil) },
			aside: func(p *patient) []string { return []string{string(letter(5 * chunkSize)), "bob", "missing", "INBOX"} }},
		{name: "pieces gone", kind: damageBody, lost: 1,
			do:    func(p *patient) func(*tx) error { return drop(idKey(kPieces, p.big.ID)) },
			aside: func(p *patient) []string { return []string{"bob", "missing", "INBOX"} }},
		{name: "pieces", kind: damageRecord,
			do: func(p *patient) func(*tx) error { return scribble(idKey(kPieces, p.big.ID)) }},
		{name: "pieces, and one of them", kind: damageBody, lost: 1,
			do: func(p *patient) func(*tx) error {
				return func(t *tx) error {
					return errors.Join(p.spoil(3, []byte("*"))(t), scribble(idKey(kPieces, p.big.ID))(t))
				}
			}},
		{name: "message of pieces", kind: damageRecord, lost: 1,
			do:    func(p *patient) func(*tx) error { return scribble(idKey(kMessage, p.big.ID)) },
			aside: func(p *patient) []string { return []string{string(letter(5*chunkSize + 64))} }},
		{name: "pieces of nothing", kind: damageStray,
			do: func(p *patient) func(*tx) error {
				return func(t *tx) error {
					ref, err := p.appendPiece(mail.ID{9}, 1, []byte("a long body without a message"))
					if err != nil {
						return err
					}
					return t.set(idKey(kPieces, mail.ID{9}), (&piecesRecord{refs: []segment.Ref{ref}}).encode())
				}
			},
			aside: func(*patient) []string { return []string{"a long body without a message"} }},
		{name: "chunk too many", kind: damageStray,
			do: func(p *patient) func(*tx) error {
				return func(t *tx) error { return t.set(chunkKey(p.mailed[1], 1), []byte("more")) }
			}},
		{name: "another body", kind: damageBody, lost: 1,
			do: func(p *patient) func(*tx) error {
				return func(t *tx) error { return t.set(chunkKey(p.queued[0].ID, 0), bytes.Repeat([]byte("x"), 64)) }
			},
			aside: func(p *patient) []string { return []string{"bob", strings.Repeat("x", 64)} }},
		{name: "body of nothing", kind: damageStray,
			do: func(p *patient) func(*tx) error {
				return func(t *tx) error { return t.set(chunkKey(mail.ID{9}, 0), []byte("a body without a message")) }
			},
			aside: func(*patient) []string { return []string{"a body without a message"} }},
		{name: "garbage mark on a message", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(idKey(kGarbage, p.big.ID), []byte{recordVersion}) }
		}},
		{name: "garbage mark", kind: damageRecord, do: func(p *patient) func(*tx) error { return scribble(idKey(kGarbage, mail.ID{3})) }},
		{name: "too many references", kind: damageRefs, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.ref(p.mailed[1], 3) }
		}},
		{name: "too few references", kind: damageRefs, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.ref(p.mailed[0], -1) }
		}},
		{name: "next task behind", kind: damageRefs, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				return t.set(idKey(kRefs, p.queued[0].ID), refsRecord{refs: 2, nextTask: 1}.encode())
			}
		}},
		{name: "nobody wants it", kind: damageUnwanted, lost: 1,
			do: func(p *patient) func(*tx) error {
				return func(t *tx) error {
					m := messageRecord{size: 3, chunks: 1, hash: sumOf("abc")}
					id := mail.ID{2}
					for key, v := range map[string][]byte{
						string(idKey(kMessage, id)): m.encode(), string(chunkKey(id, 0)): []byte("abc"),
						string(idKey(kRefs, id)): refsRecord{refs: 1}.encode(),
					} {
						if err := t.set([]byte(key), v); err != nil {
							return err
						}
					}
					return nil
				}
			},
			aside: func(*patient) []string { return []string{"abc"} }},
		{name: "task", kind: damageRecord, do: func(p *patient) func(*tx) error { return scribble(taskKey(p.queued[0].Tasks[1])) },
			aside: func(p *patient) []string { return []string{p.queued[0].Tasks[1].String()} }},
		{name: "only task", kind: damageRecord, lost: 1,
			do: func(p *patient) func(*tx) error {
				return func(t *tx) error {
					r, err := t.task(p.queued[0].Tasks[0])
					if err == nil {
						err = t.dropTask(p.queued[0].Tasks[0], &r)
					}
					if err == nil {
						err = t.ref(p.queued[0].ID, -1)
					}
					if err == nil {
						err = scribble(taskKey(p.queued[0].Tasks[1]))(t)
					}
					return err
				}
			},
			aside: func(p *patient) []string { return []string{string(letter(64)), p.queued[0].Tasks[1].String()} }},
		{name: "task without message", kind: damageTask, lost: 1,
			do: func(p *patient) func(*tx) error {
				return drop(idKey(kMessage, p.queued[0].ID), idKey(kRefs, p.queued[0].ID))
			},
			aside: func(p *patient) []string { return []string{"d0.example", string(letter(64))} }},
		{name: "queue index", kind: damageRecord, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				r, err := t.task(p.queued[1].Tasks[1])
				if err != nil {
					return err
				}
				return scribble(r.indexKey(kQueue, p.queued[1].Tasks[1]))(t)
			}
		}},
		{name: "queue index gone", kind: damageIndex, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				r, err := t.task(p.queued[1].Tasks[1])
				if err != nil {
					return err
				}
				return drop(r.indexKey(kQueue, p.queued[1].Tasks[1]), r.indexKey(kTimer, p.queued[1].Tasks[1]))(t)
			}
		}},
		{name: "queue index too many", kind: damageIndex, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				d := spool.Destination{Route: "mx", Domain: "elsewhere.example"}
				return t.set((&taskRecord{dest: d, due: p.now}).queueKey(p.queued[1].Tasks[1]), []byte{recordVersion})
			}
		}},
		{name: "queue index of nothing", kind: damageIndex, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				id := spool.TaskID{Message: mail.ID{5}}
				if err := t.set(timerKey(p.now, id), []byte{recordVersion}); err != nil {
					return err
				}
				return t.set((&taskRecord{dest: spool.Destination{Route: "mx"}, due: p.now}).queueKey(id), []byte{recordVersion})
			}
		}},
		{name: "due elsewhere", kind: damageIndex, do: func(p *patient) func(*tx) error {
			return editTask(p.queued[1].Tasks[0], func(r *taskRecord) { r.due = r.due.Add(time.Hour) })
		}},
		{name: "timer missing", kind: damageIndex, do: func(p *patient) func(*tx) error {
			return editTask(p.queued[1].Tasks[1], func(r *taskRecord) { r.timer = time.Time{} })
		}},
		{name: "malformed queue key", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set([]byte("qmx\x00example.net\x00short"), []byte{recordVersion}) }
		}},
		{name: "destination", kind: damageRecord, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				var key []byte
				collect(t, []byte{kDestination}, func(k []byte) { key = k })
				return scribble(key)(t)
			}
		}},
		{name: "mailbox row", kind: damageMailbox, do: func(p *patient) func(*tx) error { return scribble(mailboxKey(kMailbox, p.inbox)) }},
		{name: "mailbox row gone", kind: damageMailbox, do: func(p *patient) func(*tx) error { return drop(mailboxKey(kMailbox, p.inbox)) }},
		{name: "mailbox row and name gone", kind: damageMailbox, do: func(p *patient) func(*tx) error {
			return drop(mailboxKey(kMailbox, p.arch), nameKey(kName, "alice", "Archive"))
		}},
		{name: "row of an empty mailbox gone", kind: damageMailbox, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				m, err := t.create("alice", "Empty", spool.UseNone, p.now)
				if err != nil {
					return err
				}
				return drop(mailboxKey(kMailbox, m.ID))(t)
			}
		}},
		{name: "name", kind: damageRecord, do: func(p *patient) func(*tx) error { return scribble(nameKey(kName, "alice", "Archive")) }},
		{name: "name gone", kind: damageMailbox, do: func(p *patient) func(*tx) error { return drop(nameKey(kName, "alice", "Archive")) }},
		{name: "name of another", kind: damageMailbox, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				return t.set(nameKey(kName, "alice", "Other"), encodeCounter(uint64(p.arch)))
			}
		}},
		{name: "subscription", kind: damageRecord, do: func(p *patient) func(*tx) error { return scribble(nameKey(kSubscribed, "alice", "Archive")) }},
		{name: "attribute", kind: damageRecord, do: func(p *patient) func(*tx) error { return scribble(attributeKey(p.arch, "note")) }},
		{name: "attribute of nothing", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(attributeKey(p.arch+1000, "note"), encodeAttribute("x")) }
		}},
		{name: "counts", kind: damageCounts, do: func(p *patient) func(*tx) error {
			return editRow(p.inbox, func(m *spool.Mailbox) { m.Messages += 7; m.Unseen -= 1; m.Deleted = 9; m.Size-- })
		}},
		{name: "next UID behind", kind: damageCounts, do: func(p *patient) func(*tx) error {
			return editRow(p.inbox, func(m *spool.Mailbox) { m.UIDNext = 3 })
		}},
		{name: "modseq behind", kind: damageCounts, do: func(p *patient) func(*tx) error {
			return editRow(p.inbox, func(m *spool.Mailbox) { m.ModSeq = 2 })
		}},
		{name: "mark of a deleted mailbox", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(mailboxKey(kZombie, p.inbox), []byte{recordVersion}) }
		}},
		{name: "entry", kind: damageRecord, lost: 1, do: func(p *patient) func(*tx) error { return scribble(entryKey(p.inbox, 4)) },
			aside: func(p *patient) []string { return []string{"Subject: 3", "UID 4"} }},
		{name: "entry without message", kind: damageEntry, lost: 1,
			do: func(p *patient) func(*tx) error {
				return drop(idKey(kMessage, p.mailed[3]), idKey(kRefs, p.mailed[3]), chunkKey(p.mailed[3], 0))
			},
			aside: func(p *patient) []string { return []string{p.mailed[3].String()} }},
		{name: "entry size", kind: damageEntry, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				n, err := t.entry(p.inbox, 2)
				if err != nil {
					return err
				}
				n.Size += 100
				return t.set(entryKey(p.inbox, 2), encodeEntry(&n))
			}
		}},
		{name: "journal", kind: damageRecord, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				collect(t, mailboxKey(kJournal, p.inbox), func(key []byte) { scribble(key)(t) })
				return nil
			}
		}},
		{name: "journal gone", kind: damageJournal, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				n, err := t.entry(p.inbox, 2)
				if err != nil {
					return err
				}
				return drop(journalKey(p.inbox, n.ModSeq, 2))(t)
			}
		}},
		{name: "journal of nothing", kind: damageJournal, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(journalKey(p.inbox, 3, 77), []byte{recordVersion, 0}) }
		}},
		{name: "tombstone of an entry", kind: damageJournal, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(journalKey(p.inbox, 1, 2), []byte{recordVersion, 1}) }
		}},
		{name: "mailbox counter", kind: damageCounter, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(metaKey(metaMailbox), encodeCounter(1)) }
		}},
		{name: "uidvalidity counter", kind: damageCounter, do: func(p *patient) func(*tx) error { return scribble(metaKey(metaUIDValidity)) }},
		{name: "unknown kind", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set([]byte("?what"), []byte("is this")) }
		}},
		{name: "malformed key", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set([]byte("mshort"), []byte("is this")) }
		}},
	}
}

// Every damage is found, mended without deleting anything that can be read,
// and gone when looked for again.
func TestCheckFindsAndRepairs(t *testing.T) {
	for _, d := range append(damages(), indexDamages()...) {
		t.Run(d.name, func(t *testing.T) {
			p := newPatient(t)
			if rep, list := check(t, p.Engine, false); rep.Findings != 0 {
				t.Fatalf("before the damage: %+v", list)
			}
			before := readable(t, p.Engine)
			force(t, p.Engine, d.do(p))
			rep, list := check(t, p.Engine, false)
			if rep.Kinds[d.kind] == 0 || rep.Remaining == 0 {
				t.Fatalf("found %+v, want a %q", list, d.kind)
			}
			if rep.LostFound != "" {
				t.Error("something was moved without Repair")
			}
			rep, list = check(t, p.Engine, true)
			if rep.Kinds[d.kind] == 0 || rep.Remaining != 0 {
				t.Fatalf("repaired %+v; %d remain", list, rep.Remaining)
			}
			p.settled()
			if rep, list := check(t, p.Engine, false); rep.Findings != 0 {
				t.Fatalf("after the repair: %+v", list)
			}
			aside := allOf(t, filepath.Join(p.opt.Dir, lostFoundName))
			if d.aside != nil {
				for _, text := range d.aside(p) {
					if !strings.Contains(aside, text) {
						t.Errorf("lost+found does not have %.40q", text)
					}
				}
			}
			// All bodies are where they were, or aside.
			after, gone := readable(t, p.Engine), 0
			for id, text := range before {
				if after[id] == text {
					continue
				}
				gone++
				if d.kind != damageBody && d.kind != damageEntry && !strings.Contains(aside, text) {
					t.Errorf("message %s is neither in the spool nor aside", id)
				}
			}
			if gone > d.lost {
				t.Errorf("%d messages have left the spool, want at most %d", gone, d.lost)
			}
			// And it works.
			p.now = p.now.Add(2 * time.Hour)
			leases, _, err := p.Lease(spool.Claim{Max: 100, Lifetime: time.Minute})
			if err != nil || len(leases) < 4 {
				t.Errorf("%d leases, %v", len(leases), err)
			}
			commit(t, p.Engine, []byte("x"), forAlice)
			e := reopen(t, p.Engine)
			e.settled()
			if rep, list := check(t, e, false); rep.Findings != 0 {
				t.Fatalf("after reopening: %+v", list)
			}
		})
	}
}

// readable returns the bodies that tasks and mailboxes lead to.
func readable(t testing.TB, e *Engine) map[mail.ID]string {
	t.Helper()
	out := make(map[mail.ID]string)
	read := func(id mail.ID) {
		b, err := e.OpenBody(id)
		if err != nil {
			return
		}
		defer b.Close()
		text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err == nil {
			out[id] = string(text)
		}
	}
	for task, err := range e.Tasks(spool.TaskID{}) {
		if err == nil {
			read(task.ID.Message)
		}
	}
	for _, account := range []string{"alice", lostAccount} {
		boxes, err := e.ListMailboxes(account)
		if err != nil {
			t.Fatal(err)
		}
		for _, box := range boxes {
			for n, err := range e.Entries(box.ID, 1, 0) {
				if err == nil {
					read(n.Message)
				}
			}
		}
	}
	return out
}

// allOf reads a directory, and checks that what should be JSON is.
func allOf(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, entry := range list {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(entry.Name(), ".json") && !json.Valid(b) {
			t.Errorf("%s is no JSON", entry.Name())
		}
		all.WriteString(entry.Name() + "\n")
		all.Write(b)
	}
	return all.String()
}

func sumOf(s string) [32]byte { return sha256.Sum256([]byte(s)) }
