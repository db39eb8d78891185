package spooltest

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// patience bounds the wait for something that must happen, and is never
// reached by an engine that keeps the contract.
const patience = time.Minute

// must ends the test on an error.
func (c *contract) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("unexpected error: %v", err)
	}
}

// wants demands an error that wraps the target.
func (c *contract) wants(err, target error, what string, args ...any) {
	c.Helper()
	if !errors.Is(err, target) {
		c.Errorf("%s: got %v, want %v", fmt.Sprintf(what, args...), err, target)
	}
}

// staged opens a staging area that holds a body.
func (c *contract) staged(body string) spool.Staged {
	c.Helper()
	s, err := c.store.Create()
	c.must(err)
	n, err := io.WriteString(s, body)
	c.must(err)
	if n != len(body) || s.Size() != int64(n) {
		c.Fatalf("wrote %d of %d octets, Size %d", n, len(body), s.Size())
	}
	return s
}

// commit stores a message.
func (c *contract) commit(body string, m spool.Message) spool.Receipt {
	c.Helper()
	s := c.staged(body)
	r, err := s.Commit(c.Context(), m)
	c.must(err)
	if r.ID != s.ID() || len(r.Deposited) != len(m.Deposits) || len(r.Tasks) != len(m.Tasks) {
		c.Fatalf("receipt %+v does not fit message %s, %d deposits, %d tasks",
			r, s.ID(), len(m.Deposits), len(m.Tasks))
	}
	return r
}

// deposit stores a message in one mailbox.
func (c *contract) deposit(account, mailbox, body string, f spool.Flags) spool.Deposited {
	c.Helper()
	return c.commit(body, spool.Message{
		Deposits: []spool.Deposit{{Account: account, Mailbox: mailbox, Flags: f}},
	}).Deposited[0]
}

// dest is a destination by its domain.
func dest(domain string) spool.Destination {
	return spool.Destination{Route: "mx", Domain: domain}
}

// taskFor is a task for recipients named a, b, c… at a domain.
func taskFor(domain string, recipients int) spool.Task {
	t := spool.Task{Destination: dest(domain)}
	for i := range recipients {
		t.Recipients = append(t.Recipients, mail.Recipient{
			To: mail.Address{Local: string(rune('a' + i)), Domain: domain},
		})
	}
	return t
}

// queue stores a message with one task of one recipient.
func (c *contract) queue(domain string) spool.TaskID {
	c.Helper()
	return c.queueTask(taskFor(domain, 1))
}

// queueTask stores a message with one task.
func (c *contract) queueTask(t spool.Task) spool.TaskID {
	c.Helper()
	return c.commit("body\r\n", spool.Message{Tasks: []spool.Task{t}}).Tasks[0]
}

// lifetime is how long the suite's leases last.
const lifetime = time.Minute

// claim leases what there is, up to max.
func (c *contract) claim(max int) ([]spool.Lease, time.Duration) {
	c.Helper()
	return c.claimWith(spool.Claim{Max: max, Lifetime: lifetime})
}

func (c *contract) claimWith(claim spool.Claim) ([]spool.Lease, time.Duration) {
	c.Helper()
	leases, next, err := c.store.Lease(claim)
	c.must(err)
	return leases, next
}

// lease expects tasks to be leased, in any order, and nothing else; it returns
// the leases in the order of the arguments.
func (c *contract) lease(ids ...spool.TaskID) []spool.Lease {
	c.Helper()
	leases, _ := c.claim(100)
	sorted := make([]spool.Lease, 0, len(ids))
	for _, id := range ids {
		i := slices.IndexFunc(leases, func(l spool.Lease) bool { return l.Task.ID == id })
		if i < 0 {
			c.Fatalf("task %s is not leased, but %v", id, leasedIDs(leases))
		}
		sorted = append(sorted, leases[i])
	}
	if len(leases) != len(ids) {
		c.Fatalf("leased %v, want only %v", leasedIDs(leases), ids)
	}
	return sorted
}

func leasedIDs(leases []spool.Lease) []spool.TaskID {
	var ids []spool.TaskID
	for _, l := range leases {
		ids = append(ids, l.Task.ID)
	}
	return ids
}

// settle settles a lease and demands success.
func (c *contract) settle(l spool.Lease, s spool.Settlement) {
	c.Helper()
	c.must(c.store.Settle(c.Context(), l, s))
}

// results makes one result for each recipient of a lease.
func results(l spool.Lease, ended bool, code int) []spool.Result {
	list := make([]spool.Result, len(l.Task.Recipients))
	for i := range list {
		list[i] = spool.Result{Ended: ended, Status: mail.Status{Code: code, Text: "so it is"}}
	}
	return list
}

// delivered ends a lease with success.
func (c *contract) delivered(l spool.Lease) {
	c.Helper()
	c.settle(l, spool.Settlement{
		Attempted:   true,
		Results:     results(l, true, 250),
		Destination: spool.Reach{Outcome: spool.Reached},
	})
}

// unreached ends a lease with a fault of its destination.
func (c *contract) unreached(l spool.Lease, backoff time.Duration, why string) {
	c.Helper()
	c.settle(l, spool.Settlement{
		Attempted: true,
		KeepDue:   true,
		Results:   results(l, false, 451),
		Destination: spool.Reach{
			Outcome: spool.Unreached,
			Backoff: backoff,
			Status:  mail.Status{Code: 451, Text: why},
		},
	})
}

// task returns a task by its ID.
func (c *contract) task(id spool.TaskID) spool.TaskInfo {
	c.Helper()
	tasks, err := c.store.MessageTasks(id.Message)
	c.must(err)
	for _, t := range tasks {
		if t.ID == id {
			return t
		}
	}
	c.Fatalf("message %s has no task %s", id.Message, id)
	return spool.TaskInfo{}
}

// backoffs returns the destinations in back-off.
func (c *contract) backoffs() []spool.DestinationInfo {
	c.Helper()
	return collect(c, c.store.Destinations())
}

// collect gathers a sequence that must not fail.
func collect[T any](c *contract, seq iter.Seq2[T, error]) []T {
	c.Helper()
	var list []T
	for v, err := range seq {
		c.must(err)
		list = append(list, v)
	}
	return list
}

// freed demands that nothing is left of a message.
func (c *contract) freed(id mail.ID) {
	c.Helper()
	c.idle()
	_, err := c.store.Stat(id)
	c.wants(err, spool.ErrNotFound, "Stat of a freed message")
	_, err = c.store.Structure(id)
	c.wants(err, spool.ErrNotFound, "Structure of a freed message")
	body, err := c.store.OpenBody(id)
	c.wants(err, spool.ErrNotFound, "OpenBody of a freed message")
	if err == nil {
		body.Close()
	}
	_, err = c.store.MessageTasks(id)
	c.wants(err, spool.ErrNotFound, "MessageTasks of a freed message")
}

// references demands a number of references.
func (c *contract) references(id mail.ID, want int) {
	c.Helper()
	c.idle()
	info, err := c.store.Stat(id)
	c.must(err)
	if info.References != want {
		c.Errorf("message has %d references, want %d", info.References, want)
	}
}

// body reads a whole body.
func (c *contract) body(id mail.ID) string {
	c.Helper()
	b, err := c.store.OpenBody(id)
	c.must(err)
	defer b.Close()
	text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	c.must(err)
	return string(text)
}

// create makes a mailbox.
func (c *contract) create(account, name string) spool.Mailbox {
	c.Helper()
	b, err := c.store.CreateMailbox(account, name, spool.UseNone)
	c.must(err)
	return b
}

// mailbox looks up a mailbox by its name and audits it.
func (c *contract) mailbox(account, name string) spool.Mailbox {
	c.Helper()
	b, err := c.store.Mailbox(account, name)
	c.must(err)
	c.audit(b.ID)
	return b
}

// missing demands that there is no mailbox of a name.
func (c *contract) missing(account, name string) {
	c.Helper()
	b, err := c.store.Mailbox(account, name)
	c.wants(err, spool.ErrNoMailbox, "mailbox %q (found ID %d)", name, b.ID)
}

// names lists the mailboxes of an account.
func (c *contract) names(account string) []string {
	c.Helper()
	list, err := c.store.ListMailboxes(account)
	c.must(err)
	var names []string
	for _, b := range list {
		names = append(names, b.Name)
	}
	return names
}

// entries lists a mailbox.
func (c *contract) entries(id spool.MailboxID) []spool.Entry {
	c.Helper()
	return collect(c, c.store.Entries(id, 0, 0))
}

// uids lists the UIDs of a mailbox.
func (c *contract) uids(id spool.MailboxID) []spool.UID {
	c.Helper()
	var uids []spool.UID
	for _, e := range c.entries(id) {
		uids = append(uids, e.UID)
	}
	return uids
}

// entry returns one entry.
func (c *contract) entry(id spool.MailboxID, uid spool.UID) spool.Entry {
	c.Helper()
	e, err := c.store.Entry(id, uid)
	c.must(err)
	return e
}

// audit holds what the row and the overview of a mailbox say against its
// entries.
func (c *contract) audit(id spool.MailboxID) {
	c.Helper()
	row, err := c.store.MailboxByID(id)
	c.must(err)
	entries := c.entries(id)
	o, err := c.store.Overview(id)
	c.must(err)
	for _, fault := range append(auditMailbox(row, entries), auditOverview(o, row, entries)...) {
		c.Errorf("mailbox %q: %s", row.Name, fault)
	}
}

// auditMailbox tells what is wrong with a mailbox.
func auditMailbox(row spool.Mailbox, entries []spool.Entry) (faults []string) {
	note := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	var count spool.Mailbox
	last := spool.UID(0)
	for _, e := range entries {
		count.Messages++
		count.Size += e.Size
		if e.Flags.System&spool.Seen == 0 {
			count.Unseen++
		}
		if e.Flags.System&spool.Deleted != 0 {
			count.Deleted++
		}
		if e.UID <= last || e.UID >= row.UIDNext {
			note("UID %d after %d, UIDNEXT %d", e.UID, last, row.UIDNext)
		}
		last = e.UID
		if e.ModSeq < 1 || e.ModSeq > row.ModSeq {
			note("UID %d has ModSeq %d, the mailbox %d", e.UID, e.ModSeq, row.ModSeq)
		}
	}
	if row.Recent < 1 || row.Recent > row.UIDNext {
		note("recent from UID %d on, UIDNEXT %d", row.Recent, row.UIDNext)
	}
	if row.Messages != count.Messages || row.Unseen != count.Unseen || row.Deleted != count.Deleted || row.Size != count.Size {
		note("counts are messages %d, unseen %d, deleted %d, size %d; recounted %d, %d, %d, %d",
			row.Messages, row.Unseen, row.Deleted, row.Size,
			count.Messages, count.Unseen, count.Deleted, count.Size)
	}
	if row.UIDValidity == 0 || row.UIDNext == 0 || row.ModSeq == 0 {
		note("UIDVALIDITY %d, UIDNEXT %d and HIGHESTMODSEQ %d must not be 0", row.UIDValidity, row.UIDNext, row.ModSeq)
	}
	return faults
}

// arrives demands a signal.
func (c *contract) arrives(signals <-chan struct{}, what string) {
	c.Helper()
	select {
	case <-signals:
	case <-time.After(patience):
		c.Errorf("no signal: %s", what)
	}
}

// drain takes away a signal that may be there.
func drain(signals <-chan struct{}) {
	select {
	case <-signals:
	default:
	}
}

// sameUIDs demands a list of UIDs.
func (c *contract) sameUIDs(what string, got []spool.UID, want ...spool.UID) {
	c.Helper()
	if !slices.Equal(got, want) {
		c.Errorf("%s: got UIDs %v, want %v", what, got, want)
	}
}

// flags makes flags of system flags and keywords.
func flags(system spool.SystemFlags, keywords ...string) spool.Flags {
	return spool.Flags{System: system, Keywords: keywords}
}

// showFlags writes flags down, keywords in their order.
func showFlags(f spool.Flags) string {
	return fmt.Sprintf("%05b %s", f.System, strings.Join(f.Keywords, " "))
}
