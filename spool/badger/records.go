package badger

import (
	"net/netip"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// The payloads of the records. Each begins with the version of its own layout,
// so that one record can change without the others.

const recordVersion = 1

func newRecord() *enc { return &enc{b: append(make([]byte, 0, 256), recordVersion)} }

func openRecord(payload []byte) *dec {
	d := &dec{b: payload}
	if d.byte() != recordVersion {
		d.fail()
	}
	return d
}

// messageRecord is what is stored under m.
type messageRecord struct {
	env    mail.Envelope
	size   int64
	hash   [32]byte // of what follows the head, and then the head
	chunks uint32
	// packed tells that the body is in segments, where p says.
	packed bool
	// head is how much of the body was Message.Head.
	head int64
}

func (m *messageRecord) encode() []byte {
	e := newRecord()
	env := &m.env
	e.string(env.From.Local)
	e.string(env.From.Domain)
	e.string(env.EnvID)
	e.byte(byte(env.Ret))
	e.bool(env.EightBit)
	e.bool(env.UTF8)
	e.bool(env.RequireTLS)
	e.int(int64(env.Priority))
	e.time(env.Arrived)
	e.string(env.Client.Protocol)
	addr, _ := env.Client.Addr.MarshalBinary() // never fails
	e.bytes(addr)
	e.string(env.Client.Helo)
	e.string(env.Client.Account)
	e.uint(uint64(m.size))
	e.raw(m.hash[:])
	e.uint(uint64(m.chunks))
	e.more(m)
	return e.b
}

// What was added to the record later stands at its end, if there is any of it.
const (
	moreWishes = 1 << iota // of the envelope
	moreHead
	morePacked
	moreUnverified
)

func (e *enc) more(m *messageRecord) {
	env, flags := &m.env, byte(0)
	if !env.By.IsZero() || !env.HoldUntil.IsZero() {
		flags |= moreWishes
	}
	if m.head > 0 {
		flags |= moreHead
	}
	if m.packed {
		flags |= morePacked
	}
	if env.Unverified {
		flags |= moreUnverified
	}
	if flags == 0 {
		return
	}
	e.byte(flags)
	if flags&moreWishes != 0 {
		e.time(env.By.At)
		e.bool(env.By.Return)
		e.bool(env.By.Trace)
		e.time(env.HoldUntil)
	}
	if flags&moreHead != 0 {
		e.uint(uint64(m.head))
	}
}

func (d *dec) more(m *messageRecord) {
	if len(d.b) == 0 {
		return
	}
	flags := d.byte()
	if flags&moreWishes != 0 {
		m.env.By = mail.By{At: d.time(), Return: d.bool(), Trace: d.bool()}
		m.env.HoldUntil = d.time()
	}
	if flags&moreHead != 0 {
		m.head = int64(d.uint())
	}
	m.packed = flags&morePacked != 0
	m.env.Unverified = flags&moreUnverified != 0
	if flags == 0 || flags >= moreUnverified<<1 || m.head < 0 || m.head > m.size {
		d.fail()
	}
}

func decodeMessage(payload []byte) (m messageRecord, err error) {
	d := openRecord(payload)
	env := &m.env
	env.From = mail.Address{Local: d.string(), Domain: d.string()}
	env.EnvID = d.string()
	env.Ret = mail.Return(d.byte())
	env.EightBit = d.bool()
	env.UTF8 = d.bool()
	env.RequireTLS = d.bool()
	env.Priority = int(d.int())
	env.Arrived = d.time()
	env.Client.Protocol = d.string()
	var addr netip.Addr
	if addr.UnmarshalBinary(d.bytes()) != nil {
		d.fail()
	}
	env.Client.Addr = addr
	env.Client.Helo = d.string()
	env.Client.Account = d.string()
	m.size = int64(d.uint())
	copy(m.hash[:], d.take(uint64(len(m.hash))))
	m.chunks = uint32(d.uint())
	d.more(&m)
	return m, d.end()
}

// refsRecord is what is stored under r.
type refsRecord struct {
	refs     uint64
	nextTask uint64
}

func (r refsRecord) encode() []byte {
	e := newRecord()
	e.uint(r.refs)
	e.uint(r.nextTask)
	return e.b
}

func decodeRefs(payload []byte) (r refsRecord, err error) {
	d := openRecord(payload)
	r.refs, r.nextTask = d.uint(), d.uint()
	return r, d.end()
}

// taskRecord is what is stored under t.
type taskRecord struct {
	dest                        spool.Destination
	state                       spool.State // never Leased: leases live in memory
	priority                    int
	share                       uint8 // spool.Share of the message
	attempts                    int
	queued, due, warns, expires time.Time
	warned                      bool
	// held is when Hold stopped it; zero otherwise.
	held time.Time
	// timer is where its x record is; zero if it has none.
	timer time.Time
	rcpts []spool.RecipientState
	// from is the task's own reverse-path; nil is the message's.
	from *mail.Address
	// pinned is spool.Task.Pinned.
	pinned bool
}

// The layouts of a task that came later, by its version; tasks that need none
// of it keep the first.
const (
	// taskFromVersion has a reverse-path of its own at its end. It is only read.
	taskFromVersion = 2
	// taskMoreVersion has flags at its end, then what they call for.
	taskMoreVersion = 3
)

// The flags of taskMoreVersion.
const (
	taskFrom = 1 << iota
	taskPinned
	taskShare
)

func (t *taskRecord) encode() []byte {
	e := newRecord()
	e.string(t.dest.Route)
	e.string(t.dest.Domain)
	e.byte(byte(t.state))
	e.int(int64(t.priority))
	e.uint(uint64(t.attempts))
	e.time(t.queued)
	e.time(t.due)
	e.time(t.warns)
	e.time(t.expires)
	e.bool(t.warned)
	e.time(t.held)
	e.time(t.timer)
	e.uint(uint64(len(t.rcpts)))
	for i := range t.rcpts {
		r := &t.rcpts[i]
		e.string(r.To.Local)
		e.string(r.To.Domain)
		e.string(r.Original)
		e.byte(byte(r.Notify))
		e.status(r.Last)
	}
	e.moreTask(t)
	return e.b
}

func (e *enc) moreTask(t *taskRecord) {
	flags := byte(0)
	if t.from != nil {
		flags |= taskFrom
	}
	if t.pinned {
		flags |= taskPinned
	}
	if t.share != 0 {
		flags |= taskShare
	}
	if flags == 0 {
		return
	}
	e.b[0] = taskMoreVersion
	e.byte(flags)
	if t.from != nil {
		e.string(t.from.Local)
		e.string(t.from.Domain)
	}
	if t.share != 0 {
		e.byte(t.share)
	}
}

func (d *dec) moreTask(version byte, t *taskRecord) {
	flags := byte(0)
	switch version {
	case taskFromVersion:
		flags = taskFrom
	case taskMoreVersion:
		if flags = d.byte(); flags == 0 || flags >= taskShare<<1 {
			d.fail()
		}
	}
	if flags&taskFrom != 0 {
		t.from = &mail.Address{Local: d.string(), Domain: d.string()}
	}
	t.pinned = flags&taskPinned != 0
	if flags&taskShare != 0 {
		t.share = d.byte()
	}
}

// openTask begins a record of any of its layouts.
func openTask(payload []byte) (d *dec, version byte) {
	d = &dec{b: payload}
	if version = d.byte(); version < recordVersion || version > taskMoreVersion {
		d.fail()
	}
	return d, version
}

func decodeTask(payload []byte) (t taskRecord, err error) {
	d, version := openTask(payload)
	t.dest = spool.Destination{Route: d.string(), Domain: d.string()}
	if t.state = spool.State(d.byte()); t.state > spool.Dead {
		d.fail()
	}
	t.priority = int(d.int())
	t.attempts = int(d.uint())
	t.queued = d.time()
	t.due = d.time()
	t.warns = d.time()
	t.expires = d.time()
	t.warned = d.bool()
	t.held = d.time()
	t.timer = d.time()
	t.rcpts = make([]spool.RecipientState, d.count())
	for i := range t.rcpts {
		r := &t.rcpts[i]
		r.To = mail.Address{Local: d.string(), Domain: d.string()}
		r.Original = d.string()
		r.Notify = mail.Notify(d.byte())
		r.Last = d.status()
	}
	d.moreTask(version, &t)
	return t, d.end()
}

// decodeTaskHead reads how a task is counted.
func decodeTaskHead(payload []byte) (spool.Destination, spool.State, error) {
	d, _ := openTask(payload)
	dest := spool.Destination{Route: d.string(), Domain: d.string()}
	state := spool.State(d.byte())
	if state > spool.Dead {
		d.fail()
	}
	d.b = nil // the rest is not looked at
	return dest, state, d.end()
}

func (e *enc) status(s mail.Status) {
	e.uint(uint64(s.Code))
	for _, v := range s.Enhanced {
		e.uint(uint64(v))
	}
	e.string(s.Text)
	e.string(s.Remote)
}

func (d *dec) status() (s mail.Status) {
	s.Code = int(d.uint())
	for i := range s.Enhanced {
		s.Enhanced[i] = int(d.uint())
	}
	s.Text = d.string()
	s.Remote = d.string()
	return s
}

// destinationRecord is what is stored under d.
type destinationRecord struct {
	failures int
	until    time.Time
	last     mail.Status
}

func (r *destinationRecord) encode() []byte {
	e := newRecord()
	e.uint(uint64(r.failures))
	e.time(r.until)
	e.status(r.last)
	return e.b
}

func decodeDestination(payload []byte) (r destinationRecord, err error) {
	d := openRecord(payload)
	r.failures = int(d.uint())
	r.until = d.time()
	r.last = d.status()
	return r, d.end()
}

// mailboxRecentVersion is the layout of a mailbox's row that tells which messages
// are recent. Where there is only recordVersion, as up to format 5, none is.
const mailboxRecentVersion = 2

func encodeMailbox(m *spool.Mailbox) []byte {
	e := newRecord()
	e.b[0] = mailboxRecentVersion
	e.string(m.Account)
	e.string(m.Name)
	e.string(string(m.Use))
	e.uint(uint64(m.UIDValidity))
	e.uint(uint64(m.UIDNext))
	e.uint(uint64(m.ModSeq))
	e.uint(uint64(m.Messages))
	e.uint(uint64(m.Unseen))
	e.uint(uint64(m.Deleted))
	e.uint(uint64(m.Size))
	e.uint(uint64(m.Recent))
	return e.b
}

func decodeMailbox(id spool.MailboxID, payload []byte) (m spool.Mailbox, err error) {
	d := &dec{b: payload}
	version := d.byte()
	if version != recordVersion && version != mailboxRecentVersion {
		d.fail()
	}
	m.ID = id
	m.Account = d.string()
	m.Name = d.string()
	m.Use = spool.Use(d.string())
	m.UIDValidity = uint32(d.uint())
	m.UIDNext = spool.UID(d.uint())
	m.ModSeq = spool.ModSeq(d.uint())
	m.Messages = uint32(d.uint())
	m.Unseen = uint32(d.uint())
	m.Deleted = uint32(d.uint())
	m.Size = int64(d.uint())
	if m.Recent = m.UIDNext; version == mailboxRecentVersion {
		m.Recent = spool.UID(d.uint())
	}
	return m, d.end()
}

func encodeEntry(n *spool.Entry) []byte {
	e := newRecord()
	e.raw(n.Message[:])
	e.byte(byte(n.Flags.System))
	e.uint(uint64(len(n.Flags.Keywords)))
	for _, k := range n.Flags.Keywords {
		e.string(k)
	}
	e.time(n.InternalDate)
	e.time(n.Saved)
	e.bytes(n.Prefix)
	e.uint(uint64(n.Size))
	e.uint(uint64(n.ModSeq))
	return e.b
}

func decodeEntry(uid spool.UID, payload []byte) (n spool.Entry, err error) {
	d := openRecord(payload)
	n.UID = uid
	copy(n.Message[:], d.take(uint64(len(n.Message))))
	n.Flags.System = spool.SystemFlags(d.byte())
	if c := d.count(); c > 0 {
		n.Flags.Keywords = make([]string, c)
		for i := range n.Flags.Keywords {
			n.Flags.Keywords[i] = d.string()
		}
	}
	n.InternalDate = d.time()
	n.Saved = d.time()
	n.Prefix = d.bytes()
	n.Size = int64(d.uint())
	n.ModSeq = spool.ModSeq(d.uint())
	return n, d.end()
}
