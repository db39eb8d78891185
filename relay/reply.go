package relay

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

const (
	// greylistWait is when to come again after a greylisting that does not say
	// for how long: what most are set to.
	greylistWait = 5 * time.Minute
	// greylistMargin is added to a time that was told, since its clock and
	// rounding are another's.
	greylistMargin = 5 * time.Second
	// maxTold is the longest told time that is believed.
	maxTold = 4 * time.Hour
	// greylistTries is how many attempts greylisting is taken for what it says
	// it is; then it is a refusal like others.
	greylistTries = 10
)

// greylistWords are what greylisting says of itself: Postgrey ("Greylisted, see
// http://postgrey..."), milter-greylist ("Greylisting in action, please come
// back in 00:05:00"), OpenBSD spamd ("Temporary failure, please try again
// later" after "grey-listed"), Exim recipes, rspamd and others.
var greylistWords = regexp.MustCompile(`(?i)\bgr[ea]y[- ]?list|deferred as an anti-?spam measure|postgrey|not yet authorized to deliver mail from`)

// The times that such replies tell.
var (
	toldClock = regexp.MustCompile(`(?i)\b(?:in|after|for)\s+(?:approx\.?\s+)?(\d{1,2}):(\d{2})(?::(\d{2}))?\b`)
	toldUnits = regexp.MustCompile(`(?i)\b(?:in|after|for|wait|retry[- ]?after)[ :=]+(?:at least\s+|about\s+|approx(?:\.|imately)?\s+|another\s+)?(\d{1,6})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b`)
)

// greylisting tells whether a reply is greylisting, and for how long it says to
// stay away, 0 if it does not.
func greylisting(s mail.Status) (told time.Duration, ok bool) {
	if s.Code != 450 && s.Code != 451 && s.Code != 452 && s.Code != 421 && s.Code != 471 {
		return 0, false
	}
	told = toldTime(s.Text)
	switch {
	case greylistWords.MatchString(s.Text):
		return told, true
	// 4.7.1 alone is said of much else; with a time it is an invitation.
	case told > 0 && s.Enhanced == [3]int{4, 7, 1}:
		return told, true
	}
	return 0, false
}

// toldTime is the time that a reply says to wait for, 0 for none that can be
// believed.
func toldTime(text string) (d time.Duration) {
	number := func(s string) time.Duration {
		n, _ := strconv.Atoi(s) // digits, few enough
		return time.Duration(n)
	}
	if m := toldUnits.FindStringSubmatch(text); m != nil {
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour}[strings.ToLower(m[2])[0]]
		d = number(m[1]) * unit
	} else if m := toldClock.FindStringSubmatch(text); m != nil {
		if m[3] == "" { // minutes and seconds
			d = number(m[1])*time.Minute + number(m[2])*time.Second
		} else {
			d = number(m[1])*time.Hour + number(m[2])*time.Minute + number(m[3])*time.Second
		}
	}
	if d > maxTold {
		return 0
	}
	return d
}

// soon is when a task that some were greylisted of is tried again, given when it
// would be otherwise. It is a pure function.
func soon(results []mail.Status, attempts int, wait time.Duration) time.Duration {
	for _, s := range results {
		told, ok := greylisting(s)
		switch {
		case !ok || attempts > greylistTries:
			continue
		case told > 0:
			return told + greylistMargin
		}
		wait = min(wait, greylistWait)
	}
	return wait
}

// congestionWords are what destinations say that are given too much.
var congestionWords = regexp.MustCompile(`(?i)too many|rate[- ]?limit|throttl|slow(?:ing)? down|too (?:fast|much)|concurrent|overload|insufficient (?:system )?resources|server (?:is )?busy`)

// congested tells whether a reply is about how much is sent, and not about the
// message or the recipient alone.
func congested(s mail.Status) bool {
	if s.Class() != mail.Transient {
		return false
	}
	if _, grey := greylisting(s); grey {
		return false
	}
	switch s.Enhanced {
	// RFC 3463 sections 3.4 and 3.5: congestion, system not accepting
	// messages; 4.5.3, too many recipients, is about one message.
	case [3]int{4, 4, 5}, [3]int{4, 3, 2}:
		return true
	case [3]int{4, 5, 3}:
		return false
	}
	return s.Code == 421 || congestionWords.MatchString(s.Text)
}

// feed is what an attempt tells of how much its destination bears.
func feed(out Outcome) feedback {
	if out.Reach == spool.Unreached {
		return feedTrouble
	}
	for _, s := range out.Results {
		if congested(s) {
			return feedTrouble
		}
	}
	if out.Reach == spool.Reached {
		return feedGood
	}
	return feedNothing
}
