package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"restante/internal/accept"
	"restante/internal/mail"
	"restante/spool"
)

// Taker takes parcels over: another daemon, or a directory.
type Taker interface {
	// Take returns how the message is called there once it is durable. Unless
	// its error is ErrUntaken it may have been taken or not.
	Take(ctx context.Context, p Parcel, content io.Reader) (name string, err error)
}

// ErrUntaken is wrapped by errors that tell for certain that nothing was taken.
var ErrUntaken = errors.New("not taken")

// ErrBusy tells that a message is being delivered at this moment.
var ErrBusy = errors.New("being delivered at this moment")

// Take hands a parcel to the daemon; Client is a Taker.
func (c *Client) Take(ctx context.Context, p Parcel, content io.Reader) (string, error) {
	done, err := c.PutParcel(ctx, p, content, p.Size)
	var refusal *Error
	switch {
	case err == nil:
		return done.ID.String(), nil
	case errors.Is(err, ErrNotRunning),
		errors.As(err, &refusal) && refusal.Code != CodeUnavailable && refusal.Code != CodeInternal:
		err = fmt.Errorf("%w: %w", ErrUntaken, err)
	}
	return "", err
}

// Drain moves messages out of a daemon's queue, each of them whole: what it has
// of tasks, but for those that need no next hop, which are done here.
//
// A message is moved in steps, each of them durable before the next: all its
// tasks are held, so that nobody delivers it here any more; the taker takes it,
// under a name made of its ID; its tasks are removed, by name. Whatever breaks
// off in between leaves them held, and the message is moved again the next time:
// what had taken it before knows the name, and takes it no second time.
type Drain struct {
	From *Client
	To   Taker
	// Name is what the taker is called in the record, Node the host name of the
	// daemon behind From.
	Name, Node string
}

// Message moves a message, and tells how many tasks it had. ErrBusy if one of
// them is being delivered, spool.ErrNotFound if there is nothing to be moved;
// then, and after an ErrUntaken, its tasks go on here, and are due now. After
// other errors they stay held.
func (d *Drain) Message(ctx context.Context, id mail.ID) (tasks int, err error) {
	packed, err := d.pack(ctx, id)
	if err == nil {
		err = d.move(ctx, packed)
	}
	if errors.Is(err, ErrUntaken) || errors.Is(err, ErrBusy) || packed.parcel.ID.IsZero() {
		err = errors.Join(err, d.undo(ctx, packed.held))
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", id, err)
	}
	return len(packed.ids), nil
}

// packed is a message that is ready to be moved.
type packed struct {
	parcel Parcel
	// ids are its tasks, held those that we have held for it.
	ids, held []string
}

// packRounds bounds how often a message is looked at until all its tasks are
// held: a task may become several when its routes have changed.
const packRounds = 5

// pack holds the tasks of a message, and packs it with what they were before.
func (d *Drain) pack(ctx context.Context, id mail.ID) (p packed, err error) {
	before := make(map[spool.TaskID]spool.State)
	for range packRounds {
		m, err := d.From.Message(ctx, id)
		if err != nil {
			return p, err
		}
		var todo []string
		tasks := movable(m.Tasks)
		for i := range tasks {
			t := &tasks[i]
			if _, known := before[t.ID]; !known {
				before[t.ID] = t.State
			}
			switch t.State {
			case spool.Held:
				t.State = before[t.ID]
			case spool.Dead: // nobody delivers it
			default:
				todo = append(todo, t.ID.String())
			}
		}
		switch {
		case len(tasks) == 0:
			return p, spool.ErrNotFound
		case len(todo) == 0:
			for _, t := range tasks {
				p.ids = append(p.ids, t.ID.String())
			}
			p.parcel = NewParcel(m, tasks, "whole "+id.String(), time.Now())
			p.parcel.Node = d.Node
			return p, nil
		}
		p.held = append(p.held, todo...)
		if err := d.hold(ctx, todo); err != nil {
			return p, err
		}
	}
	return p, ErrBusy
}

// movable are the tasks that another node can do: all that have a next hop. What
// is for mailboxes here, or tells of what was done here, would be sent to the
// wrong people there; and an archive copy is made of what only its task knows.
func movable(tasks []Task) []Task {
	var list []Task
	for _, t := range tasks {
		if !accept.OwnRoute(destination(t.Destination).Route) {
			list = append(list, t)
		}
	}
	return list
}

func (d *Drain) hold(ctx context.Context, ids []string) error {
	out, err := d.From.Do(ctx, VerbHold, Selection{IDs: ids, Reason: clip("to go to " + d.Name)}, nil)
	if err != nil {
		return err
	}
	for _, f := range out.Failures {
		switch f.Code {
		case CodeLeased:
			return ErrBusy
		case CodeNotFound: // it has ended meanwhile
		default:
			return &f.Error
		}
	}
	return nil
}

func (d *Drain) move(ctx context.Context, p packed) error {
	content, err := d.From.Content(ctx, p.parcel.ID)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntaken, err)
	}
	defer content.Close()
	name, err := d.To.Take(ctx, p.parcel, content)
	if err != nil {
		return err
	}
	out, err := d.From.Do(ctx, VerbRemove, Selection{IDs: p.ids, Reason: clip("drained to " + d.Name + " as " + name)}, nil)
	if err == nil && out.Failed > 0 {
		err = &out.Failures[0].Error
	}
	if err != nil {
		return fmt.Errorf("taken as %s, and still held here: %w", name, err)
	}
	return nil
}

// undo lets those tasks go on here that we have held.
func (d *Drain) undo(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := d.From.Do(ctx, VerbRelease, Selection{IDs: ids, Reason: "it stays here"}, nil); err != nil {
		return fmt.Errorf("it stays held: %w", err)
	}
	return nil
}

func clip(s string) string {
	if len(s) > maxReason {
		return strings.ToValidUTF8(s[:maxReason], "")
	}
	return s
}
