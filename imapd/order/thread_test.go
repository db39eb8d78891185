package order

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"restante/spool"
)

// letters makes messages of lines "id | references | subject | minutes". They
// arrive in the order of the lines.
func letters(lines ...string) []Letter {
	var list []Letter
	for i, line := range lines {
		f := strings.Split(line, "|")
		for len(f) < 4 {
			f = append(f, "")
		}
		at := i
		fmt.Sscan(strings.TrimSpace(f[3]), &at)
		h := "Date: " + epoch.Add(time.Duration(at)*time.Minute).Format(time.RFC1123Z) + "\nSubject: " + strings.TrimSpace(f[2])
		if id := strings.TrimSpace(f[0]); id != "" {
			h += "\nMessage-ID: <" + id + "@x>"
		}
		var refs string
		for _, r := range strings.Fields(f[1]) {
			if after, ok := strings.CutPrefix(r, "to:"); ok {
				h += "\nIn-Reply-To: <" + after + "@x>"
				continue
			}
			refs += " <" + r + "@x>"
		}
		e, m := message(spool.UID(i+1), i, h)
		list = append(list, NewLetter(e, m, refs))
	}
	return list
}

// write is how THREAD shows threads.
func write(list []*Thread) string {
	var b strings.Builder
	var one func(t *Thread)
	one = func(t *Thread) {
		if t.Letter != nil {
			fmt.Fprint(&b, t.Letter.UID)
			if len(t.Answers) > 0 {
				b.WriteByte(' ')
			}
		}
		if len(t.Answers) == 1 {
			one(t.Answers[0])
			return
		}
		for _, a := range t.Answers {
			b.WriteByte('(')
			one(a)
			b.WriteByte(')')
		}
	}
	for _, t := range list {
		b.WriteByte('(')
		one(t)
		b.WriteByte(')')
	}
	return b.String()
}

func TestThreads(t *testing.T) {
	for _, c := range []struct {
		name                      string
		lines                     []string
		ordered, references, refs string
	}{
		{"none", nil, "", "", ""},
		{"a chain", []string{"a||s", "b|a|Re: s", "c|a b|Re: s"}, "(1 (2)(3))", "(1 2 3)", "(1 2 3)"},
		{"two answers", []string{"a||s", "b|a|Re: s", "c|a|Re: s"}, "(1 (2)(3))", "(1 (2)(3))", "(1 (2)(3))"},
		{"an answer before what it answers", []string{"b|a|Re: s|5", "a||s|1"}, "(2 1)", "(2 1)", "(2 1)"},
		{"in-reply-to", []string{"a||s", "b|to:a|t"}, "(1)(2)", "(1 2)", "(1 2)"},
		{"references count more", []string{"a||s", "b||t", "c|b to:a|u"}, "(1)(2)(3)", "(1)(2 3)", "(1)(2 3)"},
		{"a missing message in between", []string{"a||s", "c|a b|t"}, "(1)(2)", "(1 2)", "(1 2)"},
		{"a missing root with two answers", []string{"b|a|s", "c|a|t"}, "(1)(2)", "((1)(2))", "((1)(2))"},
		{"a missing root with one answer", []string{"b|a|s"}, "(1)", "(1)", "(1)"},
		{"two missing in a row", []string{"c|a b|s", "d|a b|t", "e|a|u"}, "(1)(2)(3)", "((1)(2)(3))", "((1)(2)(3))"},
		{"the same identifier twice", []string{"a||s", "a||t", "b|a|u"}, "(1)(2)(3)", "(1 3)(2)", "(2)(1 3)"},
		{"no identifier", []string{"||s", "||t"}, "(1)(2)", "(1)(2)", "(1)(2)"},
		{"itself", []string{"a|a|s"}, "(1)", "(1)", "(1)"},
		{"a loop of two", []string{"a|b|s", "b|a|t"}, "(1)(2)", "(2 1)", "(2 1)"},
		{"a loop of three", []string{"a|c|s", "b|a|t", "c|b|u"}, "(1)(2)(3)", "(3 1 2)", "(3 1 2)"},
		{"a loop in one field", []string{"d|a b a b|s", "a||t", "b||u"}, "(1)(2)(3)", "(2)(3 1)", "(2)(3 1)"},
		{"its own references win", []string{"c|x b c|s", "b|a|t", "a||u", "d|z b|v"}, "(1)(2)(3)(4)", "(1)(3 2 4)", "(1)(3 2 4)"},
		{"subjects", []string{"a||s", "b||Re: s", "c||Re: s"}, "(1 (2)(3))", "(1 (2)(3))", "(1)(2)(3)"},
		{"subjects, the answer first", []string{"b||Re: s|1", "a||s|2"}, "(1 2)", "(2 1)", "(1)(2)"},
		{"the same subject, no answers", []string{"a||s", "b||s"}, "(1 2)", "((1)(2))", "(1)(2)"},
		{"three of the same subject", []string{"a||s", "b||s", "c||s"}, "(1 (2)(3))", "((1)(2)(3))", "(1)(2)(3)"},
		{"two answers, no question", []string{"a||Re: s", "b||Re: s"}, "(1 2)", "((1)(2))", "(1)(2)"},
		{"a missing root and a subject", []string{"b|a|Re: s", "c|a|Re: s", "d||Re: s"}, "(1 (2)(3))", "((1)(2)(3))", "((1)(2))(3)"},
		{"two missing roots and a subject", []string{"b|a|Re: s", "c|a|Re: s", "e|d|Re: s", "f|d|Re: s"}, "(1 (2)(3)(4))", "((1)(2)(3)(4))", "((1)(2))((3)(4))"},
		{"empty subjects", []string{"a||", "b||Re:"}, "(1 2)", "(1)(2)", "(1)(2)"},
		{"by date", []string{"a||s|9", "b||t|3", "c|b|t|8", "d|b|t|7"}, "(2 (4)(3))(1)", "(2 (4)(3))(1)", "(1)(2 (4)(3))"},
	} {
		for _, a := range []struct {
			name string
			make func([]Letter) []*Thread
			want string
		}{{"ORDEREDSUBJECT", OrderedSubject, c.ordered}, {"REFERENCES", References, c.references}, {"REFS", Refs, c.refs}} {
			if got := write(a.make(letters(c.lines...))); got != a.want {
				t.Errorf("%s, %s: %s, want %s", c.name, a.name, got, a.want)
			}
		}
	}
}

// TestThreadsComplete: whatever the references, every message is there once.
func TestThreadsComplete(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var lines []string
		for range 1 + rnd.IntN(30) {
			refs := ""
			for range rnd.IntN(5) {
				refs += fmt.Sprintf(" m%d", rnd.IntN(20))
			}
			lines = append(lines, fmt.Sprintf("m%d|%s|%s s%d|%d", rnd.IntN(20), refs, []string{"", "Re:"}[rnd.IntN(2)], rnd.IntN(4), rnd.IntN(10)))
		}
		for _, make := range []func([]Letter) []*Thread{OrderedSubject, References, Refs} {
			seen := census(make(letters(lines...)))
			for i := range lines {
				if seen[spool.UID(i+1)] != 1 || len(seen) != len(lines) {
					t.Fatalf("%v: %v", lines, seen)
				}
			}
		}
	}
}

// census counts the messages of threads; below the roots none may be missing.
func census(list []*Thread) map[spool.UID]int {
	seen := make(map[spool.UID]int)
	for _, root := range list {
		root.walk(func(t *Thread) {
			switch {
			case t.Letter != nil:
				seen[t.Letter.UID]++
			case t != root || len(t.Answers) < 2:
				seen[0]++
			}
		})
	}
	return seen
}

// TestDeepThreads: long chains, in both directions, and crafted references cost
// a bounded number of steps.
func TestDeepThreads(t *testing.T) {
	const n = 5000
	var up, down []string
	for i := range n {
		up = append(up, fmt.Sprintf("m%d|m%d|s", i, i-1))
		down = append(down, fmt.Sprintf("m%d|m%d|s", i, i+1))
	}
	for _, lines := range [][]string{up, down} {
		list := letters(lines...)
		if roots := References(list); len(roots) != 1 || len(census(roots)) != n {
			t.Errorf("%d threads", len(roots))
		}
	}
	// Every message has all others above it, in another order.
	rnd := rand.New(rand.NewPCG(3, 4))
	var crafted []string
	for i := range 2000 {
		refs := ""
		for range maxReferences {
			refs += fmt.Sprintf(" m%d", rnd.IntN(2000))
		}
		crafted = append(crafted, fmt.Sprintf("m%d|%s|s", i, refs))
	}
	if got := len(census(References(letters(crafted...)))); got != 2000 {
		t.Errorf("%d messages", got)
	}
}

func TestStepsAreBounded(t *testing.T) {
	list := letters("a||s", "b|a|s", "c|b|s", "d|c|s")
	l := linker{known: make(map[string]*Thread), steps: 1}
	var own []*Thread
	for i := range list {
		own = append(own, l.place(&list[i]))
	}
	for _, i := range []int{3, 2, 1} {
		l.connect(own[i], list[i].refs)
	}
	// d under c, then c under b would take a walk of one step, b under a two.
	if own[3].parent != own[2] || own[2].parent != own[1] || own[1].parent != nil {
		t.Error("more steps were taken than there are")
	}
}

func TestMessageIDs(t *testing.T) {
	for s, want := range map[string]string{
		"":                                  "",
		"<a@b>":                             "a@b",
		"<a@b><c@d>  x <e@f>":               "a@b c@d e@f",
		"<a@b":                              "",
		"text <a@b> (comment) <no at> <@x>": "a@b",
		`<"a b"@c>`:                         "a b@c",
		`<"a\"x"@c> <a @ b>`:                `a"x@c a@b`,
		"<<a@b> <c<d@e>":                    "a@b d@e",
		"<" + strings.Repeat("x", 600) + "@y> <a@b>": "a@b",
	} {
		if got := strings.Join(messageIDs(s, 10), " "); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := strings.Join(messageIDs("<1@x> <2@x> <3@x> <4@x>", 3), " "); got != "1@x 3@x 4@x" {
		t.Error(got)
	}
	if got := strings.Join(messageIDs("<1@x> <2@x>", 1), " "); got != "1@x" {
		t.Error(got)
	}
}
