package spool

import (
	"fmt"
	"testing"
	"time"

	"restante/internal/mail"
)

func TestUrgency(t *testing.T) {
	for _, tt := range []struct {
		urgent, other int // priorities
		due, since    time.Duration
	}{
		{0, 0, time.Second, 0},
		{1, 0, 0, PriorityWorth - 1},
		{0, 1, PriorityWorth + 1, 0},
		{-9, 9, 18*PriorityWorth + 1, 0},
		{9, -9, 0, 18*PriorityWorth - 1},
		// What is out of bounds counts as the bound.
		{9, 1000, 1, 0},
		{-1000, -9, 1, 0},
	} {
		if a, b := Urgency(tt.urgent, tt.due), Urgency(tt.other, tt.since); a <= b {
			t.Errorf("priority %d due for %v is no more urgent than %d for %v", tt.urgent, tt.due, tt.other, tt.since)
		}
	}
}

func TestShare(t *testing.T) {
	ann := mail.Envelope{From: mail.Address{Local: "ann", Domain: "example.org"}}
	list := ann
	list.Client.Account = "ann@example.org"
	other := list
	other.From = mail.Address{Local: "list-bounce-17", Domain: "example.org"}
	if Share(&list) != Share(&other) {
		t.Error("an account has several shares, by its reverse-paths")
	}
	// It is stored: a change of it would be a change of the format.
	for want, env := range map[uint8]mail.Envelope{20: {}, 31: ann, 3: list} {
		if got := Share(&env); got != want {
			t.Errorf("the share of %v, account %q, is %d, was %d", env.From, env.Client.Account, got, want)
		}
	}
	var found [Shares]int
	for i := range 100 * Shares {
		found[Share(&mail.Envelope{From: mail.Address{Local: fmt.Sprint("user", i), Domain: "example.org"}})]++
	}
	for share, n := range found {
		if n < 50 || n > 150 {
			t.Errorf("share %d has %d of %d senders", share, n, 100*Shares)
		}
	}
}

func TestRota(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	head := func(priority int, share uint8, due time.Duration) Head {
		return Head{priority, share, now.Add(-due)}
	}
	for name, tt := range map[string]struct {
		heads []Head
		want  []int // in the heads that stay as they are
	}{
		"one":            {[]Head{head(0, 3, 0)}, []int{0, 0, 0, 0, 0}},
		"turns":          {[]Head{head(0, 3, 0), head(0, 60, 9), head(0, 0, time.Hour)}, []int{0, 1, 2, 0, 1, 2}},
		"priority":       {[]Head{head(0, 3, 0), head(1, 4, 0)}, []int{1, 1, 1, 1, 1}},
		"an aged one":    {[]Head{head(0, 3, PriorityWorth+1), head(1, 4, 0)}, []int{1, 1, 1, 0, 1, 1, 1, 0}},
		"as urgent":      {[]Head{head(0, 3, PriorityWorth), head(1, 4, 0)}, []int{1, 1, 1, 1}},
		"turns of both":  {[]Head{head(-1, 9, time.Hour), head(-1, 5, 0), head(2, 7, 0), head(2, 6, 0)}, []int{3, 2, 3, 1, 2, 3, 2, 0}},
		"most urgent":    {[]Head{head(-2, 1, time.Hour), head(-1, 1, time.Hour), head(9, 1, 0)}, []int{2, 2, 2, 2}},
		"beyond reason":  {[]Head{head(99, 255, 0), head(9, 1, 0)}, []int{0, 0}},
		"all have aged":  {[]Head{head(-9, 1, 9*time.Hour), head(9, 1, time.Hour), head(0, 1, 8*time.Hour)}, []int{1, 1, 1, 2}},
		"shares come up": {[]Head{head(0, Shares-1, 0), head(0, 0, 0), head(0, 1, 0)}, []int{2, 0, 1, 2}},
	} {
		var r Rota
		for i, want := range tt.want {
			got := r.Next(tt.heads, now)
			if got != want {
				t.Errorf("%s: lease %d is of head %d, want %d", name, i, got, want)
				break
			}
			r.Took(tt.heads[got])
		}
	}
}
