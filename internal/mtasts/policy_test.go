package mtasts

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const example = "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.com\r\nmx: *.Example.NET.\r\nmax_age: 604800\r\n"

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string // want "" is an error
	}{
		{"of the RFC", example, "enforce [mx1.example.com *.example.net] 168h0m0s"},
		{"LF, spaces, no end", "version:STSv1 \nmode :  testing\nmx:a.example\nmax_age: 60", "testing [a.example] 1m0s"},
		{"unknown fields", "version: STSv1\nmode: none\nx-new: whatever: it is\nmax_age: 1\n", "none [] 1s"},
		{"twice: the first holds", "version: STSv1\nmode: testing\nmode: enforce\nmx: a.example\nmax_age: 2\nmax_age: 3\n", "testing [a.example] 2s"},
		{"international", "version: STSv1\nmode: enforce\nmx: mx.bücher.example\nmax_age: 1\n", "enforce [mx.xn--bcher-kva.example] 1s"},
		{"longer than a year", "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 9999999999\n", "enforce [a.b] 8766h0m0s"},
		{"none without mx", "version: STSv1\nmode: none\nmax_age: 86400\n", "none [] 24h0m0s"},
		{"no version", "mode: enforce\nmx: a.b\nmax_age: 1\n", ""},
		{"another version", strings.Replace(example, "STSv1", "STSv2", 1), ""},
		{"no mode", "version: STSv1\nmx: a.b\nmax_age: 1\n", ""},
		{"unknown mode", strings.Replace(example, "enforce", "try", 1), ""},
		{"no mx", "version: STSv1\nmode: enforce\nmax_age: 1\n", ""},
		{"no max_age", "version: STSv1\nmode: enforce\nmx: a.b\n", ""},
		{"negative", strings.Replace(example, "604800", "-1", 1), ""},
		{"too many digits", strings.Replace(example, "604800", "10000000000000", 1), ""},
		{"mx is an address literal", strings.Replace(example, "mx1.example.com", "[192.0.2.1]", 1), ""},
		{"a star inside", strings.Replace(example, "*.Example", "mx*.example", 1), ""},
		{"HTML", "<html><body>404</body></html>", ""},
		{"nothing", "", ""},
		{"too many mx", "version: STSv1\nmode: enforce\nmax_age: 1\n" + strings.Repeat("mx: a.b\n", maxMX+1), ""},
		{"too large", example + strings.Repeat("x: "+strings.Repeat("y", 1000)+"\n", 66), ""},
	} {
		p, err := Parse(tt.text)
		got := fmt.Sprint(p.Mode, " ", p.MX, " ", p.MaxAge)
		if err != nil {
			got = ""
		}
		if got != tt.want || err != nil && !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestMatches(t *testing.T) {
	p, err := Parse(example)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"mx1.example.com": true, "MX1.Example.com.": true, "mx2.example.com": false, "a.mx1.example.com": false,
		"a.example.net": true, "a.b.example.net": false, "example.net": false, "aexample.net": false, "": false,
	} {
		if p.Matches(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

func TestRecord(t *testing.T) {
	for _, tt := range []struct {
		want    string
		records []string
	}{
		{"20160831085700Z", []string{"v=STSv1; id=20160831085700Z;"}},
		{"1", []string{"v=STSv1;id=1"}},
		{"1", []string{"other", "v=STSv1; x=y; id=1; z=1"}},
		{"", nil},
		{"", []string{"v=STSv1; id=1", "v=STSv1; id=2"}},
		{"", []string{"v=STSv1; id=" + strings.Repeat("1", 33)}},
		{"", []string{"v=STSv1; id=a-b"}},
		{"", []string{"v=STSv1"}},
		{"", []string{"v=STSv2; id=1"}},
		{"", []string{"id=1; v=STSv1"}},
	} {
		if id, ok := parseRecord(tt.records); id != tt.want && ok || ok != (tt.want != "") {
			t.Errorf("%q: %q, %v", tt.records, id, ok)
		}
	}
}

// What is understood can be written down and is then understood the same.
func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("version: STSv1\nmode: none\nmax_age: 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("%v", err)
			}
			return
		}
		if p.MaxAge < 0 || p.MaxAge > maxAge || len(p.MX) > maxMX {
			t.Fatalf("out of bounds: %+v", p)
		}
		again, err := Parse(strings.Join(p.Lines(), "\r\n"))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
			t.Fatalf("%+v, then %+v, %v", p, again, err)
		}
		for _, mx := range p.MX {
			host := strings.Replace(mx, "*", "x", 1)
			if !p.Matches(host) {
				t.Fatalf("%q does not match %q", host, mx)
			}
		}
	})
}

func TestResultOfSyntax(t *testing.T) {
	if _, err := Parse("x"); Result(fmt.Errorf("wrapped: %w", err)) != "sts-policy-invalid" {
		t.Error("not told apart")
	}
}
