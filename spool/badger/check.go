package badger

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// The kinds of damage, as Finding.Kind names them.
const (
	damageLoss      = "loss"           // acknowledged commits are missing
	damageRecord    = "record"         // a record does not match its checksum
	damageStray     = "stray"          // a record that belongs to nothing
	damageBody      = "body"           // a body is incomplete or not what it was
	damageRefs      = "references"     // a message's references are miscounted
	damageUnwanted  = "unreferenced"   // a message that no task and mailbox has
	damageTask      = "task"           // a task without its message
	damageIndex     = "queue-index"    // the queue's index and its tasks differ
	damageMailbox   = "mailbox"        // a mailbox without its row or name
	damageCounts    = "mailbox-counts" // a row's counts do not match its entries
	damageEntry     = "entry"          // an entry without its message
	damageJournal   = "journal"        // the journal and the entries differ
	damageCounter   = "counter"        // a number might be given twice
	maxRounds       = 8
	repairsInFlight = 128
	progressEvery   = 10_000
)

// kindNames are the kinds of records, as reports call them.
func kindNames() map[byte]string {
	return map[byte]string{
		kMeta: "meta", kMessage: "message", kRefs: "references", kStructure: "structure", kChunk: "body", kPieces: "pieces", kOnce: "once",
		kGarbage: "garbage mark", kTask: "task", kQueue: "queue index", kTimer: "timer", kDestination: "destination",
		kName: "mailbox name", kSubscribed: "subscription", kMailbox: "mailbox", kEntry: "entry",
		kJournal: "journal", kZombie: "deleted mailbox", kLoss: "loss",
		kBlock: "mailbox index", kKeyword: "keyword", kAttribute: "attribute",
		kStory: "story", kTaskEvents: "task's story", kNotes: "notes",
	}
}

// errMoved: what was found has changed since; the next round looks again.
var errMoved = errors.New("changed meanwhile")

// checker is one Check at work.
//
// Each round walks a snapshot. Verbs keep every relation between records in
// every transaction, so whatever is merely on its way (staged bodies under
// their garbage marks, deleted mailboxes under theirs, leases) looks as it
// should in any snapshot. A repair is an operation of the committer like any
// other and looks again at what it changes; counts are mended by the
// difference that was found, which holds whatever has happened since.
type checker struct {
	e   *Engine
	ctx context.Context
	opt spool.CheckOptions
	t   *tx // this round's snapshot
	// reader reads the pieces of long bodies, blobs are those of bodies whose
	// pieces record cannot be read.
	reader *segment.Reader
	blobs  map[mail.ID][]segment.Found
	rep    *spool.CheckReport
	names  map[byte]string
	aside  *lostFound

	round   int
	found   int // in this round
	mended  int // likewise
	records int64
	// seen are findings of earlier rounds, which are not told again.
	seen   map[string]bool
	flight []repair

	seed     maphash.Seed
	damaged  []*casualty
	owners   map[spool.MailboxID][2]string // of names, when needed
	queue    indexSum                      // of q keys that the tasks call for
	timers   indexSum                      // of x keys
	highest  spool.MailboxID
	validity uint32
	tasks    int64
}

// fix is how to mend a finding. prepare, if any, makes durable what run will
// delete, and returns the file it is in.
type fix struct {
	action  spool.Action
	prepare func() (string, error)
	run     func(*tx) error
	after   func()
}

type repair struct {
	finding spool.Finding
	done    <-chan error
}

// Check implements spool.Checker.
func (e *Engine) Check(ctx context.Context, opt spool.CheckOptions) (rep spool.CheckReport, err error) {
	if err := e.enter(); err != nil {
		return rep, err
	}
	defer e.leave()
	if !e.checking.CompareAndSwap(false, true) {
		return rep, spool.ErrChecking
	}
	defer e.checking.Store(false)
	start := time.Now()
	rep = spool.CheckReport{Records: make(map[string]int64), Kinds: make(map[string]int), Losses: e.Losses()}
	c := &checker{
		e: e, ctx: ctx, opt: opt, rep: &rep, names: kindNames(),
		aside: newLostFound(e.opt.Dir), seen: make(map[string]bool), seed: maphash.MakeSeed(),
	}
	defer func() {
		err = errors.Join(err, c.aside.close())
		rep.LostFound = c.aside.used()
		rep.Took = time.Since(start)
	}()
	if err := e.verifyTables(); err != nil {
		return rep, fmt.Errorf("check: %w; nothing can be told of what is missing", err)
	}
	c.tellLosses()
	for c.round = 1; c.round <= maxRounds; c.round++ {
		rep.Rounds = c.round
		if err := c.walk(); err != nil {
			return rep, fmt.Errorf("check: %w", err)
		}
		rep.Remaining = c.found
		if !opt.Repair || c.found == 0 || c.mended == 0 && c.round > 1 {
			break
		}
	}
	if opt.Repair && rep.Repaired+rep.MovedAside > 0 {
		e.recount()
	}
	if !opt.Repair {
		rep.Remaining += len(rep.Losses)
	}
	return rep, nil
}

// tellLosses reports the losses, and acknowledges them.
func (c *checker) tellLosses() {
	for _, l := range c.rep.Losses {
		f := spool.Finding{
			Kind: damageLoss, Key: fmt.Sprintf("commits %d to %d", l.First, l.Last),
			What: fmt.Sprintf("%d acknowledged commits between %s and %s are missing",
				l.Commits(), l.From.UTC().Format(time.RFC3339), l.To.UTC().Format(time.RFC3339)),
		}
		if c.opt.Repair {
			f.Action = spool.ActionRepaired
			if err := c.e.acknowledge([]spool.Loss{l}); err != nil {
				f.Action, f.Error = spool.ActionFailed, err.Error()
			}
		}
		c.tell(f)
	}
}

// walk is one round.
func (c *checker) walk() error {
	c.e.segments.Hold()
	defer c.e.segments.Unhold()
	c.t = c.e.view()
	defer c.t.discard()
	c.reader = c.e.segments.Reader()
	defer c.reader.Close()
	c.found, c.mended = 0, 0
	c.damaged, c.owners, c.blobs = nil, nil, nil
	c.queue, c.timers = indexSum{}, indexSum{}
	c.highest, c.validity, c.tasks = 0, 0, 0
	if c.round > 1 {
		clear(c.rep.Records)
		c.rep.Octets = 0
	}
	for _, step := range []func() error{
		c.strays, c.messages, c.casualties, c.index, c.destinations,
		c.mailboxes, c.mailboxNames, c.subscriptions, c.attributes, c.meta, c.stories,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	c.land(0)
	return nil
}

// find reports something; with Repair it is mended by f, nil if it cannot be.
func (c *checker) find(kind, key string, f *fix, format string, args ...any) {
	c.found++
	finding := spool.Finding{Kind: kind, Key: key, What: fmt.Sprintf(format, args...)}
	if !c.opt.Repair || f == nil {
		c.tell(finding)
		return
	}
	finding.Action = f.action
	if f.prepare != nil {
		file, err := f.prepare()
		if err != nil {
			finding.Action, finding.Error = spool.ActionFailed, err.Error()
			c.tell(finding)
			return
		}
		finding.File = file
	}
	c.flight = append(c.flight, repair{finding, c.e.submit(f.run, f.after)})
	c.land(repairsInFlight)
}

// land waits for repairs until no more than some are under way.
func (c *checker) land(left int) {
	for len(c.flight) > left {
		r := c.flight[0]
		c.flight = c.flight[1:]
		err := <-r.done
		switch {
		case errors.Is(err, errMoved):
			// It was found in a snapshot; what it is now the next round tells.
			c.mended++
			continue
		case err != nil:
			r.finding.Action, r.finding.Error = spool.ActionFailed, err.Error()
		default:
			c.mended++
		}
		c.tell(r.finding)
	}
}

func (c *checker) tell(f spool.Finding) {
	switch f.Action {
	case spool.ActionRepaired:
		c.rep.Repaired++
	case spool.ActionMovedAside:
		c.rep.MovedAside++
	default:
		id := f.Kind + "\x00" + f.Key + "\x00" + f.What
		if c.seen[id] {
			return
		}
		if c.opt.Repair {
			c.seen[id] = true
		}
	}
	c.rep.Findings++
	c.rep.Kinds[f.Kind]++
	if c.opt.Repair {
		c.e.opt.Logger.Warn("spool check", "kind", f.Kind, "key", f.Key, "what", f.What, "action", f.Action, "file", f.File, "error", f.Error)
	}
	if c.opt.Found != nil {
		c.opt.Found(f)
	}
}

// count counts a record that was read, and looks whether to go on.
func (c *checker) count(kind byte) error {
	c.rep.Records[c.names[kind]]++
	c.records++
	if c.records%progressEvery != 0 {
		return nil
	}
	if c.opt.Progress != nil {
		c.opt.Progress(c.records)
	}
	return context.Cause(c.ctx)
}

// each walks the records with a prefix. err of f's arguments is that of
// unsealing; the payload lives until f returns.
func (c *checker) each(prefix []byte, f func(key, payload []byte, err error) error) error {
	it := c.t.keys(prefix)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := c.count(it.Item().Key()[0]); err != nil {
			return err
		}
		if err := openItem(it.Item(), f); err != nil {
			return err
		}
	}
	return nil
}

// why says what is wrong with a record that could not be read; its key is told
// beside it.
func why(err error) string {
	if errors.Is(err, errRecord) {
		return "it cannot be decoded"
	}
	return "it does not match its checksum"
}

// openItem unseals a record for f.
func openItem(item *badgerdb.Item, f func(key, payload []byte, err error) error) error {
	key := item.KeyCopy(nil)
	called := false
	err := item.Value(func(v []byte) error {
		called = true
		payload, err := unseal(key, v)
		return f(key, payload, err)
	})
	if !called && err != nil {
		return f(key, nil, fmt.Errorf("%w: %w", spool.ErrCorrupt, err))
	}
	return err
}

// known tells the length that the keys of a kind have; 0 if it varies.
func keyLength(kind byte) int {
	const id = 1 + len(mail.ID{})
	switch kind {
	case kMessage, kRefs, kStructure, kPieces, kGarbage, kStory, kNotes:
		return id
	case kOnce:
		return 1 + 32
	case kChunk:
		return id + 4
	case kTask, kTaskEvents:
		return 1 + taskLen
	case kTimer:
		return 1 + 8 + taskLen
	case kMailbox, kZombie:
		return 1 + 8
	case kEntry, kBlock:
		return 1 + 8 + 4
	case kKeyword:
		return 1 + 8 + keywordHash
	case kJournal:
		return 1 + 8 + 8 + 4
	case kLoss:
		return lossKeyLen
	}
	return 0
}

// keyText names a record for people.
func (c *checker) keyText(key []byte) string {
	name := c.names[key[0]]
	if n := keyLength(key[0]); name == "" || n != 0 && n != len(key) {
		return fmt.Sprintf("%q", key)
	}
	switch key[0] {
	case kMessage, kRefs, kStructure, kPieces, kGarbage, kStory, kNotes:
		return name + " " + idOf(key).String()
	case kChunk:
		return fmt.Sprintf("%s %s/%d", name, idOf(key), chunkOf(key))
	case kTask, kTimer, kTaskEvents:
		return name + " " + taskOf(key).String()
	case kQueue:
		d, _ := destinationOf(key)
		return fmt.Sprintf("%s %s %s", name, d, taskOf(key))
	case kDestination:
		d, _ := destinationOf(key)
		return name + " " + d.String()
	case kMailbox, kZombie:
		return fmt.Sprintf("mailbox %d", mailboxOf(key))
	case kEntry:
		return fmt.Sprintf("mailbox %d, UID %d", mailboxOf(key), uidOf(key))
	case kBlock, kKeyword:
		return fmt.Sprintf("mailbox %d, %s %x", mailboxOf(key), name, key[9:])
	case kJournal:
		return fmt.Sprintf("mailbox %d, journal %d, UID %d", mailboxOf(key), modSeqOf(key), uidOf(key))
	}
	return fmt.Sprintf("%s %q", name, key[1:])
}

// indexSum is a sum over keys that does not depend on their order, so that two
// sets of keys are compared without holding either.
type indexSum struct{ count, sum uint64 }

func (c *checker) add(s *indexSum, key []byte) {
	s.count++
	s.sum += maphash.Bytes(c.seed, key)
}
