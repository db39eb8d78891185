package badger

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

// Every record, filled, must come back as it was.
func TestRecordsRoundTrip(t *testing.T) {
	at := time.Unix(1_900_000_000, 123_456_789)
	status := mail.Status{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "später", Remote: "mx.example [192.0.2.1]"}
	m := messageRecord{
		env: mail.Envelope{
			From: mail.Address{Local: "a b", Domain: "x.example"}, EnvID: "env", Ret: mail.ReturnHeaders,
			EightBit: true, UTF8: true, RequireTLS: true, Priority: -4, Arrived: at,
			Client: mail.Client{Protocol: "ESMTPSA", Addr: netip.MustParseAddr("2001:db8::1"), Helo: "h", Account: "acc"},
		},
		size: 12345, hash: [32]byte{1, 2, 31: 3}, chunks: 7,
	}
	same(t, m, m.encode(), decodeMessage)
	same(t, refsRecord{refs: 3, nextTask: 9}, refsRecord{refs: 3, nextTask: 9}.encode(), decodeRefs)
	task := taskRecord{
		dest: spool.Destination{Route: "smart", Domain: "x.example"}, state: spool.Held, priority: 3, attempts: 5,
		queued: at, due: at.Add(1), warns: at.Add(2), expires: at.Add(3), warned: true, held: at.Add(4), timer: at.Add(5),
		rcpts: []spool.RecipientState{{
			Recipient: mail.Recipient{To: mail.Address{Local: "b", Domain: "y.example"}, Original: "rfc822;b", Notify: mail.NotifyDelay},
			Last:      status,
		}},
	}
	same(t, task, task.encode(), decodeTask)
	for _, from := range []mail.Address{{}, {Local: "c", Domain: "z.example"}} {
		task.from, task.pinned, task.share = &from, false, 0
		same(t, task, task.encode(), decodeTask)
		task.pinned, task.share = true, 31
		same(t, task, task.encode(), decodeTask)
		if d, state, err := decodeTaskHead(task.encode()); err != nil || d != task.dest || state != task.state {
			t.Errorf("the head of a task came back as %v, %v, %v", d, state, err)
		}
		// As it was written before there were flags.
		old := taskRecord{rcpts: []spool.RecipientState{}}
		payload := append(old.encode(), encodeFrom(from)...)
		payload[0] = taskFromVersion
		old.from = &from
		same(t, old, payload, decodeTask)
	}
	task.from = nil
	same(t, task, task.encode(), decodeTask)
	dest := destinationRecord{failures: 4, until: at, last: status}
	same(t, dest, dest.encode(), decodeDestination)
	row := spool.Mailbox{ID: 5, Account: "a", Name: "B/ü", Use: spool.UseJunk, UIDValidity: 1, UIDNext: 2, ModSeq: 3, Messages: 4, Unseen: 5, Deleted: 6, Size: 7, Recent: 2}
	same(t, row, encodeMailbox(&row), func(p []byte) (spool.Mailbox, error) { return decodeMailbox(5, p) })
	// Up to format 5 the rows did not have it: nothing was recent.
	older := encodeMailbox(&row)
	older[0], older = recordVersion, older[:len(older)-1]
	if got, err := decodeMailbox(5, older); err != nil || got != row {
		t.Errorf("a row of format 5 reads as %+v, %v", got, err)
	}
	entry := spool.Entry{
		UID: 8, Message: mail.ID{9}, Flags: spool.Flags{System: spool.Seen | spool.Draft, Keywords: []string{"$Junk", "x"}},
		InternalDate: at, Saved: at.Add(1), Prefix: []byte("Return-Path: <>\r\n"), Size: 77, ModSeq: 1 << 40,
	}
	same(t, entry, encodeEntry(&entry), func(p []byte) (spool.Entry, error) { return decodeEntry(8, p) })
	b := block{present: fullBitmap(), unseen: bitmap{1, 1 << 63, 0, 7}}
	same(t, b, b.encode(), decodeBlock)
	stone := journalLine{gone: true, at: time.Unix(1_900_000_000, 0)}
	if got, err := decodeJournal(stone.encode()); err != nil || got != stone {
		t.Errorf("tombstone %+v, %v", got, err)
	}
	where := piecesRecord{head: true, refs: []segment.Ref{{Segment: 1, Offset: 2, Length: 3}, {Segment: 1 << 31, Offset: 1<<32 - 1, Length: 1 << 20}}}
	same(t, where, where.encode(), decodePieces)
	once := onceRecord{mail.ID{1, 2}, at}
	same(t, once, once.encode(), decodeOnce)
	packed := messageRecord{env: mail.Envelope{Unverified: true}, size: 9, chunks: 2, packed: true, head: 4}
	if got, err := decodeMessage(packed.encode()); err != nil || !reflect.DeepEqual(got, packed) {
		t.Errorf("a message in pieces came back as %+v, %v", got, err)
	}
	word := keywordRecord{"$Forwarded", 1 << 33}
	same(t, word, word.encode(), decodeKeyword)
}

func encodeFrom(a mail.Address) []byte {
	e := new(enc)
	e.string(a.Local)
	e.string(a.Domain)
	return e.b
}

func same[T any](t *testing.T, want T, payload []byte, decode func([]byte) (T, error)) {
	t.Helper()
	got, err := decode(payload)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%T came back as\n%+v, %v\nwant\n%+v", want, got, err, want)
	}
	for i := range payload {
		if _, err := decode(payload[:i]); err == nil {
			t.Errorf("%T: cut to %d of %d octets it was taken", want, i, len(payload))
		}
	}
}

func TestSealFindsDamage(t *testing.T) {
	key := []byte("key")
	sealed := seal(key, []byte("payload"))
	for i := range sealed {
		for bit := range 8 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1 << bit
			if _, err := unseal(key, bad); !errors.Is(err, spool.ErrCorrupt) {
				t.Fatalf("octet %d, bit %d flipped: %v", i, bit, err)
			}
		}
	}
	if _, err := unseal([]byte("kez"), sealed); !errors.Is(err, spool.ErrCorrupt) {
		t.Error("a record under another's key was taken")
	}
	if _, err := unseal(key, nil); !errors.Is(err, spool.ErrCorrupt) {
		t.Error("an empty value was taken")
	}
}

// No stored octets may make a decoder panic or allocate out of proportion.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte{recordVersion})
	f.Add((&taskRecord{rcpts: make([]spool.RecipientState, 2)}).encode())
	f.Add((&messageRecord{}).encode())
	f.Add(encodeEntry(&spool.Entry{Flags: spool.Flags{Keywords: []string{"k"}}}))
	f.Add((&block{present: fullBitmap(), unseen: bitmap{1, 2, 3, 4}}).encode())
	f.Add((&keywordRecord{"$Junk", 3}).encode())
	f.Add((&piecesRecord{head: true, refs: make([]segment.Ref, 3)}).encode())
	f.Add((&onceRecord{}).encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		decodeMessage(p)
		decodeRefs(p)
		decodeTask(p)
		decodeTaskHead(p)
		decodeDestination(p)
		decodeMailbox(1, p)
		decodeEntry(1, p)
		decodeCounter(p)
		decodeBlock(p)
		decodeKeyword(p)
		decodeJournal(p)
		decodePieces(p)
		decodeOnce(p)
		destinationOf(append([]byte{kQueue}, p...))
		taskOf(p)
	})
}
