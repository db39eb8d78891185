package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"restante/internal/control"
	"restante/internal/mail"
	"restante/internal/mbox"
	"restante/internal/wholefile"
	"restante/spool"
)

// The ends of the names of an exported message's two files.
const (
	textSuffix     = ".eml"
	envelopeSuffix = ".envelope.json"
)

func queueExportCommand() *command {
	cmd := &command{
		name: "queue export", args: "ID... | - | FILTER... | --all --to DIR | --mbox FILE [--json]",
		short: "copy messages of the queue into files",
		long: `Nothing is removed from the queue. Into a directory each message goes as ID.eml and
ID.envelope.json, from which queue import takes it again; what is there is left as
it is if it is the same message. --mbox writes one file for mail programs (mboxrd);
"-" is standard output.
` + filterHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var flags verbFlags
		var dir, mbox string
		fs.BoolVar(&flags.all, "all", false, "all messages")
		filterFlags(fs, &flags.filter)
		fs.StringVar(&dir, "to", "", "write two files for each message into `DIR`, which is made if it is not there")
		fs.StringVar(&mbox, "mbox", "", "write one `FILE`; - is standard output")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if (dir == "") == (mbox == "") {
				return usagef("give either --to or --mbox")
			}
			args, err := c.listed(args)
			if err != nil || args == nil {
				return err
			}
			if _, err := flags.selection(args); err != nil {
				return err
			}
			return c.interruptible(ctx, func(ctx context.Context, client *control.Client) error {
				e := &export{call: c, client: client}
				if err := e.open(dir, mbox); err != nil {
					return err
				}
				return e.run(ctx, args, flags.filter)
			})
		}
	}
	return cmd
}

// export is messages being written to files.
type export struct {
	*call
	client *control.Client
	dir    string
	mbox   *mbox.Writer
	close  func() error
	node   string

	messages, failed int
	octets           int64
}

func (e *export) open(dir, file string) error {
	e.close = func() error { return nil }
	switch {
	case dir != "":
		e.dir = dir
		return os.MkdirAll(dir, 0o700)
	case file == "-":
		e.mbox = mbox.NewWriter(e.out)
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	e.close = func() error { return errors.Join(f.Sync(), f.Close()) }
	e.mbox = mbox.NewWriter(f)
	return nil
}

func (e *export) run(ctx context.Context, ids []string, f control.Filter) error {
	s, err := e.client.Status(ctx)
	if err != nil {
		return err
	}
	e.node = s.Hostname
	p := newProgress(e.call.err, "export", 0)
	err = e.client.EachMessage(ctx, ids, f, func(id mail.ID, tasks []spool.TaskID) error {
		err := e.one(ctx, id, tasks)
		if gone(err) {
			return nil // it ended before its turn came
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, errBroken) {
			e.failed++
			fmt.Fprintf(e.call.err, "restante: %s: %v\n", id, err)
			return nil
		}
		p.tell(control.Progress{Done: e.messages, Failed: e.failed})
		return err
	})
	p.end()
	if e.mbox != nil {
		err = errors.Join(err, e.mbox.Flush())
	}
	if err = errors.Join(err, e.close()); err != nil {
		return err
	}
	if e.json {
		err = json.NewEncoder(e.call.err).Encode(map[string]any{"messages": e.messages, "failed": e.failed, "octets": e.octets})
	} else {
		_, err = fmt.Fprintf(e.call.err, "%s (%s) exported\n", plural(e.messages, "message"), octets(e.octets))
	}
	if err == nil && e.failed > 0 {
		err = errTold
	}
	return err
}

// errBroken is wrapped by errors that spoil what is written, so that nothing
// can follow.
var errBroken = errors.New("the output is broken off")

// gone tells that a message is not there any more.
func gone(err error) bool {
	var e *control.Error
	return errors.As(err, &e) && e.Code == control.CodeNotFound
}

// one exports a message. Without tasks it is with all of them.
func (e *export) one(ctx context.Context, id mail.ID, only []spool.TaskID) error {
	m, err := e.client.Message(ctx, id)
	if err != nil {
		return err
	}
	content, err := e.client.Content(ctx, id)
	if err != nil {
		return err
	}
	defer content.Close()
	if e.mbox != nil {
		if err := e.mbox.Message(m.Envelope.From, m.Envelope.Arrived, "", content); err != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
	} else {
		tasks, once := chosen(m, only)
		p := control.NewParcel(m, tasks, once, time.Now())
		p.Node = e.node
		if _, err := (folder{e.dir}).Take(ctx, p, content); err != nil {
			return err
		}
	}
	e.messages++
	e.octets += m.Size
	return nil
}

// chosen are the tasks of a message that are meant, and the name under which
// they are taken once.
func chosen(m control.Message, only []spool.TaskID) (tasks []control.Task, once string) {
	var names strings.Builder
	names.WriteString("copy " + m.ID.String())
	for _, t := range m.Tasks {
		if len(only) == 0 || contains(only, t.ID) {
			tasks = append(tasks, t)
			fmt.Fprintf(&names, ".%d", t.ID.N)
		}
	}
	return tasks, names.String()
}

func contains(list []spool.TaskID, id spool.TaskID) bool {
	for _, t := range list {
		if t == id {
			return true
		}
	}
	return false
}

// folder takes parcels as files.
type folder struct{ dir string }

// Take implements control.Taker. The envelope's file is made last, under its
// name only when both are complete: what has it is whole.
func (d folder) Take(_ context.Context, p control.Parcel, content io.Reader) (string, error) {
	base := filepath.Join(d.dir, p.ID.String())
	untaken := func(err error) (string, error) { return "", fmt.Errorf("%w: %w", control.ErrUntaken, err) }
	if b, err := os.ReadFile(base + envelopeSuffix); err == nil {
		var before control.Parcel
		if err := json.Unmarshal(b, &before); err != nil || before.Once != p.Once {
			return untaken(fmt.Errorf("%s is there, and is not the same", base+envelopeSuffix))
		}
		return p.ID.String() + textSuffix, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return untaken(err)
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return untaken(err)
	}
	if err := writeFile(base+textSuffix, content, p.Size); err != nil {
		return untaken(err)
	}
	if err := writeFile(base+envelopeSuffix, bytes.NewReader(append(text, '\n')), -1); err != nil {
		return untaken(errors.Join(err, os.Remove(base+textSuffix)))
	}
	if err := wholefile.SyncDir(d.dir); err != nil {
		return "", err
	}
	return p.ID.String() + textSuffix, nil
}

// writeFile writes a file that is there whole or not at all. It must have size
// octets, unless that is negative.
func writeFile(path string, r io.Reader, size int64) (err error) {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, r)
	if err == nil && size >= 0 && n != size {
		err = fmt.Errorf("%d octets instead of %d", n, size)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return nil
}
