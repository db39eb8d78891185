package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"restante/internal/control"
	"restante/internal/wholefile"
	"restante/spool/badger"

	"golang.org/x/term"
)

// stateFile is a file of the state directory, with its mode.
type stateFile struct {
	name string
	mode fs.FileMode
}

// stateFiles are those of the state directory, beside the spool, that go into
// a backup, with their modes: without the accounts nobody could collect, and
// clients may have been told to trust the certificate.
func stateFiles() []stateFile {
	return []stateFile{
		{"accounts.json", 0o600},
		{"accounts.key", 0o600}, // without it SCRAM would have other salts
		{"accounts.used", 0o600},
		{srsSecretFile, 0o600}, // or bounces of what was forwarded would not come back
		{"self-signed.crt", 0o644},
		{"self-signed.key", 0o600},
	}
}

const backupHelp = `It goes into FILE, or to standard output, while the daemon runs or not. What was
accepted before the command began is in it. It holds all of the state directory
that is needed to go on: the spool with queue and mailboxes, the accounts, the keys
of DKIM, the secret of SRS, and the self-signed certificate. The configuration, and the certificates
and secrets it names, are not in it. Keep it as safe as the mail itself.

With --since it is an increment: it has only what has changed since the backup
that is in that file, which may be an increment itself. To restore, all of them
are needed.`

const restoreHelp = `The state directory must be missing or empty, and no daemon may run in it. FILEs
are a full backup and all increments up to the state that is wanted, in any order;
"-" is standard input. Damaged or incomplete ones are refused, and nothing is left
behind. As root, do it as the user the daemon runs as (sudo -u, setpriv).

The restored daemon goes on from the state of the backup: what it delivered
after that is delivered again, unless --hold keeps the queue back to be looked at
(restante queue). Mailboxes get a new UIDVALIDITY, so that mail clients fetch them
anew and mistake no message for another; --keep-uids spares them that, and is for
a daemon that did nothing any more after the backup, as when it moves.`

func spoolBackupCommand() *command {
	cmd := &command{
		name: "spool backup", args: "[--since FILE] [-o FILE]",
		short: "write a backup of spool and accounts", long: backupHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var since, out string
		fs.StringVar(&since, "since", "", "make an increment on the backup in `FILE`")
		fs.StringVar(&out, "o", "-", "write to `FILE`, replacing it at the end; - is standard output")
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			return c.backup(ctx, since, out)
		}
	}
	return cmd
}

func (c *call) backup(ctx context.Context, since, out string) (err error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	mark, err := markOf(since)
	if err != nil {
		return err
	}
	if since != "" && same(since, out) {
		return usagef("the increment would replace its base")
	}
	var info badger.BackupInfo
	do := func(w io.Writer) error {
		info, err = verified(w, func(w io.Writer) error { return c.writeBackup(ctx, mark, w) })
		return err
	}
	if out == "-" {
		if f, ok := c.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usagef("a backup is not for a terminal: use -o, or a pipe")
		}
		err = do(c.out)
	} else {
		err = wholefile.Replace(out, func(f *os.File) error { return do(f) })
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "backup of %s: %d records, %d unchanged, %d octets\n",
		info.Created.Format(time.RFC3339), info.Records, info.Keys, info.Octets)
	if info.Spool == (badger.SpoolID{}) {
		fmt.Fprintln(c.err, "restante: the spool takes no changes after a fault: no increment can follow on this backup")
	}
	if info.Damaged > 0 {
		fmt.Fprintf(c.err, "restante: %d of the records are damaged, in the spool already: see restante spool check\n", info.Damaged)
		return errTold
	}
	return nil
}

// interruptible lets a command that is interrupted clean up after itself.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}

// markOf is the mark of the backup in a file, "" without one. All of it is
// read: an increment on a base that is damaged would be worth nothing.
func markOf(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := badger.VerifyBackup(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return info.Mark.String(), nil
}

func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// verified has a backup written to w and reads along: what is not complete and
// sound is an error, whoever wrote it.
func verified(w io.Writer, write func(io.Writer) error) (info badger.BackupInfo, err error) {
	r, tee := io.Pipe()
	done := make(chan error, 1)
	go func() {
		var err error
		info, err = badger.VerifyBackup(r)
		r.CloseWithError(err) // a good one has ended
		done <- err
	}()
	err = write(io.MultiWriter(w, tee))
	tee.Close()
	if verdict := <-done; err == nil {
		err = verdict
	}
	return info, err
}

// writeBackup lets the daemon make a backup or, if none runs, makes it.
func (c *call) writeBackup(ctx context.Context, since string, w io.Writer) error {
	p, err := c.place()
	if err != nil {
		return err
	}
	client := control.NewClient(p.socket)
	defer client.Close()
	for end := time.Now().Add(startPatience); ; time.Sleep(100 * time.Millisecond) {
		err := client.Backup(ctx, since, w)
		if !errors.Is(err, control.ErrNotRunning) {
			return err
		}
		if err := errors.Join(findState(p.state), findState(spoolDir(p.state))); err != nil {
			return err
		}
		if err := ownState(p.state); err != nil {
			return err
		}
		unlock, err := lockState(p.state)
		if err == nil {
			defer unlock()
			return p.offlineBackup(ctx, since, w)
		}
		if !errors.Is(err, errLocked) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is in use, but no daemon answers at %s: is its control socket elsewhere (--config)?", p.state, p.socket)
		}
	}
}

func (p place) offlineBackup(ctx context.Context, since string, w io.Writer) (err error) {
	engine, err := badger.Open(badger.Options{Dir: spoolDir(p.state), MinFree: int64(p.cfg.Spool.MinFree)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	return backupState(ctx, engine, p.state, since, w)
}

// backup is what the control socket offers.
func (d *daemon) backup(ctx context.Context, w io.Writer, since string) error {
	return backupState(ctx, d.spool, d.state, since, w)
}

// backupState writes a backup of a state directory whose spool is open.
func backupState(ctx context.Context, engine *badger.Engine, state, since string, w io.Writer) error {
	var opt badger.BackupOptions
	if since != "" {
		var err error
		if opt.Since, err = badger.ParseMark(since); err != nil {
			return &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
		}
	}
	for _, f := range stateFiles() {
		data, err := os.ReadFile(filepath.Join(state, f.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		opt.Files = append(opt.Files, badger.BackupFile{Name: f.name, Data: data})
	}
	keys, err := packKeys(state)
	if err != nil {
		return err
	}
	opt.Files = append(opt.Files, keys...)
	_, err = engine.Backup(ctx, w, opt)
	if errors.Is(err, badger.ErrBase) {
		return &control.Error{Code: control.CodeConflict, Message: err.Error()}
	}
	return err
}

func spoolRestoreCommand() *command {
	cmd := &command{
		name: "spool restore", args: "FILE... [--hold] [--keep-uids]",
		short: "make a state directory from backups", long: restoreHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		hold := fs.Bool("hold", false, "hold everything in the queue")
		keep := fs.Bool("keep-uids", false, "leave the UIDVALIDITY of mailboxes as it is")
		return func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return usagef("the backups are missing")
			}
			var opt badger.RestoreOptions
			if *hold {
				opt.Queue = badger.AsHeld
			}
			if *keep {
				opt.UIDs = badger.KeepUIDs
			}
			return c.restore(ctx, opt, args)
		}
	}
	return cmd
}

func (c *call) restore(ctx context.Context, opt badger.RestoreOptions, names []string) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	p, err := c.place()
	if err != nil {
		return err
	}
	var backups []io.Reader
	for _, name := range names {
		if name == "-" {
			backups = append(backups, c.in)
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		backups = append(backups, f)
	}
	if err := makeState(p.state); err != nil {
		return err
	}
	if err := ownState(p.state); err != nil {
		return err
	}
	unlock, err := lockState(p.state)
	if err != nil {
		return err
	}
	defer unlock()
	if err := emptyState(p.state); err != nil {
		return err
	}
	opt.Dir = spoolDir(p.state)
	opt.Finish = func(info badger.RestoreInfo) error { return putFiles(p.state, info.Files) }
	info, err := badger.Restore(ctx, opt, backups...)
	if err != nil {
		return errors.Join(err, dropFiles(p.state))
	}
	_, err = fmt.Fprintf(c.out, "%s is what it was at %s: %d records, %d files. The configuration is not part of it.\n",
		p.state, info.Created.Format(time.RFC3339), info.Records+info.Keys, len(info.Files))
	if err == nil && info.Damaged > 0 {
		fmt.Fprintf(c.err, "restante: %d of the records were damaged when the backup was made: see restante spool check\n", info.Damaged)
		return errTold
	}
	return err
}

// emptyState fails unless a state directory that we have locked is empty. What
// a restore left there that was killed does not count.
func emptyState(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range list {
		if left, _ := filepath.Match(filepath.Base(spoolDir(dir))+badger.RestoringSuffix+"*", entry.Name()); left {
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
			continue
		}
		if entry.Name() != "lock" {
			return fmt.Errorf("state directory %s is not empty: it has %s", dir, entry.Name())
		}
	}
	return nil
}

// putFiles writes the files of a backup that we know; others are none of ours.
func putFiles(dir string, files []badger.BackupFile) error {
	for _, f := range files {
		if f.Name == keysFile {
			if err := unpackKeys(dir, f.Data); err != nil {
				return err
			}
		}
		for _, known := range stateFiles() {
			if f.Name != known.name {
				continue
			}
			name := filepath.Join(dir, f.Name)
			if err := wholefile.Replace(name, func(w *os.File) error {
				_, err := w.Write(f.Data)
				return err
			}); err != nil {
				return err
			}
			if err := os.Chmod(name, known.mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropFiles removes what putFiles wrote into a directory that was empty.
func dropFiles(dir string) error {
	for _, f := range stateFiles() {
		if err := os.Remove(filepath.Join(dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.RemoveAll(string(dkimFolder(dir)))
}
