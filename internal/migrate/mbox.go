package migrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"restante/internal/mbox"
	"restante/spool"
)

// mboxSource is one mbox file, or a directory of them: mutt's, Thunderbird's
// (with its .sbd directories), or what Export wrote.
type mboxSource struct {
	root string
	// single: root is a file.
	single bool
}

// OpenMbox returns what is at a path.
func OpenMbox(path string) (Source, error) {
	root, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	s := &mboxSource{root: root, single: !info.IsDir()}
	folders, err := s.Folders(context.Background())
	if err == nil && len(folders) == 0 {
		err = fmt.Errorf("%s: there is no mbox file (one begins with \"From \")", path)
	}
	return s, err
}

func (s *mboxSource) ID() string { return "mbox " + s.root }

func (s *mboxSource) Close() error { return nil }

// Folders finds the files that begin as an mbox does. A single one is INBOX.
func (s *mboxSource) Folders(context.Context) ([]Folder, error) {
	if s.single {
		if ok, err := isMbox(s.root); err != nil || !ok {
			return nil, err
		}
		return []Folder{{Name: spool.Inbox, place: s.root}}, nil
	}
	var list []Folder
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil && path == s.root {
			return err
		}
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		if ok, err := isMbox(path); err != nil || !ok {
			return nil // what cannot be opened is told of only if it is asked for alone
		}
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		list = append(list, Folder{Name: mboxName(rel), Subscribed: true, place: path})
		return nil
	})
	if err != nil {
		return nil, err
	}
	guessUses(list)
	sortFolders(list)
	return list, nil
}

func isMbox(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var begin [5]byte
	_, err = io.ReadFull(f, begin[:])
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return string(begin[:]) == "From ", err
}

func mboxName(rel string) string {
	var levels []string
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		levels = append(levels, folderLevel(strings.TrimSuffix(strings.TrimSuffix(part, ".mbox"), ".sbd")))
	}
	return spool.CanonicalName(strings.Join(levels, spool.Separator))
}

// found is a message in an mbox file.
type found struct {
	key string
	at  int64
}

// scan finds the messages of a file that were not had. The key is the hash of
// the text without what programs note in it, and which of the same texts it is.
func (s *mboxSource) scan(ctx context.Context, f Folder, had func(string) bool) (list []found, err error) {
	file, err := os.Open(f.place)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in := mbox.NewReader(file, 0)
	same := make(map[[16]byte]int)
	for {
		m, err := in.Next()
		if err == io.EOF {
			return list, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		if _, err := io.Copy(h, in); err != nil {
			return nil, err
		}
		if m.Gone {
			continue
		}
		sum := [16]byte(h.Sum(nil))
		same[sum]++
		key := fmt.Sprintf("%s.%d", hex.EncodeToString(sum[:]), same[sum])
		if !had(key) {
			list = append(list, found{key, m.At})
		}
	}
}

func (s *mboxSource) Count(ctx context.Context, f Folder, had func(string) bool) (int, error) {
	list, err := s.scan(ctx, f, had)
	return len(list), err
}

func (s *mboxSource) Each(ctx context.Context, f Folder, had func(string) bool, skip func(string, error), take func(Message, io.Reader) error) error {
	list, err := s.scan(ctx, f, had)
	if err != nil {
		return err
	}
	file, err := os.Open(f.place)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, want := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := file.Seek(want.at, io.SeekStart); err != nil {
			return err
		}
		in := mbox.NewReader(file, want.at)
		m, err := in.Next()
		if err != nil {
			return fmt.Errorf("the file was changed in the meantime: %w", err)
		}
		if len(bytes.TrimSpace(m.Head)) == 0 && in.Empty() {
			skip(want.key, errors.New("it is empty"))
			continue
		}
		err = take(Message{Key: want.key, Flags: m.Flags, Date: m.Date, Size: -1}, in)
		if errors.Is(err, errRead) {
			skip(want.key, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
