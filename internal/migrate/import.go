package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"restante/internal/control"
	"restante/spool"
)

// Folder is a mailbox of a source.
type Folder struct {
	// Name has its levels divided by "/"; INBOX is INBOX.
	Name string
	// Use is the special use that the source told of.
	Use        spool.Use
	Subscribed bool
	// LeftOut is why the folder is not brought over unless somebody asks for
	// it by name: it shows messages that lie in others, or is somebody else's.
	LeftOut string
	// place is what the source itself calls it.
	place string
}

// Message is a message of a source.
type Message struct {
	// Key is what the source calls it, for ever, in its folder.
	Key string
	// Flags are as IMAP has them; those that a mailbox cannot have are left out.
	Flags []string
	// Date is the INTERNALDATE, zero if it is not known.
	Date time.Time
	// Size is that of the text in octets, negative if it is not known.
	Size int64
}

// Source is where mail comes from. It is used by one goroutine.
type Source interface {
	// ID tells this source apart from others in a journal's name.
	ID() string
	// Folders lists the mailboxes.
	Folders(ctx context.Context) ([]Folder, error)
	// Count tells how many messages there are that were not had.
	Count(ctx context.Context, f Folder, had func(key string) bool) (int, error)
	// Each calls take for each message that was not had, in the folder's order;
	// text is good until take returns. A message that cannot be read is told by
	// skip. An error of take ends it, and is returned, unless it wraps errRead:
	// that is the message's own.
	Each(ctx context.Context, f Folder, had func(key string) bool, skip func(key string, err error), take func(m Message, text io.Reader) error) error
	Close() error
}

// Target is where mail goes; *control.Client is one.
type Target interface {
	Mailboxes(ctx context.Context, account string) ([]control.Mailbox, error)
	MakeMailbox(ctx context.Context, account string, m control.Mailbox) (control.Mailbox, error)
	Deposit(ctx context.Context, account string, d control.Deposit, body io.Reader, size int64) (control.Deposited, error)
}

// Import is one run.
type Import struct {
	Source  Source
	Target  Target
	Account string
	Journal *Journal
	Names   Names
	// DryRun has nothing brought over.
	DryRun bool
	// Tell is called for each line of the outcome and each fault, Progress after
	// each message; both may be nil.
	Tell     func(text string)
	Progress func(Counts)

	counts Counts
}

// Counts are what became of the messages.
type Counts struct {
	// Taken were brought over, or would be; Before had been; Failed are those
	// that could not be read or were refused.
	Taken, Before, Failed int
	// Octets are those of the messages taken.
	Octets int64
}

// errFolder is wrapped by errors of opening one folder, after which the others
// can be.
var errFolder = errors.New("it cannot be opened")

// errRead is wrapped by errors of reading a message's text from its source.
var errRead = errors.New("the message cannot be read")

// Run brings over what is missing.
func (i *Import) Run(ctx context.Context) (Counts, error) {
	if i.Tell == nil {
		i.Tell = func(string) {}
	}
	if i.Progress == nil {
		i.Progress = func(Counts) {}
	}
	folders, err := i.Source.Folders(ctx)
	if err != nil {
		return i.counts, err
	}
	if !i.DryRun {
		// What every new account has is made first, so that its Sent is found.
		if _, err := i.Target.MakeMailbox(ctx, i.Account, control.Mailbox{Name: spool.Inbox}); err != nil {
			return i.counts, err
		}
	}
	have, err := i.Target.Mailboxes(ctx, i.Account)
	if err != nil {
		return i.counts, err
	}
	if err := i.Names.check(folders); err != nil {
		return i.counts, err
	}
	for _, f := range folders {
		name, why := i.Names.target(f, have)
		if why != "" {
			i.Tell(fmt.Sprintf("%s: left out: %s", f.Name, why))
			continue
		}
		err := i.folder(ctx, f, name)
		if errors.Is(err, errFolder) {
			i.counts.Failed++
			i.Tell(fmt.Sprintf("%s: passed over: %v", f.Name, err))
		} else if err != nil {
			return i.counts, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return i.counts, nil
}

func (i *Import) folder(ctx context.Context, f Folder, name string) error {
	place := f.place + "\x00" + name
	had := func(key string) bool { return i.Journal.Has(place, key) }
	arrow := f.Name
	if name != f.Name {
		arrow += " -> " + name
	}
	if i.DryRun {
		n, err := i.Source.Count(ctx, f, had)
		if err != nil {
			return err
		}
		i.counts.Taken += n
		i.Tell(fmt.Sprintf("%s: %d", arrow, n))
		return nil
	}
	if _, err := i.Target.MakeMailbox(ctx, i.Account, control.Mailbox{Name: name, Use: f.Use, Subscribed: f.Subscribed || name == spool.Inbox}); err != nil {
		return err
	}
	before := i.counts
	skip := func(key string, err error) {
		i.counts.Failed++
		i.Tell(fmt.Sprintf("%s: message %s is passed over: %v", f.Name, key, err))
	}
	err := i.Source.Each(ctx, f, had, skip, func(m Message, text io.Reader) error {
		return i.take(ctx, place, name, m, text, skip)
	})
	if err = errors.Join(err, i.Journal.Sync()); err != nil {
		return err
	}
	if n := i.counts.Taken - before.Taken; n > 0 {
		i.Tell(fmt.Sprintf("%s: %d", arrow, n))
	}
	return nil
}

// take brings one message over, or tells why not. Its error is one after which
// no other can be taken.
func (i *Import) take(ctx context.Context, place, name string, m Message, text io.Reader, skip func(string, error)) error {
	in := &watched{r: text}
	d := control.Deposit{Mailbox: name, Flags: usable(m.Flags), Date: m.Date, Once: i.Journal.Once(place, m.Key)}
	put, err := i.Target.Deposit(ctx, i.Account, d, in, m.Size)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case in.err != nil:
		return fmt.Errorf("%w: %w", errRead, in.err)
	case refused(err):
		skip(m.Key, err)
		return nil
	default:
		return err
	}
	if put.Before {
		i.counts.Before++
	} else {
		i.counts.Taken++
		i.counts.Octets += in.n
	}
	if err := i.Journal.Add(place, m.Key); err != nil {
		return err
	}
	i.Progress(i.counts)
	return nil
}

// refused tells whether it is this message that is not acceptable.
func refused(err error) bool {
	var e *control.Error
	return errors.As(err, &e) && (e.Code == control.CodeTooLarge || e.Code == control.CodeBadRequest || e.Code == control.CodeUnprocessable)
}

// watched notes what became of a text as it is read.
type watched struct {
	r   io.Reader
	n   int64
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// usable leaves out what a message cannot have here: \Recent, flags that only a
// server can set, and keywords that are none.
func usable(flags []string) []string {
	var list []string
	for _, f := range flags {
		switch {
		case len(list) == maxFlags:
			return list
		case strings.HasPrefix(f, `\`):
			for _, known := range []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`} {
				if strings.EqualFold(f, known) {
					list = append(list, known)
				}
			}
		case control.IsKeyword(f):
			list = append(list, f)
		}
	}
	return list
}

// maxFlags is how many flags are brought over with one message.
const maxFlags = 100
