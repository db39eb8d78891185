package maildrop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Options is what a Collector works with. Dir and Take are required.
type Options struct {
	// Dir is the maildrop's directory.
	Dir string
	// Take takes a message over: without an error it is durable elsewhere. An
	// error that wraps ErrUnfit has the file moved aside; after any other the
	// file stays and is tried again.
	Take func(ctx context.Context, item *Item) error
	// MaxSize bounds a body, in octets; 0 is 50 MiB.
	MaxSize int64
	// Interval is how often to look; 0 is 5 seconds. While something fails it
	// grows to as much as 5 minutes.
	Interval time.Duration
	// Logger may be nil. Now is the clock, nil for time.Now.
	Logger *slog.Logger
	Now    func() time.Time
}

// Item is a message in a maildrop.
type Item struct {
	// Name is that of its file.
	Name string
	// Owner is the user ID that the file belongs to.
	Owner int
	// Left is when it was put there.
	Left time.Time
	// Envelope and Body are as they were given to Put; the body has Size octets.
	Envelope []byte
	Body     io.Reader
	Size     int64
}

const (
	longestWait = 5 * time.Minute
	// maxPartial is how long a Put may take to write a file.
	maxPartial = 24 * time.Hour
	// batch bounds the names in memory, maxFailures the failures in a row
	// after which a round ends: then it is not the files.
	batch       = 512
	maxFailures = 3
	// maxComplaints bounds the names that are remembered so as not to log the
	// same again.
	maxComplaints = 1000
)

// Collector takes messages out of a maildrop. One of its methods may run at a
// time.
type Collector struct {
	opt Options
	// done are those that were taken and could not be removed.
	done map[string]bool
	// complained are names that the log has told of.
	complained map[string]bool
}

// NewCollector returns a Collector; Run starts it.
func NewCollector(opt Options) *Collector {
	if opt.MaxSize == 0 {
		opt.MaxSize = 50 << 20
	}
	if opt.Interval == 0 {
		opt.Interval = 5 * time.Second
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Collector{opt: opt, done: make(map[string]bool), complained: make(map[string]bool)}
}

// Run collects until ctx ends. It returns nil: what fails is logged and tried
// again.
func (c *Collector) Run(ctx context.Context) error {
	wait := c.opt.Interval
	for {
		err := c.Collect(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = min(2*wait, longestWait)
			c.opt.Logger.Warn("maildrop is not empty yet", "dir", c.opt.Dir, "error", err, "again_in", wait)
		default:
			wait = c.opt.Interval
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// Collect takes what is there. The error is the first reason why something is
// left that should not be.
func (c *Collector) Collect(ctx context.Context) error {
	path := filepath.Join(c.opt.Dir, newDir)
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("maildrop: %w", err)
	}
	defer dir.Close()
	if err := ours(dir); err != nil {
		return fmt.Errorf("maildrop: %s %w", path, err)
	}
	var first error
	failures, removed := 0, false
	for failures < maxFailures && ctx.Err() == nil {
		names, err := dir.Readdirnames(batch)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("maildrop: %w", err)
		}
		slices.Sort(names)
		for _, name := range names {
			if ctx.Err() != nil || failures == maxFailures {
				break
			}
			gone, err := c.look(ctx, path, name)
			removed = removed || gone
			if err == nil {
				failures = 0
				continue
			}
			failures++
			if first == nil {
				first = fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if removed {
		// For as long as a removal may be undone by a power cut, Take has to
		// remember what it took.
		if err := dir.Sync(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// ours fails if the directory belongs to somebody who could exchange files in
// it behind our back.
func ours(dir *os.File) error {
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() && s.Uid != 0 {
		return fmt.Errorf("belongs to user %d", s.Uid)
	}
	return nil
}

// look does with one name what is to be done, and tells whether it is gone.
func (c *Collector) look(ctx context.Context, dir, name string) (gone bool, err error) {
	path := filepath.Join(dir, name)
	switch {
	case c.done[name]:
		return c.remove(path, name, nil)
	case partialName.MatchString(name):
		info, err := os.Lstat(path)
		if err != nil || c.opt.Now().Sub(info.ModTime()) < maxPartial {
			return false, nil // being written, or gone
		}
		if !info.Mode().IsRegular() {
			return c.aside(path, name, "it is not a regular file", info)
		}
		c.opt.Logger.Info("removed from the maildrop what was never finished", "file", name, "size", info.Size())
		return c.remove(path, name, info)
	case wholeName.MatchString(name):
		return c.take(ctx, path, name)
	}
	c.complain(name, "what is this in the maildrop?")
	return false, nil
}

// take opens a file with the suspicion that is due to it and gives it to Take.
func (c *Collector) take(ctx context.Context, path, name string) (gone bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		return c.aside(path, name, "it is not a regular file", nil)
	case errors.Is(err, fs.ErrPermission):
		c.complain(name, "a message in the maildrop may not be read: is the directory's mode 3733, and its group the daemon's?")
		return false, nil
	case err != nil:
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return c.aside(path, name, "it is not a regular file", info)
	case ok && stat.Nlink != 1:
		return c.aside(path, name, "it has other names", info)
	case info.Size() > c.opt.MaxSize+overhead:
		return c.aside(path, name, fmt.Sprintf("its %d octets are too many", info.Size()), info)
	}
	item := &Item{Name: name, Owner: -1, Left: info.ModTime()}
	if ok {
		item.Owner = int(stat.Uid)
	}
	envelope, body, err := decode(f, info.Size())
	if errors.Is(err, errDamaged) {
		return c.aside(path, name, err.Error(), info)
	}
	if err != nil {
		return false, err
	}
	item.Envelope, item.Body, item.Size = envelope, body, body.Size()
	if item.Size > c.opt.MaxSize {
		return c.aside(path, name, fmt.Sprintf("its %d octets are too many", item.Size), info)
	}
	if err := c.opt.Take(ctx, item); errors.Is(err, ErrUnfit) {
		return c.aside(path, name, err.Error(), info)
	} else if err != nil {
		return false, err
	}
	c.done[name] = true
	return c.remove(path, name, info)
}

// remove removes a file, if it is still the one that was looked at.
func (c *Collector) remove(path, name string, was os.FileInfo) (gone bool, err error) {
	now, err := os.Lstat(path)
	if err == nil && was != nil && !os.SameFile(was, now) {
		delete(c.done, name)
		return false, errors.New("it was exchanged for another while it was taken")
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("it cannot be removed: %w", err)
	}
	delete(c.done, name)
	return true, nil
}

// aside moves a file to where it waits for an administrator.
func (c *Collector) aside(path, name, why string, info os.FileInfo) (gone bool, err error) {
	to := filepath.Join(c.opt.Dir, badDir, name)
	if _, err := os.Lstat(to); err == nil {
		to += "-" + newName()
	}
	if err := os.Rename(path, to); err != nil {
		// A directory of another user, for one, cannot be moved.
		c.complain(name, fmt.Sprintf("in the maildrop is what cannot be taken (%s) and cannot be moved aside (%v)", why, err))
		return false, nil
	}
	args := []any{"file", to, "why", why}
	if info != nil {
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			args = append(args, "uid", s.Uid)
		}
	}
	c.opt.Logger.Error("moved aside from the maildrop", args...)
	return true, nil
}

// complain logs something about a name once.
func (c *Collector) complain(name, text string) {
	if c.complained[name] || len(c.complained) >= maxComplaints {
		return
	}
	c.complained[name] = true
	c.opt.Logger.Warn(text, "file", filepath.Join(c.opt.Dir, newDir, name))
}
