package main

import "testing"

func TestMedian(t *testing.T) {
	rate := func(f figure) float64 { return f.rate }
	for want, list := range map[float64][]figure{2: {{rate: 3}, {rate: 1}, {rate: 2}}, 2.5: {{rate: 4}, {rate: 1}, {rate: 2}, {rate: 3}}} {
		if got := median(list, rate); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
