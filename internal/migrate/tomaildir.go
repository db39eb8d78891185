package migrate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"restante/imapd/wire"
	"restante/internal/control"
	"restante/spool"
)

// maildirSink writes Maildir++, as Dovecot and Courier have it: INBOX is the
// root, other mailboxes are ".Level.Level" in it. The INTERNALDATE is the time
// of the file. A file's name says which message it is, so that a repeated run
// writes what is missing; a flag that has changed since stays as it was.
type maildirSink struct {
	root string

	dir      string
	box      control.Mailbox
	there    map[string]bool
	keywords map[string]byte
}

// NewMaildir returns a sink that writes into a directory.
func NewMaildir(root string) Sink { return &maildirSink{root: root} }

// maildirFolder is the directory's name for a mailbox, "" for INBOX.
func maildirFolder(name string) string {
	if name == spool.Inbox {
		return ""
	}
	var b strings.Builder
	for level := range strings.SplitSeq(name, spool.Separator) {
		b.WriteString(".")
		b.WriteString(wire.EncodeUTF7(escapeLevel(level, `\.`)))
	}
	return b.String()
}

// escapeLevel writes some characters of a level as Dovecot's listescape does.
func escapeLevel(level, special string) string {
	var b strings.Builder
	for i := range len(level) {
		if c := level[i]; strings.IndexByte(special, c) >= 0 {
			fmt.Fprintf(&b, `\%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (s *maildirSink) Begin(m control.Mailbox) (string, error) {
	s.box, s.dir = m, filepath.Join(s.root, maildirFolder(m.Name))
	if len(filepath.Base(s.dir)) > 250 {
		return "its name is too long for a file", nil
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return "", err
		}
	}
	if s.dir != s.root {
		// It says that this is a folder, and no account's root.
		if err := os.WriteFile(filepath.Join(s.dir, "maildirfolder"), nil, 0o600); err != nil {
			return "", err
		}
	}
	s.there = make(map[string]bool)
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(s.dir, sub))
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			key, _, _ := strings.Cut(e.Name(), ":2,")
			s.there[key] = true
		}
	}
	known, err := readKeywords(s.dir)
	if err != nil {
		return "", err
	}
	s.keywords = make(map[string]byte)
	for letter, name := range known {
		s.keywords[name] = letter
	}
	return "", nil
}

func (s *maildirSink) key(m control.Mail) string {
	return fmt.Sprintf("%d.V%dU%d.restante", m.Date.Unix(), s.box.UIDValidity, m.UID)
}

func (s *maildirSink) Has(m control.Mail) bool { return s.there[s.key(m)] }

// info is the flags behind a file's name, in the order of the alphabet.
func (s *maildirSink) info(flags []string) string {
	var list []byte
	for _, f := range flags {
		at := len(list)
		for letter, name := range letters {
			if f == name {
				list = append(list, letter)
			}
		}
		if len(list) > at || strings.HasPrefix(f, `\`) {
			continue
		}
		letter, ok := s.keywords[f]
		if !ok && len(s.keywords) < 26 {
			letter, ok = 'a'+byte(len(s.keywords)), true
			s.keywords[f] = letter
		}
		if ok {
			list = append(list, letter)
		}
	}
	slices.Sort(list)
	return string(list)
}

func (s *maildirSink) Put(m control.Mail, text io.Reader) (err error) {
	key := s.key(m)
	part := filepath.Join(s.dir, "tmp", key)
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), ignoreMissing(os.Remove(part)))
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	lines := &lf{w: w}
	if _, err := io.Copy(lines, text); err != nil {
		return err
	}
	if err := errors.Join(lines.end(), w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Chtimes(part, m.Date, m.Date); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(s.dir, "cur", key+":2,"+s.info(m.Flags)))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// End writes down which keywords the letters are.
func (s *maildirSink) End() error {
	if len(s.keywords) > 0 {
		var b bytes.Buffer
		byLetter := make(map[byte]string)
		for name, letter := range s.keywords {
			byLetter[letter] = name
		}
		for _, letter := range slices.Sorted(maps.Keys(byLetter)) {
			fmt.Fprintf(&b, "%d %s\n", letter-'a', byLetter[letter])
		}
		if err := os.WriteFile(filepath.Join(s.dir, keywordFile), b.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return syncDir(filepath.Join(s.dir, "cur"))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Abort keeps what there is, with the keywords that it uses.
func (s *maildirSink) Abort() { _ = s.End() }
