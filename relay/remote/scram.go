package remote

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// Bounds of the iterations that a server may ask for: the least of RFC 7677
// section 4, and what takes about a second.
const (
	minIterations = 4096
	maxIterations = 2_000_000
)

// scram is the client's side of SCRAM (RFC 5802, RFC 7677).
type scram struct {
	hash               func() hash.Hash
	username, password string
	gs2                string // the header, with what binds to the channel
	binding            []byte
	nonce              string // ours; random unless it is set

	bare      string // client-first-message-bare
	signature []byte // what the server has to prove
}

// first is the client-first-message.
func (x *scram) first() string {
	if x.nonce == "" {
		x.nonce = rand.Text()
	}
	x.bare = "n=" + saslName(prepared(x.username)) + ",r=" + x.nonce
	return x.gs2 + x.bare
}

// final answers the server-first-message.
func (x *scram) final(server string) (string, error) {
	attributes := strings.Split(server, ",")
	if len(attributes) < 3 || !strings.HasPrefix(attributes[0], "r="+x.nonce) || len(attributes[0]) <= 2+len(x.nonce) ||
		!strings.HasPrefix(attributes[1], "s=") || !strings.HasPrefix(attributes[2], "i=") {
		return "", errors.New("the next hop's first message makes no sense")
	}
	salt, err := base64.StdEncoding.DecodeString(attributes[1][2:])
	n, bad := strconv.Atoi(attributes[2][2:])
	if err != nil || bad != nil || len(salt) == 0 {
		return "", errors.New("the next hop's first message makes no sense")
	}
	if n < minIterations || n > maxIterations {
		return "", errors.New("the next hop asks for " + strconv.Itoa(n) + " iterations, which are too few or too many")
	}
	salted, err := pbkdf2.Key(x.hash, prepared(x.password), salt, n, x.hash().Size())
	if err != nil {
		return "", err
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(x.gs2), x.binding...)) + "," + attributes[0]
	message := x.bare + "," + server + "," + final
	key := x.sum(salted, "Client Key")
	h := x.hash()
	h.Write(key)
	proof := x.sum(h.Sum(nil), message)
	subtle.XORBytes(proof, proof, key)
	x.signature = x.sum(x.sum(salted, "Server Key"), message)
	return final + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// proved tells whether the server-final-message shows that the server knows the
// password, or what was made of it.
func (x *scram) proved(server string) bool {
	v, _, _ := strings.Cut(server, ",")
	v, ok := strings.CutPrefix(v, "v=")
	b, err := base64.StdEncoding.DecodeString(v)
	return ok && err == nil && hmac.Equal(b, x.signature)
}

func (x *scram) sum(key []byte, message string) []byte {
	h := hmac.New(x.hash, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// prepared is RFC 4013's form of a name or a password, or, where it has none,
// the text as it is.
func prepared(s string) string {
	if p, err := stringprep.SASLprep.Prepare(s); err == nil {
		return p
	}
	return s
}

// saslName writes a name where commas divide (RFC 5802 section 5.1).
func saslName(s string) string {
	return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s)
}
