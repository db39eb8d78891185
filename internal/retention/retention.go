// Package retention removes what has been in a mailbox of the uses Trash and
// Junk for longer than the configuration keeps it there. It works in small steps
// with pauses between them, so that it is in nobody's way, and goes by the time
// at which a message came into that mailbox (SAVEDATE), never by its own date.
//
// Mailboxes below Trash are left alone: a folder that somebody has just moved
// there holds messages which came into it long ago.
//
// A message is marked \Deleted first, and expunged then; what was marked before
// the daemon died goes at the next round. What the spool refuses for now is
// tried again at the next round.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"restante/spool"
)

const (
	// step is how many messages are removed at a time, stepPause what lies
	// between two steps.
	step      = 200
	stepPause = 100 * time.Millisecond
	// round is the time from one round to the next.
	round = time.Hour
)

// Options is what a Remover works with. Mailboxes and Accounts are required.
type Options struct {
	Mailboxes spool.Mailboxes
	// Accounts returns those whose mailboxes are looked at.
	Accounts func() []string
	// Trash and Junk are how long messages stay; 0 is for ever.
	Trash, Junk time.Duration
	// Logger and Now may be nil.
	Logger *slog.Logger
	Now    func() time.Time
}

// Remover removes what is too old.
type Remover struct{ opt Options }

// New returns a Remover.
func New(opt Options) *Remover {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Remover{opt: opt}
}

// Run works until ctx ends, and returns nil.
func (r *Remover) Run(ctx context.Context) error {
	if r.opt.Trash <= 0 && r.opt.Junk <= 0 {
		<-ctx.Done()
		return nil
	}
	for {
		r.round(ctx)
		if !wait(ctx, round) {
			return nil
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// round looks at all accounts once.
func (r *Remover) round(ctx context.Context) {
	for _, account := range r.opt.Accounts() {
		if ctx.Err() != nil {
			return
		}
		rows, err := r.opt.Mailboxes.ListMailboxes(account)
		if err != nil {
			r.failed(account, "", err)
			continue
		}
		for _, row := range rows {
			keep := r.keep(row.Use)
			if keep <= 0 || row.Messages == 0 {
				continue
			}
			n, err := r.empty(ctx, row.ID, r.opt.Now().Add(-keep), spool.Event{Kind: spool.EventExpunged, Text: account + "/" + row.Name + ", by its age"})
			if n > 0 {
				r.opt.Logger.Info("old messages are removed", "account", account, "mailbox", row.Name, "messages", n)
			}
			r.failed(account, row.Name, err)
		}
	}
}

func (r *Remover) failed(account, mailbox string, err error) {
	switch {
	case err == nil, errors.Is(err, spool.ErrClosed), errors.Is(err, spool.ErrNoMailbox),
		errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrReadOnly): // the spool says so itself
	default:
		r.opt.Logger.Error("old messages cannot be removed", "account", account, "mailbox", mailbox, "error", err)
	}
}

func (r *Remover) keep(use spool.Use) time.Duration {
	switch use {
	case spool.UseTrash:
		return r.opt.Trash
	case spool.UseJunk:
		return r.opt.Junk
	}
	return 0
}

// empty removes what came before an instant, and returns how much it was. The
// messages' stories tell of it.
func (r *Remover) empty(ctx context.Context, id spool.MailboxID, before time.Time, story spool.Event) (removed int, err error) {
	for {
		old, err := r.old(id, before)
		if err != nil || len(old) == 0 {
			return removed, err
		}
		if _, err := r.opt.Mailboxes.Flag(id, old, spool.FlagAdd, spool.Flags{System: spool.Deleted}, spool.ModSeqUnbounded); err != nil {
			return removed, err
		}
		gone, err := r.opt.Mailboxes.Expunge(id, old, story)
		removed += len(gone)
		if err != nil || len(gone) == 0 || len(old) < step || !wait(ctx, stepPause) {
			return removed, err
		}
	}
}

// old returns the UIDs of the first messages that came before an instant. UIDs
// ascend as messages come in, so the first that is younger ends the search.
func (r *Remover) old(id spool.MailboxID, before time.Time) (uids []spool.UID, err error) {
	for e, err := range r.opt.Mailboxes.Entries(id, 1, 0) {
		if err != nil {
			return nil, err
		}
		if !e.Saved.Before(before) {
			break
		}
		if uids = append(uids, e.UID); len(uids) == step {
			break
		}
	}
	return uids, nil
}
