package control

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// breath is after how many tasks a walk looks up: whether the peer is still
// there, and whether it is time to say something.
const breath = 256

// walk goes through the queue for one request.
type walk struct {
	server   *Server
	match    *matcher
	backoffs map[spool.Destination]*Backoff
	// looked counts the tasks that were looked at; pause, if it is not nil, is
	// called now and then.
	looked int
	pause  func() error
	// The last message whose Message-ID was read, and whether it was the one.
	message mail.ID
	isIt    bool
}

func (s *Server) walk(f Filter) (*walk, error) {
	m, err := f.compile(s.opt.Now())
	if err != nil {
		return nil, err
	}
	backoffs, err := s.backoffs()
	if err != nil {
		return nil, err
	}
	return &walk{server: s, match: m, backoffs: backoffs}, nil
}

// each calls f with every task after one that is let through, by ID, as the
// queue was when it was called, until f returns an error; errEnough ends it
// without one.
func (w *walk) each(ctx context.Context, after spool.TaskID, f func(*spool.TaskInfo) error) error {
	for t, err := range w.server.opt.Queue.Tasks(after) {
		if err != nil {
			return err
		}
		if w.looked++; w.looked%breath == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if w.pause != nil {
				if err := w.pause(); err != nil {
					return err
				}
			}
		}
		hit, err := w.hits(&t)
		if err == nil && hit {
			err = f(&t)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// hits tells whether a task is let through.
func (w *walk) hits(t *spool.TaskInfo) (bool, error) {
	if !w.match.match(t, w.backoffs[t.Destination]) {
		return false, nil
	}
	if w.match.messageID == "" {
		return true, nil
	}
	if t.ID.Message != w.message {
		b, err := w.server.headerOf(t.ID.Message)
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			return false, err
		}
		w.message = t.ID.Message
		w.isIt = err == nil && messageID(b) == w.match.messageID
	}
	return w.isIt, nil
}

func messageID(b *header.Block) string {
	v, _ := b.Get("Message-ID")
	return strings.Trim(strings.TrimSpace(v), "<>")
}

func (w *walk) view(t *spool.TaskInfo) Task { return viewTask(*t, w.backoffs[t.Destination]) }

// byTasks orders groups: the largest first, then by name.
func byTasks[T any](list []T, count func(T) int, name func(T) string) {
	slices.SortFunc(list, func(a, b T) int {
		return cmp.Or(cmp.Compare(count(b), count(a)), cmp.Compare(name(a), name(b)))
	})
}
