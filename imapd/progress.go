package imapd

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// progressPause is how long a command works before its client is told how far it has
// come, and again and again (RFC 9585).
const progressPause = 10 * time.Second

// progress is how far a command has come.
type progress struct {
	tag  string
	next time.Time
	// done counts the messages that were looked at, of goal; 0 if that is not known.
	done, goal int
	// counts tells that there is a search going on that is counted.
	counts bool
}

// beginProgress is called at the beginning of a command.
func (s *session) beginProgress(tag string) {
	s.progress = progress{tag: tag, next: time.Now().Add(s.srv.opt.progress)}
}

// counting begins to count messages, of which there are so many, and returns what
// ends that. If some were counted before it is not known how many there will be.
func (s *session) counting(goal int) (end func()) {
	p := &s.progress
	if p.done == 0 {
		p.goal = goal
	}
	p.counts = true
	return func() { p.counts = false }
}

// stepped notes that the command is done with one more message, and tells the client
// of it if it has not heard for long.
func (s *session) stepped() {
	p := &s.progress
	if !p.counts {
		return
	}
	p.done++
	if p.done == p.goal || time.Now().Before(p.next) {
		return // nothing is left, or the client has heard not long ago
	}
	goal := "NIL"
	if p.done < p.goal {
		goal = number(int64(p.goal))
	}
	s.tellProgress(number(int64(p.done)), goal)
}

// tellProgress tells how far the command has come; "NIL" is what is not known.
func (s *session) tellProgress(done, goal string) {
	s.out.Raw("* OK [INPROGRESS (")
	if strings.ContainsAny(s.progress.tag, "]") {
		s.out.Raw("NIL") // clients would take it for the end of the code
	} else {
		s.out.String(s.progress.tag)
	}
	s.out.Raw(" ").Raw(done).Raw(" ").Raw(goal).Raw(")] Still at work").CRLF()
	s.conn.Flush()
	s.progress.next = time.Now().Add(s.srv.opt.progress)
}

// patiently has a verb of the spool done that can take long, and tells the client
// from time to time that it is still at work.
func patiently[T any](s *session, verb func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
		panic string
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			done <- o
		}()
		o.value, o.err = verb()
	}()
	again := time.NewTicker(max(s.srv.opt.progress, time.Millisecond))
	defer again.Stop()
	for {
		select {
		case o := <-done:
			if o.panic != "" {
				panic(o.panic)
			}
			return o.value, o.err
		case <-again.C:
			s.tellProgress("NIL", "NIL")
		}
	}
}
