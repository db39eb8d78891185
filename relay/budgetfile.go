package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"restante/internal/wholefile"
)

// savePause is the least time between two writes of the file.
const savePause = time.Second

// savedBudget is a name's count in the file. Rates are not kept: their buckets
// are full again before long.
type savedBudget struct {
	Day  string `json:"day"`
	Used int    `json:"used"`
}

// OpenBudgets returns Budgets that remember the quotas of the day in a file,
// as long as Keep runs. A file that is not there is an empty one; one that
// cannot be read is an error, and the Budgets begin at 0.
func OpenBudgets(path string) (*Budgets, error) {
	b := NewBudgets(nil)
	b.path = path
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, fmt.Errorf("reading the quotas: %w", err)
	}
	saved := make(map[string]savedBudget)
	if err := json.Unmarshal(text, &saved); err != nil {
		return b, fmt.Errorf("reading the quotas: %s: %w", path, err)
	}
	for name, s := range saved {
		b.names[name] = &budget{day: s.Day, used: max(0, s.Used)}
	}
	return b, nil
}

// Keep writes the quotas to the file, at most once a second while they change
// and once when ctx ends, and returns the error of the last write. failed is
// told of the others. What a crash loses is a second's count.
func (b *Budgets) Keep(ctx context.Context, failed func(error)) error {
	for {
		select {
		case <-ctx.Done():
			return b.save()
		case <-b.dirty:
		}
		if err := b.save(); err != nil {
			failed(err)
			b.changed()
		}
		timer := time.NewTimer(savePause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// save replaces the file. Counts of days that are over are left out.
func (b *Budgets) save() error {
	if b.path == "" {
		return nil
	}
	saved := make(map[string]savedBudget)
	b.mu.Lock()
	today := day(b.now())
	for name, n := range b.names {
		if n.day == today && n.used > 0 {
			saved[name] = savedBudget{n.day, n.used}
		}
	}
	b.mu.Unlock()
	text, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the quotas: %w", err)
	}
	if err := wholefile.Write(b.path, append(text, '\n')); err != nil {
		return fmt.Errorf("writing the quotas: %w", err)
	}
	return nil
}
