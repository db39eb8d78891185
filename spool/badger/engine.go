package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"restante/internal/mail"
	"restante/spool"
	"restante/spool/segment"
)

const (
	// chunkSize is how much of a long body goes into one piece; memory holds
	// one for each transfer.
	chunkSize = 128 << 10
	// inlineSize is how long a body may be, in octets, to be stored as a
	// record. Longer ones go to the segments.
	inlineSize = 32 << 10

	// memTableSize is that of one memtable and of its log. What has passed
	// through stays on disk until it is compacted away: two logs, the tables
	// of level 0 before levelZeroTables of them are compacted, and one
	// compaction's outcome, each of them this large at most.
	memTableSize    = 16 << 20
	levelZeroTables = 2
	// levelZeroStall is how many of them stop the writers.
	levelZeroStall = 10

	blockCacheSize = 32 << 20
)

// Options is what an engine is opened with. Only Dir is required.
type Options struct {
	// Dir holds the spool; it is made if its parent is there.
	Dir    string
	Logger *slog.Logger
	// Now is the engine's clock, time.Now by default.
	Now func() time.Time
	// MinFree is the free space in octets below which no message is taken in,
	// DefaultMinFree if 0; below half of it nothing is written at
	// all. Badger maps its files into memory and does not survive a full disk:
	// a negative MinFree, which watches nothing, is for tests.
	MinFree int64

	// datasync waits for the device; tests put one in that fails.
	datasync func(*os.File) error
}

// Engine is a spool.Store on Badger.
type Engine struct {
	opt          Options
	db           *badgerdb.DB
	segments     *segment.Store
	counting     sync.WaitGroup // countPieces
	wal          *walSync       // the committer's
	mark         *highMark      // likewise
	commits      uint64         // likewise: the number of the last
	losses       losses
	checking     atomic.Bool
	ids          mail.IDs
	maxBatchSize int64

	ops     chan *op
	closing chan struct{}  // closed by Close
	groups  chan *group    // from the committer to syncLoop; closed when the former has ended
	flight  sync.WaitGroup // groups that are not answered; the committer waits
	stopped chan struct{}  // closed when syncLoop has ended

	life   sync.Mutex // guards closed and users.Add
	closed bool
	users  sync.WaitGroup // verbs in progress

	broken     atomic.Pointer[error]
	unreadable atomic.Bool // Badger cannot even be read any more
	spares     spares
	background *background
	stats      counters
	maintained chan struct{} // closed when maintainLoop has ended
	// trimmed is maintainLoop's: what it found when it trimmed a mailbox.
	trimmed map[spool.MailboxID]trimState
	journal journalBounds
	// settlePatience is how long a settlement waits for room on the disk.
	settlePatience time.Duration
	closePatience  time.Duration
	free           freeSpace
	// forgetting guards forgot, where ForgetStories goes on.
	forgetting sync.Mutex
	forgot     []byte

	queue   queue
	watch   watchers
	recent  recents
	sweeper sweeper
	tally   tally
}

var _ spool.Store = (*Engine)(nil)

// Open opens the spool in opt.Dir, making it if there is none, and finishes
// what a crash left half done. It fails with spool.ErrInUse when another
// process has it open.
func Open(opt Options) (*Engine, error) {
	opt = opt.withDefaults()
	gaps, err := opt.inspect()
	if err != nil {
		return nil, err
	}
	heard := new(background)
	db, err := openBadger(badgerOptions(opt).WithLogger(badgerLog{opt.Logger, heard}))
	if err != nil {
		if strings.Contains(err.Error(), "Another process is using this Badger database") {
			return nil, fmt.Errorf("%w: %s", spool.ErrInUse, opt.Dir)
		}
		return nil, fmt.Errorf("spool: open %s: %w", opt.Dir, err)
	}
	e := &Engine{
		opt: opt,
		db:  db,
		// Leave room for the last operation, which may bring a chunk and more.
		maxBatchSize: db.MaxBatchSize() - 4*chunkSize,
		ops:          make(chan *op, maxBatchOps),
		closing:      make(chan struct{}),
		groups:       make(chan *group, maxGroups),
		stopped:      make(chan struct{}),
		free:         freeSpace{statfs: statfs},
		background:   heard,
		maintained:   make(chan struct{}),
		trimmed:      make(map[spool.MailboxID]trimState),
		journal:      defaultJournal(),

		settlePatience: 10 * time.Second,
		closePatience:  closePatience,
	}
	if err := e.openBeside(gaps); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	e.spares.dir = opt.Dir
	e.queue.init()
	e.watch.init()
	e.sweeper.init()
	e.tally.init()
	go e.commitLoop()
	go e.syncLoop()
	go e.sweepLoop()
	go e.maintainLoop()
	go e.countLoop()
	if err := e.recover(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (opt Options) withDefaults() Options {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.datasync == nil {
		opt.datasync = datasync
	}
	if opt.MinFree == 0 {
		opt.MinFree = DefaultMinFree
	}
	return opt
}

// inspect makes the directory, or looks at what is in it before Badger does,
// and returns the gaps between its logs.
func (opt Options) inspect() (gaps []spool.Loss, err error) {
	if err := os.Mkdir(opt.Dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("spool: open: %w", err)
	}
	if inUse(opt.Dir) { // its files are being changed: nothing can be told of them
		return nil, fmt.Errorf("%w: %s", spool.ErrInUse, opt.Dir)
	}
	if gaps, err = findGaps(opt.Dir); err != nil {
		return nil, fmt.Errorf("spool: read logs: %w", err)
	}
	if err := checkTables(badgerOptions(opt)); err != nil {
		return nil, fmt.Errorf("spool: open %s: %w", opt.Dir, err)
	}
	free, err := statfs(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("spool: open %s: %w", opt.Dir, err)
	}
	if opt.MinFree > 0 && free < hardFloor(opt.MinFree) {
		return nil, fmt.Errorf("%w: opening %s takes %d octets of free space, there are %d", spool.ErrFull, opt.Dir, hardFloor(opt.MinFree), free)
	}
	return gaps, nil
}

// openBeside opens what is beside Badger: its log, as we sync it, the high mark
// and the segments. After an error none of them is open.
func (e *Engine) openBeside(gaps []spool.Loss) (err error) {
	opt := e.opt
	if e.wal, err = openWAL(opt.Dir); err != nil {
		return err
	}
	e.wal.datasync = opt.datasync
	var high mark
	if e.mark, high, err = openMark(opt.Dir, opt.Logger); err != nil {
		e.wal.close()
		return err
	}
	if err = e.compareMark(high, gaps); err == nil {
		e.segments, err = segment.Open(segment.Options{
			Dir: filepath.Join(opt.Dir, segmentsName), Datasync: opt.datasync,
			Dead: func() { signal(e.sweeper.wake) }, Logger: opt.Logger,
		})
	}
	if err != nil {
		e.wal.close()
		return errors.Join(err, e.mark.close())
	}
	return nil
}

func badgerOptions(opt Options) badgerdb.Options {
	return badgerdb.DefaultOptions(opt.Dir).
		WithSyncWrites(false).      // walSync does that, and better
		WithDetectConflicts(false). // one writer
		WithMemTableSize(memTableSize).
		WithNumMemtables(2).
		WithNumLevelZeroTables(levelZeroTables).
		WithNumLevelZeroTablesStall(levelZeroStall).
		WithBaseTableSize(4 << 20).
		WithBaseLevelSize(16 << 20).
		WithValueThreshold(valueThreshold). // chunks stay in the tree, where space comes back
		WithValueLogFileSize(16 << 20).
		WithBlockCacheSize(blockCacheSize).
		WithIndexCacheSize(16 << 20).
		WithChecksumVerificationMode(options.OnBlockRead). // checkTables has read them all
		WithCompression(options.Snappy).
		WithNumCompactors(2).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{opt.Logger, new(background)})
}

// recover reads what the engine keeps in memory and sweeps what a crash left.
func (e *Engine) recover() error {
	lost := len(e.losses.fresh) > 0
	if err := e.checkFormat(migrations()); err != nil {
		return err
	}
	if lost { // it is no longer what its backups hold
		if err := e.do((*tx).renewIdentity, nil); err != nil {
			return err
		}
	}
	if err := e.recordLosses(); err != nil {
		return err
	}
	t := e.view()
	defer t.discard()
	e.queue.load(t, e.opt.Logger)
	e.findGarbage(t)
	e.counting.Add(1)
	go e.countPieces(e.view())
	return nil
}

// Close waits for the verbs in progress, ends the background work and closes
// Badger. Bodies still open fail from then on with spool.ErrClosed. When a
// compaction of Badger's does not end within seconds it is left at that, as if
// the process had been killed: nothing is lost, but the spool cannot be opened
// again before the process has ended.
func (e *Engine) Close() error {
	e.life.Lock()
	if e.closed {
		e.life.Unlock()
		return nil
	}
	e.closed = true
	e.background.closing.Store(true)
	e.life.Unlock()
	e.users.Wait()
	e.keepRecent()
	close(e.closing)
	<-e.stopped
	<-e.sweeper.stopped
	<-e.tally.stopped
	e.counting.Wait()
	e.wal.close()
	e.segments.Close()
	e.spares.free()
	if err := errors.Join(e.closeBadger(), e.mark.close()); err != nil {
		return fmt.Errorf("spool: close: %w", err)
	}
	return nil
}

// enter keeps the storage open until leave; it fails once Close has begun.
func (e *Engine) enter() error {
	e.life.Lock()
	defer e.life.Unlock()
	if e.closed {
		return spool.ErrClosed
	}
	if e.unreadable.Load() {
		return fmt.Errorf("%w: %w", spool.ErrReadOnly, errUnreadable)
	}
	e.users.Add(1)
	return nil
}

func (e *Engine) leave() { e.users.Done() }

// view opens a snapshot.
func (e *Engine) view() *tx { return &tx{txn: e.db.NewTransaction(false), recent: &e.recent} }

// Healthy returns nil while the engine takes changes; a watchdog asks it.
func (e *Engine) Healthy() error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.fault()
}

func encodeCounter(v uint64) []byte {
	e := newRecord()
	e.uint(v)
	return e.b
}

func decodeCounter(payload []byte) (uint64, error) {
	d := openRecord(payload)
	v := d.uint()
	return v, d.end()
}

// next counts a counter up within a transaction, to at least floor.
func (t *tx) next(name string, floor uint64) (uint64, error) {
	v, err := load(t, metaKey(name), decodeCounter)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		return 0, err
	}
	v = max(v+1, floor)
	return v, t.set(metaKey(name), encodeCounter(v))
}

// badgerLog sends Badger's own words to the daemon's log, one level lower.
type badgerLog struct {
	log   *slog.Logger
	heard *background
}

func (b badgerLog) at(level slog.Level, format string, args []any) {
	if level < slog.LevelWarn && !b.log.Enabled(context.Background(), level) {
		return
	}
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	if level >= slog.LevelWarn {
		b.heard.hear(text)
	}
	b.log.Log(context.Background(), level, "badger: "+text)
}

func (b badgerLog) Errorf(f string, a ...any)   { b.at(slog.LevelError, f, a) }
func (b badgerLog) Warningf(f string, a ...any) { b.at(slog.LevelWarn, f, a) }
func (b badgerLog) Infof(f string, a ...any) {
	b.at(slog.LevelDebug, f, a)
	b.heard.mayEnd(f)
}
func (b badgerLog) Debugf(f string, a ...any) { b.at(slog.LevelDebug, f, a) }
