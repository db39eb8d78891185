package badger

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"restante/spool"
)

// blockUIDs is how many UIDs one record of the index covers.
const blockUIDs = 256

func blockOf(uid spool.UID) uint32 { return uint32(uid) / blockUIDs }

func blockKey(id spool.MailboxID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(mailboxKey(kBlock, id), n)
}

// keywordKey has a hash for the keyword, so that any keyword fits.
func keywordKey(id spool.MailboxID, keyword string) []byte {
	sum := sha256.Sum256([]byte(keyword))
	return append(mailboxKey(kKeyword, id), sum[:keywordHash]...)
}

const keywordHash = 16

// bitmap has a bit for each UID of a block.
type bitmap [blockUIDs / 64]uint64

func (b *bitmap) set(uid spool.UID, on bool) {
	word, bit := &b[uid%blockUIDs/64], uint64(1)<<(uid%64)
	if *word &^= bit; on {
		*word |= bit
	}
}

// uids appends the UIDs whose bits are set in block n.
func (b *bitmap) uids(list []spool.UID, n uint32) []spool.UID {
	first := spool.UID(n) * blockUIDs
	for i, word := range b {
		base := first + spool.UID(i)*64
		for ; word != 0; word &= word - 1 {
			list = append(list, base+spool.UID(bits.TrailingZeros64(word)))
		}
	}
	return list
}

// first returns the lowest UID of block n whose bit is set, or 0.
func (b *bitmap) first(n uint32) spool.UID {
	for i, word := range b {
		if word != 0 {
			return spool.UID(n)*blockUIDs + spool.UID(i*64+bits.TrailingZeros64(word))
		}
	}
	return 0
}

// block is what is stored under U.
type block struct{ present, unseen, deleted bitmap }

func (b *block) set(uid spool.UID, f *spool.Flags) {
	b.present.set(uid, f != nil)
	b.unseen.set(uid, f != nil && f.System&spool.Seen == 0)
	b.deleted.set(uid, f != nil && f.System&spool.Deleted != 0)
}

// How a bitmap is stored: most are all of one kind.
const (
	bitmapNone = iota
	bitmapAll
	bitmapBits
)

func (b *block) encode() []byte {
	e := &enc{b: append(make([]byte, 0, 1+3*(1+blockUIDs/8)+sumLen), recordVersion)}
	for _, m := range []*bitmap{&b.present, &b.unseen, &b.deleted} {
		switch *m {
		case bitmap{}:
			e.byte(bitmapNone)
		case fullBitmap():
			e.byte(bitmapAll)
		default:
			e.byte(bitmapBits)
			for _, word := range m {
				e.b = binary.BigEndian.AppendUint64(e.b, word)
			}
		}
	}
	return e.b
}

func fullBitmap() (b bitmap) {
	for i := range b {
		b[i] = ^uint64(0)
	}
	return b
}

func decodeBlock(payload []byte) (b block, err error) {
	d := openRecord(payload)
	for _, m := range []*bitmap{&b.present, &b.unseen, &b.deleted} {
		switch d.byte() {
		case bitmapNone:
		case bitmapAll:
			*m = fullBitmap()
		case bitmapBits:
			p := d.take(blockUIDs / 8)
			for i := range m {
				if len(p) > 0 {
					m[i] = binary.BigEndian.Uint64(p[8*i:])
				}
			}
		default:
			d.fail()
		}
	}
	return b, d.end()
}

// keywordRecord is what is stored under K.
type keywordRecord struct {
	keyword string
	entries uint64
}

func (k *keywordRecord) encode() []byte {
	e := newRecord()
	e.string(k.keyword)
	e.uint(k.entries)
	return e.b
}

func decodeKeyword(payload []byte) (k keywordRecord, err error) {
	d := openRecord(payload)
	k.keyword = d.string()
	k.entries = d.uint()
	return k, d.end()
}
