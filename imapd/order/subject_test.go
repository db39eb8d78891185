package order

import (
	"strings"
	"testing"
	"testing/quick"
)

func TestBaseSubject(t *testing.T) {
	for _, c := range []struct {
		subject, base string
		reply         bool
	}{
		{"", "", false},
		{"hello", "hello", false},
		{"  hello \t world  ", "hello world", false},
		{"Re: hello", "hello", true},
		{"RE:hello", "hello", true},
		{"re : hello", "hello", true},
		{"Re: Re: FW: fwd: hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"Re [ 2 ] : hello", "hello", true},
		{"[list] Re: hello", "hello", true},
		{"Re: [list] hello", "hello", true},
		{"[list] hello", "hello", false},
		{"[a] [b] Re: [c] Fwd[x]: hello", "hello", true},
		{"[list]", "[list]", false},
		{"[a][b]", "[b]", false},
		{"Re: [list]", "[list]", true},
		{"[list] Re:", "", true},
		{"Re:", "", true},
		{"hello (fwd)", "hello", true},
		{"hello(FWD) (fwd) ", "hello", true},
		{"(fwd)", "", true},
		{"[fwd: hello]", "hello", true},
		{"[Fwd: Re: [list] hello (fwd)]", "hello", true},
		{"[fwd: [fwd: hello]]", "hello", true},
		{"[fwd: hello] more", "more", false},
		{"[fwd: hello", "[fwd: hello", false},
		{"Reply: hello", "Reply: hello", false},
		{"Re hello", "Re hello", false},
		{"Fwd", "Fwd", false},
		{"[unfinished hello", "[unfinished hello", false},
		{"[nested [brackets] here] hello", "[nested [brackets] here] hello", false},
		{"Re[a][b]: hello", "Re[a][b]: hello", false},
		{"AW: hello", "AW: hello", false},
		{"Grüße (fwd)", "Grüße", true},
	} {
		if base, reply := BaseSubject(c.subject); base != c.base || reply != c.reply {
			t.Errorf("%q: %q, %v; want %q, %v", c.subject, base, reply, c.base, c.reply)
		}
	}
}

// TestBaseSubjectStays: the base of a base subject is itself.
func TestBaseSubjectStays(t *testing.T) {
	words := []string{"re", ":", "fwd", "[fwd:", "]", "[", "(fwd)", " ", "x", "[x]"}
	stays := func(picks []byte) bool {
		var b strings.Builder
		for _, p := range picks {
			b.WriteString(words[int(p)%len(words)])
		}
		base, _ := BaseSubject(b.String())
		again, reply := BaseSubject(base)
		return again == base && !reply
	}
	if err := quick.Check(stays, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
}
