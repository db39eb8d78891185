package tlsrpt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/internal/wholefile"
)

// Bounds of a Book; what is beyond them is not counted.
const (
	maxDays     = 3
	maxDomains  = 10_000
	maxPolicies = 8
	maxDetails  = 50
	maxText     = 300
)

// Book counts. It is safe for concurrent use.
type Book struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	days    map[string]day // by UTC date
	changed bool
}

type day map[string][]*tally // by domain

// tally is what is counted of one policy of a domain in a day.
type tally struct {
	Kind     Kind      `json:"kind"`
	Policy   []string  `json:"policy,omitempty"`
	Patterns []string  `json:"patterns,omitempty"`
	Success  int64     `json:"success"`
	Failure  int64     `json:"failure"`
	Details  []*detail `json:"details,omitempty"`
}

type detail struct {
	Result    Result `json:"result"`
	MX        string `json:"mx,omitempty"`
	Helo      string `json:"helo,omitempty"`
	Sending   string `json:"sending,omitempty"`
	Receiving string `json:"receiving,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Count     int64  `json:"count"`
}

// Open reads what was counted before. A file that cannot be understood is as
// none, with a warning; now is time.Now if it is nil.
func Open(path string, log *slog.Logger, now func() time.Time) (*Book, error) {
	if now == nil {
		now = time.Now
	}
	b := &Book{path: path, now: now, days: make(map[string]day)}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("counts of TLS: %w", err)
	}
	if err := json.Unmarshal(text, &b.days); err != nil || b.days == nil {
		log.Warn("the counts for reports on TLS cannot be read and begin anew", "file", path, "error", err)
		b.days = make(map[string]day)
	}
	return b, nil
}

// Record implements Recorder.
func (b *Book) Record(e Event) {
	if e.Domain == "" || !e.Session && e.Result == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	date := b.now().UTC().Format(time.DateOnly)
	d := b.days[date]
	if d == nil {
		if len(b.days) >= maxDays {
			delete(b.days, slices.Min(b.dates()))
		}
		d = make(day)
		b.days[date] = d
	}
	t := d.tally(e)
	if t == nil {
		return
	}
	b.changed = true
	switch {
	case e.Result == "":
		t.Success++
		return
	case e.Session:
		t.Failure++
	}
	want := detail{Result: e.Result, MX: e.MX, Helo: clip(e.Helo), Sending: e.Sending, Receiving: e.Receiving, Reason: clip(e.Reason)}
	for _, have := range t.Details {
		if want.Count = have.Count; *have == want {
			have.Count++
			return
		}
	}
	if len(t.Details) < maxDetails {
		want.Count = 1
		t.Details = append(t.Details, &want)
	}
}

func (b *Book) dates() []string {
	var list []string
	for date := range b.days {
		list = append(list, date)
	}
	return list
}

// tally finds where an event counts; nil if there are too many.
func (d day) tally(e Event) *tally {
	list, known := d[e.Domain]
	for _, t := range list {
		if t.Kind == e.Kind && slices.Equal(t.Policy, e.Policy) && slices.Equal(t.Patterns, e.Patterns) {
			return t
		}
	}
	if !known && len(d) >= maxDomains || len(list) >= maxPolicies {
		return nil
	}
	t := &tally{Kind: e.Kind, Policy: e.Policy, Patterns: e.Patterns}
	d[e.Domain] = append(list, t)
	return t
}

func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// Save writes the counts, if there are new ones.
func (b *Book) Save() error {
	b.mu.Lock()
	if !b.changed {
		b.mu.Unlock()
		return nil
	}
	text, err := json.Marshal(b.days)
	b.changed = false
	b.mu.Unlock()
	if err == nil {
		err = wholefile.Write(b.path, text)
	}
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed = true
		return fmt.Errorf("counts of TLS: %w", err)
	}
	return nil
}

// over returns the days that are over and have something left to report, and the
// domains of each. It forgets the others.
func (b *Book) over() map[string][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now().UTC()
	list := make(map[string][]string)
	for date, d := range b.days {
		start, err := time.Parse(time.DateOnly, date)
		if err != nil || len(d) == 0 && date < now.Format(time.DateOnly) || now.Sub(start) > maxDays*24*time.Hour {
			delete(b.days, date)
			b.changed = true
			continue
		}
		if date >= now.Format(time.DateOnly) {
			continue
		}
		for domain := range d {
			list[date] = append(list[date], domain)
		}
		slices.Sort(list[date])
	}
	return list
}

// of returns a copy of what was counted of a domain in a day that is over.
func (b *Book) of(date, domain string) []tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []tally
	for _, t := range b.days[date][domain] {
		list = append(list, *t)
	}
	return list
}

// done forgets a domain's day.
func (b *Book) done(date, domain string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.days[date], domain)
	b.changed = true
}
