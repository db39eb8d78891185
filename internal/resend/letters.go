package resend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"restante/internal/archive"
	"restante/internal/mail"
	"restante/internal/structure"
	"restante/spool"
)

// resent is the keyword of a dead letter that has been sent again.
const resent = "$Resent"

// Letter is a dead letter.
type Letter struct {
	// UID is its number in the mailbox.
	UID spool.UID `json:"uid"`
	// Filed is when it was put there.
	Filed time.Time `json:"filed"`
	// Message is the queue ID of the message that could not be delivered.
	Message mail.ID      `json:"message"`
	From    mail.Address `json:"from"`
	// Recipients are those who did not get it.
	Recipients []LostRecipient `json:"recipients"`
	// Size is the letter's, in octets, with the message in it.
	Size int64 `json:"size"`
	// Resent tells that it has been sent again, Unverified that the sender
	// seems to be forged, and was not told for that reason.
	Resent     bool `json:"resent,omitempty"`
	Unverified bool `json:"unverified,omitempty"`
	// Header is the message's, at most MaxHeader octets; only Letter has it.
	Header string `json:"header,omitempty"`
}

// LostRecipient is who did not get a message, and why.
type LostRecipient struct {
	To     mail.Address `json:"to"`
	Reason string       `json:"reason"`
}

// MaxHeader bounds what is shown of a header.
const MaxHeader = 64 << 10

// box finds the mailbox. It wraps spool.ErrNoMailbox if there has been no dead
// letter yet, ErrNoPlace if there is no account for it.
func (s *Sender) box() (spool.Mailbox, error) {
	if s.opt.DeadLetters.IsNull() {
		return spool.Mailbox{}, ErrNoPlace
	}
	account, err := s.opt.Accept.Account(s.opt.DeadLetters)
	if errors.Is(err, mail.ErrNoSuchUser) {
		return spool.Mailbox{}, fmt.Errorf("%w: %w", ErrNoPlace, err)
	}
	if err != nil {
		return spool.Mailbox{}, err
	}
	return s.opt.Mailboxes.Mailbox(account, archive.DeadLetters)
}

// Letters iterates over the dead letters, the oldest first. What else somebody
// has put into the mailbox is passed over.
func (s *Sender) Letters() iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		box, err := s.box()
		if errors.Is(err, spool.ErrNoMailbox) {
			return
		}
		if err != nil {
			yield(Letter{}, err)
			return
		}
		for e, err := range s.opt.Mailboxes.Entries(box.ID, 1, 0) {
			if err != nil {
				yield(Letter{}, err)
				return
			}
			kept, err := archive.Parse(e.Prefix)
			if err == nil && !yield(view(e, kept), nil) {
				return
			}
		}
	}
}

func view(e spool.Entry, kept archive.Copy) Letter {
	l := Letter{
		UID: e.UID, Filed: e.InternalDate, Message: kept.Message, From: kept.Envelope.From,
		Size: e.Size, Resent: marked(e, resent), Unverified: kept.Envelope.Unverified,
	}
	for _, r := range kept.Recipients {
		l.Recipients = append(l.Recipients, LostRecipient{r.To, r.Reason})
	}
	return l
}

// find looks one up, with its mailbox.
func (s *Sender) find(uid spool.UID) (spool.MailboxID, spool.Entry, archive.Copy, error) {
	box, err := s.box()
	if errors.Is(err, spool.ErrNoMailbox) {
		err = fmt.Errorf("dead letter %d: %w", uid, spool.ErrNotFound)
	}
	if err != nil {
		return 0, spool.Entry{}, archive.Copy{}, err
	}
	e, err := s.opt.Mailboxes.Entry(box.ID, uid)
	if err != nil {
		return 0, e, archive.Copy{}, fmt.Errorf("dead letter %d: %w", uid, err)
	}
	kept, err := archive.Parse(e.Prefix)
	if err != nil {
		return 0, e, kept, fmt.Errorf("dead letter %d: %w: %w", uid, spool.ErrNotFound, err)
	}
	return box.ID, e, kept, nil
}

// Letter returns one, with the header of the message in it. It wraps
// spool.ErrNotFound if it is not there.
func (s *Sender) Letter(uid spool.UID) (Letter, error) {
	_, e, kept, err := s.find(uid)
	if err != nil {
		return Letter{}, err
	}
	l := view(e, kept)
	body, part, err := s.inside(e)
	if err != nil {
		return Letter{}, err
	}
	defer body.Close()
	head := int64(MaxHeader)
	if part.Embedded != nil {
		head = min(head, part.Embedded.BodyStart-part.Embedded.HeaderStart)
	}
	text, err := io.ReadAll(io.NewSectionReader(body, part.BodyStart, min(head, part.BodyEnd-part.BodyStart)))
	if err != nil {
		return Letter{}, err
	}
	l.Header = string(text)
	return l, nil
}

// inside finds the message in a dead letter: the last of its parts.
func (s *Sender) inside(e spool.Entry) (spool.Body, *structure.Part, error) {
	encoded, err := s.opt.Bodies.Structure(e.Message)
	if err != nil {
		return nil, nil, err
	}
	m, err := structure.Decode(encoded)
	if err != nil {
		return nil, nil, err
	}
	parts := m.Root.Children
	if len(parts) == 0 || parts[len(parts)-1].Type != "message" || len(parts) < 3 {
		return nil, nil, errors.New("the message could not be read any more when it was put there")
	}
	body, err := s.opt.Bodies.OpenBody(e.Message)
	return body, parts[len(parts)-1], err
}

// Sent is what was sent again.
type Sent struct {
	// ID is the new message's.
	ID mail.ID `json:"id"`
	// Recipients counts those it goes to.
	Recipients int `json:"recipients"`
}

// Resend sends a dead letter's message again: to those who did not get it, or
// to others. One that has been sent it refuses with ErrSent, unless again is
// set.
func (s *Sender) Resend(ctx context.Context, uid spool.UID, to []mail.Address, again bool) (Sent, error) {
	box, e, kept, err := s.find(uid)
	if err != nil {
		return Sent{}, err
	}
	act := ""
	switch {
	case again:
		act = rand.Text()
	case marked(e, resent):
		return Sent{}, fmt.Errorf("dead letter %d %w", uid, ErrSent)
	}
	body, part, err := s.inside(e)
	if err != nil {
		return Sent{}, fmt.Errorf("dead letter %d: %w", uid, err)
	}
	defer body.Close()
	p := parcel{
		kept: kept, to: recipients(kept.Recipients, to), protocol: "resend", once: name("resend", box, uid, act),
		body: io.NewSectionReader(body, part.BodyStart, part.BodyEnd-part.BodyStart),
	}
	id, before, err := s.send(ctx, p)
	if err != nil {
		return Sent{}, err
	}
	s.mark(box, uid, spool.Flags{System: spool.Seen | spool.Answered, Keywords: []string{resent}})
	if before {
		return Sent{}, fmt.Errorf("dead letter %d %w, as %s", uid, ErrSent, id)
	}
	return Sent{ID: id, Recipients: len(p.to)}, nil
}

// RemoveLetter removes a dead letter for good, and returns what it was.
func (s *Sender) RemoveLetter(uid spool.UID) (Letter, error) {
	box, e, kept, err := s.find(uid)
	if err != nil {
		return Letter{}, err
	}
	if _, err := s.opt.Mailboxes.Flag(box, []spool.UID{uid}, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded); err != nil {
		return Letter{}, err
	}
	_, err = s.opt.Mailboxes.Expunge(box, []spool.UID{uid})
	return view(e, kept), err
}
