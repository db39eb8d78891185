package control

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseAge reads a length of time: what time.ParseDuration reads, with days and
// weeks in front of it: "3d", "1w2d12h".
func parseAge(s string) (time.Duration, error) {
	var d time.Duration
	rest := s
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		head, tail, ok := strings.Cut(rest, unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, errAge(s)
		}
		d += time.Duration(n) * unit.length
		rest = tail
	}
	if rest == "" && s != "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 {
		return 0, errAge(s)
	}
	return d + more, nil
}

func errAge(s string) error { return fmt.Errorf("%q is no length of time such as 90s, 2h30m or 3d", s) }

// parseRange reads a number or a range: "3", "3..", "..3", "3..9".
func parseRange(s string) (low, high int64, err error) {
	head, tail, ranged := strings.Cut(s, "..")
	if !ranged {
		low, err = parseNumber(s)
		return low, low, err
	}
	low, high = math.MinInt64, math.MaxInt64
	if head != "" {
		low, err = parseNumber(head)
	}
	if tail != "" && err == nil {
		high, err = parseNumber(tail)
	}
	switch {
	case err != nil:
	case head+tail == "":
		err = errors.New("the range has no end")
	case low > high:
		err = fmt.Errorf("nothing is in the range %q", s)
	}
	return low, high, err
}

// parseNumber reads a number that may end with k, M or G.
func parseNumber(s string) (int64, error) {
	digits, factor := s, int64(1)
	if i := len(s) - 1; i > 0 {
		if n := strings.IndexByte("kmg", s[i]|0x20); n >= 0 {
			digits, factor = s[:i], 1<<(10*(n+1))
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/factor || n < math.MinInt64/factor {
		return 0, fmt.Errorf("%q is neither a number nor a range of them such as 3, 3.., ..3 or 3..9", s)
	}
	return n * factor, nil
}
