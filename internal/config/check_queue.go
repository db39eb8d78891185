package config

import (
	"time"
)

// maxWait bounds what can be waited for.
const maxWait = 100 * 365 * Day

func (ch *checker) queue() {
	q, at := ch.config.Queue, top("queue")
	ch.retry(at, q)
	if !(q.RetryJitter >= 0 && q.RetryJitter < 1) {
		ch.problem(at.key("retry_jitter"), "retry_jitter must be at least 0 and less than 1")
	}
	if q.Concurrency < 1 {
		ch.problem(at.key("concurrency"), "concurrency must be at least 1")
	}
	if q.SlowConcurrency < 1 {
		ch.problem(at.key("slow_concurrency"), "slow_concurrency must be at least 1: probes of destinations that failed are counted in it")
	}
	if q.PerDestination < 1 {
		ch.problem(at.key("per_destination"), "per_destination must be at least 1")
	}
}

// retry checks when mail is tried again, of the queue or, with its values put
// in, of a route.
func (ch *checker) retry(at keyPath, q Queue) {
	if q.RetryMin < Duration(time.Second) {
		ch.problem(at.key("retry_min"), "retry_min must be at least 1s")
	}
	if q.RetryMax < q.RetryMin {
		ch.problem(at.key("retry_max"), "retry_max %s is shorter than retry_min %s", q.RetryMax, q.RetryMin)
	}
	if !(q.RetryFactor >= 1 && q.RetryFactor <= 100) {
		ch.problem(at.key("retry_factor"), "retry_factor must be from 1 to 100")
	}
	for i, s := range q.Retry {
		var d Duration
		if err := d.UnmarshalText([]byte(s)); err != nil {
			ch.problem(at.key("retry").index(i), "retry: %s", err)
		} else if d < Duration(time.Second) || d > maxWait {
			ch.problem(at.key("retry").index(i), "a wait in retry must be at least 1s")
		}
	}
	if q.WarnAfter > 0 && q.ExpireAfter > 0 && q.WarnAfter >= q.ExpireAfter {
		ch.problem(at.key("warn_after"), `warn_after %s comes after expire_after %s; make it shorter, or "0s" for no warning`, q.WarnAfter, q.ExpireAfter)
	}
}

// Waits returns the waits of Retry, which has been checked.
func (q Queue) Waits() (waits []time.Duration) {
	for _, s := range q.Retry {
		var d Duration
		if d.UnmarshalText([]byte(s)) == nil {
			waits = append(waits, d.Std())
		}
	}
	return waits
}

// Schedule is the queue's schedule as it is for a route, whose values are put
// in place of those that it has. A route with a retry_min, retry_max or
// retry_factor and no list of its own has no list.
func (r Route) Schedule(q Queue) Queue {
	if len(r.Retry) > 0 {
		q.Retry = r.Retry
	} else if r.RetryMin > 0 || r.RetryMax > 0 || r.RetryFactor > 0 {
		q.Retry = nil
	}
	if r.RetryMin > 0 {
		q.RetryMin = r.RetryMin
	}
	if r.RetryMax > 0 {
		q.RetryMax = r.RetryMax
	}
	if r.RetryFactor > 0 {
		q.RetryFactor = r.RetryFactor
	}
	if r.WarnAfter > 0 {
		q.WarnAfter = r.WarnAfter
	}
	if r.ExpireAfter > 0 {
		q.ExpireAfter = r.ExpireAfter
	}
	return q
}

// OwnSchedule tells whether a route has one.
func (r Route) OwnSchedule() bool {
	return len(r.Retry) > 0 || r.RetryMin > 0 || r.RetryMax > 0 || r.RetryFactor > 0
}

// keeping checks how much and how long mail is kept.
func (ch *checker) keeping() {
	const least = 64 * KiB
	check := func(at keyPath, s Size) {
		if s != 0 && s < least {
			ch.problem(at.key("quota"), "quota must be at least %s, or 0B", least)
		}
	}
	m := ch.config.IMAP
	check(top("imap"), m.Quota)
	for i, a := range ch.config.Accounts {
		check(top("account").index(i), a.Quota)
	}
	expire := func(key string, d Duration) {
		if d != 0 && d < Hour {
			ch.problem(top("imap").key(key), "%s %s is too short: at least 1h, or 0s to keep messages for ever", key, d)
		}
	}
	expire("expire_trash", m.ExpireTrash)
	expire("expire_junk", m.ExpireJunk)
}

// holds checks how long mail is held back.
func (ch *checker) holds() {
	const longest = 7 * Day
	check := func(at keyPath, key string, d Duration) {
		if d > longest {
			ch.problem(at.key(key), "%s %s is longer than %s, for which mail can be held back at most", key, d, longest)
		}
	}
	check(top("smtp"), "default_hold", ch.config.SMTP.DefaultHold)
	for i, a := range ch.config.Accounts {
		check(top("account").index(i), "hold", a.Hold)
	}
	for i, a := range ch.config.Applications {
		check(top("application").index(i), "hold", a.Hold)
	}
}
