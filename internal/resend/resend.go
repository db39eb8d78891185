// Package resend sends stored mail again: dead letters, one at a time and by an
// administrator's word, and what an archive holds, by the filters of a replay.
// What is sent is the message as it was stored, octet for octet, with the
// envelope that was kept with it: to its recipients or to others.
//
// Nothing is sent twice unawares. What has been sent carries a keyword in its
// mailbox, and is passed over from then on; and the spool is told of each, so
// that it takes it once within a day even where the keyword could not be set: a
// replay that was broken off is started again as it was. A dead letter that is
// sent stays in its mailbox until somebody removes it.
//
// What is sent again is not archived again, and not signed. When it fails its
// sender is told, as of any mail; without one it is a dead letter again.
package resend

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/mail"
	"restante/spool"
)

// ErrSent tells that a dead letter has been sent again before.
var ErrSent = errors.New("has been sent again already")

// ErrNoPlace tells that there is no account for dead letters here.
var ErrNoPlace = errors.New("there is no account for dead letters")

// Mailboxes is what is needed of spool.Mailboxes.
type Mailboxes interface {
	ListMailboxes(account string) ([]spool.Mailbox, error)
	Mailbox(account, name string) (spool.Mailbox, error)
	Entries(id spool.MailboxID, from, to spool.UID) iter.Seq2[spool.Entry, error]
	Entry(id spool.MailboxID, uid spool.UID) (spool.Entry, error)
	Flag(id spool.MailboxID, uids []spool.UID, op spool.FlagOp, f spool.Flags, unchangedSince spool.ModSeq) (spool.Flagging, error)
	Expunge(id spool.MailboxID, uids []spool.UID, story ...spool.Event) ([]spool.UID, error)
}

// Bodies is what is needed of spool.Bodies.
type Bodies interface {
	OpenBody(id mail.ID) (spool.Body, error)
	Structure(id mail.ID) ([]byte, error)
}

// Acceptor takes the messages in; *accept.Acceptor is one.
type Acceptor interface {
	Check(to mail.Address) error
	Account(of mail.Address) (string, error)
	Submit(s accept.Submission) (*accept.Message, error)
}

// Options is what a Sender works with. All fields but Logger are required.
type Options struct {
	Mailboxes Mailboxes
	Bodies    Bodies
	Accept    Acceptor
	// DeadLetters is the address whose account has the dead letters; null if
	// they are kept nowhere.
	DeadLetters mail.Address
	Logger      *slog.Logger
}

// Sender sends again. It is safe for concurrent use; of two at work on the same
// message one sends it.
type Sender struct{ opt Options }

// New returns a Sender.
func New(opt Options) *Sender {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sender{opt}
}

// commitWait bounds one commit.
const commitWait = time.Minute

// parcel is one message to be sent again.
type parcel struct {
	kept archive.Copy
	to   []mail.Recipient
	// body is the message.
	body io.Reader
	// protocol is what Received and logs call the way, once names the act.
	protocol string
	once     [32]byte
}

// send sends one. If it was sent before by the same name it returns the ID of
// then, and before is set.
func (s *Sender) send(ctx context.Context, p parcel) (id mail.ID, before bool, err error) {
	env := p.kept.Envelope
	env.Client = mail.Client{Protocol: p.protocol}
	m, err := s.opt.Accept.Submit(accept.Submission{
		Envelope: env, Recipients: p.to, Trusted: true, Again: true, Rule: "message " + p.kept.Message.String() + " once more",
	})
	if err != nil {
		return mail.ID{}, false, err
	}
	defer m.Abort()
	if _, err := io.Copy(struct{ io.Writer }{m}, p.body); err != nil {
		return mail.ID{}, false, fmt.Errorf("reading the message: %w", err)
	}
	m.Once(p.once, spool.MaxOnce)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitWait)
	defer cancel()
	receipt, err := m.Commit(ctx)
	var duplicate *spool.DuplicateError
	if errors.As(err, &duplicate) {
		return duplicate.ID, true, nil
	}
	return receipt.ID, false, err
}

// name is what the spool calls the sending of an entry, so that it is done
// once. what tells the acts apart that are meant to be several.
func name(act string, box spool.MailboxID, uid spool.UID, what string) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d\x00%s", act, box, uid, what))
}

// mark sets a keyword and flags on an entry. That it cannot be set is logged:
// the message has been sent.
func (s *Sender) mark(box spool.MailboxID, uid spool.UID, flags spool.Flags) {
	if _, err := s.opt.Mailboxes.Flag(box, []spool.UID{uid}, spool.FlagAdd, flags, spool.ModSeqUnbounded); err != nil {
		s.opt.Logger.Error("what was sent again cannot be marked: it may be sent once more in a day",
			"mailbox", uint64(box), "uid", uint32(uid), "error", err)
	}
}

func marked(e spool.Entry, keyword string) bool {
	return slices.ContainsFunc(e.Flags.Keywords, func(k string) bool { return strings.EqualFold(k, keyword) })
}

// recipients are those to send to: those that were kept, or others. DSN's
// wishes stay with those they were made for.
func recipients(kept []archive.Recipient, to []mail.Address) (list []mail.Recipient) {
	for _, a := range to {
		list = append(list, mail.Recipient{To: a})
	}
	if len(to) > 0 {
		return list
	}
	for _, r := range kept {
		list = append(list, r.Recipient)
	}
	return list
}
