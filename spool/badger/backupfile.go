package badger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

// A backup is one stream, so that it can go through a pipe:
//
//	magic, file version:1, length of the head, head
//	'f' name, data                          a file that goes with the spool
//	'r' key, value                          a record, sealed as it is stored
//	'k' key                                 a record as it is in the base
//	'z' files, records, keys, SHA-256       of every octet before the hash
//
// Lengths and counts are uvarints. r and k come in the order of their keys,
// and are together every record that the spool had: what a base has and its
// increment does not name is gone. So nothing rests on Badger's tombstones,
// which a compaction may have dropped. A key is written as the number of octets
// it has in common with the one before, and the rest.
const (
	backupMagic   = "restante spool backup\n"
	backupVersion = 1

	frameFile    = 'f'
	frameRecord  = 'r'
	frameKey     = 'k'
	frameTrailer = 'z'

	maxBackupHead  = 4 << 10
	maxBackupFile  = 64 << 20
	maxBackupFiles = 16
	maxBackupKey   = 64 << 10
	maxBackupValue = 64 << 20
)

// ErrBackup: a backup is cut off, damaged, or not one at all.
var ErrBackup = errors.New("spool: unusable backup")

// ErrBase: an increment was asked for on a base, or handed over with one, that
// it does not follow on.
var ErrBase = errors.New("spool: the increment does not follow on its base")

// SpoolID tells spools apart. A spool gets one when it is made, and another
// when it is restored or has lost commits: then it is no longer what backups
// of the former hold, and none of its increments follows on them.
type SpoolID [16]byte

func (id SpoolID) String() string { return hex.EncodeToString(id[:]) }

// Mark names the state of a spool that a backup holds.
type Mark struct {
	Spool   SpoolID
	Version uint64
}

// String is the text that ParseMark reads.
func (m Mark) String() string { return m.Spool.String() + ":" + strconv.FormatUint(m.Version, 10) }

// ParseMark reads what Mark.String wrote.
func ParseMark(s string) (m Mark, err error) {
	id, version, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(id)
	if !ok || err != nil || len(b) != len(m.Spool) {
		return Mark{}, fmt.Errorf("malformed mark of a backup %.80q", s)
	}
	copy(m.Spool[:], b)
	if m.Version, err = strconv.ParseUint(version, 10, 64); err != nil {
		return Mark{}, fmt.Errorf("malformed mark of a backup %.80q", s)
	}
	return m, nil
}

// BackupInfo describes a backup.
type BackupInfo struct {
	// Mark is the state it holds. Without a spool's identity nothing can
	// follow on it: the spool was read-only after a fault when it was made.
	Mark
	// Since is the version of its base, 0 if it is full.
	Since uint64
	// Format is the spool's.
	Format  uint64
	Created time.Time
	// Records counts those it carries, Keys those it leaves to its base.
	Records, Keys, Files uint64
	// Damaged counts records that do not match their checksum; they are
	// carried as they are.
	Damaged uint64
	// Octets is its size.
	Octets int64
}

// BackupFile is a file that goes with the spool, opaque to it.
type BackupFile struct {
	Name string
	Data []byte
}

func (b *BackupInfo) encode() []byte {
	e := newRecord()
	e.raw(b.Spool[:])
	e.uint(b.Version)
	e.uint(b.Since)
	e.uint(b.Format)
	e.time(b.Created)
	return e.b
}

func decodeBackupHead(payload []byte) (b BackupInfo, err error) {
	d := openRecord(payload)
	copy(b.Spool[:], d.take(uint64(len(b.Spool))))
	b.Version, b.Since, b.Format = d.uint(), d.uint(), d.uint()
	b.Created = d.time()
	return b, d.end()
}

// backupWriter writes the stream.
type backupWriter struct {
	w    *bufio.Writer
	sum  hash.Hash
	info *BackupInfo
	head []byte // of the frame being written
	last []byte // the key before
	// piece is the piece of a long body that is being written.
	piece []byte
}

func newBackupWriter(w io.Writer, info *BackupInfo) (*backupWriter, error) {
	b := &backupWriter{w: bufio.NewWriterSize(w, 64<<10), sum: sha256.New(), info: info}
	head := info.encode()
	b.head = append(b.head, backupMagic...)
	b.head = append(b.head, backupVersion)
	b.head = binary.AppendUvarint(b.head, uint64(len(head)))
	return b, b.frame(head)
}

// frame writes b.head and what follows it.
func (b *backupWriter) frame(data []byte) error {
	for _, p := range [][]byte{b.head, data} {
		b.sum.Write(p)
		b.info.Octets += int64(len(p))
		if _, err := b.w.Write(p); err != nil {
			return fmt.Errorf("write backup: %w", err)
		}
	}
	b.head = b.head[:0]
	return nil
}

func (b *backupWriter) file(f BackupFile) error {
	b.info.Files++
	b.head = append(b.head, frameFile)
	b.head = binary.AppendUvarint(b.head, uint64(len(f.Name)))
	b.head = append(b.head, f.Name...)
	b.head = binary.AppendUvarint(b.head, uint64(len(f.Data)))
	return b.frame(f.Data)
}

func (b *backupWriter) record(key, value []byte) error {
	b.info.Records++
	if _, err := unseal(key, value); err != nil {
		b.info.Damaged++
	}
	b.key(frameRecord, key)
	b.head = binary.AppendUvarint(b.head, uint64(len(value)))
	return b.frame(value)
}

func (b *backupWriter) unchanged(key []byte) error {
	b.info.Keys++
	b.key(frameKey, key)
	return b.frame(nil)
}

func (b *backupWriter) key(kind byte, key []byte) {
	same := 0
	for same < len(key) && same < len(b.last) && key[same] == b.last[same] {
		same++
	}
	b.head = append(b.head, kind)
	b.head = binary.AppendUvarint(b.head, uint64(same))
	b.head = binary.AppendUvarint(b.head, uint64(len(key)-same))
	b.head = append(b.head, key[same:]...)
	b.last = append(b.last[:0], key...)
}

func (b *backupWriter) end() error {
	b.head = append(b.head, frameTrailer)
	for _, n := range []uint64{b.info.Files, b.info.Records, b.info.Keys} {
		b.head = binary.AppendUvarint(b.head, n)
	}
	if err := b.frame(nil); err != nil {
		return err
	}
	if err := b.frame(b.sum.Sum(nil)); err != nil {
		return err
	}
	if err := b.w.Flush(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

// backupReader reads the stream frame by frame. Nothing that it returns may be
// trusted before next has returned io.EOF: only then the hash was right.
type backupReader struct {
	r       *bufio.Reader
	sum     hash.Hash
	pending []byte // read and not yet in sum
	info    BackupInfo

	kind  byte
	key   []byte
	value []byte // a record's value, or a file's data
	name  string
}

func newBackupReader(r io.Reader) (*backupReader, error) {
	b := &backupReader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	magic := make([]byte, len(backupMagic)+1)
	if err := b.full(magic); err != nil || string(magic[:len(backupMagic)]) != backupMagic {
		return nil, fmt.Errorf("%w: this is not the backup of a spool", ErrBackup)
	}
	if v := magic[len(backupMagic)]; v != backupVersion {
		return nil, fmt.Errorf("%w: it has version %d, this program knows %d", ErrBackup, v, backupVersion)
	}
	head, err := b.bytes(nil, maxBackupHead)
	if err == nil {
		read := b.info.Octets
		b.info, err = decodeBackupHead(head)
		b.info.Octets = read
	}
	if err != nil {
		return nil, broken(err)
	}
	b.flush()
	return b, nil
}

// broken says what an error of reading a backup means.
func broken(err error) error {
	switch {
	case errors.Is(err, ErrBackup):
		return err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it is cut off", ErrBackup)
	}
	return fmt.Errorf("%w: %w", ErrBackup, err)
}

// next reads a frame; io.EOF tells that the backup is complete and undamaged.
func (b *backupReader) next() error {
	if b.kind == frameTrailer {
		return io.EOF
	}
	if err := b.read(); err != nil {
		return broken(err)
	}
	if b.kind == frameTrailer {
		return io.EOF
	}
	b.flush()
	return nil
}

func (b *backupReader) read() (err error) {
	kind, err := b.ReadByte()
	if err != nil {
		return err
	}
	before := b.kind
	b.kind = kind
	switch kind {
	case frameFile:
		if before != 0 && before != frameFile || b.info.Files == maxBackupFiles {
			return errRecord
		}
		name, err := b.bytes(nil, 255)
		if err != nil {
			return err
		}
		b.name = string(name)
		b.info.Files++
		b.value, err = b.bytes(nil, maxBackupFile)
		return err
	case frameRecord, frameKey:
		if err := b.readKey(); err != nil {
			return err
		}
		if kind == frameKey {
			b.info.Keys++
			if b.info.Since == 0 {
				return errors.New("a full backup that leaves records out")
			}
			return nil
		}
		b.info.Records++
		if b.value, err = b.bytes(b.value, maxBackupValue); err != nil {
			return err
		}
		if _, err := unseal(b.key, b.value); err != nil {
			b.info.Damaged++
		}
		return nil
	case frameTrailer:
		return b.trailer()
	}
	return errRecord
}

func (b *backupReader) readKey() error {
	same, err := binary.ReadUvarint(b)
	if err != nil {
		return err
	}
	if same > uint64(len(b.key)) {
		return errRecord
	}
	rest, err := b.bytes(nil, maxBackupKey)
	if err != nil {
		return err
	}
	// In order: the first octet that is not in common must be greater.
	if len(rest) == 0 || same < uint64(len(b.key)) && rest[0] <= b.key[same] {
		return errRecord
	}
	if b.key = append(b.key[:same], rest...); len(b.key) > maxBackupKey {
		return errRecord
	}
	return nil
}

func (b *backupReader) trailer() error {
	for _, want := range []uint64{b.info.Files, b.info.Records, b.info.Keys} {
		n, err := binary.ReadUvarint(b)
		if err != nil {
			return err
		}
		if n != want {
			return errors.New("records are missing")
		}
	}
	b.flush()
	sum := b.sum.Sum(nil)
	got := make([]byte, len(sum))
	if err := b.full(got); err != nil {
		return err
	}
	b.flush()
	if subtle.ConstantTimeCompare(sum, got) == 0 {
		return errors.New("it does not match its checksum")
	}
	if _, err := b.r.ReadByte(); err == nil {
		return errors.New("something follows its end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// ReadByte is for binary.ReadUvarint.
func (b *backupReader) ReadByte() (byte, error) {
	c, err := b.r.ReadByte()
	if err == nil {
		b.pending = append(b.pending, c)
	}
	return c, err
}

func (b *backupReader) full(p []byte) error {
	if _, err := io.ReadFull(b.r, p); err != nil {
		return err
	}
	b.flush()
	b.sum.Write(p)
	b.info.Octets += int64(len(p))
	return nil
}

// bytes reads a length and as many octets, into buf if they fit.
func (b *backupReader) bytes(buf []byte, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(b)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("a field of %d octets", n)
	}
	if n > 1<<20 && uint64(cap(buf)) < n {
		// A length may be damage: take no more memory than there is to read.
		var grown bytes.Buffer
		if _, err := io.CopyN(&grown, b.r, int64(n)); err != nil {
			return nil, err
		}
		b.pending = append(b.pending, grown.Bytes()...)
		b.flush()
		return grown.Bytes(), nil
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	return buf, b.full(buf)
}

func (b *backupReader) flush() {
	b.sum.Write(b.pending)
	b.info.Octets += int64(len(b.pending))
	b.pending = b.pending[:0]
}

// VerifyBackup reads a backup to its end and fails with ErrBackup if it is cut
// off or damaged.
func VerifyBackup(r io.Reader) (BackupInfo, error) {
	b, err := newBackupReader(r)
	if err != nil {
		return BackupInfo{}, err
	}
	for {
		if err := b.next(); err == io.EOF {
			return b.info, nil
		} else if err != nil {
			return b.info, err
		}
	}
}
