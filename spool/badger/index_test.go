package badger

import (
	"slices"
	"strings"
	"testing"

	"restante/spool"
)

// indexDamages are damages of the index of a mailbox.
func indexDamages() []damage {
	flagged := func(p *patient) {
		for _, uids := range [][]spool.UID{{1, 2, 4}, {4}} {
			words := []string{"$Junk", "x"}[:len(uids)/3+1]
			if _, err := p.Flag(p.inbox, uids, spool.FlagAdd, spool.Flags{Keywords: words}, spool.ModSeqUnbounded); err != nil {
				panic(err)
			}
		}
	}
	return []damage{
		{name: "index", kind: damageRecord, do: func(p *patient) func(*tx) error { return scribble(blockKey(p.inbox, 0)) }},
		{name: "index gone", kind: damageUIDs, do: func(p *patient) func(*tx) error { return drop(blockKey(p.inbox, 0)) }},
		{name: "index of nothing", kind: damageUIDs, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(blockKey(p.inbox, 7), (&block{present: bitmap{1}}).encode()) }
		}},
		{name: "index of no mailbox", kind: damageStray, do: func(p *patient) func(*tx) error {
			return func(t *tx) error { return t.set(blockKey(999, 0), (&block{present: bitmap{1}}).encode()) }
		}},
		{name: "index of other flags", kind: damageUIDs, do: func(p *patient) func(*tx) error {
			return func(t *tx) error {
				b, err := t.block(p.inbox, 0)
				if err != nil {
					return err
				}
				b.unseen.set(2, true)
				b.deleted.set(1, true)
				return t.set(blockKey(p.inbox, 0), b.encode())
			}
		}},
		{name: "keyword", kind: damageRecord, do: func(p *patient) func(*tx) error {
			flagged(p)
			return scribble(keywordKey(p.inbox, "$Junk"))
		}},
		{name: "keyword gone", kind: damageUIDs, do: func(p *patient) func(*tx) error {
			flagged(p)
			return drop(keywordKey(p.inbox, "x"))
		}},
		{name: "keyword of nothing", kind: damageUIDs, do: func(p *patient) func(*tx) error {
			flagged(p)
			return func(t *tx) error { return t.set(keywordKey(p.inbox, "y"), (&keywordRecord{"y", 1}).encode()) }
		}},
		{name: "keyword miscounted", kind: damageUIDs, do: func(p *patient) func(*tx) error {
			flagged(p)
			return func(t *tx) error { return t.set(keywordKey(p.inbox, "x"), (&keywordRecord{"x", 9}).encode()) }
		}},
	}
}

// A mailbox opens although its index is damaged, and its changes mend it.
func TestDamagedIndexIsMadeAgain(t *testing.T) {
	p := newPatient(t)
	force(t, p.Engine, scribble(blockKey(p.inbox, 0)))
	want := []spool.UID{1, 2, 4, 5, 6}
	o, err := p.Overview(p.inbox)
	if err != nil || !slices.Equal(o.UIDs, want) || o.FirstUnseen != 1 {
		t.Errorf("overview %+v, %v; want UIDs %v", o, err, want)
	}
	if _, err := p.Flag(p.inbox, []spool.UID{4}, spool.FlagAdd, spool.Flags{System: spool.Seen}, spool.ModSeqUnbounded); err != nil {
		t.Fatal(err)
	}
	if rep, list := check(t, p.Engine, false); rep.Findings != 0 {
		t.Errorf("after a change: %+v", list)
	}
}

// An entry that cannot be read is still listed, so that the mailbox opens.
func TestDamagedEntryIsListed(t *testing.T) {
	p := newPatient(t)
	force(t, p.Engine, scribble(entryKey(p.inbox, 4)))
	if o, err := p.Overview(p.inbox); err != nil || !slices.Contains(o.UIDs, 4) {
		t.Errorf("overview %+v, %v", o, err)
	}
}

// A spool from before there was an index gets one when it is opened; doing it
// again, after a crash, makes the same.
func TestIndexIsMigrated(t *testing.T) {
	p := newPatient(t)
	if _, err := p.Flag(p.inbox, []spool.UID{1, 4}, spool.FlagAdd, spool.Flags{Keywords: []string{"$Junk"}}, spool.ModSeqUnbounded); err != nil {
		t.Fatal(err)
	}
	want, err := p.Overview(p.inbox)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.IndexFunc(migrations(), func(m migration) bool { return strings.Contains(m.what, "index of mailboxes") })
	force(t, p.Engine, func(t *tx) error {
		for _, kind := range []byte{kBlock, kKeyword} {
			collect(t, []byte{kind}, func(key []byte) { t.delete(key) })
		}
		return t.set(metaKey(metaFormat), encodeCounter(uint64(before)+1))
	})
	e := reopen(t, p.Engine)
	if v := format(t, e); v != formatVersion {
		t.Errorf("format %d after opening", v)
	}
	for range 2 {
		got, err := e.Overview(p.inbox)
		if err != nil || !slices.Equal(got.UIDs, want.UIDs) || !slices.Equal(got.Keywords, want.Keywords) || got.FirstUnseen != want.FirstUnseen {
			t.Errorf("overview %+v, %v; want %+v", got, err, want)
		}
		if rep, list := check(t, e, false); rep.Findings != 0 {
			t.Errorf("check: %+v", list)
		}
		if err := indexMailboxes(e); err != nil {
			t.Fatal(err)
		}
	}
}
