package relay

import (
	"testing"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func reply(code int, enhanced [3]int, text string) mail.Status {
	return mail.Status{Code: code, Enhanced: enhanced, Text: text}
}

func TestGreylisting(t *testing.T) {
	grey, none := [3]int{4, 7, 1}, [3]int{}
	for _, tt := range []struct {
		status mail.Status
		told   time.Duration
		ok     bool
	}{
		{reply(450, [3]int{4, 2, 0}, "<b@one.test>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/one.test.html"), 0, true},
		{reply(450, [3]int{4, 2, 0}, "<b@one.test>: Recipient address rejected: Greylisted for 300 seconds"), 300 * time.Second, true},
		{reply(451, grey, "Greylisting in action, please come back in 00:04:59"), 4*time.Minute + 59*time.Second, true},
		{reply(451, grey, "Greylisting in action, please come back in 05:00"), 5 * time.Minute, true},
		{reply(451, grey, "Please try again later"), 0, false},
		{reply(451, grey, "Temporary policy refusal, try again in 2 minutes"), 2 * time.Minute, true},
		{reply(451, none, "Grey-listed, retry after 1 hour"), time.Hour, true},
		{reply(421, none, "graylisted, wait 30s"), 30 * time.Second, true},
		{reply(451, [3]int{4, 7, 0}, "Greylisting, try again in 90000 seconds"), 0, true}, // not believed
		{reply(451, [3]int{4, 3, 0}, "Disk trouble, try again in 10 minutes"), 0, false},
		{reply(452, [3]int{4, 2, 2}, "mailbox full"), 0, false},
		{reply(550, [3]int{5, 7, 1}, "Greylisted for ever"), 0, false},
		{reply(250, [3]int{2, 0, 0}, "ok, no greylisting"), 0, false},
		{reply(451, none, "greylisted, come back in 999999 hours"), 0, true},
		{mail.Status{}, 0, false},
	} {
		if told, ok := greylisting(tt.status); told != tt.told || ok != tt.ok {
			t.Errorf("%s: %v %v, want %v %v", tt.status, told, ok, tt.told, tt.ok)
		}
	}
}

func TestSoon(t *testing.T) {
	plain := reply(451, [3]int{4, 3, 0}, "later")
	grey := reply(450, [3]int{4, 2, 0}, "Greylisted")
	told := reply(450, [3]int{4, 2, 0}, "Greylisted for 10 minutes")
	for _, tt := range []struct {
		name     string
		results  []mail.Status
		attempts int
		wait     time.Duration
		want     time.Duration
	}{
		{"no greylisting", []mail.Status{plain}, 1, time.Hour, time.Hour},
		{"sooner than the schedule", []mail.Status{plain, grey}, 1, time.Hour, greylistWait},
		{"the schedule is sooner", []mail.Status{grey}, 1, time.Minute, time.Minute},
		{"as it was told", []mail.Status{told}, 1, time.Minute, 10*time.Minute + greylistMargin},
		{"told, and sooner", []mail.Status{told}, 3, time.Hour, 10*time.Minute + greylistMargin},
		{"not for ever", []mail.Status{told}, greylistTries + 1, time.Hour, time.Hour},
	} {
		if got := soon(tt.results, tt.attempts, tt.wait); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestFeed(t *testing.T) {
	none := [3]int{}
	for _, tt := range []struct {
		status mail.Status
		want   feedback
	}{
		{accepted, feedGood},
		{unknown, feedGood},
		{greylisted, feedGood},
		{busy, feedGood},
		{reply(452, [3]int{4, 2, 2}, "mailbox full"), feedGood},
		{reply(452, [3]int{4, 5, 3}, "too many recipients"), feedGood},
		{reply(421, none, "closing"), feedTrouble},
		{reply(421, [3]int{4, 7, 0}, "too many connections from your host"), feedTrouble},
		{reply(451, [3]int{4, 7, 0}, "You are sending too fast, rate limited"), feedTrouble},
		{reply(450, [3]int{4, 3, 2}, "not accepting mail"), feedTrouble},
		{reply(451, [3]int{4, 4, 5}, "congestion"), feedTrouble},
		{reply(550, [3]int{5, 7, 1}, "too many complaints"), feedGood},
	} {
		out := Outcome{Reach: spool.Reached, Results: []mail.Status{accepted, tt.status}}
		if got := feed(out); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.status, got, tt.want)
		}
	}
	if feed(Outcome{Reach: spool.Unreached}) != feedTrouble || feed(Outcome{}) != feedNothing {
		t.Error("what did not answer, or was not asked")
	}
}

func FuzzGreylisting(f *testing.F) {
	for _, s := range []string{"Greylisted for 300 seconds", "come back in 00:05:00", "in 99999999999999999999 h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if told, _ := greylisting(reply(450, [3]int{4, 7, 1}, text)); told < 0 || told > maxTold {
			t.Errorf("%q: %v", text, told)
		}
	})
}
