package spool

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName bounds the octets of a mailbox name.
const MaxName = 1000

// CanonicalName gives a first level that is INBOX in any case its one case.
func CanonicalName(name string) string {
	head, tail, below := strings.Cut(name, Separator)
	switch {
	case !strings.EqualFold(head, Inbox):
		return name
	case !below:
		return Inbox
	}
	return Inbox + Separator + tail
}

// CheckName wraps ErrMailboxName if a name cannot be a mailbox's.
func CheckName(name string) error {
	bad := len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl)
	for level := range strings.SplitSeq(name, Separator) {
		bad = bad || level == ""
	}
	if bad {
		return fmt.Errorf("%w: %.100q", ErrMailboxName, name)
	}
	return nil
}

// CompareNames orders mailbox names by octets, INBOX first.
func CompareNames(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == Inbox:
		return -1
	case b == Inbox:
		return 1
	}
	return cmp.Compare(a, b)
}
