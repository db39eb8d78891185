package main

import "testing"

func TestIdleness(t *testing.T) {
	var q idleness
	const mib = 1 << 20
	for i, c := range []struct {
		allocated uint64 // since the last time
		due       bool
	}{
		{40 * mib, false}, // the start
		{1 * mib, true},
		{1 * mib, true},
		{1 * mib, false}, // nothing new
		{10 * mib, false},
		{1 * mib, false}, // not worth it
		{1 * mib, false},
		{100 * mib, false},
		{3 * mib, false}, // still at work
		{mib / 2, true},
		{5 * mib, false}, // a little work in between
		{0, true},
		{0, false},
	} {
		if got := q.due(q.last + c.allocated); got != c.due {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestAllocated(t *testing.T) {
	before := allocated()
	block := make([]byte, 1<<20)
	if now := allocated(); now < before+uint64(len(block)) {
		t.Errorf("%d octets after %d", now, before)
	}
}

func TestGivingBackEnds(t *testing.T) { startGivingBack()() }
