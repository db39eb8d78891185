package badger

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// queueAsOf4 makes of a spool what format 4 had, but for the tasks of which keep
// says that a migration had come to them before it was killed.
func queueAsOf4(t *testing.T, dir string, keep func(n int) bool) {
	t.Helper()
	raw(t, dir, func(x *tx) error {
		var ids []spool.TaskID
		collect(x, []byte{kTask}, func(key []byte) { ids = append(ids, taskOf(key)) })
		for n, id := range ids {
			r, err := x.task(id)
			if err != nil {
				return err
			}
			if keep(n) {
				continue
			}
			if r.state == spool.Queued {
				if err := errors.Join(x.delete(r.queueKey(id)), x.set(r.queueKey4(id), []byte{recordVersion})); err != nil {
					return err
				}
			}
			r.share = 0
			if err := x.set(taskKey(id), r.encode()); err != nil {
				return err
			}
		}
		// A key whose task is gone, and one whose task cannot be read.
		gone := &taskRecord{dest: spool.Destination{Route: "mx", Domain: "z.example"}, due: time.Unix(1, 0)}
		lost := spool.TaskID{Message: mail.ID{1}}
		return errors.Join(
			x.set(gone.queueKey4(spool.TaskID{Message: mail.ID{2}}), []byte{recordVersion}),
			x.set(gone.queueKey4(lost), []byte{recordVersion}),
			x.set(taskKey(lost), []byte("nonsense")),
			x.set(metaKey(metaFormat), encodeCounter(4)),
		)
	})
}

func TestFormat4IsMigrated(t *testing.T) {
	for name, keep := range map[string]func(n int) bool{
		"whole":            func(int) bool { return false },
		"after it was cut": func(n int) bool { return n < reorderStep+100 },
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, Options{})
			dir := e.opt.Dir
			send := func(from string, tasks int) spool.Receipt {
				m := spool.Message{Envelope: mail.Envelope{From: mail.Address{Local: from, Domain: "example.net"}}}
				for i := range tasks {
					m.Tasks = append(m.Tasks, spool.Task{
						Destination: spool.Destination{Route: "mx", Domain: "example.org"},
						Recipients:  []mail.Recipient{{To: mail.Address{Local: fmt.Sprint(i), Domain: "example.org"}}},
						Expire:      time.Hour,
					})
				}
				return commit(t, e, []byte("body"), m)
			}
			bulk, one := send("bulk", 2*reorderStep), send("one", 1)
			if err := e.Hold(bulk.Tasks[7]); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			queueAsOf4(t, dir, keep)

			e = open(t, Options{Dir: dir})
			if v := format(t, e); v != formatVersion {
				t.Errorf("format %d after opening", v)
			}
			if err := e.Release(bulk.Tasks[7]); err != nil {
				t.Error(err)
			}
			// The damaged task is all there is to find: its place is gone.
			var found []spool.Finding
			if _, err := e.Check(context.Background(), spool.CheckOptions{Found: func(f spool.Finding) { found = append(found, f) }}); err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 {
				t.Errorf("the check found %+v", found)
			}
			leases, _, err := e.Lease(spool.Claim{Max: 2, Lifetime: time.Minute})
			if err != nil || len(leases) != 2 || leases[0].Task.ID != one.Tasks[0] && leases[1].Task.ID != one.Tasks[0] {
				t.Errorf("the one is not among the first two: %+v, %v", leases, err)
			}
			leases, _, err = e.Lease(spool.Claim{Max: 10_000, Lifetime: time.Minute})
			if err != nil || len(leases) != 2*reorderStep-1 {
				t.Errorf("%d tasks are leased, want %d: %v", len(leases), 2*reorderStep-1, err)
			}
		})
	}
}
