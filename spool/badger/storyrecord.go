package badger

import (
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// storyRecord is what is stored under h: how the story of a message began.
type storyRecord struct {
	from      mail.Address
	messageID string
	size      int64
	arrived   time.Time
	events    []spool.Event
}

func (r *storyRecord) encode() []byte {
	e := newRecord()
	e.string(r.from.Local)
	e.string(r.from.Domain)
	e.string(r.messageID)
	e.uint(uint64(r.size))
	e.time(r.arrived)
	e.events(r.events, r.arrived)
	return e.b
}

// decodeStory reads the record of a message's story, or only its head and
// addresses: enough to tell whether it is searched for.
func decodeStory(id mail.ID, payload []byte) (r storyRecord, err error) {
	d := openRecord(payload)
	r.head(d)
	r.events = d.events(id, r.arrived)
	return r, d.end()
}

func (r *storyRecord) head(d *dec) {
	r.from = mail.Address{Local: d.string(), Domain: d.string()}
	r.messageID = d.string()
	r.size = int64(d.uint())
	r.arrived = d.time()
}

// decodeStoryHead reads all but the events, and the addresses in them.
func decodeStoryHead(payload []byte) (r storyRecord, to []mail.Address, err error) {
	d := openRecord(payload)
	r.head(d)
	to = d.addresses()
	d.b = nil // the rest is not looked at
	return r, to, d.end()
}

// encodeEvents is what is stored under e and n: events of a task, or of none,
// that came after the beginning.
func encodeEvents(list []spool.Event) []byte {
	e := newRecord()
	var base time.Time
	if len(list) > 0 {
		base = list[0].At
	}
	e.time(base)
	e.events(list, base)
	return e.b
}

func decodeEvents(id mail.ID, payload []byte) ([]spool.Event, error) {
	d := openRecord(payload)
	list := d.events(id, d.time())
	return list, d.end()
}

// The kinds as they are stored; 0 is for one that stands there by its name.
// The order is the format's: new ones go to the end.
var storedKinds = [...]spool.EventKind{
	"", spool.EventAccepted, spool.EventRewritten, spool.EventScreened, spool.EventQueued, spool.EventTried,
	spool.EventDeferred, spool.EventWarned, spool.EventReported, spool.EventDelivered, spool.EventDeposited,
	spool.EventBounced, spool.EventRemoved, spool.EventRerouted, spool.EventReleasedAs, spool.EventParked,
	spool.EventHeld, spool.EventReleased, spool.EventRetried, spool.EventMoved, spool.EventCollected,
	spool.EventExpunged, spool.EventOmitted, spool.EventUnpinned,
}

// What an event has, beside kind and time.
const (
	hasTask = 1 << iota
	hasTo
	hasMore
	hasStatus
	hasHost
	hasAddr
	hasTLS
	hasVerified
	hasQueueID
	hasTook
	hasAttempt
	hasDue
	hasBy
	hasText
	hasRef
	hasCount
	hasUnknown // from here on
)

// events writes a table of the addresses, each once, and the events, whose
// times count from a base.
func (e *enc) events(list []spool.Event, base time.Time) {
	index := make(map[mail.Address]uint64)
	var table []mail.Address
	for i := range list {
		for _, to := range list[i].To {
			if _, ok := index[to]; !ok {
				index[to] = uint64(len(table))
				table = append(table, to)
			}
		}
	}
	e.uint(uint64(len(table)))
	for _, a := range table {
		e.string(a.Local)
		e.string(a.Domain)
	}
	e.uint(uint64(len(list)))
	for i := range list {
		e.event(&list[i], index, base)
	}
}

func (e *enc) event(v *spool.Event, index map[mail.Address]uint64, base time.Time) {
	kind := byte(0)
	for i, k := range storedKinds {
		if i > 0 && k == v.Kind {
			kind = byte(i)
		}
	}
	if e.byte(kind); kind == 0 {
		e.string(string(v.Kind))
	}
	e.int(int64(v.At.Sub(base)))
	var has uint64
	for i, there := range [...]bool{
		!v.Task.Message.IsZero(), len(v.To) > 0, v.More != 0, v.Status != (mail.Status{}),
		v.Host != "", v.Addr != "", v.TLS != "", v.Verified != "", v.QueueID != "",
		v.Took != 0, v.Attempt != 0, !v.Due.IsZero(), v.By != "", v.Text != "", !v.Ref.IsZero(), v.Count != 0,
	} {
		if there {
			has |= 1 << i
		}
	}
	e.uint(has)
	if has&hasTask != 0 {
		e.uint(uint64(v.Task.N))
	}
	if has&hasTo != 0 {
		e.uint(uint64(len(v.To)))
		for _, to := range v.To {
			e.uint(index[to])
		}
	}
	if has&hasMore != 0 {
		e.uint(uint64(v.More))
	}
	if has&hasStatus != 0 {
		e.status(v.Status)
	}
	for _, f := range [...]struct {
		bit  uint64
		text string
	}{{hasHost, v.Host}, {hasAddr, v.Addr}, {hasTLS, v.TLS}, {hasVerified, v.Verified}, {hasQueueID, v.QueueID}, {hasBy, v.By}, {hasText, v.Text}} {
		if has&f.bit != 0 {
			e.string(f.text)
		}
	}
	if has&hasTook != 0 {
		e.int(int64(v.Took))
	}
	if has&hasAttempt != 0 {
		e.uint(uint64(v.Attempt))
	}
	if has&hasDue != 0 {
		e.time(v.Due)
	}
	if has&hasRef != 0 {
		e.raw(v.Ref[:])
	}
	if has&hasCount != 0 {
		e.uint(uint64(v.Count))
	}
}

func (d *dec) addresses() []mail.Address {
	table := make([]mail.Address, d.count())
	for i := range table {
		table[i] = mail.Address{Local: d.string(), Domain: d.string()}
	}
	return table
}

func (d *dec) events(id mail.ID, base time.Time) []spool.Event {
	table := d.addresses()
	list := make([]spool.Event, d.count())
	for i := range list {
		d.event(&list[i], id, table, base)
	}
	return list
}

func (d *dec) event(v *spool.Event, id mail.ID, table []mail.Address, base time.Time) {
	if kind := d.byte(); kind == 0 {
		v.Kind = spool.EventKind(d.string())
	} else if int(kind) < len(storedKinds) {
		v.Kind = storedKinds[kind]
	} else {
		d.fail()
	}
	v.At = base.Add(time.Duration(d.int()))
	has := d.uint()
	if has >= hasUnknown {
		d.fail()
		return
	}
	if has&hasTask != 0 {
		n := d.uint()
		v.Task = spool.TaskID{Message: id, N: uint16(n)}
		if n > 1<<16-1 {
			d.fail()
		}
	}
	if has&hasTo != 0 {
		v.To = make([]mail.Address, d.count())
		for i := range v.To {
			n := d.uint()
			if n >= uint64(len(table)) {
				d.fail()
				return
			}
			v.To[i] = table[n]
		}
	}
	if has&hasMore != 0 {
		v.More = int(d.uint())
	}
	if has&hasStatus != 0 {
		v.Status = d.status()
	}
	for _, f := range [...]struct {
		bit  uint64
		text *string
	}{{hasHost, &v.Host}, {hasAddr, &v.Addr}, {hasTLS, &v.TLS}, {hasVerified, &v.Verified}, {hasQueueID, &v.QueueID}, {hasBy, &v.By}, {hasText, &v.Text}} {
		if has&f.bit != 0 {
			*f.text = d.string()
		}
	}
	if has&hasTook != 0 {
		v.Took = time.Duration(d.int())
	}
	if has&hasAttempt != 0 {
		v.Attempt = int(d.uint())
	}
	if has&hasDue != 0 {
		v.Due = d.time()
	}
	if has&hasRef != 0 {
		copy(v.Ref[:], d.take(uint64(len(v.Ref))))
	}
	if has&hasCount != 0 {
		v.Count = int(d.uint())
	}
}
