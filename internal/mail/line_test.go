package mail

import "testing"

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"  two\r\n\twords \x00", 80, "two words"},
		{"caf\xe9 é", 80, "caf? é"},
		{"\x1b[31mred", 80, "[31mred"},
		{"ééé", 5, "éé…"},
		{"exactly", 7, "exactly"},
		{"", 7, ""},
		{"é", 0, "…"},
	} {
		if got := Line(tt.in, tt.limit); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseEnhanced(t *testing.T) {
	for s, want := range map[string][3]int{
		"5.1.1": {5, 1, 1}, "4.999.0": {4, 999, 0}, "2.0.0": {2, 0, 0},
		"3.0.0": {}, "5.1": {}, "5.1.1.1": {}, "5.1.1000": {}, "5.-1.1": {}, "5.1.x": {}, "": {},
	} {
		if got, ok := ParseEnhanced(s); got != want || ok != (want != [3]int{}) {
			t.Errorf("%q: %v, %t, want %v", s, got, ok, want)
		}
	}
}
