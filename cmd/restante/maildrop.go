package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"restante/internal/accept"
	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/maildrop"
)

// maildropRoom picks up what sendmail left while no daemon ran.
func (d *daemon) maildropRoom(cfg *config.Config, acceptor *accept.Acceptor) room {
	dir := d.maildrop
	opt := d.controlOptions(cfg, acceptor)
	start := func() (run, stop func(context.Context) error) {
		if err := maildrop.Make(dir); err != nil {
			d.log.Error("there is no maildrop: sendmail will fail while the daemon does not run", "error", err)
		}
		taker := control.New(opt)
		c := maildrop.NewCollector(maildrop.Options{
			// What is only too large returns to its sender, who did not know
			// the limit.
			Dir: dir, MaxSize: 4 * opt.MaxSize, Logger: d.log,
			Take: func(ctx context.Context, item *maildrop.Item) error { return pickUp(ctx, taker, item) },
		})
		ctx, cancel := context.WithCancel(d.ctx)
		run = func(context.Context) error {
			defer cancel()
			return c.Run(ctx)
		}
		// What is being taken at that moment stays where it is.
		return run, func(context.Context) error { cancel(); return nil }
	}
	return room{name: "maildrop", made: controlMade(cfg), alone: true, start: start}
}

// maildropStatus is what GET /v1/status tells of the maildrop.
func (d *daemon) maildropStatus() *control.MaildropStatus {
	waiting, err := maildrop.Count(d.maildrop)
	bad, badErr := maildrop.CountBad(d.maildrop)
	if err != nil || badErr != nil {
		return nil // there is none
	}
	return &control.MaildropStatus{Dir: d.maildrop, Waiting: waiting, Bad: bad}
}

// pickUp has a message from the maildrop taken in.
func pickUp(ctx context.Context, taker *control.Server, item *maildrop.Item) error {
	var d dropped
	if err := json.Unmarshal(item.Envelope, &d); err != nil {
		return fmt.Errorf("%w: its envelope: %w", maildrop.ErrUnfit, err)
	}
	peer := control.Peer{UID: item.Owner, Name: "uid " + strconv.Itoa(item.Owner)}
	if who, err := user.LookupId(strconv.Itoa(item.Owner)); err == nil {
		peer.Name = who.Username
	}
	// What is ours, or root's, may have been given to us by root: then it is
	// as good as its word.
	if d.User != "" && (item.Owner == os.Geteuid() || item.Owner == 0) {
		peer.Name = d.User
	}
	if d.Submission.Once == "" {
		d.Submission.Once = item.Name
	}
	err := taker.PickUp(ctx, peer, d.Submission, item.Left, item.Body, item.Size)
	if errors.Is(err, control.ErrUnfit) {
		return fmt.Errorf("%w: %w", maildrop.ErrUnfit, err)
	}
	return err
}

// origin is the domain of bare local names.
func origin(cfg *config.Config) string {
	if len(cfg.Domains) > 0 {
		return cfg.Domains[0].Name
	}
	return cfg.ServerName()
}
