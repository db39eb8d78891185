package migrate

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"restante/internal/control"
	"restante/internal/mail"
	"restante/internal/mbox"
	"restante/spool"
)

// mboxSink writes one mboxrd file for each mailbox, "Name.mbox" in directories
// as the levels of the name, with the flags in Status, X-Status and X-Keywords
// fields. A file is there whole or not at all; one that is there is left as it
// is.
type mboxSink struct {
	root string

	path string
	f    *os.File
	w    *mbox.Writer
}

// NewMbox returns a sink that writes into a directory.
func NewMbox(root string) Sink { return &mboxSink{root: root} }

// mboxPath is the file of a mailbox below the root. No level can lead out of it.
func mboxPath(name string) string {
	levels := strings.Split(name, spool.Separator)
	for i, level := range levels {
		level = escapeLevel(level, `\`)
		if level[0] == '.' {
			level = `\2e` + level[1:]
		}
		if strings.HasSuffix(level, ".mbox") || strings.HasSuffix(level, ".sbd") {
			at := strings.LastIndexByte(level, '.')
			level = level[:at] + `\2e` + level[at+1:]
		}
		levels[i] = level
	}
	return filepath.Join(levels...) + ".mbox"
}

func (s *mboxSink) Begin(m control.Mailbox) (string, error) {
	if m.Messages == 0 {
		return "it is empty", nil // a file of nothing says nothing
	}
	s.path = filepath.Join(s.root, mboxPath(m.Name))
	if _, err := os.Lstat(s.path); err == nil {
		return s.path + " is there already", nil
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return "", err
	}
	var err error
	if s.f, err = os.OpenFile(s.path+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return "", err
	}
	s.w = mbox.NewWriter(s.f)
	return "", nil
}

func (s *mboxSink) Has(control.Mail) bool { return false }

// Put appends a message. One that breaks off is taken off again.
func (s *mboxSink) Put(m control.Mail, text io.Reader) error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	at, err := s.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	err = s.w.Message(mail.Address{}, m.Date, statusFields(m.Flags), text)
	if errors.Is(err, errRead) {
		s.w = mbox.NewWriter(s.f)
		_, seek := s.f.Seek(at, io.SeekStart)
		if broken := errors.Join(s.f.Truncate(at), seek); broken != nil {
			return broken
		}
	}
	return err
}

// statusFields are the flags as mail programs write them.
func statusFields(flags []string) string {
	status, x, keywords := "O", "", ""
	for _, f := range flags {
		switch f {
		case `\Seen`:
			status = "RO"
		case `\Answered`:
			x += "A"
		case `\Flagged`:
			x += "F"
		case `\Draft`:
			x += "T"
		case `\Deleted`:
			x += "D"
		default:
			keywords += " " + f
		}
	}
	text := "Status: " + status + "\n"
	if x != "" {
		text += "X-Status: " + x + "\n"
	}
	if keywords != "" {
		text += "X-Keywords:" + keywords + "\n"
	}
	return text
}

func (s *mboxSink) End() error {
	if err := errors.Join(s.w.Flush(), s.f.Sync(), s.f.Close()); err != nil {
		return errors.Join(err, os.Remove(s.path+".part"))
	}
	if err := os.Rename(s.path+".part", s.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.path))
}

func (s *mboxSink) Abort() {
	_ = s.f.Close()
	_ = os.Remove(s.path + ".part")
}
