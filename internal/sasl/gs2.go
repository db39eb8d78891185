package sasl

import (
	"strings"
)

// gs2Header is the head of messages of SCRAM and OAUTHBEARER (RFC 5801 section
// 4): how the client sees channel binding, and whom it wants to act as.
type gs2Header struct {
	// flag is 'n' (the client cannot bind), 'y' (it can, and thinks that we
	// cannot) or 'p' (it does, by binding).
	flag    byte
	binding string
	authzid string
	// raw is the header itself, with its last comma; rest is what follows.
	raw, rest string
}

func parseGS2(s string) (gs2Header, error) {
	flag, rest, ok := strings.Cut(s, ",")
	authzid, rest, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 {
		return gs2Header{}, ErrMalformed
	}
	h := gs2Header{raw: s[:len(s)-len(rest)], rest: rest}
	switch {
	case flag == "n", flag == "y":
		h.flag = flag[0]
	case strings.HasPrefix(flag, "p="):
		h.flag, h.binding = 'p', flag[2:]
		if h.binding == "" || strings.Trim(h.binding, bindingLetters) != "" {
			return gs2Header{}, ErrMalformed
		}
	default:
		return gs2Header{}, ErrMalformed
	}
	// An empty name is malformed, and sent by clients that have none to send.
	if authzid != "" && authzid != "a=" {
		name, ok := strings.CutPrefix(authzid, "a=")
		if !ok {
			return gs2Header{}, ErrMalformed
		}
		var err error
		if h.authzid, err = parseSaslname(name); err != nil {
			return gs2Header{}, err
		}
	}
	return h, nil
}

const bindingLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-"

// parseSaslname undoes the quoting of "," and "=" in a name.
func parseSaslname(s string) (string, error) {
	if s == "" || strings.IndexByte(s, 0) >= 0 {
		return "", ErrMalformed
	}
	var b strings.Builder
	for {
		plain, quoted, ok := strings.Cut(s, "=")
		b.WriteString(plain)
		switch {
		case !ok:
			return b.String(), nil
		case strings.HasPrefix(quoted, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(quoted, "3D"):
			b.WriteByte('=')
		default:
			return "", ErrMalformed
		}
		s = quoted[2:]
	}
}
