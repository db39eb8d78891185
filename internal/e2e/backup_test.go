package e2e

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"restante/internal/standin"
)

// TestBackup backs a busy daemon up, restores it elsewhere, and looks for every
// message that was acknowledged before the last increment began: in the mailbox
// once, and at the next hop once, whether before the backup or after.
func TestBackup(t *testing.T) {
	t.Parallel()
	hop := nextHop(t, standin.Options{})
	d := newDaemon(t, away(hop), quick(""))
	d.must(password, "user", "add", "erin@example.org", "--password-stdin")
	validity := d.validity(bob)
	book := &ledger{tried: make(map[int]bool), grew: make(chan struct{}, 1)}
	load := func(during func()) {
		ctx, stop := context.WithCancel(context.Background())
		var clients sync.WaitGroup
		for range senders {
			clients.Go(func() { sendNumbers(ctx, d.addr("smtp"), book) })
		}
		progress(t, book)
		during()
		stop()
		clients.Wait()
	}
	file := func(name string) string { return filepath.Join(d.dir, name) }

	load(func() {
		d.must("", "spool", "backup", "-o", file("full"))
		progress(t, book)
		d.must("", "spool", "backup", "--since", file("full"), "-o", file("second"))
	})
	d.emptied() // all of these are settled
	before := len(hop.Messages())
	if err := hop.Close(); err != nil {
		t.Fatal(err)
	}
	load(func() {})
	known := maps.Clone(book.tried)
	load(func() { d.must("", "spool", "backup", "--since", file("second"), "-o", file("third")) })
	d.kill()

	chain := []string{file("full"), file("second"), file("third")}
	if r := d.run("", append([]string{"spool", "restore"}, chain...)...); r.code != 1 || !strings.Contains(r.stderr, "not empty") {
		t.Errorf("restored over what is there: %d %s", r.code, r.stderr)
	}
	d.state = file("again")
	d.must("", append([]string{"spool", "restore"}, chain...)...)
	d.must("", "spool", "check") // 1 if there is anything to find
	next := nextHop(t, standin.Options{})
	d.configure(away(next), quick(""))
	d.start()
	d.emptied()
	d.must("", "spool", "check")

	if now := d.validity(bob); now <= validity {
		t.Errorf("UIDVALIDITY was %d and is %d", validity, now)
	}
	if list := d.must("", "user", "list"); !strings.Contains(list, "erin@example.org") {
		t.Errorf("the accounts are %s", list)
	}
	deposited, relayed := make(map[int]int), make(map[int]int)
	for _, m := range d.fetch(bob) {
		deposited[number(m.body)]++
		sameButTrace(t, m.body, numbered(number(m.body)), dated(local)...)
	}
	for _, m := range slices.Concat(hop.Messages()[:before], next.Messages()) {
		relayed[number(m.Data)]++
	}
	for n, acked := range known {
		deposit, relay, _ := recipients(n)
		if deposit && acked && deposited[n] != 1 || deposited[n] > 1 {
			t.Errorf("message %d is %d times in the mailbox", n, deposited[n])
		}
		if relay && acked && relayed[n] != 1 || relayed[n] > 1 {
			t.Errorf("message %d reached the next hop %d times", n, relayed[n])
		}
	}
	t.Logf("%d acknowledged, %d delivered before the backup, %d after the restore", book.acked, before, len(next.Messages()))
}
