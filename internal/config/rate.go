package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Rate is how many of something may come in a time, in the file "300/1m" or
// "1000/1d". The empty string, and the zero Rate, are no limit.
type Rate struct {
	Count int
	Per   Duration
}

// String returns the form that UnmarshalText reads.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	return strconv.Itoa(r.Count) + "/" + r.Per.String()
}

// UnmarshalText reads a whole number, a slash and a length of time.
func (r *Rate) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = Rate{}
		return nil
	}
	count, per, ok := strings.Cut(string(b), "/")
	n, err := strconv.ParseUint(count, 10, 31)
	var d Duration
	if !ok || err != nil || n == 0 || d.UnmarshalText([]byte(per)) != nil || d == 0 {
		return fmt.Errorf(`%q is not a rate: write it like "300/1m" or "1000/1d", or "" for none`, string(b))
	}
	*r = Rate{int(n), d}
	return nil
}

// MarshalText returns String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
