package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"restante/internal/mail"
	"restante/spool"
)

const (
	suffix = ".seg"
	// DefaultSize is how large a segment grows before the next is begun.
	DefaultSize = 16 << 20
)

// Options is what a Store is opened with. Only Dir is required.
type Options struct {
	// Dir is the folder of the segments; it is made if its parent is there.
	Dir string
	// Size is how large a segment grows, in octets; DefaultSize if 0.
	Size int64
	// Datasync waits until a file's data is on stable storage; os.File.Sync
	// if nil. Tests put one in that fails.
	Datasync func(*os.File) error
	// Dead is called when a segment has lost its last live octet and Collect
	// has something to do. It must not block, nor call the Store. May be nil.
	Dead   func()
	Logger *slog.Logger
}

// Store is a folder of segments. It is safe for concurrent use.
type Store struct {
	opt Options

	mu       sync.Mutex
	segments map[uint32]*one
	current  *one // nil until the next Append
	next     uint32
	holds    int
	counted  bool
	// unneeded tells that some segment may be ready to go.
	unneeded bool
	broken   error

	// Appends are numbered as they end; those up to synced are durable.
	appended, synced uint64
	syncing          bool
	waiting          *sync.Cond
	dirty            []*one
	names            bool // a segment was made whose name is not durable
}

// one is a segment.
type one struct {
	number uint32
	file   *os.File // while it is the current one, or dirty
	size   int64
	live   int64
	pins   int
	// writing counts the appends in progress.
	writing int
	// dirty tells that something was appended since the last sync began,
	// syncing that one is in progress.
	dirty, syncing bool
	sealed         bool
}

// Open finds the segments in a folder.
func Open(opt Options) (*Store, error) {
	if opt.Size == 0 {
		opt.Size = DefaultSize
	}
	if opt.Datasync == nil {
		opt.Datasync = (*os.File).Sync
	}
	if opt.Dead == nil {
		opt.Dead = func() {}
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.Mkdir(opt.Dir, 0o700); err == nil {
		err = syncDir(filepath.Dir(opt.Dir))
		if err != nil {
			return nil, fmt.Errorf("spool: make folder of segments: %w", err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("spool: make folder of segments: %w", err)
	}
	s := &Store{opt: opt, segments: make(map[uint32]*one), next: 1}
	s.waiting = sync.NewCond(&s.mu)
	list, err := os.ReadDir(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("spool: find segments: %w", err)
	}
	for _, entry := range list {
		stem, ok := strings.CutSuffix(entry.Name(), suffix)
		number, err := strconv.ParseUint(stem, 10, 32)
		if !ok || err != nil {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return nil, fmt.Errorf("spool: find segments: %w", err)
		}
		s.segments[uint32(number)] = &one{number: uint32(number), size: info.Size(), sealed: true}
		s.next = max(s.next, uint32(number)+1)
	}
	return s, nil
}

func (s *Store) name(number uint32) string {
	return filepath.Join(s.opt.Dir, fmt.Sprintf("%08d%s", number, suffix))
}

// Append puts a blob, the parts one after another, into the newest segment. It
// may be called by many at a time. It fails with spool.ErrFull when the disk
// has no room, and with spool.ErrReadOnly after a fault.
func (s *Store) Append(owner mail.ID, number uint32, parts ...[]byte) (Ref, error) {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	if length > MaxBlob {
		return Ref{}, fmt.Errorf("spool: a blob of %d octets", length)
	}
	h := head(owner, number, length, parts)
	g, ref, err := s.place(uint32(length))
	if err != nil {
		return Ref{}, err
	}
	off := int64(ref.Offset)
	for _, p := range append([][]byte{h}, parts...) {
		if err == nil {
			_, err = g.file.WriteAt(p, off)
		}
		off += int64(len(p))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.writing--
	defer s.tidy(g)
	switch {
	case err == nil:
		s.appended++
		if !g.dirty {
			g.dirty = true
			s.dirty = append(s.dirty, g)
		}
		return ref, nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w: write segment: %w", spool.ErrFull, err)
	default:
		err = s.fail(fmt.Errorf("write segment: %w", err))
	}
	s.free(g, ref.takes())
	return Ref{}, err
}

// place finds room for a blob of a length, in the current segment or in a new
// one.
func (s *Store) place(length uint32) (*one, Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, Ref{}, s.broken
	}
	if s.current != nil && s.current.size >= s.opt.Size {
		s.seal()
	}
	if s.current == nil {
		f, err := os.OpenFile(s.name(s.next), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT),
			errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE): // it passes
			return nil, Ref{}, fmt.Errorf("%w: make segment: %w", spool.ErrFull, err)
		case err != nil:
			return nil, Ref{}, s.fail(fmt.Errorf("make segment: %w", err))
		}
		s.current = &one{number: s.next, file: f}
		s.segments[s.next] = s.current
		s.next++
		s.names = true
	}
	g := s.current
	ref := Ref{Segment: g.number, Offset: uint32(g.size), Length: length}
	g.size = ref.end()
	g.live += ref.takes()
	g.writing++
	return g, ref, nil
}

// fail makes the store refuse everything from now on. The caller holds mu.
func (s *Store) fail(err error) error {
	err = fmt.Errorf("%w: %w", spool.ErrReadOnly, err)
	if s.broken == nil {
		s.broken = err
	}
	return err
}

// seal ends the current segment. The caller holds mu.
func (s *Store) seal() {
	g := s.current
	s.current = nil
	g.sealed = true
	s.tidy(g)
}

// busy tells that a segment's file is needed for writing.
func (g *one) busy() bool { return !g.sealed || g.writing > 0 || g.dirty || g.syncing }

// tidy closes the file of a segment that needs it no more. The caller holds mu.
func (s *Store) tidy(g *one) {
	if g.file != nil && !g.busy() {
		g.file.Close()
		g.file = nil
	}
}

// Sync makes durable what was appended before. It fails with
// spool.ErrReadOnly when the device does; then nothing since the last Sync may
// be relied upon.
func (s *Store) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for want := s.appended; s.synced < want; {
		if s.broken != nil {
			return s.broken
		}
		if s.syncing {
			s.waiting.Wait()
			continue
		}
		s.lead()
	}
	return s.broken
}

// lead does the waiting for the device for all who are waiting. The caller
// holds mu, which is given up meanwhile.
func (s *Store) lead() {
	s.syncing = true
	upto, names := s.appended, s.names
	list := s.dirty
	for _, g := range list {
		g.dirty, g.syncing = false, true
	}
	s.dirty = nil
	s.names = false
	s.mu.Unlock()
	var err error
	for _, g := range list {
		err = errors.Join(err, s.opt.Datasync(g.file))
	}
	if names {
		err = errors.Join(err, syncDir(s.opt.Dir))
	}
	s.mu.Lock()
	s.syncing = false
	if err != nil {
		s.fail(fmt.Errorf("sync segment: %w", err))
	} else {
		s.synced = upto
	}
	for _, g := range list {
		g.syncing = false
		s.tidy(g)
	}
	s.waiting.Broadcast()
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the files. Nobody may use the Store any more.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if g.file != nil {
			g.file.Close()
			g.file = nil
		}
	}
	return nil
}
