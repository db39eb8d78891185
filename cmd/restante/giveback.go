package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What was taken for a burst of work goes back to the system when there is little
// to do. The runtime by itself keeps it: about as much again as is in use, which
// with thousands of idle IMAP connections is most of what they cost.
const (
	// giveBackEvery is how often that is looked at.
	giveBackEvery = 30 * time.Second
	// quietBelow is how much may have been allocated since then, in octets.
	quietBelow = 2 << 20
	// worthFrom is how much must have been since memory was given back, in octets.
	worthFrom = 16 << 20
	// giveBackTimes is how often in a row memory is given back: a collection halves
	// a stack that has become too large, and does no more.
	giveBackTimes = 2
)

// idleness tells when the process has become quiet after work, by the octets that
// it has allocated in all.
type idleness struct {
	last, given uint64
	again       int // times that are left
}

// due tells whether memory is to be given back now.
func (q *idleness) due(allocated uint64) bool {
	quiet := allocated-q.last < quietBelow
	q.last = allocated
	if allocated-q.given >= worthFrom {
		q.again = giveBackTimes
	}
	if !quiet || q.again == 0 {
		return false
	}
	q.again--
	q.given = allocated
	return true
}

// startGivingBack gives memory back until stop is called, which waits for its end.
func startGivingBack() (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(giveBackEvery)
		defer tick.Stop()
		var q idleness
		for {
			select {
			case <-tick.C:
				if q.due(allocated()) {
					debug.FreeOSMemory()
				}
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// allocated is how many octets the process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
