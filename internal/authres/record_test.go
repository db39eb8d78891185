package authres

import (
	"strings"
	"testing"

	"restante/internal/header"
	"restante/internal/screen"
)

func TestParseRecord(t *testing.T) {
	for in, want := range map[string]record{
		"v=DMARC1; p=none": {None, None, false, false, 100},
		"v=DMARC1;p=reject;sp=none;adkim=s;aspf=s;pct=5":         {Reject, None, true, true, 5},
		" v = DMARC1 ; P = Reject ; SP=QUARANTINE ; adkim=S ; ;": {Reject, Quarantine, true, false, 100},
		"v=DMARC1; p=quarantine; adkim=r; pct=101; x=y; z":       {Quarantine, Quarantine, false, false, 100},
		"v=DMARC1; p=reject; p=none; sp=bogus":                   {Reject, Reject, false, false, 100},
		"v=DMARC1; rua=mailto:a@b.example":                       {None, None, false, false, 100},
		"v=DMARC1; p=bogus; sp=reject; rua=x,mailto:a@b.example": {None, Reject, false, false, 100},
	} {
		if got, ok := parseRecord(in); !ok || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "v=DMARC1", "v=DMARC1; p=bogus", "v=DMARC1; rua=", "v=DMARC2; p=reject", "v=dmarc1; p=reject", "p=reject; v=DMARC1", "v=spf1 -all", "v=DMARC1x; p=reject"} {
		if got, ok := parseRecord(in); ok {
			t.Errorf("%q was taken: %+v", in, got)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; adkim=s; aspf=r; pct=50; rua=mailto:a@b.example")
	f.Add("v=DMARC1;p=;;=;pct=-1")
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseRecord(text)
		if ok && (r.percent < 0 || r.percent > 100 || r.policy == "" || r.subdomains == "") {
			t.Fatalf("%q: %+v", text, r)
		}
		if ok && !isRecord(text) {
			t.Fatalf("%q is no record and was taken", text)
		}
	})
}

func TestClaimed(t *testing.T) {
	for value, want := range map[string]bool{
		" mx.here.example; spf=pass":                             true,
		" MX.Here.Example.; none":                                true,
		"mx.here.example":                                        true,
		" (a (nested) comment\\)) mx.here.example 1; dkim=pass":  true,
		"\r\n\t\"mx.here.example\" ; spf=pass":                   true,
		" \"mx.here.ex\\ample\"; x":                              true,
		" mx.here.example(x); spf=pass":                          true,
		" mx.here.example/1; spf=pass":                           true,
		" mx.here.example=x":                                     true,
		" other.example; spf=pass smtp.mailfrom=mx.here.example": false,
		" xmx.here.example; spf=pass":                            false,
		" mx.here.example.org; spf=pass":                         false,
		" (mx.here.example) other.example; none":                 false,
		" \"mx.here.example other\"; none":                       false,
		"":                                                       false,
		" ; mx.here.example":                                     true, // no server's at all, but of our name
		" (mx.here.example":                                      true,
		" \"mx.here.example":                                     true,
		" (other.example":                                        false,
		" ;":                                                     false,
	} {
		if got := claimed(value, us); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if !claimed(" mx.bücher.example; none", "mx.xn--bcher-kva.example") {
		t.Error("our name in UTF-8 is not known")
	}
}

// What is deleted is what claims to be ours, and nothing else stays of it.
func TestClaims(t *testing.T) {
	const other = "Authentication-Results: other.example; spf=pass\r\n"
	const ours = "authentication-results : mx.here.example; dkim=pass\r\n"
	const rest = "From: a@b.example\r\n"
	block := header.Parse([]byte(ours + other + rest + ours + ours + other))
	edits := claims(block, us)
	e := block.Edit()
	for _, x := range edits {
		if x.Op != screen.Delete || !e.Delete(x.Name, x.Index) {
			t.Errorf("%+v", x)
		}
	}
	if got := string(e.Fields()); got != other+rest+other {
		t.Errorf("left: %q", got)
	}
}

// FuzzClaimed: whatever stands there, a field that a simple reader would take
// for ours is deleted, and reading never panics.
func FuzzClaimed(f *testing.F) {
	for _, s := range []string{" mx.here.example; spf=pass", `"mx.here.example"`, "(c) other", "((", `"\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := claimed(value, us)
		first, _, _ := strings.Cut(value, ";")
		if strings.EqualFold(strings.TrimSpace(first), us) && strings.Trim(value, " \t\r\n") != "" && !strings.ContainsAny(first, "\v\f\u0085\u00a0") && !got {
			t.Fatalf("%q stays", value)
		}
		if got && !strings.Contains(value, "\\") && !strings.Contains(strings.ToLower(strings.NewReplacer("\r", "", "\n", "").Replace(value)), "here") && isASCII(value) {
			t.Fatalf("%q goes", value)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
