package control

import (
	"time"

	"restante/internal/mail"
	"restante/spool"
)

// Story is a spool.Story on the wire: what became of a message.
type Story struct {
	ID        mail.ID      `json:"id"`
	From      mail.Address `json:"from"`
	MessageID string       `json:"message_id,omitempty"`
	Size      int64        `json:"size"`
	Arrived   time.Time    `json:"arrived"`
	// Open tells that something of it is in the queue; otherwise Ended is when
	// the last recipient had its end.
	Open       bool             `json:"open"`
	Ended      time.Time        `json:"ended,omitzero"`
	Recipients []StoryRecipient `json:"recipients"`
	Events     []Event          `json:"events"`
}

// StoryRecipient is what became of one recipient.
type StoryRecipient struct {
	To    mail.Address     `json:"to"`
	State spool.StoryState `json:"state"`
	// Task and Destination are those of its last task, if it had one.
	Task        string `json:"task,omitempty"`
	Destination string `json:"destination,omitempty"`
	// Due is when it is tried next, At when it had its end.
	Due time.Time `json:"due,omitzero"`
	At  time.Time `json:"at,omitzero"`
	// Last is what was last said of it, QueueID what the next hop calls it.
	Last    *Status `json:"last,omitempty"`
	QueueID string  `json:"queue_id,omitempty"`
}

// Event is one thing that happened to a message; see spool.Event.
type Event struct {
	At   time.Time       `json:"at"`
	Kind spool.EventKind `json:"kind"`
	Task string          `json:"task,omitempty"`
	// To are the recipients it is about, More is how many there are beside.
	To      []mail.Address `json:"to,omitempty"`
	More    int            `json:"more,omitempty"`
	Attempt int            `json:"attempt,omitempty"`
	Status  *Status        `json:"status,omitempty"`
	// Host, Addr, TLS and Verified are of the host on the other side, which
	// had Seconds, and calls the message QueueID.
	Host     string  `json:"host,omitempty"`
	Addr     string  `json:"addr,omitempty"`
	TLS      string  `json:"tls,omitempty"`
	Verified string  `json:"verified,omitempty"`
	QueueID  string  `json:"queue_id,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
	// Due is when it is tried again.
	Due  time.Time `json:"due,omitzero"`
	By   string    `json:"by,omitempty"`
	Text string    `json:"text,omitempty"`
	// Ref is another message that this led to.
	Ref   string `json:"ref,omitempty"`
	Count int    `json:"count,omitempty"`
}

// ViewStory is a story as it goes over the wire.
func ViewStory(s spool.Story) Story {
	v := Story{
		ID: s.ID, From: s.From, MessageID: s.MessageID, Size: s.Size, Arrived: s.Arrived, Open: s.Open, Ended: s.Ended,
		Recipients: make([]StoryRecipient, len(s.Recipients)), Events: make([]Event, len(s.Events)),
	}
	for i, r := range s.Recipients {
		v.Recipients[i] = StoryRecipient{
			To: r.To, State: r.State, Task: taskText(r.Task), Destination: r.Destination,
			Due: r.Due, At: r.At, Last: viewStatus(r.Last), QueueID: r.QueueID,
		}
	}
	for i, e := range s.Events {
		v.Events[i] = Event{
			At: e.At, Kind: e.Kind, Task: taskText(e.Task), To: e.To, More: e.More, Attempt: e.Attempt, Status: viewStatus(e.Status),
			Host: e.Host, Addr: e.Addr, TLS: e.TLS, Verified: e.Verified, QueueID: e.QueueID, Seconds: e.Took.Seconds(),
			Due: e.Due, By: e.By, Text: e.Text, Count: e.Count,
		}
		if !e.Ref.IsZero() {
			v.Events[i].Ref = e.Ref.String()
		}
	}
	return v
}

func taskText(id spool.TaskID) string {
	if id.Message.IsZero() {
		return ""
	}
	return id.String()
}
