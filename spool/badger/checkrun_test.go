package badger

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"restante/spool"
	"restante/spool/spooltest"
)

// A random workload leaves nothing to find, whenever it is looked at.
func TestCheckOfRandomWorkIsClean(t *testing.T) {
	spooltest.Compare(t, func(t *testing.T, now func() time.Time) spooltest.Harness {
		e := open(t, Options{Dir: filepath.Join(t.TempDir(), "spool"), Now: now})
		clean := func() {
			if rep, list := check(t, e, false); rep.Findings != 0 {
				t.Fatalf("findings: %+v", list)
			}
		}
		return spooltest.Harness{
			Store: e,
			Reopen: func(t *testing.T) spool.Store {
				clean()
				e = reopen(t, e)
				clean()
				return e
			},
			Idle: func() { e.settled() },
		}
	}, 700, 0)
}

// work changes a spool in every way until stop is closed.
func work(t *testing.T, e *Engine, stop <-chan struct{}) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	loop := func(f func(rng *rand.Rand) error) {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(rng); err != nil && !errors.Is(err, spool.ErrNoMailbox) && !errors.Is(err, spool.ErrNotFound) &&
					!errors.Is(err, spool.ErrMailboxExists) && !errors.Is(err, spool.ErrStaleLease) && !errors.Is(err, spool.ErrCorrupt) {
					t.Error(err)
					return
				}
			}
		})
	}
	both := forAlice
	both.Tasks = forBob.Tasks
	for range 3 {
		loop(func(rng *rand.Rand) error {
			s, err := e.Create()
			if err != nil {
				return err
			}
			if _, err := s.Write(make([]byte, rng.IntN(3)*rng.IntN(3)*chunkSize+rng.IntN(100))); err != nil {
				return err
			}
			if rng.IntN(4) == 0 {
				s.Abort()
				return nil
			}
			_, err = s.Commit(context.Background(), both)
			return err
		})
	}
	loop(func(rng *rand.Rand) error {
		leases, _, err := e.Lease(spool.Claim{Max: 10, Lifetime: time.Minute})
		for _, l := range leases {
			result := []spool.Result{{Ended: rng.IntN(2) == 0}}
			err = errors.Join(err, e.Settle(context.Background(), l, spool.Settlement{Results: result}))
		}
		time.Sleep(time.Millisecond)
		return err
	})
	loop(func(rng *rand.Rand) error {
		if _, err := e.CreateMailbox("alice", "Box", spool.UseNone); err != nil {
			return err
		}
		return e.DeleteMailbox("alice", "Box")
	})
	loop(func(rng *rand.Rand) error {
		inbox, err := e.Mailbox("alice", spool.Inbox)
		if err != nil {
			return err
		}
		var uids []spool.UID
		for n, err := range e.Entries(inbox.ID, inbox.UIDNext-min(inbox.UIDNext, 20), 0) {
			if err == nil {
				uids = append(uids, n.UID)
			}
		}
		if len(uids) == 0 {
			return nil
		}
		some := uids[:1+rng.IntN(len(uids))]
		_, err = e.Flag(inbox.ID, some, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded)
		if box, err2 := e.Mailbox("alice", "Box"); err2 == nil {
			_, err3 := e.Copy(inbox.ID, some, box.ID, spool.FlagMask{})
			err = errors.Join(err, err3)
		}
		_, err4 := e.Expunge(inbox.ID, some[:len(some)/2])
		return errors.Join(err, err4)
	})
	return &wg
}

// What is merely on its way is no finding.
func TestCheckBesideWork(t *testing.T) {
	e := open(t, Options{})
	stop := make(chan struct{})
	wg := work(t, e, stop)
	defer wg.Wait()
	defer close(stop)
	for i := range 8 {
		if rep, list := check(t, e, i%2 == 1); rep.Findings != 0 {
			t.Fatalf("check %d: %+v", i, list)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A repair beside other work ends in a spool without findings.
func TestRepairBesideWork(t *testing.T) {
	p := newPatient(t)
	stop := make(chan struct{})
	wg := work(t, p.Engine, stop)
	for _, d := range damages() {
		switch d.name {
		case "references", "structure", "too many references", "body of nothing", "mailbox row", "name gone",
			"counts", "next UID behind", "queue index too many", "entry size", "journal of nothing", "chunk too many":
		default:
			continue
		}
		// What is damaged may have gone by now.
		if err := p.do(d.do(p), nil); err != nil && !errors.Is(err, spool.ErrNotFound) && !errors.Is(err, spool.ErrNoMailbox) {
			t.Fatalf("%s: %v", d.name, err)
		}
		check(t, p.Engine, true)
	}
	close(stop)
	wg.Wait()
	p.settled()
	check(t, p.Engine, true)
	p.settled()
	if rep, list := check(t, p.Engine, false); rep.Findings != 0 {
		t.Fatalf("after the repairs: %+v", list)
	}
}

func TestOneCheckAtATime(t *testing.T) {
	p := newPatient(t)
	_, err := p.Check(context.Background(), spool.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	force(t, p.Engine, scribble(idKey(kRefs, p.mailed[1])))
	var second error
	if _, err := p.Check(context.Background(), spool.CheckOptions{Found: func(spool.Finding) {
		_, second = p.Check(context.Background(), spool.CheckOptions{})
	}}); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(second, spool.ErrChecking) {
		t.Errorf("a second check: %v", second)
	}
}

func TestCheckCanBeCancelled(t *testing.T) {
	e := open(t, Options{})
	var m spool.Message
	for range 3 {
		m.Tasks = append(m.Tasks, forBob.Tasks[0])
	}
	for range 2 {
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				m := m
				for len(m.Tasks) < 20 {
					m.Tasks = append(m.Tasks[:len(m.Tasks):len(m.Tasks)], forBob.Tasks[0])
				}
				commit(t, e, []byte("x"), m)
			})
		}
		wg.Wait()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Check(ctx, spool.CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled check: %v", err)
	}
}

// Whatever is stored, the check must come to an end, mend it, and find nothing
// more.
func FuzzCheck(f *testing.F) {
	for _, kind := range []byte("0msrbgtqxdNSMEJzL?") {
		f.Add([]byte{kind}, []byte{recordVersion})
	}
	f.Add([]byte("qa\x00b\x00"), []byte{})
	f.Add(timerKey(time.Unix(1, 1), spool.TaskID{}), []byte{recordVersion})
	f.Add(journalKey(1, 1, 1), []byte{recordVersion, 0})
	e := open(f, Options{})
	commit(f, e, []byte("x"), forAlice)
	f.Fuzz(func(t *testing.T, key, payload []byte) {
		if len(key) == 0 || len(key) > 1000 || len(payload) > 10_000 || key[0] == '!' || string(key) == string(metaKey(metaFormat)) {
			return
		}
		if err := e.do(func(tx *tx) error { return tx.set(key, payload) }, nil); err != nil {
			t.Fatal(err)
		}
		var list []spool.Finding
		rep, err := e.Check(context.Background(), spool.CheckOptions{Repair: true, Bodies: true, Found: func(f spool.Finding) { list = append(list, f) }})
		if err != nil || rep.Remaining != 0 {
			t.Fatalf("%q %q: %d remain, %v: %+v", key, payload, rep.Remaining, err, list)
		}
		e.settled()
	})
}

// No stored octets may make the decoders of this package panic.
func FuzzIntegrityRecords(f *testing.F) {
	f.Add(lossKey(spool.Loss{First: 1, Last: 2}), encodeLoss(spool.Loss{To: time.Unix(1, 0)}))
	f.Add(commitsKey(), mark{1, time.Unix(1, 0)}.record())
	f.Fuzz(func(t *testing.T, key, payload []byte) {
		if l, err := decodeLoss(key, payload); err == nil && string(lossKey(l)[1:]) != string(key[1:]) {
			t.Errorf("%x came back as %x", key, lossKey(l))
		}
		decodeCommits(payload)
		if len(key) > 0 {
			c := &checker{names: kindNames()}
			c.keyText(key)
			indexKey(key)
		}
	})
}
