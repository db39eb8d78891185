package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"restante/internal/control"
	"restante/internal/mail"
	"restante/spool"
)

func queueDrainCommand() *command {
	cmd := &command{
		name: "queue drain", args: "ID... | - | FILTER... | --all --to PLACE [--follow] [--dry-run] [--yes]",
		short: "move messages to another node, or into files",
		long: `PLACE is unix:SOCKET, the control socket of another daemon; ssh:HOST or
ssh:HOST:SOCKET, one that ssh leads to; or dir:DIR, from which queue import takes
them. A message is moved whole, with all its tasks; it is removed here when the
other has it durably, and the record of both says so. Held tasks arrive held, dead
ones too. What is being delivered is waited for, what is for mailboxes here stays.
Ctrl-C ends it after the messages in hand; run it again to go on. --follow goes on
with what comes in until then.
` + filterHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var flags verbFlags
		flags.flags(fs)
		to := fs.String("to", "", "where to: a `PLACE`")
		follow := fs.Bool("follow", false, "go on with what comes in, until Ctrl-C")
		return func(ctx context.Context, args []string) error {
			if *to == "" {
				return usagef("--to is missing")
			}
			args, err := c.listed(args)
			if err != nil || args == nil {
				return err
			}
			sel, err := flags.selection(args)
			if err != nil {
				return err
			}
			return c.interruptible(ctx, func(ctx context.Context, client *control.Client) error {
				return c.drain(ctx, client, sel, *to, *follow, flags.yes)
			})
		}
	}
	return cmd
}

func (c *call) drain(ctx context.Context, client *control.Client, sel control.Selection, to string, follow, yes bool) error {
	// What is counted is what would be taken away.
	b := &bulk{call: c, client: client, verb: control.VerbRemove, past: "moved, with all other tasks of these messages", yes: yes}
	if sel.DryRun {
		return b.run(ctx, sel)
	}
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	taker, closeTaker, err := c.taker(ctx, to, s)
	if err != nil {
		return err
	}
	defer closeTaker()
	if sel.All {
		if ok, err := b.agreed(ctx, sel); err != nil || !ok {
			return err
		}
	}
	d := &drain{
		call: c, ids: sel.IDs, filter: sel.Filter, progress: newProgress(c.err, "drain", 0),
		Drain:  control.Drain{From: client, To: taker, Name: visible(to), Node: s.Hostname},
		passed: make(map[mail.ID]bool),
	}
	err = d.run(ctx, follow)
	d.progress.end()
	if _, err := fmt.Fprintf(c.out, "%s of %s drained to %s\n", plural(d.tasks, "task"), plural(d.messages, "message"), visible(to)); err != nil {
		return err
	}
	switch {
	case err != nil && ctx.Err() == nil:
		return err
	case ctx.Err() != nil && !follow:
		return errors.New("interrupted; run it again to go on")
	case d.failed > 0:
		return errTold
	}
	return nil
}

// drain is messages on their way.
type drain struct {
	*call
	control.Drain
	ids      []string
	filter   control.Filter
	progress *progress

	mu                            sync.Mutex // guards all below
	messages, tasks, failed, busy int
	// passed are messages that are not tried again: refused, or not to be moved.
	passed map[mail.ID]bool
	broken error // why it cannot go on
}

const (
	// moving is how many messages are moved at a time.
	moving = 8
	// movePatience bounds the time for one message.
	movePatience = 15 * time.Minute
	// drainPause is how long to wait for messages that are being delivered, or
	// for new ones; drainRounds how often, if nothing could be moved meanwhile.
	drainPause  = 2 * time.Second
	drainRounds = 15
)

// run moves all there is, again and again while something is left that is being
// delivered, and with follow until ctx ends.
func (d *drain) run(ctx context.Context, follow bool) error {
	for idle := 0; ; idle++ {
		before := d.messages
		d.busy = 0
		if err := d.pass(ctx); err != nil {
			return err
		}
		if d.messages > before {
			idle = 0
		}
		switch {
		case follow:
		case d.busy == 0:
			return nil
		case idle == drainRounds:
			return fmt.Errorf("%s left, which are being delivered all the time: run it again later", plural(d.busy, "message"))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPause):
		}
	}
}

// pass goes once through the queue.
func (d *drain) pass(ctx context.Context) error {
	places := make(chan struct{}, moving)
	var work sync.WaitGroup
	err := d.From.EachMessage(ctx, d.ids, d.filter, func(id mail.ID, _ []spool.TaskID) error {
		places <- struct{}{}
		d.mu.Lock()
		broken, passed := d.broken, d.passed[id]
		d.progress.tell(control.Progress{Done: d.messages, Failed: d.failed})
		d.mu.Unlock()
		if broken != nil || passed {
			<-places
			return broken
		}
		work.Go(func() {
			d.one(ctx, id)
			<-places
		})
		return nil
	})
	work.Wait()
	if d.broken != nil {
		return d.broken
	}
	return err
}

// one moves a message, to its end even if ctx ends meanwhile.
func (d *drain) one(ctx context.Context, id mail.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), movePatience)
	defer cancel()
	n, err := d.Message(ctx, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		d.messages++
		d.tasks += n
	case errors.Is(err, control.ErrBusy):
		d.busy++
	case gone(err): // it has ended meanwhile
	case errors.Is(err, spool.ErrNotFound):
		d.passed[id] = true
	case errors.Is(err, control.ErrUntaken) && aboutMessage(err):
		d.failed++
		d.passed[id] = true
		d.progress.end()
		fmt.Fprintf(d.call.err, "restante: %v\n", err)
	case d.broken == nil:
		d.broken = err
	}
}

// aboutMessage tells that the next message may fare better.
func aboutMessage(err error) bool {
	var e *control.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case control.CodeTooLarge, control.CodeBadRequest, control.CodeUnprocessable, control.CodeNoSuchUser:
		return true
	}
	return false
}
