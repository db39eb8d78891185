package imapd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/internal/mail"
	"restante/internal/structure"
	"restante/spool"
)

// parseAppend reads APPEND and stores the message while it comes. What makes it
// impossible is found out before the client is asked for the octets.
func (s *session) parseAppend(d *wire.Decoder, _ call) action {
	d.Space()
	name := d.Mailbox(s.rawNames())
	d.Space()
	var list []imap.Flag
	if d.Peek() == '(' {
		list = d.Flags()
		d.Space()
	}
	var date time.Time
	if d.Peek() == '"' {
		date = d.DateTime()
		d.Space()
	}
	wrapped := d.Peek() == 'U' || d.Peek() == 'u'
	if wrapped { // UTF8 (~{n} …), RFC 6855 section 4
		if d.Word() != "UTF8" {
			d.Fail("A message is missing")
		}
		d.Space()
		d.Expect('(')
	}
	size, _, is := d.Literal()
	if !is {
		d.Fail("A message is missing")
	}
	if d.Err() != nil {
		return nil
	}
	flags, row, err := s.appendable(name, list, size)
	if err != nil {
		return d.Refuse(err)
	}
	m, err := s.take(d.Stream(), size)
	if err != nil {
		return d.Refuse(s.failure("append", err))
	}
	if wrapped {
		d.Expect(')')
	}
	if d.End(); d.Err() != nil {
		m.staged.Abort()
		return nil
	}
	return func() error {
		defer m.staged.Abort()
		return s.store(m, row, flags, date)
	}
}

// appendable tells whether a message can be put into a mailbox.
func (s *session) appendable(name string, list []imap.Flag, size int64) (spool.Flags, spool.Mailbox, error) {
	flags, err := parseFlags(list)
	if err != nil {
		return flags, spool.Mailbox{}, err
	}
	if size > s.srv.opt.MaxAppend {
		return flags, spool.Mailbox{}, no(codeTooBig, fmt.Sprintf("Messages are limited to %d octets", s.srv.opt.MaxAppend))
	}
	row, err := s.srv.opt.Mailboxes.Mailbox(s.account, name)
	if err != nil {
		return flags, row, s.tryCreate("append", err)
	}
	return flags, row, s.room(s.account, size, 1)
}

// taken is a message that has come.
type taken struct {
	staged spool.Staged
	parser *structure.Parser
}

// take reads a message into the spool.
func (s *session) take(r io.Reader, size int64) (taken, error) {
	staged, err := s.srv.opt.Intake.Create()
	if err != nil {
		return taken{}, err
	}
	parser := structure.NewParser()
	n, err := io.CopyBuffer(io.MultiWriter(staged, parser), struct{ io.Reader }{r}, make([]byte, min(copyBuffer, size+1)))
	if err == nil && n != size {
		err = fmt.Errorf("got %d of %d octets: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		staged.Abort()
		return taken{}, err
	}
	return taken{staged, parser}, nil
}

func (s *session) store(m taken, row spool.Mailbox, flags spool.Flags, date time.Time) error {
	receipt, err := m.staged.Commit(s.ctx, spool.Message{
		Envelope:  mail.Envelope{Client: mail.Client{Protocol: "append", Addr: s.remote, Account: s.account}},
		Structure: m.parser.Finish().Encode(),
		Deposits:  []spool.Deposit{{Account: s.account, Mailbox: row.Name, Flags: flags, InternalDate: date}},
	})
	if err != nil {
		return s.tryCreate("append", err)
	}
	s.log.Debug("appended", "id", receipt.ID, "mailbox", row.Name, "size", m.staged.Size())
	d := receipt.Deposited[0]
	return ok(fmt.Sprintf("APPENDUID %d %d", d.UIDValidity, d.UID))
}

// isGone tells whether an error only means that the message was expunged in
// the meantime.
func isGone(err error) bool { return errors.Is(err, spool.ErrNotFound) }

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }
