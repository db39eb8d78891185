package directory

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/secure/precis"
)

// maxPassword bounds a password, in octets.
const maxPassword = 1024

// phc is an argon2id hash (RFC 9106) as its PHC string holds it. With a nil
// sum it is only a recipe for the work.
type phc struct {
	memory uint32 // KiB
	time   uint32
	lanes  uint8
	salt   []byte
	sum    []byte
}

// recipe returns the cost of new hashes. 19 MiB and two passes are what OWASP
// recommends at the least: a relay on a small machine must be able to check
// several passwords at a time.
func recipe() phc { return phc{memory: 19 << 10, time: 2, lanes: 1} }

// Bounds of what a hash from a file may cost.
const (
	maxMemory = 1 << 20 // KiB
	maxTime   = 64
	maxLanes  = 64
)

// HashPassword returns an argon2id hash in PHC form with a new salt, as
// password_hash in the configuration takes it. It fails with ErrPassword.
func HashPassword(password string) (string, error) {
	return hashPassword(recipe(), password)
}

func hashPassword(h phc, password string) (string, error) {
	p, err := prepare(password)
	if err != nil {
		return "", err
	}
	h.salt = make([]byte, 16)
	rand.Read(h.salt)
	h.sum = h.compute(p, 32)
	return h.String(), nil
}

// CheckHash tells what is wrong with a hash in PHC form, nil if it is usable.
func CheckHash(s string) error {
	_, err := parsePHC(s)
	return err
}

// prepare brings a password to the form that is hashed (RFC 8265 section 4.2),
// so that one typed on another system's keyboard is the same.
func prepare(password string) (string, error) {
	if password == "" {
		return "", fmt.Errorf("%w: it is empty", ErrPassword)
	}
	if len(password) > maxPassword {
		return "", fmt.Errorf("%w: it is longer than %d octets", ErrPassword, maxPassword)
	}
	p, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", fmt.Errorf("%w: it has control or unassigned characters", ErrPassword)
	}
	return p, nil
}

func (h phc) compute(password string, length uint32) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, length)
}

// matches does the work whatever h is, and tells whether it was this password.
func (h phc) matches(password string) bool {
	length := uint32(len(h.sum))
	if h.sum == nil {
		length = 32
	}
	sum := h.compute(password, length)
	return h.sum != nil && subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (h phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.lanes,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.sum))
}

func parsePHC(s string) (phc, error) {
	var h phc
	bad := func(why string) (phc, error) {
		return phc{}, fmt.Errorf("password hash: %s; it must look like $argon2id$v=19$m=19456,t=2,p=1$salt$hash", why)
	}
	if strings.ContainsAny(s, "\r\n") {
		return bad("line break in it") // base64 would pass it over
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return bad("not argon2id in PHC form")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return bad("unknown version")
	}
	var lanes uint32
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &lanes)
	if err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.time, lanes) {
		return bad("bad parameters")
	}
	if h.memory < 8*lanes || h.memory > maxMemory || h.time < 1 || h.time > maxTime || lanes < 1 || lanes > maxLanes {
		return bad("parameters out of bounds")
	}
	h.lanes = uint8(lanes)
	b64 := base64.RawStdEncoding.Strict()
	if h.salt, err = b64.DecodeString(parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return bad("bad salt")
	}
	if h.sum, err = b64.DecodeString(parts[5]); err != nil || len(h.sum) < 16 || len(h.sum) > 64 {
		return bad("bad hash")
	}
	return h, nil
}

// RandomPassword returns a new password of 100 random bits, 20 letters and
// digits in groups of five, without those that look alike.
func RandomPassword() string {
	const letters = "0123456789abcdefghjkmnpqrstvwxyz" // 32: five bits each
	var b [20]byte
	rand.Read(b[:])
	var s strings.Builder
	for i, c := range b {
		if i > 0 && i%5 == 0 {
			s.WriteByte('-')
		}
		s.WriteByte(letters[c%32])
	}
	return s.String()
}
