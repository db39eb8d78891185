package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Free tells that a blob is no longer referred to, for good: the record that
// did so is durably gone.
func (s *Store) Free(refs ...Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range refs {
		if g := s.segments[r.Segment]; g != nil {
			s.free(g, r.takes())
		}
	}
}

// free takes live octets away. The caller holds mu.
func (s *Store) free(g *one, octets int64) {
	g.live -= octets
	if g.live <= 0 {
		s.unneeded = true
		s.tell()
	}
}

// tell calls Dead if Collect has something to do. The caller holds mu.
func (s *Store) tell() {
	if s.unneeded && s.counted && s.holds == 0 {
		s.opt.Dead()
	}
}

// Count adds a blob that a record of before the start refers to. It tells
// whether the blob can be there.
func (s *Store) Count(r Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.segments[r.Segment]
	if g == nil {
		return false
	}
	g.live += r.takes()
	return r.end() <= g.size
}

// Counted tells that all records of before the start have been counted.
func (s *Store) Counted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted, s.unneeded = true, true
	s.tell()
}

// Hold keeps all segments from being removed until Unhold, for whoever is
// about to follow the records of a snapshot.
func (s *Store) Hold() {
	s.mu.Lock()
	s.holds++
	s.mu.Unlock()
}

// Unhold ends a Hold.
func (s *Store) Unhold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds--
	s.tell()
}

// Pin keeps the segments of some blobs from being removed until Unpin. It
// must be called under a Hold.
func (s *Store) Pin(refs []Ref) { s.pin(refs, 1) }

// Unpin ends a Pin of the same blobs.
func (s *Store) Unpin(refs []Ref) { s.pin(refs, -1) }

func (s *Store) pin(refs []Ref, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.tell()
	for i, r := range refs {
		if i > 0 && r.Segment == refs[i-1].Segment {
			continue
		}
		if g := s.segments[r.Segment]; g != nil {
			if g.pins += n; g.pins == 0 && g.live <= 0 {
				s.unneeded = true
			}
		}
	}
}

// Collect removes the segments that nobody needs. One that is still being
// written or synced goes with the next that dies.
func (s *Store) Collect() error {
	s.mu.Lock()
	var list []*one
	if s.counted && s.holds == 0 {
		s.unneeded = false
		if g := s.current; g != nil && g.live <= 0 && g.writing == 0 && g.size > 0 {
			s.seal()
		}
		for _, g := range s.segments {
			if g.live <= 0 && g.pins == 0 && !g.busy() {
				delete(s.segments, g.number)
				list = append(list, g)
			}
		}
	}
	s.mu.Unlock()
	for i, g := range list {
		if err := os.Remove(s.name(g.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.mu.Lock()
			for _, g := range list[i:] {
				s.segments[g.number] = g // for the next time
			}
			s.mu.Unlock()
			return fmt.Errorf("spool: remove segment: %w", err)
		}
	}
	return nil
}

// Space is what the segments take, and what of it is referred to, in octets.
type Space struct {
	Segments   int
	Size, Live int64
}

// Space returns the figures of the moment; before Counted, Live is too low.
func (s *Store) Space() (all Space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		all.Segments++
		all.Size += g.size
		all.Live += g.live
	}
	return all
}

// Sparse returns the sealed segments of which no more than half is live, those
// with the least first, at most n.
func (s *Store) Sparse(n int) []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*one
	if s.counted {
		for _, g := range s.segments {
			if g.sealed && g.live > 0 && g.live <= g.size/2 {
				list = append(list, g)
			}
		}
	}
	slices.SortFunc(list, func(a, b *one) int { return cmp.Or(cmp.Compare(a.live, b.live), cmp.Compare(a.number, b.number)) })
	numbers := make([]uint32, 0, n)
	for _, g := range list[:min(n, len(list))] {
		numbers = append(numbers, g.number)
	}
	return numbers
}

// There tells whether a segment is long enough to hold a blob.
func (s *Store) There(r Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.segments[r.Segment]
	return g != nil && r.end() <= g.size
}

// Numbers returns the numbers of all segments, ascending.
func (s *Store) Numbers() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]uint32, 0, len(s.segments))
	for n := range s.segments {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}
