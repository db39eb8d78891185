package badger

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"restante/spool"
)

// lead puts a message's head in front of its body, before the commit. What is
// not yet written is put together in memory; the chunks of a long body, which
// nobody can see yet, are written once more, each behind what comes before it.
func (s *staged) lead(head []byte) error {
	if len(head) == 0 {
		return nil
	}
	if len(head) > spool.MaxHead {
		return errors.New("spool: the head is too long")
	}
	s.hash = sha256.New()
	tail := s.buf
	s.buf, s.size = nil, 0
	chunks := s.flushed
	carry := append([]byte(nil), head...)
	for n := range chunks {
		chunk, err := s.chunk(n)
		if err != nil {
			return err
		}
		carry = append(carry, chunk...)
		s.flushed = n // what is written next
		if err := s.put(carry[:chunkSize]); err != nil {
			return err
		}
		carry = append(carry[:0], carry[chunkSize:]...)
	}
	s.flushed = chunks
	for _, p := range [][]byte{carry, tail} {
		if _, err := s.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// put writes one whole chunk.
func (s *staged) put(p []byte) error {
	if _, err := s.Write(p); err != nil {
		return err
	}
	return s.flush()
}

// chunk reads a chunk that was written.
func (s *staged) chunk(n uint32) ([]byte, error) {
	if err := s.e.enter(); err != nil {
		return nil, err
	}
	defer s.e.leave()
	t := s.e.view()
	defer t.discard()
	chunk, err := load(t, chunkKey(s.id, n), func(p []byte) ([]byte, error) { return append([]byte(nil), p...), nil })
	if err != nil {
		return nil, fmt.Errorf("spool: read body: %w", err)
	}
	return chunk, nil
}
