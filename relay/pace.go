package relay

import (
	"container/list"
	"time"

	"restante/spool"
)

const (
	// patience is how long a delivery counts in the busy lane. After that it
	// waits for somebody, most likely, and no longer takes the place of one
	// that would not.
	patience = 500 * time.Millisecond
	// slowness is how long deliveries take to a destination that is taken for a
	// slow one from the beginning.
	slowness = 2 * time.Second
	// firstWindow is how many deliveries to a destination begin with.
	firstWindow = 3
	// maxFlows bounds the destinations that are remembered with nothing in
	// progress, some 200 octets each.
	maxFlows = 10_000
)

// pace decides how many deliveries may be in progress. It is told what begins
// and ends, and asked what may; it has no clock, no locks and no randomness of
// its own.
//
// There are two lanes. The busy lane is for deliveries that are expected to be
// over soon, the waiting lane for those that are not: probes of destinations
// that failed, destinations that were slow lately, and whatever has taken longer
// than patience. A delivery to a quick destination so never stands behind
// slow ones, however many those are. Half of the busy lane is kept for
// destinations that are known to be quick, since those that are not known may
// be slow; it is three quarters of it while the waiting lane is full.
type pace struct {
	busyMax, waitingMax int
	busy, waiting       int
	// strange are those of the busy lane whose destinations are not known.
	strange int
	// slow are those that have begun in the waiting lane, which may be half of
	// it: the rest is for what turns out to be slow. crowd is how many
	// destinations they are to.
	slow, crowd int
	flows       map[spool.Destination]*flow
	routes      map[string]int
	// young are the flights of the busy lane, the oldest first; idle the flows
	// with nothing in progress, the longest idle first.
	young, idle list.List
}

// flow is what is remembered of a destination.
type flow struct {
	dest   spool.Destination
	active int
	// window is how many deliveries may be in progress: it rises with each
	// success, by less once there was trouble, and is halved by trouble, once
	// for all that was in progress at the time.
	window  float64
	careful bool
	// slow are those of active that have begun in the waiting lane.
	slow   int
	halved time.Time
	// took is how long deliveries take, the latest counting most; quick tells
	// that one succeeded.
	took  time.Duration
	known bool
	idle  *list.Element
}

// flight is a delivery in progress.
type flight struct {
	flow    *flow
	began   time.Time
	probe   bool          // of a destination that had failed
	slow    bool          // has begun in the waiting lane
	waiting bool          // in the waiting lane
	strange bool          // counted in pace.strange
	young   *list.Element // in pace.young
}

// feedback is what a delivery told of its destination.
type feedback uint8

const (
	// feedNothing: it said nothing, or nothing was tried.
	feedNothing feedback = iota
	// feedGood: it took mail, or gave an answer that concerns only the mail.
	feedGood
	// feedTrouble: no connection, a time-out, or a word that it is too much.
	feedTrouble
)

func newPace(busy, waiting int) *pace {
	return &pace{
		busyMax: busy, waitingMax: waiting,
		flows: make(map[spool.Destination]*flow), routes: make(map[string]int),
	}
}

// room is how many deliveries may begin at most, in both lanes.
func (p *pace) room() int {
	return max(0, p.busyMax-p.busy) + max(0, p.waitingMax-p.waiting)
}

// lane tells which lane a delivery to a destination begins in, and whether the
// destination is known to be quick.
func (p *pace) lane(d spool.DestinationInfo) (waiting, known bool) {
	if d.Failures > 0 {
		return true, false
	}
	f := p.flows[d.Destination]
	if f == nil {
		return false, false
	}
	return f.took > slowness, f.known && f.took <= slowness
}

// window is how many more deliveries the destination itself may be given. The
// route's bound for each destination is most. One that failed gets a probe.
func (p *pace) window(d spool.DestinationInfo, most int) int {
	f := p.flows[d.Destination]
	active, window := 0, float64(firstWindow)
	if f != nil {
		active, window = f.active, f.window
	}
	// During a back-off only warnings and expiries come, which connect to
	// nobody.
	if d.Failures > 0 && d.Backoff <= 0 {
		window = 1
	}
	if (f == nil || !f.known) && p.strange >= p.busyMax/4 {
		// Many are met for the first time: one look at each tells enough.
		window = 1
	}
	return max(0, min(int(window), most)-active)
}

// free is how many more deliveries may begin in a lane, apart from those that
// were promised before.
func (p *pace) free(waiting, known bool, promised promised) int {
	if waiting {
		return max(0, min(p.waitingMax-p.waiting, p.slowMax()-p.slow)-promised.waiting)
	}
	n := p.busyMax - p.busy - promised.busy
	if !known {
		kept := p.busyMax / 2
		if p.waiting >= p.waitingMax {
			kept = p.busyMax * 3 / 4
		}
		n = min(n, p.busyMax-kept-p.strange-promised.strange)
	}
	return max(0, n)
}

// promised are deliveries that may be about to begin, as pace counts them.
type promised struct{ busy, strange, waiting int }

// begin counts a delivery that begins.
func (p *pace) begin(d spool.DestinationInfo, now time.Time) *flight {
	waiting, known := p.lane(d)
	f := p.flows[d.Destination]
	if f == nil {
		f = &flow{dest: d.Destination, window: firstWindow}
		p.flows[d.Destination] = f
	}
	if f.idle != nil {
		p.idle.Remove(f.idle)
		f.idle = nil
	}
	f.active++
	p.routes[d.Destination.Route]++
	x := &flight{flow: f, began: now, probe: d.Failures > 0, waiting: waiting}
	if waiting {
		x.slow, x.waiting = true, true
		p.waiting++
		p.slow++
		if f.slow++; f.slow == 1 {
			p.crowd++
		}
	} else {
		p.busy++
		x.young = p.young.PushBack(x)
		if x.strange = !known; x.strange {
			p.strange++
		}
	}
	return x
}

// age moves what has taken longer than patience into the waiting lane, as far
// as there is room.
func (p *pace) age(now time.Time) {
	for e := p.young.Front(); e != nil && p.waiting < p.waitingMax; e = p.young.Front() {
		x := e.Value.(*flight)
		if now.Sub(x.began) < patience {
			return
		}
		p.land(x)
		x.waiting = true
		p.waiting++
	}
}

// slowMax is how many deliveries may begin in the waiting lane.
func (p *pace) slowMax() int { return (p.waitingMax + 1) / 2 }

// share is how many more deliveries a destination may begin in the waiting lane:
// its part of it, once half of that is taken.
func (p *pace) share(d spool.Destination, promised promised) int {
	if p.slow+promised.waiting < p.slowMax()/2 {
		return p.waitingMax
	}
	slow := 0
	if f := p.flows[d]; f != nil {
		slow = f.slow
	}
	return max(0, max(1, p.slowMax()/max(1, p.crowd))-slow)
}

// nextAge is how long it is until age moves something; negative is never.
func (p *pace) nextAge(now time.Time) time.Duration {
	e := p.young.Front()
	if e == nil || p.waiting >= p.waitingMax {
		return -1
	}
	return max(0, e.Value.(*flight).began.Add(patience).Sub(now))
}

// end counts a delivery that has ended. most is the window's bound.
func (p *pace) end(x *flight, fed feedback, most int, now time.Time) {
	f := x.flow
	f.active--
	if p.routes[f.dest.Route]--; p.routes[f.dest.Route] <= 0 {
		delete(p.routes, f.dest.Route)
	}
	if x.waiting {
		p.waiting--
	} else {
		p.land(x)
	}
	if x.slow {
		p.slow--
		if f.slow--; f.slow == 0 {
			p.crowd--
		}
	}
	if fed != feedNothing {
		f.learn(x, fed, most, now)
	}
	if f.active == 0 {
		f.idle = p.idle.PushBack(f)
		p.forget()
	}
}

// land takes a flight out of the busy lane.
func (p *pace) land(x *flight) {
	p.young.Remove(x.young)
	p.busy--
	if x.strange {
		p.strange--
	}
	x.young, x.strange = nil, false
}

func (f *flow) learn(x *flight, fed feedback, most int, now time.Time) {
	took := now.Sub(x.began)
	if f.took == 0 {
		f.took = took
	} else {
		f.took += (took - f.took) / 4
	}
	if fed == feedTrouble {
		f.careful = true
		if x.began.After(f.halved) {
			f.window, f.halved = max(1, f.window/2), now
		}
		return
	}
	f.known = true
	switch {
	case x.probe:
		// It answers again: all that waits may go. How long the probe took
		// tells of the dead time, not of what comes.
		f.window, f.careful, f.took = float64(most), false, min(took, f.took)
	case f.careful:
		f.window += 1 / f.window
	default:
		f.window++
	}
	f.window = max(1, min(f.window, float64(most)))
}

// forget drops the destinations that have been idle the longest.
func (p *pace) forget() {
	for p.idle.Len() > maxFlows {
		e := p.idle.Front()
		delete(p.flows, e.Value.(*flow).dest)
		p.idle.Remove(e)
	}
}
