package config

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/BurntSushi/toml"
)

// FuzzLoad holds the loader against any text: it never panics, all it says is
// one line each, and every value that the TOML library sees has a line.
func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile(exampleFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	for _, s := range []string{
		"a.\"b c\".'d' = [1, [2, {x = 1, y.z = 2}], # c\n 3]\n[[t]]\nk = 1\n[[t]]\n[t.u]\nk = 2\n[[t.v]]\nk=3\n",
		"s = \"\"\"a\\\"\"\"\"\"\nq = '''x''''' \r\nd = 1979-05-27 07:32:00Z\nb = true\n\"\" = {}\n",
		"\ufeffhostname = \"x\"\n", "[smtp]\nmax_hops = 99999999999\n", "[[route]]\n[[route]]\nverify=1",
		"\"\".\"\" = [[{0 = 1}]]", "\"\\u00e9\\n\" = 1\n[\"a.b\"]\nc=1\n[aliases]\n\"a@b\"=\"c\"\n", "= 1", "a = [[[[", "x = {\n y = 1, # z\n}\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse("t", text)
		if c == nil {
			if err == nil {
				t.Fatal("neither Config nor error")
			}
			return
		}
		// Check reads files, and the text must not choose which.
		c.StateDirectory, c.TLS = "", TLS{}
		for i := range c.Accounts {
			c.Accounts[i].PasswordFile = ""
		}
		for i := range c.Routes {
			c.Routes[i].PasswordFile = ""
		}
		for _, p := range problems(t, c.Check()) {
			if strings.ContainsFunc(p, unicode.IsControl) {
				t.Errorf("%q is not one line", p)
			}
		}
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			t.Fatal(err)
		}
		everyLine(t, indexLines(text), nil, tree)
	})
}

// everyLine wants a line of its own for each value. Below an empty key the one
// of something around it will do: there the TOML library (v1.6.0) builds
// another tree than the text has, "".""=[[{k=1}]] loses a list.
func everyLine(t *testing.T, lines lineIndex, at keyPath, value any) {
	t.Helper()
	found := lines[at.String()] != 0
	if slices.Contains(at, strconv.Quote("")) {
		found = lines.line(at) != 0
	}
	if len(at) > 0 && !found {
		t.Fatalf("%s has no line; known are %v", at, keysOf(lines))
	}
	switch x := value.(type) {
	case map[string]any:
		for k, v := range x {
			everyLine(t, lines, at.key(k), v)
		}
	case []map[string]any:
		for i, v := range x {
			everyLine(t, lines, at.index(i), v)
		}
	case []any:
		for i, v := range x {
			everyLine(t, lines, at.index(i), v)
		}
	}
}

func keysOf(lines lineIndex) []string {
	var out []string
	for k, n := range lines {
		out = append(out, fmt.Sprintf("%s:%d", k, n))
	}
	slices.Sort(out)
	return out
}
