package migrate

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"restante/imapd/wire"
	"restante/spool"
)

// maildirSource is a Maildir with its folders: Maildir++ (".Sent.2019" beside
// cur and new), or folders in folders.
type maildirSource struct{ root string }

// OpenMaildir returns what is at a path.
func OpenMaildir(path string) (Source, error) {
	root, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	s := &maildirSource{root}
	folders, err := s.Folders(context.Background())
	if err == nil && len(folders) == 0 {
		err = fmt.Errorf("%s: there is no Maildir (no folder cur)", path)
	}
	return s, err
}

func (s *maildirSource) ID() string { return "maildir " + s.root }

func (s *maildirSource) Close() error { return nil }

// Folders finds every directory that has a cur in it. The root is INBOX, and so
// is one of that name.
func (s *maildirSource) Folders(context.Context) ([]Folder, error) {
	var list []Folder
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path == s.root:
			return err
		case err != nil, !d.IsDir():
			return nil // it cannot be looked into, and has nothing that is known
		case d.Name() == "cur" || d.Name() == "new" || d.Name() == "tmp":
			if path != s.root {
				return fs.SkipDir
			}
		}
		if info, err := os.Stat(filepath.Join(path, "cur")); err != nil || !info.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		list = append(list, Folder{Name: maildirName(rel), Subscribed: true, place: rel})
		return nil
	})
	if err != nil {
		return nil, err
	}
	guessUses(list)
	sortFolders(list)
	return list, nil
}

// maildirName is the name of a folder at a path below the root.
func maildirName(rel string) string {
	if rel == "." {
		return spool.Inbox
	}
	var levels []string
	for _, part := range strings.Split(filepath.ToSlash(rel), "/") {
		if rest, ok := strings.CutPrefix(part, "."); ok {
			for _, level := range strings.Split(rest, ".") {
				levels = append(levels, folderLevel(level))
			}
		} else {
			levels = append(levels, folderLevel(part))
		}
	}
	return spool.CanonicalName(strings.Join(levels, spool.Separator))
}

// folderLevel reads a level's name: modified UTF-7 or UTF-8, with Dovecot's
// escapes (\2e for a dot).
func folderLevel(s string) string {
	if name, err := wire.DecodeUTF7(s); err == nil {
		s = name
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	name := strings.ReplaceAll(b.String(), spool.Separator, "_")
	if !utf8.ValidString(name) {
		name = strings.ToValidUTF8(name, "_")
	}
	return name
}

// file is a message in a Maildir.
type file struct {
	path string
	// key is the name without the flags: it never changes.
	key, info string
}

func (s *maildirSource) files(f Folder, had func(string) bool) ([]file, error) {
	var list []file
	for _, sub := range []string{"cur", "new"} {
		dir := filepath.Join(s.root, f.place, sub)
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			key, info, _ := strings.Cut(e.Name(), ":2,")
			if !had(key) {
				list = append(list, file{filepath.Join(dir, e.Name()), key, info})
			}
		}
	}
	slices.SortFunc(list, func(a, b file) int {
		return cmp.Or(cmp.Compare(delivered(a.key), delivered(b.key)), strings.Compare(a.key, b.key))
	})
	return slices.CompactFunc(list, func(a, b file) bool { return a.key == b.key }), nil
}

// delivered is the time in front of a file's name, 0 if there is none.
func delivered(key string) int64 {
	text, _, _ := strings.Cut(key, ".")
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func (s *maildirSource) Count(_ context.Context, f Folder, had func(string) bool) (int, error) {
	list, err := s.files(f, had)
	return len(list), err
}

func (s *maildirSource) Each(ctx context.Context, f Folder, had func(string) bool, skip func(string, error), take func(Message, io.Reader) error) error {
	list, err := s.files(f, had)
	if err != nil {
		return err
	}
	keywords, err := readKeywords(filepath.Join(s.root, f.place))
	if err != nil {
		return err
	}
	for _, m := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := s.one(m, keywords, skip, take)
		if errors.Is(err, errRead) {
			skip(m.key, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (s *maildirSource) one(m file, keywords map[byte]string, skip func(string, error), take func(Message, io.Reader) error) error {
	in, err := os.Open(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		// A program has changed its flags, or moved it, in the meantime.
		if again, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(m.path)), "cur", m.key+":2,*")); len(again) == 1 {
			_, m.info, _ = strings.Cut(again[0], ":2,")
			in, err = os.Open(again[0])
		} else {
			return nil
		}
	}
	if err != nil {
		skip(m.key, err)
		return nil
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		skip(m.key, err)
		return nil
	}
	if !info.Mode().IsRegular() {
		skip(m.key, errors.New("it is no file"))
		return nil
	}
	return take(Message{Key: m.key, Flags: maildirFlags(m.info, keywords), Date: info.ModTime(), Size: -1}, newCRLF(in))
}

// letters are the flags of a Maildir's file names.
var letters = map[byte]string{'D': `\Draft`, 'F': `\Flagged`, 'P': "$Forwarded", 'R': `\Answered`, 'S': `\Seen`, 'T': `\Deleted`}

func maildirFlags(info string, keywords map[byte]string) (list []string) {
	for i := range len(info) {
		if f := letters[info[i]]; f != "" {
			list = append(list, f)
		} else if f := keywords[info[i]]; f != "" {
			list = append(list, f)
		}
	}
	return list
}

// keywordFile is where Dovecot says which keywords the letters a to z are.
const keywordFile = "dovecot-keywords"

func readKeywords(dir string) (map[byte]string, error) {
	f, err := os.Open(filepath.Join(dir, keywordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list := make(map[byte]string)
	in := bufio.NewScanner(f)
	for in.Scan() {
		number, name, ok := strings.Cut(in.Text(), " ")
		if n, err := strconv.Atoi(number); ok && err == nil && n >= 0 && n < 26 {
			list['a'+byte(n)] = name
		}
	}
	return list, in.Err()
}
