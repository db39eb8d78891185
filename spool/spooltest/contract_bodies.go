package spooltest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func bodyTests() []contractTest {
	return []contractTest{
		{"BigBody", testBigBody},
		{"EmptyBody", testEmptyBody},
		{"BodySizes", testBodySizes},
		{"BodyOfNothing", testBodyOfNothing},
		{"BodyKeptWhileOpen", testBodyKeptWhileOpen},
		{"BodyFreed", testBodyFreed},
		{"Structure", testStructure},
		{"Gather", testGather},
		{"GatherMuch", testGatherMuch},
		{"Head", testHead},
		{"Once", testOnce},
	}
}

// noise returns octets that do not compress and differ everywhere.
func noise(n int, seed uint64) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// commitBody stores a body, written in pieces of uneven sizes from one buffer,
// which is overwritten after each Write.
func commitBody(c *contract, body []byte) mail.ID {
	c.Helper()
	s, err := c.store.Create()
	c.must(err)
	buf := make([]byte, 100_000)
	rng := rand.New(rand.NewPCG(1, uint64(len(body))))
	for rest := body; len(rest) > 0; {
		n := copy(buf[:1+rng.IntN(len(buf))], rest)
		written, err := s.Write(buf[:n])
		c.must(err)
		if written != n {
			c.Fatalf("wrote %d of %d octets", written, n)
		}
		clear(buf)
		rest = rest[n:]
	}
	r, err := s.Commit(c.Context(), spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}})
	c.must(err)
	return r.ID
}

func testBigBody(c *contract) {
	want := noise(5<<20+17, 1)
	id := commitBody(c, want)
	c.lasting(func() {
		info, err := c.store.Stat(id)
		c.must(err)
		if info.Size != int64(len(want)) || info.Hash != sha256.Sum256(want) {
			c.Errorf("Stat returns size %d, hash %x", info.Size, info.Hash)
		}
		body, err := c.store.OpenBody(id)
		c.must(err)
		defer body.Close()
		if body.Size() != int64(len(want)) {
			c.Errorf("Size is %d, want %d", body.Size(), len(want))
		}
		c.must(readAlike(body, want, 7))
		var wg sync.WaitGroup
		errs := make(chan error, 4)
		for i := range cap(errs) {
			wg.Go(func() { errs <- readAlike(body, want, uint64(i)) })
		}
		wg.Wait()
		for range cap(errs) {
			c.must(<-errs)
		}
	})
}

// readAlike reads a body at the places where engines err, and at random ones,
// and in a stream.
func readAlike(body spool.Body, want []byte, seed uint64) error {
	size := int64(len(want))
	rng := rand.New(rand.NewPCG(2, seed))
	type read struct{ off, n int64 }
	reads := []read{{0, 0}, {0, 1}, {0, size}, {size - 1, 1}, {size - 1, 2}, {size, 0}, {size, 1}, {size + 100, 1}, {3, size}}
	for _, chunk := range []int64{1 << 12, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 20} {
		reads = append(reads, read{chunk - 1, 2}, read{chunk, chunk}, read{chunk - 1, chunk + 2}, read{2*chunk + 1, 3 * chunk})
	}
	for range 30 {
		reads = append(reads, read{rng.Int64N(size + 1), rng.Int64N(300_000)})
	}
	for _, r := range reads {
		if err := readOnce(body, want, r.off, r.n); err != nil {
			return err
		}
	}
	if _, err := body.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		return fmt.Errorf("ReadAt of offset -1: error %v", err)
	}
	got, err := io.ReadAll(io.NewSectionReader(body, 0, size))
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("the stream has %d octets, equal %v, error %v", len(got), bytes.Equal(got, want), err)
	}
	return nil
}

// readOnce holds one ReadAt against the contract of io.ReaderAt.
func readOnce(body spool.Body, want []byte, off, n int64) error {
	size := int64(len(want))
	expect := want[min(off, size):min(off+n, size)]
	buf := make([]byte, n)
	got, err := body.ReadAt(buf, off)
	if got != len(expect) || !bytes.Equal(buf[:got], expect) {
		return fmt.Errorf("ReadAt(%d octets, %d) of %d returns %d, want %d, or other octets", n, off, size, got, len(expect))
	}
	full := int64(got) == n
	if err != nil && err != io.EOF || err == nil && !full || err == io.EOF && off+n < size {
		return fmt.Errorf("ReadAt(%d octets, %d) of %d: error %v", n, off, size, err)
	}
	return nil
}

func testEmptyBody(c *contract) {
	r := c.commit("", spool.Message{Deposits: []spool.Deposit{{Account: "alice", Prefix: []byte("X: y\r\n")}}})
	c.lasting(func() {
		info, err := c.store.Stat(r.ID)
		c.must(err)
		if info.Size != 0 || info.Hash != sha256.Sum256(nil) {
			c.Errorf("Stat returns %+v", info)
		}
		body, err := c.store.OpenBody(r.ID)
		c.must(err)
		defer body.Close()
		if n, err := body.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF || body.Size() != 0 {
			c.Errorf("ReadAt returns %d, %v; Size %d", n, err, body.Size())
		}
		if row := c.mailbox("alice", "INBOX"); row.Size != 6 {
			c.Errorf("INBOX has size %d, want 6", row.Size)
		}
	})
}

func testBodySizes(c *contract) {
	bodies := make(map[mail.ID][]byte)
	for _, n := range []int{1, 1 << 12, 1<<15 - 1, 1 << 16, 1<<16 + 1, 1 << 17, 1 << 18, 1<<18 + 1, 1 << 20} {
		want := noise(n, uint64(n))
		bodies[commitBody(c, want)] = want
	}
	c.lasting(func() {
		for id, want := range bodies {
			if got := c.body(id); got != string(want) {
				c.Errorf("body of %d octets comes back with %d, or others", len(want), len(got))
			}
		}
	})
}

func testBodyOfNothing(c *contract) {
	c.freed(mail.ID{})
	c.freed(mail.ID{1, 2, 3})
}

func testBodyKeptWhileOpen(c *contract) {
	want := noise(3<<20, 3)
	id := commitBody(c, want)
	inbox := c.mailbox("alice", "INBOX").ID
	body, err := c.store.OpenBody(id)
	c.must(err)
	if err := readOnce(body, want, 0, 10); err != nil {
		c.Error(err)
	}
	_, err = c.store.Flag(inbox, c.uids(inbox), spool.FlagSet, flags(spool.Deleted), spool.ModSeqUnbounded)
	c.must(err)
	_, err = c.store.Expunge(inbox, nil)
	c.must(err)
	// Other mail comes and goes meanwhile, so that an engine has reason to
	// tidy up.
	for range 3 {
		c.deposit("alice", "", "other", flags(spool.Deleted))
		_, err = c.store.Expunge(inbox, nil)
		c.must(err)
	}
	if err := readAlike(body, want, 3); err != nil {
		c.Errorf("after the last reference went: %v", err)
	}
	c.must(body.Close())
	c.lasting(func() { c.freed(id) })
}

func testBodyFreed(c *contract) {
	r := c.commit("body", spool.Message{
		Deposits: []spool.Deposit{{Account: "alice", Flags: flags(spool.Deleted)}, {Account: "bob"}},
		Tasks:    []spool.Task{taskFor("example.org", 1), taskFor("example.com", 1)},
	})
	box := c.create("bob", "Copies")
	_, err := c.store.Copy(r.Deposited[1].Mailbox, []spool.UID{r.Deposited[1].UID}, box.ID, spool.FlagMask{})
	c.must(err)
	step := func(what string, references int, act func()) {
		c.Helper()
		act()
		c.lasting(func() {
			c.idle()
			info, err := c.store.Stat(r.ID)
			if references == 0 {
				c.freed(r.ID)
			} else if err != nil || info.References != references {
				c.Errorf("after %s: %d references, error %v; want %d", what, info.References, err, references)
			}
		})
	}
	step("copying", 5, func() {})
	step("expunging", 4, func() {
		_, err := c.store.Expunge(r.Deposited[0].Mailbox, nil)
		c.must(err)
	})
	step("delivering", 3, func() { c.delivered(c.lease(r.Tasks...)[0]) })
	if c.reopen == nil {
		c.clock.Advance(2 * lifetime) // the other lease ends here, or by the restart
	}
	step("removing a task", 2, func() {
		_, err := c.store.Remove(r.Tasks[1])
		c.must(err)
	})
	step("deleting a mailbox", 1, func() { c.must(c.store.DeleteMailbox("bob", "Copies")) })
	step("deleting the account", 0, func() { c.must(c.store.DeleteAccount("bob")) })
}

func testStructure(c *contract) {
	want := noise(70_000, 9)
	m := spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}, Structure: want}
	with := c.commit("with", m)
	m.Structure = nil
	without := c.commit("without", m)
	c.lasting(func() {
		got, err := c.store.Structure(with.ID)
		if err != nil || !bytes.Equal(got, want) {
			c.Errorf("structure of %d octets comes back with %d, or others, error %v", len(want), len(got), err)
		}
		if got, err := c.store.Structure(without.ID); got != nil || err != nil {
			c.Errorf("structure of a message without one is %q, %v", got, err)
		}
		if _, err := c.store.Structure(mail.ID{}); !errors.Is(err, spool.ErrNotFound) {
			c.Errorf("structure of no message: %v", err)
		}
	})
}

// Gather has of each message what Structure and OpenBody have, in the order in
// which they are asked for.
func testGather(c *contract) {
	m := spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}}
	var ids []mail.ID
	for i, size := range []int{0, 1, 3000, 20_000, 300_000, 10, 20, 30, 40, 50, 60, 70, 80} {
		m.Structure = noise(10*i, uint64(i))
		if i%5 == 0 {
			m.Structure = nil
		}
		m.Head = noise(i%3, 1)
		ids = append(ids, c.commit(string(noise(size, uint64(i))), m).ID)
	}
	gone := ids[6]
	box := c.mailbox("alice", spool.Inbox)
	for _, e := range c.entries(box.ID) {
		if e.Message == gone {
			_, err := c.store.Flag(box.ID, []spool.UID{e.UID}, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded)
			c.must(err)
		}
	}
	_, err := c.store.Expunge(box.ID, nil)
	c.must(err)
	c.freed(gone)
	back := slices.Clone(ids)
	slices.Reverse(back)
	far := []mail.ID{ids[1], ids[12], ids[1], ids[1], ids[7], {}, ids[3]}
	c.lasting(func() {
		for _, list := range [][]mail.ID{ids, back, far, ids[2:3], nil} {
			for _, bodies := range []bool{false, true} {
				got, err := c.store.Gather(list, bodies)
				c.must(err)
				if len(got) != len(list) {
					c.Fatalf("%d results for %d messages", len(got), len(list))
				}
				for i, id := range list {
					c.gathered(id, got[i], bodies)
				}
			}
		}
	})
}

// Gather does not return more than a bounded number of octets, and one message in
// any case.
func testGatherMuch(c *contract) {
	m := spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}}
	var ids []mail.ID
	for i := range 12 {
		m.Structure = noise(300_000, uint64(i))
		ids = append(ids, c.commit("body", m).ID)
	}
	c.lasting(func() {
		for _, bodies := range []bool{false, true} {
			for rest := ids; len(rest) > 0; {
				got, err := c.store.Gather(rest, bodies)
				c.must(err)
				size := 0
				for i, g := range got {
					c.gathered(rest[i], g, bodies)
					size += len(g.Structure) + len(g.Body)
				}
				if len(got) == 0 || size > spool.MaxGather+400_000 {
					c.Fatalf("%d results of %d octets", len(got), size)
				}
				if len(got) == len(ids) {
					c.Fatalf("all %d results at once, %d octets", len(got), size)
				}
				rest = rest[len(got):]
			}
		}
	})
}

// gathered compares what Gather has of a message with what others tell.
func (c *contract) gathered(id mail.ID, g spool.Gathered, bodies bool) {
	c.Helper()
	want, err := c.store.Structure(id)
	if err != nil {
		if !errors.Is(g.Err, spool.ErrNotFound) || g.Structure != nil || g.Body != nil {
			c.Errorf("of a message that is not there: %v", g.Err)
		}
		return
	}
	if g.Err != nil || !bytes.Equal(g.Structure, want) || (g.Structure == nil) != (want == nil) {
		c.Errorf("structure of %d octets comes back with %d, or others, error %v", len(want), len(g.Structure), g.Err)
	}
	body := c.body(id)
	short := len(body) > 0 && len(body) <= 3000
	if g.Body == nil && bodies && short || g.Body != nil && (!bodies || string(g.Body) != body) {
		c.Errorf("body of %d octets comes back with %d, or others; asked for: %v", len(body), len(g.Body), bodies)
	}
}

// What is known last is read first.
func testHead(c *contract) {
	type stored struct {
		id   mail.ID
		want []byte
		hash [32]byte
	}
	var list []stored
	for i, n := range []int{0, 1, 3000, 60_000, 128 << 10, 128<<10 + 1, 700_000} {
		for _, h := range []int{0, 1, 900, 70_000, spool.MaxHead} {
			head, body := noise(h, 7), noise(n, uint64(i))
			s, err := c.store.Create()
			c.must(err)
			_, err = s.Write(body)
			c.must(err)
			m := spool.Message{Head: head, Deposits: []spool.Deposit{{Account: "alice", Prefix: []byte("P: x\r\n")}}}
			r, err := s.Commit(c.Context(), m)
			c.must(err)
			list = append(list, stored{r.ID, slices.Concat(head, body), sha256.Sum256(slices.Concat(body, head))})
			clear(head) // it is not the engine's to keep
		}
	}
	s, err := c.store.Create()
	c.must(err)
	if _, err := s.Commit(c.Context(), spool.Message{Head: make([]byte, spool.MaxHead+1), Deposits: []spool.Deposit{{Account: "alice"}}}); err == nil {
		c.Error("a head above MaxHead was stored")
	}
	s.Abort()
	c.lasting(func() {
		for _, m := range list {
			info, err := c.store.Stat(m.id)
			c.must(err)
			if info.Size != int64(len(m.want)) || info.Hash != m.hash {
				c.Errorf("size %d, want %d, or another hash", info.Size, len(m.want))
			}
			body, err := c.store.OpenBody(m.id)
			c.must(err)
			if len(m.want) == 0 {
				continue // testEmptyBody
			}
			if err := readAlike(body, m.want, 3); err != nil {
				c.Errorf("a body of %d octets: %v", len(m.want), err)
			}
			c.must(body.Close())
		}
		for i, e := range c.entries(c.mailbox("alice", spool.Inbox).ID) {
			if e.Size != int64(len(list[i].want)+len("P: x\r\n")) {
				c.Errorf("entry %d has %d octets", e.UID, e.Size)
			}
		}
	})
}

// A transaction that is repeated is taken once.
func testOnce(c *contract) {
	commit := func(name byte, d time.Duration) (mail.ID, error) {
		s, err := c.store.Create()
		c.must(err)
		defer s.Abort()
		_, err = s.Write(noise(100, uint64(name)))
		c.must(err)
		m := spool.Message{Deposits: []spool.Deposit{{Account: "alice"}}, OnceFor: d}
		m.Once[31] = name
		r, err := s.Commit(c.Context(), m)
		return r.ID, err
	}
	isDuplicate := func(err error, of mail.ID) {
		c.Helper()
		var dup *spool.DuplicateError
		if !errors.As(err, &dup) || dup.ID != of {
			c.Errorf("error %v, want a duplicate of %s", err, of)
		}
	}
	first, err := commit(1, time.Hour)
	c.must(err)
	other, err := commit(2, 100*time.Minute)
	c.must(err)
	for range 2 {
		_, err = commit(0, time.Hour) // no name
		c.must(err)
	}
	c.lasting(func() {
		_, err := commit(1, time.Hour)
		isDuplicate(err, first)
	})
	c.clock.Advance(59 * time.Minute)
	_, err = commit(1, time.Minute)
	isDuplicate(err, first)
	c.clock.Advance(2 * time.Minute)
	again, err := commit(1, time.Hour)
	c.must(err)
	_, err = commit(1, time.Hour)
	isDuplicate(err, again)
	_, err = commit(2, time.Minute)
	isDuplicate(err, other)
	if _, err = commit(3, spool.MaxOnce+1); err == nil {
		c.Error("a time above MaxOnce was taken")
	}
	// Many at one time, in one batch perhaps.
	var mu sync.Mutex
	var wg sync.WaitGroup
	taken := 0
	for range 8 {
		wg.Go(func() {
			_, err := commit(9, time.Hour)
			var dup *spool.DuplicateError
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				taken++
			} else if !errors.As(err, &dup) {
				c.Error(err)
			}
		})
	}
	wg.Wait()
	if taken != 1 {
		c.Errorf("%d of one message were taken", taken)
	}
}
