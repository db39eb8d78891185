package spooltest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"restante/internal/mail"
	"restante/spool"
)

// Tasks implements spool.Queue.
func (m *Memory) Tasks(after spool.TaskID) iter.Seq2[spool.TaskInfo, error] {
	tasks, err := m.listTasks(func(id spool.TaskID) bool { return compareTaskIDs(id, after) > 0 })
	return sequence(tasks, err)
}

// TaskCounts implements spool.Queue.
func (m *Memory) TaskCounts(context.Context) ([]spool.DestinationTasks, error) {
	if err := m.enter(OpTasks); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	counts := make(map[spool.Destination]spool.TaskCounts)
	for _, t := range m.tasks {
		info := t.snapshot(m.now())
		n := counts[info.Destination]
		n[info.State]++
		counts[info.Destination] = n
	}
	var list []spool.DestinationTasks
	for d, n := range counts {
		list = append(list, spool.DestinationTasks{Destination: d, Tasks: n})
	}
	return list, nil
}

// MessageTasks implements spool.Queue.
func (m *Memory) MessageTasks(id mail.ID) ([]spool.TaskInfo, error) {
	tasks, err := m.listTasks(func(t spool.TaskID) bool { return t.Message == id })
	if err == nil && len(tasks) == 0 {
		err = fmt.Errorf("tasks of %s: %w", id, spool.ErrNotFound)
	}
	return tasks, err
}

func (m *Memory) listTasks(want func(spool.TaskID) bool) ([]spool.TaskInfo, error) {
	if err := m.enter(OpTasks); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var tasks []spool.TaskInfo
	for id, t := range m.tasks {
		if want(id) {
			tasks = append(tasks, t.snapshot(m.now()))
		}
	}
	slices.SortFunc(tasks, func(a, b spool.TaskInfo) int { return compareTaskIDs(a.ID, b.ID) })
	return tasks, nil
}

// Destinations implements spool.Queue, by route and domain.
func (m *Memory) Destinations() iter.Seq2[spool.DestinationInfo, error] {
	if err := m.enter(OpTasks); err != nil {
		return sequence[spool.DestinationInfo](nil, err)
	}
	defer m.mu.Unlock()
	var list []spool.DestinationInfo
	for d := range m.destinations {
		if info := m.destinationInfo(d, m.now()); info.Backoff > 0 {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b spool.DestinationInfo) int {
		return cmp.Or(
			cmp.Compare(a.Destination.Route, b.Destination.Route),
			cmp.Compare(a.Destination.Domain, b.Destination.Domain),
		)
	})
	return sequence(list, nil)
}

// sequence iterates over what was found before, then the error if there is one.
func sequence[T any](list []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
		if err != nil {
			var zero T
			yield(zero, err)
		}
	}
}
