package badger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// crashLoad is the mixed load of the crash tests. Before and after each act it
// says a line of the act's number, "try" or "ack", and what it is, so that
// whoever listens knows what was acknowledged and what was only begun when it
// ended. Messages are known by a token in their envelope; the body follows
// from the token.
type crashLoad struct {
	e    *Engine
	run  string // makes the tokens of this load its own
	say  func(line string)
	stop <-chan struct{}
	acts atomic.Int64
}

const (
	crashAccounts = 3
	crashReports  = "reports"
	crashRcpts    = 3
)

// crashBody is the body of a token.
func crashBody(token string, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8(sha256.Sum256([]byte(token))).Read(b)
	return b
}

// wait runs the load until stop, or the first error that is not Close's.
func (l *crashLoad) wait() error {
	l.e.journal.least, l.e.journal.most = 5, 5
	errs := make(chan error, crashAccounts+3)
	var wg sync.WaitGroup
	for i := range crashAccounts {
		wg.Go(func() { errs <- l.client(i) })
	}
	for range 2 {
		wg.Go(func() { errs <- l.runner() })
	}
	wg.Go(func() { errs <- l.keeper() })
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil && !errors.Is(err, spool.ErrClosed) {
			return err
		}
	}
	return nil
}

func (l *crashLoad) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// act does one thing, between its two lines.
func (l *crashLoad) act(what string, f func() error) error {
	n := l.acts.Add(1)
	l.say(fmt.Sprintf("%d try %s", n, what))
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	l.say(fmt.Sprintf("%d ack %s", n, what))
	return nil
}

// client takes mail in for one account and works in its mailboxes; nobody else
// does.
func (l *crashLoad) client(i int) error {
	account := fmt.Sprintf("account%d", i)
	archive, err := l.e.CreateMailbox(account, "Archive", spool.UseArchive)
	if errors.Is(err, spool.ErrMailboxExists) {
		archive, err = l.e.Mailbox(account, "Archive")
	}
	if err != nil {
		return err
	}
	for n := 0; !l.stopped(); n++ {
		token := fmt.Sprintf("%s-%d-%d", l.run, i, n)
		size := rand.IntN(6000)
		if rand.IntN(8) == 0 {
			size = chunkSize/2 + rand.IntN(5*chunkSize)
		}
		kind := []string{"deposit", "task", "both"}[rand.IntN(3)]
		if err := l.act(fmt.Sprintf("accept %s %d %s %s", token, size, kind, account), func() error {
			return l.accept(token, size, kind, account)
		}); err != nil {
			return err
		}
		inbox, err := l.e.Mailbox(account, spool.Inbox)
		if errors.Is(err, spool.ErrNoMailbox) {
			continue
		}
		if err != nil {
			return err
		}
		if err := l.browse(inbox.ID, archive.ID); err != nil {
			return err
		}
	}
	return nil
}

func (l *crashLoad) accept(token string, size int, kind, account string) error {
	s, err := l.e.Create()
	if err != nil {
		return err
	}
	if _, err := s.Write(crashBody(token, size)); err != nil {
		return err
	}
	_, err = s.Commit(context.Background(), crashMessage(token, kind, account))
	return err
}

func crashMessage(token, kind, account string) spool.Message {
	m := spool.Message{Envelope: mail.Envelope{EnvID: token}, Structure: []byte("of " + token)}
	if kind != "task" {
		m.Deposits = []spool.Deposit{{Account: account, Prefix: []byte("Return-Path: <>\r\n")}}
	}
	if kind != "deposit" {
		task := spool.Task{Destination: spool.Destination{Route: "mx", Domain: account + ".example"}, Expire: time.Hour, Warn: time.Minute}
		for i := range crashRcpts {
			task.Recipients = append(task.Recipients, mail.Recipient{To: mail.Address{Local: fmt.Sprint(i), Domain: "example.net"}})
		}
		m.Tasks = []spool.Task{task}
	}
	return m
}

// browse flags, moves or expunges one message.
func (l *crashLoad) browse(inbox, archive spool.MailboxID) error {
	from, what := inbox, rand.IntN(4)
	if what == 3 {
		from = archive
	}
	var list []spool.Entry
	for n, err := range l.e.Entries(from, 1, 0) {
		if err != nil {
			return err
		}
		if list = append(list, n); len(list) == 20 {
			break
		}
	}
	if len(list) == 0 {
		return nil
	}
	n := list[rand.IntN(len(list))]
	info, err := l.e.Stat(n.Message)
	if err != nil {
		return err
	}
	token, uids := info.Envelope.EnvID, []spool.UID{n.UID}
	switch what {
	case 0, 1:
		return l.act("flag "+token, func() error {
			_, err := l.e.Flag(inbox, uids, spool.FlagAdd, spool.Flags{System: spool.Seen, Keywords: []string{"Kept"}}, spool.ModSeqUnbounded)
			return err
		})
	case 2:
		return l.act("move "+token, func() error {
			_, err := l.e.Move(inbox, uids, archive, spool.FlagMask{})
			return err
		})
	}
	if len(list) < 3 {
		return nil
	}
	if _, err := l.e.Flag(archive, uids, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded); err != nil {
		return err
	}
	return l.act("expunge "+token, func() error {
		_, err := l.e.Expunge(archive, uids)
		return err
	})
}

// runner leases tasks and settles them in every way.
func (l *crashLoad) runner() error {
	for !l.stopped() {
		leases, _, err := l.e.Lease(spool.Claim{Max: 4, Lifetime: time.Hour})
		if err != nil {
			return err
		}
		for _, lease := range leases {
			if err := l.settle(lease); err != nil {
				return err
			}
		}
		if len(leases) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// keeper does the housekeeping, much more often than it needs to be done, and
// makes backups.
func (l *crashLoad) keeper() error {
	e := l.e
	for n := 0; !l.stopped(); n++ {
		var err error
		switch n % 5 {
		case 0, 2:
			_, err = e.Backup(context.Background(), io.Discard, BackupOptions{})
		case 1, 3:
			if err = e.emptySparse(256 << 10); err == nil {
				err = e.trimJournals()
			}
		case 4:
			if n%20 == 4 {
				err = e.compact()
			}
		}
		if err != nil {
			return fmt.Errorf("housekeeping %d: %w", n, err)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (l *crashLoad) settle(lease spool.Lease) error {
	token, had := lease.Task.Envelope.EnvID, len(lease.Task.Recipients)
	s := spool.Settlement{Attempted: true, Results: make([]spool.Result, had)}
	report, left := "-", had
	switch rand.IntN(4) {
	case 0: // later
		s.Destination = spool.Reach{Outcome: spool.Unreached, Backoff: time.Millisecond}
	case 1: // one of them
		s.Results[rand.IntN(had)].Ended = true
		left--
	default:
		for i := range s.Results {
			s.Results[i].Ended = true
		}
		left = 0
		if rand.IntN(2) == 0 {
			report = "report-of-" + token
			staged, err := l.e.Create()
			if err != nil {
				return err
			}
			if _, err := staged.Write(crashBody(report, 700)); err != nil {
				return err
			}
			s.Reports = []spool.Report{{Staged: staged, Message: crashMessage(report, "deposit", crashReports)}}
		}
	}
	return l.act(fmt.Sprintf("settle %s %d %d %s", token, had, left, report), func() error {
		return l.e.Settle(context.Background(), lease, s)
	})
}

// crashState is what is known of the messages of a load: for each thing that
// may be so or so, the set of how it may be.
type crashState map[string]*crashMessageState

type crashMessageState struct {
	size     int
	account  string
	accepted bool         // for certain
	rcpts    map[int]bool // of its task; 0 is no task
	place    map[string]bool
	seen     map[bool]bool
	settling int // the act that settled its task last, or is about to
	// with is the token of a report: if this message was accepted, either the
	// report is there and the task is gone, or neither. "" is none.
	with string
	// whole tells that an acceptance that was not acknowledged brings a
	// deposit and a task or neither.
	whole bool
}

const (
	nowhere = "nowhere"
	inInbox = "INBOX"
	inOther = "Archive"
)

func only[T comparable](v ...T) map[T]bool {
	m := make(map[T]bool)
	for _, v := range v {
		m[v] = true
	}
	return m
}

func (st crashState) message(token string, size int, account string) *crashMessageState {
	m := &crashMessageState{size: size, account: account, rcpts: only(0), place: only(nowhere), seen: only(false)}
	st[token] = m
	return m
}

// hear takes a line in. With acked false an acknowledgement counts for nothing.
func (st crashState) hear(line string, acked bool) error {
	var n int
	var verb, act, token string
	if _, err := fmt.Sscan(line, &n, &verb, &act, &token); err != nil {
		return fmt.Errorf("line %q: %w", line, err)
	}
	rest := bytes.Fields([]byte(line))[4:]
	ack := verb == "ack"
	if ack && !acked {
		return nil
	}
	m := st[token]
	switch act {
	case "accept":
		var size int
		if _, err := fmt.Sscan(string(rest[0]), &size); err != nil {
			return err
		}
		deposit, task := string(rest[1]) != "task", string(rest[1]) != "deposit"
		if !ack {
			m = st.message(token, size, string(rest[2]))
			m.whole = deposit && task
			if deposit {
				m.place[inInbox] = true
			}
			if task {
				m.rcpts[crashRcpts] = true
			}
			return nil
		}
		m.accepted, m.whole = true, false
		if deposit {
			m.place = only(inInbox)
		}
		if task && m.settling == 0 { // else that has told more already
			m.rcpts = only(crashRcpts)
		}
	case "settle":
		var had, left int
		if _, err := fmt.Sscan(string(rest[0]), &had); err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(rest[1]), &left); err != nil {
			return err
		}
		report := string(rest[2])
		if !ack {
			m.whole, m.settling = false, n
			if !m.accepted {
				m.rcpts[0] = true
			} else {
				m.rcpts = only(had)
			}
			m.rcpts[had], m.rcpts[left] = true, true
			if report != "-" {
				st.message(report, 700, crashReports).place[inInbox] = true
				m.with = report
			}
			return nil
		}
		if n != m.settling {
			return nil // the next lease was given, and told, before this line
		}
		// A settlement that is durable makes the acceptance durable.
		m.rcpts, m.with = only(left), ""
		m.accepted = true
		if m.place[inInbox] && m.place[nowhere] {
			delete(m.place, nowhere)
		}
		if report != "-" {
			st[report].place = only(inInbox)
		}
	case "flag":
		if m.seen[true] = true; ack {
			m.seen = only(true)
		}
	case "move":
		if m.place[inOther] = true; ack {
			m.place = only(inOther)
		}
	case "expunge":
		if m.place[nowhere] = true; ack {
			m.place = only(nowhere)
		}
	default:
		return fmt.Errorf("line %q", line)
	}
	return nil
}

// crashFound is what an engine holds.
type crashFound struct {
	rcpts map[string]int
	place map[string]string
	seen  map[string]bool
}

// compare tells in what an engine is not as it may be, and takes what it found
// for certain from then on.
func (st crashState) compare(e *Engine) error {
	found, err := st.read(e)
	if err != nil {
		return err
	}
	var wrong []error
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	for token, m := range st {
		rcpts, place := found.rcpts[token], found.place[token]
		if place == "" {
			place = nowhere
		}
		if !m.rcpts[rcpts] {
			fail("%s: task has %d recipients, may have %v", token, rcpts, m.rcpts)
		}
		if !m.place[place] {
			fail("%s: is in %s, may be in %v", token, place, m.place)
		}
		if m.whole && (rcpts == 0) != (place == nowhere) {
			fail("%s: half of it was committed: %d recipients, in %s", token, rcpts, place)
		}
		if seen := found.seen[token]; place != nowhere && !m.seen[seen] {
			fail("%s: seen is %t", token, seen)
		}
		if m.with != "" && m.accepted && (rcpts == 0) != (found.place[m.with] != "") {
			fail("%s: %d recipients are left, its report is in %q", token, rcpts, found.place[m.with])
		}
		m.rcpts, m.place, m.with, m.whole = only(rcpts), only(place), "", false
		m.accepted = true
		if place != nowhere {
			m.seen = only(found.seen[token])
		}
	}
	return errors.Join(wrong...)
}

// read reads everything, every body included. What is there twice, unknown or
// other than it was given is an error.
func (st crashState) read(e *Engine) (f crashFound, err error) {
	f = crashFound{make(map[string]int), make(map[string]string), make(map[string]bool)}
	known := make(map[mail.ID]string)
	token := func(id mail.ID) (string, error) {
		if t, ok := known[id]; ok {
			return t, nil
		}
		t, err := st.readMessage(e, id)
		known[id] = t
		return t, err
	}
	for task, err := range e.Tasks(spool.TaskID{}) {
		if err != nil {
			return f, fmt.Errorf("tasks: %w", err)
		}
		t, err := token(task.ID.Message)
		if err != nil {
			return f, err
		}
		if f.rcpts[t] != 0 {
			return f, fmt.Errorf("%s has two tasks", t)
		}
		f.rcpts[t] = len(task.Recipients)
	}
	accounts := []string{crashReports}
	for i := range crashAccounts {
		accounts = append(accounts, fmt.Sprintf("account%d", i))
	}
	for _, account := range accounts {
		boxes, err := e.ListMailboxes(account)
		if err != nil {
			return f, err
		}
		for _, box := range boxes {
			messages := uint32(0)
			for n, err := range e.Entries(box.ID, 1, 0) {
				if err != nil {
					return f, fmt.Errorf("%s of %s: %w", box.Name, account, err)
				}
				messages++
				t, err := token(n.Message)
				if err != nil {
					return f, err
				}
				if f.place[t] != "" {
					return f, fmt.Errorf("%s was deposited twice: %s and %s", t, f.place[t], box.Name)
				}
				if st[t].account != account {
					return f, fmt.Errorf("%s of %s is in a mailbox of %s", t, st[t].account, account)
				}
				f.place[t], f.seen[t] = box.Name, n.Flags.System&spool.Seen != 0
			}
			if messages != box.Messages {
				return f, fmt.Errorf("%s of %s counts %d messages and has %d", box.Name, account, box.Messages, messages)
			}
		}
	}
	return f, nil
}

func (st crashState) readMessage(e *Engine, id mail.ID) (string, error) {
	info, err := e.Stat(id)
	if err != nil {
		return "", err
	}
	token := info.Envelope.EnvID
	m := st[token]
	if m == nil {
		return "", fmt.Errorf("message %s has the unknown token %q", id, token)
	}
	b, err := e.OpenBody(id)
	if err != nil {
		return "", err
	}
	defer b.Close()
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		return "", err
	}
	if !bytes.Equal(got, crashBody(token, m.size)) {
		return "", fmt.Errorf("%s: the body is another", token)
	}
	return token, nil
}

// checked has the engine's own check find nothing.
func checked(e *Engine) error {
	c, ok := any(e).(spool.Checker)
	if !ok {
		return nil
	}
	if l := c.Losses(); len(l) > 0 {
		return fmt.Errorf("losses: %v", l)
	}
	var found []error
	_, err := c.Check(context.Background(), spool.CheckOptions{Bodies: true, Found: func(f spool.Finding) {
		found = append(found, fmt.Errorf("check: %s %s: %s", f.Kind, f.Key, f.What))
	}})
	return errors.Join(append(found, err)...)
}
