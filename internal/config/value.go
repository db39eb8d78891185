package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time in the file: a string such as "90s", "4h",
// "1h30m" or "5d", a day being 24 hours. It is never negative.
type Duration time.Duration

// Units of Duration.
const (
	Minute = Duration(time.Minute)
	Hour   = Duration(time.Hour)
	Day    = 24 * Hour
)

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns the form that UnmarshalText reads, with days where they fit:
// "5d", "1d12h0m0s", "4h", "90s".
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	days := ""
	if d >= Day {
		days, d = strconv.FormatInt(int64(d/Day), 10)+"d", d%Day
		if d == 0 {
			return days
		}
	}
	s := time.Duration(d).String()
	if d >= Minute && strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if d >= Hour && strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return days + s
}

// UnmarshalText reads a number with a unit of ns, us, ms, s, m, h or d, or
// several in a row.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	bad := fmt.Errorf(`%q is not a length of time: write it like "30s", "4h" or "5d"`, s)
	var days int64
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return bad
		}
		days, s = int64(n), tail
	}
	var rest time.Duration
	if s != "" || days == 0 && !strings.Contains(string(b), "d") {
		var err error
		if rest, err = time.ParseDuration(s); err != nil || rest < 0 || strings.HasPrefix(s, "-") {
			return bad
		}
	}
	if int64(rest) > math.MaxInt64-days*int64(Day) {
		return bad
	}
	*d = Duration(days*int64(Day)) + Duration(rest)
	return nil
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Size is a number of octets in the file: an integer, or a string such as
// "64KiB", "50MiB", "1GiB", or with kB, MB and GB for powers of 1000. It is
// never negative.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

type sizeUnit struct {
	name   string
	octets Size
}

func sizeUnits() []sizeUnit {
	return []sizeUnit{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1}}
}

// String returns the form that UnmarshalText reads, in the largest power of
// 1024 that fits.
func (s Size) String() string {
	for _, u := range sizeUnits()[:3] {
		if s != 0 && s%u.octets == 0 {
			return strconv.FormatInt(int64(s/u.octets), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalText reads a whole number with or without a unit.
func (s *Size) UnmarshalText(b []byte) error {
	number, unit := string(b), Size(1)
	for _, u := range sizeUnits() {
		if head, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(head), u.octets
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || n > uint64(math.MaxInt64/unit) {
		return fmt.Errorf(`%q is not a size: write it like "64KiB" or "50MiB"`, string(b))
	}
	*s = Size(n) * unit
	return nil
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Strings is a list of strings in the file, or a single string, which stands
// for a list of one.
type Strings []string
