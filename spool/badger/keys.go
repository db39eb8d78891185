package badger

import (
	"encoding/binary"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// The records of the spool. Integers in keys are big-endian, so that key order
// is their order; times are Unix nanoseconds. Every value ends with a CRC-32C
// of key and payload (codec.go).
//
//	0format                                  the format's version
//	0identity                                which spool this is, to its backups
//	0mailbox                                 last MailboxID given
//	0uidvalidity                             last UIDVALIDITY given
//	0filler                                  means nothing: fills a log up
//	0commits                                 number and time of the last commit
//	L first:8 last:8                         commits that were found missing, until
//	                                         somebody acknowledges it
//
//	m ID                                     message: envelope, size, hash, chunks
//	r ID                                     references to it, next task number
//	s ID                                     its structure, if a mailbox shows it
//	b ID 0:4                                 its body, if that is short
//	p ID                                     where the pieces of a long one are in
//	                                         the segments
//	o name:32                                a message that is not taken again until
//	                                         then: its ID; see spool.Message.Once
//	h ID                                     how its story begins; it outlives the
//	                                         message, as the next two do
//	e ID n:2                                 events of a task
//	n ID                                     events that are no task's
//	g ID                                     up to format 3: the chunks of ID belong
//	                                         to no message
//
//	t ID n:2                                 task: state, times, recipients
//	q route 0 domain 0 prio:1 share:1 due:8 ID n:2
//	                                         tasks in state queued, by destination;
//	                                         prio is 9 less the priority, share is
//	                                         its sender's (spool.Share); up to
//	                                         format 4 there was none
//	x time:8 ID n:2                          timer of a queued task: its warning,
//	                                         then its expiry
//	d route 0 domain 0                       a destination's failures and back-off
//
//	N account 0 name                         mailbox name to MailboxID
//	S account 0 name                         subscription
//	M mailbox:8                              mailbox row with its counts
//	E mailbox:8 uid:4                        entry
//	J mailbox:8 modseq:8 uid:4               journal: the entry's latest change;
//	                                         that it is gone, and when;
//	                                         UID 0: tombstones up to here are gone
//	U mailbox:8 block:4                      index: which of 256 UIDs are there,
//	                                         unseen, deleted
//	K mailbox:8 hash:16                      a keyword and how many entries have it
//	A mailbox:8 name                         attribute of a mailbox
//	z mailbox:8                              deleted mailbox whose entries are
//	                                         still to be freed
const (
	kMeta        = '0'
	kMessage     = 'm'
	kRefs        = 'r'
	kStructure   = 's'
	kChunk       = 'b'
	kPieces      = 'p'
	kOnce        = 'o'
	kStory       = 'h'
	kTaskEvents  = 'e'
	kNotes       = 'n'
	kGarbage     = 'g'
	kTask        = 't'
	kQueue       = 'q'
	kTimer       = 'x'
	kDestination = 'd'
	kName        = 'N'
	kSubscribed  = 'S'
	kMailbox     = 'M'
	kEntry       = 'E'
	kJournal     = 'J'
	kZombie      = 'z'
	kBlock       = 'U'
	kKeyword     = 'K'
	kLoss        = 'L'
	kAttribute   = 'A'
)

const (
	metaFormat      = "format"
	metaIdentity    = "identity"
	metaMailbox     = "mailbox"
	metaUIDValidity = "uidvalidity"
	metaCommits     = "commits"
	metaFiller      = "filler"
)

func metaKey(name string) []byte { return append([]byte{kMeta}, name...) }

// idKey makes the key of the records that have one for each message.
func idKey(kind byte, id mail.ID) []byte { return append([]byte{kind}, id[:]...) }

func idOf(key []byte) (id mail.ID) {
	copy(id[:], key[1:])
	return id
}

func chunkKey(id mail.ID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(idKey(kChunk, id), n)
}

func taskKey(id spool.TaskID) []byte {
	return appendTask([]byte{kTask}, id)
}

func taskEventsKey(id spool.TaskID) []byte {
	return appendTask([]byte{kTaskEvents}, id)
}

func appendTask(b []byte, id spool.TaskID) []byte {
	b = append(b, id.Message[:]...)
	return binary.BigEndian.AppendUint16(b, id.N)
}

const taskLen = len(mail.ID{}) + 2

// taskOf reads the task ID off the end of a t, q or x key.
func taskOf(key []byte) (id spool.TaskID) {
	if len(key) < taskLen {
		return id
	}
	tail := key[len(key)-taskLen:]
	copy(id.Message[:], tail)
	id.N = binary.BigEndian.Uint16(tail[len(id.Message):])
	return id
}

func destinationKey(kind byte, d spool.Destination) []byte {
	b := make([]byte, 0, len(d.Route)+len(d.Domain)+3+orderLen+taskLen)
	b = append(b, kind)
	b = append(b, d.Route...)
	b = append(b, 0)
	b = append(b, d.Domain...)
	return append(b, 0)
}

// destinationOf reads the destination out of a q or d key.
func destinationOf(key []byte) (d spool.Destination, ok bool) {
	var parts [2]string
	key = key[1:]
	for i := range parts {
		n := 0
		for n < len(key) && key[n] != 0 {
			n++
		}
		if n == len(key) {
			return d, false
		}
		parts[i], key = string(key[:n]), key[n+1:]
	}
	return spool.Destination{Route: parts[0], Domain: parts[1]}, true
}

// orderLen is the length of what orders a q key inside its destination, before
// the task ID.
const orderLen = 1 + 1 + 8

func (t *taskRecord) queueKey(id spool.TaskID) []byte {
	b := append(destinationKey(kQueue, t.dest), prioByte(t.priority), t.share)
	return appendTask(appendTime(b, t.due), id)
}

// isQueueKey tells whether a q key has the length that it should have.
func isQueueKey(key []byte) bool { return queueOrderLen(key) == orderLen }

// queueOrderLen is how much of a q key is between its destination and its task
// ID; negative if it is malformed.
func queueOrderLen(key []byte) int {
	d, ok := destinationOf(key)
	if !ok {
		return -1
	}
	return len(key) - len(d.Route) - len(d.Domain) - 3 - taskLen
}

func prioByte(priority int) byte { return byte(9 - min(max(priority, -9), 9)) }

// queueDue reads the due time off a q key.
func queueDue(key []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(key[len(key)-taskLen-8:])))
}

func timerKey(at time.Time, id spool.TaskID) []byte {
	return appendTask(appendTime([]byte{kTimer}, at), id)
}

func timerOf(key []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(key[1:])))
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func nameKey(kind byte, account, name string) []byte {
	b := append([]byte{kind}, account...)
	b = append(b, 0)
	return append(b, name...)
}

func mailboxKey(kind byte, id spool.MailboxID) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, uint64(id))
}

func entryKey(id spool.MailboxID, uid spool.UID) []byte {
	return binary.BigEndian.AppendUint32(mailboxKey(kEntry, id), uint32(uid))
}

func journalKey(id spool.MailboxID, m spool.ModSeq, uid spool.UID) []byte {
	b := binary.BigEndian.AppendUint64(mailboxKey(kJournal, id), uint64(m))
	return binary.BigEndian.AppendUint32(b, uint32(uid))
}
