package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const serveHelp = `It listens where the configuration says, or on the sockets that systemd passes,
and keeps everything in the state directory. Without a configuration it serves
the domain localhost on the loopback interface: SMTP on port 2525, submission on
2587 and 2465 (TLS), IMAP on 2143 and 2993 (TLS), with a certificate of its own
making; at the first start it makes an account and prints its password.

SIGHUP reads the configuration, accounts, certificate and secrets again; if
something is wrong with them all stays as it was, and the log says why. Only
listeners, directories, [spool] and the log's format need a restart. SIGTERM and SIGINT
stop it: what is in progress may end within the grace; a second signal does not
wait.`

func serveCommand() *command {
	cmd := &command{name: "serve", args: "[--grace DURATION]", short: "run the daemon", long: serveHelp}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		grace := fs.Duration("grace", 20*time.Second, "how `LONG` transactions in progress may take to end")
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			if *grace <= 0 {
				return usagef("--grace must be above 0")
			}
			return c.serve(ctx, *grace)
		}
	}
	return cmd
}

// serve runs the daemon until a signal or a fault ends it.
func (c *call) serve(ctx context.Context, grace time.Duration) error {
	// From the first moment on, so that no signal finds us unprepared.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	cfg, err := c.load()
	if err != nil {
		return err
	}
	state := c.state
	if state == "" {
		if state, err = cfg.StatePath(); err != nil {
			return err
		}
	}
	if state, err = filepath.Abs(state); err != nil {
		return err
	}
	logs := newLogs(c.err, cfg.Log)
	d := &daemon{call: c, cfg: cfg, state: state, grace: grace, logs: logs, log: logs.logger()}
	if err := d.open(ctx); err != nil {
		return errors.Join(err, d.close())
	}
	d.announce()
	notify(d.log, notifyReady)
	stopWatchdog := startWatchdog(d.spool, d.log)
	stopGivingBack := startGivingBack()
	cause := d.wait(signals)
	notify(d.log, notifyStopping)

	// Whoever asks twice does not want to wait.
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP {
					fmt.Fprintln(c.err, "restante: a second signal, not waiting any more")
					os.Exit(exitFailed)
				}
			case <-ended:
				return
			}
		}
	}()
	d.stop()
	stopWatchdog()
	stopGivingBack()
	if err := errors.Join(cause, d.close()); err != nil {
		return err
	}
	d.log.Info("stopped")
	return nil
}

// wait does what signals ask for until one of them, or a fault, ends the
// daemon. The fault is the error.
func (d *daemon) wait(signals <-chan os.Signal) error {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				d.log.Info("stopping", "signal", s.String(), "grace", d.grace)
				return nil
			}
			notify(d.log, notifyReloading())
			if err := d.reload(); err != nil {
				d.log.Error("reload failed, the former configuration holds", "error", err)
			} else {
				d.log.Info("reloaded", "config", d.call.configPath())
			}
			notify(d.log, notifyReady)
		case err := <-d.faults:
			d.log.Error("a part of the daemon failed, stopping", "error", err)
			return err
		}
	}
}
