package badger

import (
	"testing"

	"restante/internal/mail"
	"restante/spool"
)

// TestCheckStories damages the records of stories in each way.
func TestCheckStories(t *testing.T) {
	e := open(t, Options{})
	to := []mail.Address{{Local: "a", Domain: "example.org"}}
	var ids []mail.ID
	for range 3 {
		s, err := e.Create()
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Commit(t.Context(), spool.Message{
			Tasks:  []spool.Task{{Destination: spool.Destination{Route: "mx"}, Recipients: []mail.Recipient{{To: to[0]}}}},
			Events: []spool.Event{{Kind: spool.EventAccepted, To: to}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
		if err := e.Hold(r.Tasks[0], spool.Event{Kind: spool.EventHeld}); err != nil {
			t.Fatal(err)
		}
		if err := e.Note(r.ID, spool.Event{Kind: spool.EventCollected}); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := e.Check(t.Context(), spool.CheckOptions{})
	if err != nil || whole.Findings != 0 || whole.Records["story"] != 3 || whole.Records["notes"] != 3 {
		t.Fatalf("a sound spool: %+v, %v", whole, err)
	}
	if err := e.do(func(t *tx) error {
		if err := t.delete(idKey(kStory, ids[0])); err != nil {
			return err
		}
		if err := t.set(idKey(kStory, ids[1]), []byte{recordVersion, 200}); err != nil {
			return err
		}
		return t.set(idKey(kNotes, ids[2]), []byte{recordVersion, 1, 1})
	}, nil); err != nil {
		t.Fatal(err)
	}
	rep, err := e.Check(t.Context(), spool.CheckOptions{Repair: true})
	if err != nil {
		t.Fatal(err)
	}
	// Events without a beginning: those of the first, and of the second once
	// its beginning was moved aside.
	if rep.Kinds[damageStray] != 4 || rep.Kinds[damageRecord] != 2 || rep.MovedAside != 6 || rep.Remaining != 0 {
		t.Errorf("the check says %+v", rep)
	}
	s, err := e.Story(ids[2])
	if err != nil || len(s.Events) != 3 || s.Recipients[0].State != "held" {
		t.Errorf("what was not damaged: %+v, %v", s, err)
	}
	for _, id := range ids {
		if _, err := e.MessageTasks(id); err != nil {
			t.Errorf("the message itself: %v", err)
		}
	}
}

// Whatever is in a record, reading it ends with an error or without one.
func FuzzStoryRecord(f *testing.F) {
	id := mail.ID{1}
	r := storyRecord{messageID: "x@y", events: []spool.Event{{Kind: spool.EventAccepted, To: []mail.Address{{Local: "a"}}}, {Kind: "new", Ref: id}}}
	f.Add(r.encode())
	f.Add(encodeEvents(r.events))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := decodeStory(id, b)
		head, to, headErr := decodeStoryHead(b)
		if err == nil && (headErr != nil || head.messageID != whole.messageID || head.from != whole.from) {
			t.Errorf("the head is read as %+v, %v, the whole as %+v", head, headErr, whole)
		}
		if len(to) > len(b) {
			t.Errorf("%d addresses of %d octets", len(to), len(b))
		}
		if list, err := decodeEvents(id, b); err == nil && len(list) > len(b) {
			t.Errorf("%d events of %d octets", len(list), len(b))
		}
	})
}
