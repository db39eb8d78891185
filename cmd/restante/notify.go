package main

import (
	"errors"
	"log/slog"
	"syscall"
	"time"

	"restante/spool"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// What the service manager is told.
const (
	notifyReady    = sd.SdNotifyReady
	notifyStopping = sd.SdNotifyStopping
)

func notifyReloading() string { return sd.SdNotifyMonotonicUsec() + sd.SdNotifyReloading }

// notify tells the service manager, if there is one that wants to know.
func notify(log *slog.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.Warn("the service manager was not told", "state", state, "error", err)
	}
}

// prober is the part of the spool that shows whether it still works.
type prober interface {
	Release(id spool.TaskID, story ...spool.Event) error
}

// startWatchdog tells the service manager twice in each of its periods that all
// is well, for as long as the spool answers. Without a watchdog it does nothing.
func startWatchdog(q prober, log *slog.Logger) (stop func()) {
	period, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog not started", "error", err)
	}
	if err != nil || period == 0 {
		return func() {}
	}
	quit := make(chan struct{})
	go func() {
		tick := time.NewTicker(period / 2)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := probe(q); err != nil {
					log.Error("the spool does not answer, the watchdog is not told", "error", err)
					continue
				}
				notify(log, sd.SdNotifyWatchdog)
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit) }
}

// probe asks for a task that cannot be there, by a verb that changes things and
// so goes all the way through the engine. It fails when a restart may help. That
// does not help against a full disk, nor where nothing may be written: the
// daemon would not come up again, and mail could not even be read.
func probe(q prober) error {
	err := q.Release(spool.TaskID{})
	for _, known := range []error{spool.ErrNotFound, spool.ErrFull, syscall.EROFS, syscall.EACCES} {
		if errors.Is(err, known) {
			return nil
		}
	}
	return err
}
