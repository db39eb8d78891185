package mail

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ID names one stored message, everywhere: it is the queue ID in SMTP replies,
// Received fields, logs and commands, and the key of the body in the spool.
// It is 48 bits of Unix milliseconds and 32 random bits, so IDs sort by
// arrival; its text is 16 characters of RFC 4648's base32hex in upper case.
type ID [10]byte

// ErrID is wrapped by the errors of ParseID.
var ErrID = errors.New("malformed queue ID")

var idEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// String returns the 16 characters.
func (id ID) String() string { return idEncoding.EncodeToString(id[:]) }

// IsZero tells whether id is the zero ID, which names no message.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the millisecond the ID was made in.
func (id ID) Time() time.Time {
	var b [8]byte
	copy(b[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:])))
}

// MarshalText returns String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

// ParseID reads the text form, in either case.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != idEncoding.EncodedLen(len(id)) {
		return ID{}, fmt.Errorf("%w: %q", ErrID, clip(s))
	}
	b, err := idEncoding.DecodeString(strings.ToUpper(s))
	if err != nil || len(b) != len(id) {
		return ID{}, fmt.Errorf("%w: %q", ErrID, clip(s))
	}
	copy(id[:], b)
	return id, nil
}

// IDs makes IDs that are distinct and ascend, even within one millisecond and
// when the clock steps back. The zero value is ready; it is safe for
// concurrent use.
type IDs struct {
	mu   sync.Mutex
	last ID
}

// Next returns a new ID for the given time.
func (s *IDs) Next(now time.Time) ID {
	var id ID
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli()))
	copy(id[:6], b[2:])
	rand.Read(id[6:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(id[:]) <= string(s.last[:]) {
		id = s.last
		for i := len(id) - 1; i >= 0; i-- {
			if id[i]++; id[i] != 0 {
				break
			}
		}
	}
	s.last = id
	return id
}
