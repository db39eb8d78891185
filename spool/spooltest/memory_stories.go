package spooltest

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// memoryStory is the story of a message, which may be gone.
type memoryStory struct {
	story spool.Story // with the events that it began with
	tasks map[spool.TaskID][]spool.Event
	notes []spool.Event
}

// beginStory begins the story of a message that is stored now, if there is
// something to tell.
func (m *Memory) beginStory(stored *memoryMessage, msg spool.Message, tasks []spool.TaskID) {
	if len(msg.Events) == 0 {
		return
	}
	info := stored.info
	m.stories[info.ID] = &memoryStory{
		story: spool.Story{
			ID: info.ID, From: info.Envelope.From, MessageID: spool.BareMessageID(msg.MessageID),
			Size: info.Size, Arrived: info.Envelope.Arrived,
			Events: msg.Opening(tasks, info.Envelope.Arrived),
		},
		tasks: make(map[spool.TaskID][]spool.Event),
	}
}

// tell adds to the story of a task.
func (m *Memory) tell(id spool.TaskID, events ...spool.Event) {
	if s := m.stories[id.Message]; s != nil && len(events) > 0 {
		s.tasks[id] = spool.KeepEvents(s.tasks[id], events...)
	}
}

// tellSettlement adds what a settlement says, before the task is changed.
func (m *Memory) tellSettlement(t *memoryTask, s spool.Settlement, moved []spool.TaskID) {
	events, theirs := s.Story(t.info.ID, t.info.Recipients, moved, m.now())
	m.tell(t.info.ID, events...)
	for i, id := range moved {
		m.tell(id, theirs[i])
	}
}

// whole is the story as the outside sees it.
func (m *Memory) whole(s *memoryStory) spool.Story {
	out := s.story
	out.Events = slices.Clone(out.Events)
	for _, id := range slices.SortedFunc(maps.Keys(s.tasks), compareTaskIDs) {
		out.Events = append(out.Events, s.tasks[id]...)
	}
	out.Events = append(out.Events, s.notes...)
	for i := range out.Events {
		out.Events[i].To = slices.Clone(out.Events[i].To)
	}
	out.Tell(m.tasksOf(out.ID))
	return out
}

func (m *Memory) tasksOf(id mail.ID) (list []spool.TaskInfo) {
	for _, t := range m.tasks {
		if t.info.ID.Message == id {
			list = append(list, t.snapshot(m.now()))
		}
	}
	slices.SortFunc(list, func(a, b spool.TaskInfo) int { return cmp.Compare(a.ID.N, b.ID.N) })
	return list
}

// Story implements spool.Stories.
func (m *Memory) Story(id mail.ID) (spool.Story, error) {
	if err := m.enter(OpStories); err != nil {
		return spool.Story{}, err
	}
	defer m.mu.Unlock()
	s := m.stories[id]
	if s == nil {
		return spool.Story{}, fmt.Errorf("story of %s: %w", id, spool.ErrNotFound)
	}
	return m.whole(s), nil
}

// Search implements spool.Stories.
func (m *Memory) Search(q spool.Search) iter.Seq2[spool.Story, error] {
	if err := m.enter(OpStories); err != nil {
		return sequence[spool.Story](nil, err)
	}
	defer m.mu.Unlock()
	var list []spool.Story
	for _, id := range slices.Backward(m.storyIDs()) {
		if s := m.whole(m.stories[id]); q.Matches(&s) {
			list = append(list, s)
		}
	}
	return sequence(list, nil)
}

func (m *Memory) storyIDs() []mail.ID {
	return slices.SortedFunc(maps.Keys(m.stories), func(a, b mail.ID) int { return bytes.Compare(a[:], b[:]) })
}

// Note implements spool.Stories.
func (m *Memory) Note(id mail.ID, events ...spool.Event) error {
	if err := m.enter(OpNote); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.note(id, events)
	return nil
}

func (m *Memory) note(id mail.ID, events []spool.Event) {
	if s := m.stories[id]; s != nil {
		s.notes = spool.KeepEvents(s.notes, spool.Dated(events, m.now())...)
	}
}

// ForgetStories implements spool.Stories. It looks at everything each time.
func (m *Memory) ForgetStories(kept time.Duration, max int) (dropped int, end bool, err error) {
	if err := m.enter(OpNote); err != nil {
		return 0, false, err
	}
	defer m.mu.Unlock()
	for _, id := range m.storyIDs() {
		s := m.whole(m.stories[id])
		if s.Open || s.Arrived.After(m.now().Add(-kept)) {
			continue
		}
		if n := len(s.Events); n > 0 && s.Events[n-1].At.After(m.now().Add(-kept)) {
			continue
		}
		if dropped == max {
			return dropped, false, nil
		}
		delete(m.stories, id)
		dropped++
	}
	return dropped, true, nil
}
