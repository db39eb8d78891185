package bench

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestMedianOf(t *testing.T) {
	for want, list := range map[float64][]string{2: {"ccc", "a", "bb"}, 2.5: {"dddd", "a", "bb", "ccc"}} {
		if got := MedianOf(list, func(s string) float64 { return float64(len(s)) }); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// TestRounds: every point is measured with both, which change places.
func TestRounds(t *testing.T) {
	var order []string
	measure := func(round, p int, system string) (string, error) {
		order = append(order, fmt.Sprint(round, system, p))
		return order[len(order)-1], nil
	}
	got, err := Rounds(2, []int{7, 8}, []string{"a", "b"}, measure)
	if s := strings.Join(order, " "); err != nil || s != "1a7 1b7 1a8 1b8 2b7 2a7 2b8 2a8" {
		t.Errorf("%s, %v", s, err)
	}
	if s := fmt.Sprint(got[8]["b"]); s != "[1b8 2b8]" {
		t.Errorf("%s", s)
	}
	bad := errors.New("bad")
	if _, err := Rounds(1, []int{7}, []string{"a"}, func(int, int, string) (int, error) { return 0, bad }); !errors.Is(err, bad) || err.Error() != "a, 7: bad" {
		t.Error(err)
	}
}

// TestFreePort: none is given twice, and none that the system would give.
func TestFreePort(t *testing.T) {
	seen := make(map[int]bool)
	for range 100 {
		port, err := FreePort()
		if err != nil || seen[port] || port < firstPort || port >= int(dynamic()) {
			t.Fatal(port, err)
		}
		seen[port] = true
	}
}
