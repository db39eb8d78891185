package imapd

import (
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/internal/mail"
	"restante/internal/structure"
	"restante/spool"
)

// copyBuffer is the size of the pieces in which messages are read and written.
const copyBuffer = 64 << 10

// Append stores a message that the client brings. The library throws away what
// is not read of it, and the connection under the library what it does not
// even begin to read.
func (s *session) Append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	flags, err := parseFlags(options.Flags)
	if err != nil {
		return nil, err
	}
	// Looked up before the octets are stored in vain.
	row, err := s.srv.opt.Mailboxes.Mailbox(s.account, name)
	if err != nil {
		return nil, s.tryCreate("append", err)
	}
	staged, err := s.srv.opt.Intake.Create()
	if err != nil {
		return nil, s.failure("append", err)
	}
	defer staged.Abort()
	parser := structure.NewParser()
	n, err := io.CopyBuffer(io.MultiWriter(staged, parser), struct{ io.Reader }{r}, make([]byte, copyBuffer))
	if err != nil {
		return nil, s.failure("append", err)
	}
	if n != r.Size() {
		return nil, s.failure("append", fmt.Errorf("got %d of %d octets: %w", n, r.Size(), io.ErrUnexpectedEOF))
	}
	if err := s.link.EndMessage(); errors.Is(err, wire.ErrTail) {
		return nil, bad("One APPEND takes one message")
	} else if err != nil {
		return nil, s.failure("append", err)
	}
	receipt, err := staged.Commit(s.ctx, spool.Message{
		Envelope:  mail.Envelope{Client: mail.Client{Protocol: "append", Addr: s.link.client.remote, Account: s.account}},
		Structure: parser.Finish().Encode(),
		Deposits:  []spool.Deposit{{Account: s.account, Mailbox: row.Name, Flags: flags, InternalDate: options.Time}},
	})
	if err != nil {
		return nil, s.tryCreate("append", err)
	}
	s.log.Debug("appended", "id", receipt.ID, "mailbox", row.Name, "size", n)
	d := receipt.Deposited[0]
	return &imap.AppendData{UID: imap.UID(d.UID), UIDValidity: d.UIDValidity}, nil
}
