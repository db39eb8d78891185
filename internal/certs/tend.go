package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

const (
	// longestNap bounds a wait, so that a clock that is set, or a machine that
	// slept, is noticed.
	longestNap = time.Hour
	// lastWeeks is when a certificate in files should have been replaced.
	lastWeeks = 14 * 24 * time.Hour
)

// Run sees to it that the certificate does not run out, until ctx ends. It may
// run once at a time, and returns nil.
func (s *Store) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		nap := time.NewTimer(s.tend(ctx))
		select {
		case <-nap.C:
		case <-s.reloaded:
		case <-ctx.Done():
		}
		nap.Stop()
	}
	return nil
}

// tend does what is due, and returns how long nothing else will be. A Reload
// cuts it short.
func (s *Store) tend(ctx context.Context) time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	opt, issuer, load := s.opt, s.issuer, s.loads
	s.stop = cancel
	s.mu.Unlock()

	if s.SelfSigned() && !usable(s.Leaf(), opt) {
		s.renewSelf(opt, load)
	}
	switch {
	case issuer != nil:
		return min(longestNap, issuer.round(ctx, func() { s.publish(issuer, load) }))
	case !opt.selfSigned():
		s.rereadFiles(opt, load)
	}
	return longestNap
}

// renewSelf replaces a self-signed certificate that comes to its end.
func (s *Store) renewSelf(opt Options, load int) {
	pair, err := selfSigned(opt)
	if err != nil {
		opt.Logger.Error("the self-signed certificate cannot be renewed", "error", err, "until", s.Leaf().NotAfter)
		return
	}
	s.replace(load, func(now *inUse) *inUse {
		if !now.self {
			return now
		}
		return &inUse{fallback: pair, names: now.names, self: true}
	})
}

// rereadFiles takes up what the administrator, or a program of theirs, has put
// in the place of the certificate in use.
func (s *Store) rereadFiles(opt Options, load int) {
	pair, err := loadFiles(opt)
	switch {
	case err == nil && !opt.expired(pair) && !pair.Leaf.Equal(s.Leaf()):
		s.replace(load, func(*inUse) *inUse { return &inUse{fallback: pair} })
		opt.Logger.Info("a new certificate is in use", "file", opt.Certificate, "until", pair.Leaf.NotAfter)
		return
	case err != nil && !errors.Is(err, context.Canceled):
		opt.Logger.Warn("the certificate's files cannot be read any more; it stays in use", "error", err)
	}
	now, end := opt.Now(), s.Leaf().NotAfter
	if now.Add(lastWeeks).Before(end) || now.Sub(s.complained) < 24*time.Hour {
		return
	}
	s.complained = now
	if now.After(end) {
		opt.Logger.Error("the certificate has run out, renew it", "file", opt.Certificate, "since", end)
	} else {
		opt.Logger.Warn("the certificate runs out soon, renew it", "file", opt.Certificate, "until", end)
	}
}

// publish serves what an issuer has got.
func (s *Store) publish(i *issuer, load int) {
	s.replace(load, func(now *inUse) *inUse {
		next := &inUse{names: make(map[string]*tls.Certificate)}
		for _, d := range i.domains {
			if d.pair != nil {
				next.names[d.name] = d.pair
				if next.fallback == nil {
					next.fallback = d.pair
				}
			}
		}
		if next.fallback == nil {
			return now
		}
		return next
	})
}

// replace changes what is served, unless there was another load since.
func (s *Store) replace(load int, change func(*inUse) *inUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loads == load {
		s.current.Store(change(s.current.Load()))
	}
}
