package smtpd

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"restante/internal/mail"
)

// Bounds of RFC 3461 sections 4.2 and 4.4, in octets as they stand in the
// command.
const (
	maxEnvID = 100
	maxOrcpt = 500
)

// parseXtext decodes xtext (RFC 3461 section 4): printable ASCII, with "+" and
// two hexadecimal digits in upper case for an octet. What cannot be printed on
// a line is no use to anybody and is refused.
func parseXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) || strings.ToUpper(s[i+1:i+3]) != s[i+1:i+3] {
				return "", false
			}
			octet, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil || octet[0] < ' ' || octet[0] == 0x7f {
				return "", false
			}
			b.WriteByte(octet[0])
			i += 2
		case c <= ' ' || c > '~' || c == '=':
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), utf8.ValidString(b.String())
}

// parseOrcpt reads the value of ORCPT (RFC 3461 section 4.2): a type and, in
// xtext, an address, of which nothing more is asked. In a type of "utf-8" (RFC
// 6533 section 3) characters come as they are, if the client has said SMTPUTF8,
// or else as \x{...}.
func parseOrcpt(s string, smtputf8 bool) (string, bool) {
	kind, value, ok := strings.Cut(s, ";")
	if !ok || kind == "" || value == "" || len(s) > maxOrcpt || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return "", false
	}
	if !strings.EqualFold(kind, "utf-8") {
		value, ok = parseXtext(value)
		return kind + ";" + value, ok
	}
	if !isASCII(value) && !smtputf8 {
		return "", false
	}
	value, ok = parseUnitext(value)
	return kind + ";" + value, ok
}

// parseUnitext decodes the three forms of RFC 6533 section 3.
func parseUnitext(s string) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	var b strings.Builder
	for len(s) > 0 {
		rest, escaped := strings.CutPrefix(s, `\x{`)
		if !escaped {
			c := s[0]
			if c <= ' ' || c == 0x7f || c == '+' || c == '=' || c == '\\' {
				return "", false
			}
			b.WriteByte(c)
			s = s[1:]
			continue
		}
		digits, rest, ok := strings.Cut(rest, "}")
		n, err := strconv.ParseUint(digits, 16, 32)
		if !ok || err != nil || len(digits) > 6 || n < ' ' || n == 0x7f || !utf8.ValidRune(rune(n)) {
			return "", false
		}
		b.WriteRune(rune(n))
		s = rest
	}
	return b.String(), true
}

// parseNotify reads the value of NOTIFY (RFC 3461 section 4.1).
func parseNotify(s string) (mail.Notify, bool) {
	var n mail.Notify
	for word := range strings.SplitSeq(strings.ToUpper(s), ",") {
		bit := map[string]mail.Notify{
			"NEVER": mail.NotifyNever, "SUCCESS": mail.NotifySuccess,
			"FAILURE": mail.NotifyFailure, "DELAY": mail.NotifyDelay,
		}[word]
		if bit == 0 {
			return 0, false
		}
		n |= bit
	}
	return n, n&mail.NotifyNever == 0 || n == mail.NotifyNever
}

// deliverBy is the value of BY (RFC 2852 section 4).
type deliverBy struct {
	given         bool
	in            time.Duration
	back, tracing bool
}

// parseBy reads "seconds;N" or "seconds;R", with a "T" behind it if traces are
// asked for. Only N can have a time that is past.
func parseBy(s string) (deliverBy, bool) {
	number, mode, _ := strings.Cut(s, ";")
	by := deliverBy{given: true}
	mode = strings.ToUpper(mode)
	mode, by.tracing = strings.CutSuffix(mode, "T")
	by.back = mode == "R"
	digits := strings.TrimPrefix(number, "-")
	if digits == number {
		digits = strings.TrimPrefix(number, "+")
	}
	seconds, ok := parseSeconds(digits)
	if strings.HasPrefix(number, "-") {
		seconds = -seconds
	}
	by.in = seconds
	return by, ok && (mode == "N" || by.back) && (seconds > 0 || !by.back)
}

// parseSize reads up to twenty digits. What does not fit into an int64 is
// larger than any limit all the same.
func parseSize(s string) (int64, bool) {
	if s == "" || len(s) > 20 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}

// parseSeconds reads one to nine digits.
func parseSeconds(s string) (time.Duration, bool) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.Duration(n) * time.Second, err == nil
}

// parsePriority reads the value of MT-PRIORITY (RFC 6710 section 4.1): -9 to 9.
func parsePriority(s string) (int, bool) {
	digit := strings.TrimPrefix(s, "-")
	if len(digit) != 1 || digit[0] < '0' || digit[0] > '9' || s == "-0" {
		return 0, false
	}
	n := int(digit[0] - '0')
	if s != digit {
		n = -n
	}
	return n, true
}

// parseHoldUntil reads the value of HOLDUNTIL (RFC 4865 section 4): a time of
// RFC 3339.
func parseHoldUntil(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	return t, err == nil && len(s) <= 40
}
