package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"restante/internal/control"
)

func queueImportCommand() *command {
	cmd := &command{
		name: "queue import", args: "DIR|FILE... [--keep]",
		short: "take messages in that queue export or queue drain wrote into files",
		long: `A file is an ID.envelope.json; the text is read from the ID.eml beside it. A
message is taken once, however often it is repeated within a day. Both files are
deleted when it is durable, unless --keep is given.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		keep := fs.Bool("keep", false, "leave the files where they are")
		return func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return usagef("a directory, or files ending with %s are expected", envelopeSuffix)
			}
			files, err := envelopeFiles(args)
			if err != nil {
				return err
			}
			return c.interruptible(ctx, func(ctx context.Context, client *control.Client) error {
				return c.importFiles(ctx, client, files, *keep)
			})
		}
	}
	return cmd
}

// envelopeFiles finds the envelopes' files.
func envelopeFiles(args []string) (files []string, err error) {
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			entries, err := os.ReadDir(arg) // by name, which is by age
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), envelopeSuffix) {
					files = append(files, filepath.Join(arg, e.Name()))
				}
			}
		case strings.HasSuffix(arg, envelopeSuffix):
			files = append(files, arg)
		default:
			return nil, usagef("%s: the name of an envelope's file ends with %s", arg, envelopeSuffix)
		}
	}
	return files, nil
}

func (c *call) importFiles(ctx context.Context, client *control.Client, files []string, keep bool) error {
	p := newProgress(c.err, "import", len(files))
	var n control.Progress
	for _, file := range files {
		err := importFile(ctx, client, file, keep)
		if ctx.Err() != nil {
			p.end()
			return fmt.Errorf("interrupted; %s taken. Run it again to go on", plural(n.Done, "message"))
		}
		if errors.Is(err, control.ErrNotRunning) {
			return err
		}
		if err != nil {
			n.Failed++
			p.end()
			fmt.Fprintf(c.err, "restante: %s: %v\n", file, err)
		} else {
			n.Done++
		}
		p.tell(n)
	}
	p.end()
	if _, err := fmt.Fprintf(c.out, "%s taken\n", plural(n.Done, "message")); err != nil {
		return err
	}
	if n.Failed > 0 {
		return errTold
	}
	return nil
}

// importFile hands one message over, and deletes its files when it is durable.
func importFile(ctx context.Context, client *control.Client, file string, keep bool) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var p control.Parcel
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a misspelt time must not become none
	if err := d.Decode(&p); err != nil {
		return fmt.Errorf("it is no envelope: %w", err)
	}
	text := strings.TrimSuffix(file, envelopeSuffix) + textSuffix
	f, err := os.Open(text)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := client.PutParcel(ctx, p, f, info.Size()); err != nil || keep {
		return err
	}
	// The envelope first: a text without one is not taken again.
	return errors.Join(os.Remove(file), os.Remove(text))
}
