package resend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"restante/internal/archive"
	"restante/internal/mail"
	"restante/spool"
)

// ErrReplay is wrapped by the errors about what a replay asks for.
var ErrReplay = errors.New("this replay makes no sense")

// Replay says what of an archive is sent again.
type Replay struct {
	// Owner is the address of the account whose archive it is, Mailbox its
	// mailbox; those below it, one for each month, belong to it.
	Owner   mail.Address `json:"owner"`
	Mailbox string       `json:"mailbox"`
	// Since and Until bound when the message came; zero is no bound. Until
	// itself is not in.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Sender and Recipient select as in archive.Pattern; "" is all. Route
	// selects the recipients whose mail took that route; the others get none.
	Sender    archive.Pattern `json:"sender,omitempty"`
	Recipient archive.Pattern `json:"recipient,omitempty"`
	Route     string          `json:"route,omitempty"`
	// To, if there are any, get the messages instead of their recipients.
	To []mail.Address `json:"to,omitempty"`
	// Name is what the replay is called, up to 40 letters, digits, "-" and
	// "_". What was sent by a replay of the same name is not sent again; "" is
	// a name too.
	Name string `json:"name,omitempty"`
	// DryRun sends nothing.
	DryRun bool `json:"dry_run,omitempty"`
}

// Item is one message that a replay has come to.
type Item struct {
	Mailbox string    `json:"mailbox"`
	UID     spool.UID `json:"uid"`
	// Message is the queue ID that the message had first.
	Message mail.ID        `json:"message"`
	Arrived time.Time      `json:"arrived"`
	From    mail.Address   `json:"from"`
	To      []mail.Address `json:"to"`
	// ID is that by which it is sent now; zero in a dry run.
	ID mail.ID `json:"id,omitzero"`
	// Unknown are recipients who are not here any more, and get nothing.
	Unknown []mail.Address `json:"unknown,omitempty"`
	// Error is why it could not be sent.
	Error string `json:"error,omitempty"`
}

// Counts is how far a replay has come.
type Counts struct {
	// Looked counts the messages looked at, Sent those that were sent, or would
	// be, Before those that had been sent by a replay of the name, Failed those
	// that could not be.
	Looked int `json:"looked"`
	Sent   int `json:"sent"`
	Before int `json:"before"`
	Failed int `json:"failed"`
}

// page is how many entries are read at a time.
const page = 256

// Replay sends what a replay asks for, the oldest of each mailbox first, and
// tells each of every message that it sends or cannot send. It goes on after a
// message that cannot be sent for a reason of its own, and ends with an error
// when the spool takes nothing more, or ctx ends: started again it goes on.
func (s *Sender) Replay(ctx context.Context, r Replay, each func(Item, Counts)) (Counts, error) {
	var counts Counts
	boxes, err := s.replayed(r)
	if err != nil {
		return counts, err
	}
	job := replaying{s: s, Replay: r, counts: &counts, each: each, keyword: keyword(r.Name)}
	for _, box := range boxes {
		if err := job.mailbox(ctx, box); err != nil {
			return counts, err
		}
	}
	return counts, nil
}

// keyword marks what was sent by a replay of a name.
func keyword(name string) string {
	if name == "" {
		return "$Replayed"
	}
	return "$Replayed-" + name
}

// replayed are the mailboxes of a replay, which is checked.
func (s *Sender) replayed(r Replay) ([]spool.Mailbox, error) {
	bad := len(r.Name) > 40 || strings.ContainsFunc(r.Name, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_')
	})
	switch {
	case bad:
		return nil, fmt.Errorf("%w: the name %q is not of up to 40 letters, digits, - and _", ErrReplay, r.Name)
	case r.Owner.IsNull() || r.Mailbox == "":
		return nil, fmt.Errorf("%w: an account and a mailbox must be given", ErrReplay)
	case !r.Since.IsZero() && !r.Until.IsZero() && !r.Since.Before(r.Until):
		return nil, fmt.Errorf("%w: it ends before it begins", ErrReplay)
	}
	account, err := s.opt.Accept.Account(r.Owner)
	if err != nil {
		return nil, err
	}
	all, err := s.opt.Mailboxes.ListMailboxes(account)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(m spool.Mailbox) bool {
		return m.Name != r.Mailbox && !strings.HasPrefix(m.Name, r.Mailbox+spool.Separator)
	})
	if len(all) == 0 {
		return nil, fmt.Errorf("%s of %s: %w", r.Mailbox, account, spool.ErrNoMailbox)
	}
	return all, nil
}

// replaying is a replay at work.
type replaying struct {
	s *Sender
	Replay
	counts  *Counts
	each    func(Item, Counts)
	keyword string
}

// mailbox reads entries page by page: nothing is held open while they are sent.
func (j *replaying) mailbox(ctx context.Context, box spool.Mailbox) error {
	entries := make([]spool.Entry, 0, page)
	for next := spool.UID(1); ; {
		entries = entries[:0]
		for e, err := range j.s.opt.Mailboxes.Entries(box.ID, next, 0) {
			if err != nil {
				return err
			}
			if entries = append(entries, e); len(entries) == page {
				break
			}
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := j.entry(ctx, box, e); err != nil {
				return err
			}
			next = e.UID + 1
		}
		if len(entries) < page {
			return nil
		}
	}
}

// entry deals with one message. An error ends the replay.
func (j *replaying) entry(ctx context.Context, box spool.Mailbox, e spool.Entry) error {
	j.counts.Looked++
	kept, err := archive.Parse(e.Prefix)
	if err != nil || !j.wants(&e, &kept) {
		return nil
	}
	if marked(e, j.keyword) {
		j.counts.Before++
		return nil
	}
	item := Item{Mailbox: box.Name, UID: e.UID, Message: kept.Message, Arrived: e.InternalDate, From: kept.Envelope.From}
	to, err := j.known(&item, recipients(kept.Recipients, j.To))
	before := false
	if err == nil && !j.DryRun {
		item.ID, before, err = j.again(ctx, box.ID, e, kept, to)
	}
	switch {
	case err != nil && ends(err):
		return err
	case err != nil:
		item.Error = err.Error()
		j.counts.Failed++
	case before:
		j.counts.Before++
		return nil
	default:
		j.counts.Sent++
	}
	j.each(item, *j.counts)
	return nil
}

// wants tells whether an entry is one of the replay's, and leaves in kept the
// recipients that it is about.
func (j *replaying) wants(e *spool.Entry, kept *archive.Copy) bool {
	at := e.InternalDate
	if !j.Since.IsZero() && at.Before(j.Since) || !j.Until.IsZero() && !at.Before(j.Until) {
		return false
	}
	if j.Sender != "" && !j.Sender.Match(kept.Envelope.From) {
		return false
	}
	kept.Recipients = slices.DeleteFunc(kept.Recipients, func(r archive.Recipient) bool {
		return j.Route != "" && r.Route != j.Route || j.Recipient != "" && !j.Recipient.Match(r.To)
	})
	return len(kept.Recipients) > 0
}

// known are the recipients who can be sent to; the item has them and the others.
func (j *replaying) known(item *Item, all []mail.Recipient) (list []mail.Recipient, err error) {
	for _, r := range all {
		switch err := j.s.opt.Accept.Check(r.To); {
		case errors.Is(err, mail.ErrNoSuchUser):
			item.Unknown = append(item.Unknown, r.To)
		case err != nil:
			return nil, err
		default:
			list = append(list, r)
			item.To = append(item.To, r.To)
		}
	}
	if len(list) == 0 {
		return nil, mail.ErrNoSuchUser
	}
	return list, nil
}

func (j *replaying) again(ctx context.Context, box spool.MailboxID, e spool.Entry, kept archive.Copy, to []mail.Recipient) (mail.ID, bool, error) {
	body, err := j.s.opt.Bodies.OpenBody(e.Message)
	if err != nil {
		return mail.ID{}, false, err
	}
	defer body.Close()
	id, before, err := j.s.send(ctx, parcel{
		kept: kept, to: to, protocol: "replay", once: name("replay", box, e.UID, j.Name),
		body: io.NewSectionReader(body, 0, body.Size()),
	})
	if err == nil {
		j.s.mark(box, e.UID, spool.Flags{Keywords: []string{j.keyword}})
	}
	return id, before, err
}

// ends tells whether an error is no message's own.
func ends(err error) bool {
	for _, e := range []error{spool.ErrFull, spool.ErrReadOnly, spool.ErrClosed, spool.ErrUncertain, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
