package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"restante/imapd"
	"restante/internal/certs"
	"restante/internal/config"
	"restante/internal/control"
	"restante/internal/directory"
	"restante/internal/dkim"
	"restante/internal/history"
	"restante/internal/quota"
	"restante/relay"
	"restante/smtpd"
	"restante/spool/badger"
)

// daemon is everything that serve runs. What is above the rooms (spool, accounts,
// routes, certificate) lives from open to close and is changed in place by a
// reload; a room that a reload concerns is replaced by a new one.
type daemon struct {
	call  *call
	cfg   *config.Config
	state string
	grace time.Duration
	logs  *logs
	log   *slog.Logger

	unlock    func()
	entrances []*entrance
	socket    *entrance // the control socket's
	// challenges are sockets passed for the challenges of an ACME authority.
	challenges []*entrance
	maildrop   string // its directory
	spool      *badger.Engine
	history    *history.Keeper
	room       *quota.Keeper // how much accounts may keep
	keywords   imapd.Keywords
	certs      *certs.Store
	accounts   *directory.Directory
	routes     *relay.Routes
	budgets    *relay.Budgets // what routes and hosts were given
	signer     *dkim.Signer
	gate       *smtpd.Gate   // counts the clients of all SMTP listeners
	first      *firstAccount // made at this start, nil if none was
	started    time.Time

	// ctx is that of all rooms; it ends only after they have been asked to stop.
	ctx    context.Context
	cancel context.CancelFunc
	// rooms are those running, by name; work counts what runs, replaced rooms
	// that are being emptied included.
	rooms  map[string]*running
	work   sync.WaitGroup
	faults chan error
}

// room is a part of the daemon that can be replaced while it runs.
type room struct {
	name string
	// made is what of the configuration it is made from.
	made any
	// alone: its successor must not begin before it has ended.
	alone bool
	// start makes what runs the room, until stop is called, which waits for
	// transactions in progress no longer than its context. run returns an
	// error only for faults.
	start func() (run, stop func(ctx context.Context) error)
}

type running struct {
	made any
	stop func(ctx context.Context) error
	done chan struct{}
}

// open makes everything ready and starts all rooms. After an error close must
// be called.
func (d *daemon) open(ctx context.Context) (err error) {
	d.started = time.Now()
	d.faults = make(chan error, 1)
	d.rooms = make(map[string]*running)
	d.gate = smtpd.NewGate()
	d.ctx, d.cancel = context.WithCancel(ctx)
	if err := makeState(d.state); err != nil {
		return err
	}
	if d.unlock, err = lockState(d.state); err != nil {
		return err
	}
	d.maildrop = d.cfg.MaildropPath(d.state)
	// Sockets first: a port that is taken must not cost the first account.
	if d.entrances, d.challenges, err = openEntrances(d.cfg); err != nil {
		return err
	}
	l, err := control.Listen(d.cfg.ControlPath(d.state))
	if err != nil {
		return err
	}
	d.socket = newEntrance("control", l)
	certificate, err := d.certOptions(d.cfg)
	if err != nil {
		return err
	}
	if d.certs, err = certs.Open(certificate); err != nil {
		return err
	}
	opt, err := directoryOptions(d.cfg, d.state, d.log)
	if err != nil {
		return err
	}
	if d.accounts, err = directory.Open(opt); err != nil {
		return err
	}
	if d.routes, err = relay.NewRoutes(relayRoutes(d.cfg)); err != nil {
		return err
	}
	if d.budgets, err = relay.OpenBudgets(quotaFile(d.state)); err != nil {
		// What was used is not known: mail shall go on.
		d.log.Error("daily quotas begin at 0", "error", err)
	}
	keys, err := dkimKeys(d.cfg, d.state)
	if err != nil {
		return err
	}
	d.signer = dkim.NewSigner(dkim.SignerOptions{Keys: keys})
	d.logKeys(keys)
	if d.spool, err = badger.Open(badger.Options{Dir: spoolDir(d.state), Logger: d.log, MinFree: int64(d.cfg.Spool.MinFree)}); err != nil {
		return err
	}
	d.history = history.New(history.Options{Stories: d.spool, Keep: d.cfg.History.Keep.Std(), Logger: d.log})
	d.room = quota.New(d.spool, quotaRules(d.cfg))
	d.provisionShared(d.cfg)
	if d.first, err = d.firstAccount(opt.Path); err != nil {
		return err
	}
	plan, err := d.plan(d.cfg)
	if err != nil {
		return err
	}
	for _, r := range plan {
		d.enter(r)
	}
	for _, e := range d.sockets() {
		d.work.Go(e.run)
	}
	return nil
}

// sockets are all entrances, as far as they are open.
func (d *daemon) sockets() []*entrance {
	all := slices.Concat(d.entrances, d.challenges)
	if d.socket != nil {
		all = append(all, d.socket)
	}
	return all
}

// enter starts a room, in the place of the one of that name that is running.
func (d *daemon) enter(r room) {
	run, stop := r.start()
	now := &running{made: r.made, stop: stop, done: make(chan struct{})}
	old := d.rooms[r.name]
	d.rooms[r.name] = now
	if old != nil {
		d.work.Go(func() { d.leave(r.name, old) })
	}
	d.work.Go(func() {
		defer close(now.done)
		if old != nil && r.alone {
			<-old.done
		}
		if err := run(d.ctx); err != nil {
			select {
			case d.faults <- fmt.Errorf("%s: %w", r.name, err):
			default: // one is enough
			}
		}
	})
}

// leave stops a room and waits for its end.
func (d *daemon) leave(name string, r *running) {
	ctx, cancel := context.WithTimeout(d.ctx, d.grace)
	defer cancel()
	if err := r.stop(ctx); err != nil {
		d.log.Warn("transactions were cut off", "room", name, "error", err)
	}
	<-r.done
}

// reload reads everything again. Nothing is changed until all that can be told
// beforehand has been found good; what then still fails leaves the former.
func (d *daemon) reload() error {
	cfg, err := d.call.load()
	if err != nil {
		return err
	}
	accounts, err := directoryOptions(cfg, d.state, d.log)
	if err != nil {
		return err
	}
	plan, err := d.plan(cfg)
	if err != nil {
		return err
	}
	routes := relayRoutes(cfg)
	if _, err := relay.NewRoutes(routes); err != nil {
		return err
	}
	keys, err := dkimKeys(cfg, d.state)
	if err != nil {
		return err
	}
	certificate, err := d.certOptions(cfg)
	if err != nil {
		return err
	}
	if err := d.certs.Reload(certificate); err != nil {
		return err
	}
	if err := d.accounts.Reload(accounts); err != nil {
		return err
	}
	if err := d.routes.Replace(routes); err != nil {
		return err
	}
	d.signer.Replace(keys)
	d.logKeys(keys)
	d.logs.setLevel(cfg.Log)
	d.history.SetKeep(cfg.History.Keep.Std())
	d.room.Replace(quotaRules(cfg))
	d.provisionShared(cfg)
	if !reflect.DeepEqual(cfg.Listeners, d.cfg.Listeners) || cfg.ControlSocket != d.cfg.ControlSocket ||
		cfg.StateDirectory != d.cfg.StateDirectory || cfg.Maildrop != d.cfg.Maildrop || cfg.Log.Format != d.cfg.Log.Format ||
		cfg.Spool != d.cfg.Spool {
		d.log.Warn("listeners, directories, [spool] and the log's format change only with a restart")
	}
	d.cfg = cfg
	for _, r := range plan {
		if old := d.rooms[r.name]; old == nil || !reflect.DeepEqual(old.made, r.made) {
			d.enter(r)
			d.log.Info("replaced for the new configuration", "room", r.name)
		}
	}
	return nil
}

// stop closes the sockets and empties all rooms, all at a time, within the
// grace.
func (d *daemon) stop() {
	for _, e := range d.sockets() {
		e.close()
	}
	for name, r := range d.rooms {
		d.work.Go(func() { d.leave(name, r) })
	}
	d.work.Wait()
}

// close gives up what open got, of which some may be missing. No room may be
// running any more.
func (d *daemon) close() error {
	if d.cancel != nil {
		// After a failed start some rooms may have begun.
		d.cancel()
	}
	for _, e := range d.sockets() {
		e.close()
	}
	d.work.Wait()
	var err error
	if d.spool != nil {
		err = d.spool.Close()
	}
	if d.unlock != nil {
		d.unlock()
	}
	return err
}

// listeners is what GET /v1/status tells of the entrances.
func (d *daemon) listeners() []control.Listener {
	list := make([]control.Listener, 0, len(d.entrances))
	for _, e := range d.entrances {
		list = append(list, control.Listener{Name: string(e.role), Addr: e.l.Addr().String()})
	}
	return list
}

// server is what smtpd, imapd and control have in common.
type server interface {
	Serve(ctx context.Context, l net.Listener) error
	Shutdown(ctx context.Context) error
}

// serverRoom is a room that is a server at an entrance.
func serverRoom(name string, e *entrance, made any, create func() server) room {
	return room{name: name, made: made, start: func() (run, stop func(context.Context) error) {
		// The one before it accepts nothing any more when this returns.
		s, door := create(), e.door()
		run = func(ctx context.Context) error { return s.Serve(ctx, door) }
		return run, s.Shutdown
	}}
}
