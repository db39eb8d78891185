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

// parseAppend reads APPEND, of one message or of several (RFC 3502), and stores
// them while they come. What makes it impossible is found out before the client
// is asked for the octets.
func (s *session) parseAppend(d *wire.Decoder, _ call) action {
	d.Space()
	in := &incoming{s: s, d: d, op: "append", name: d.Mailbox(s.rawNames()), most: spool.MaxTogether}
	if s.tooMany(in.most) {
		in.most = s.srv.opt.MaxMessages
	}
	if err := in.read(); err != nil {
		in.abort()
		return d.Refuse(err)
	}
	if d.End(); d.Err() != nil {
		in.abort()
		return nil
	}
	return func() error {
		defer in.abort()
		deposited, err := in.commit(spool.Place{})
		if err != nil {
			return err
		}
		return ok(appendUID(deposited))
	}
}

// appendUID is the response code of RFC 4315 and RFC 3502. A mailbox can have
// been made anew between two messages of no APPEND, since they are stored as one.
func appendUID(list []spool.Deposited) string {
	uids := make([]spool.UID, len(list))
	for i, d := range list {
		uids[i] = d.UID
	}
	return fmt.Sprintf("APPENDUID %d %s", list[0].UIDValidity, numberSet(uids))
}

// incoming are the messages that a command brings.
type incoming struct {
	s    *session
	d    *wire.Decoder
	op   string
	name string // of the mailbox
	most int    // how many messages there may be
	// freed is what the command takes out of the mailbox.
	freed struct{ octets, messages int64 }

	row    spool.Mailbox
	rights rights
	list   []*taken
	size   int64 // of those in list
}

// taken is a message that has come.
type taken struct {
	staged spool.Staged
	parser *structure.Parser
	flags  spool.Flags
	date   time.Time
}

// Write adds to the message.
func (m *taken) Write(p []byte) (int, error) {
	n, err := m.staged.Write(p)
	m.parser.Write(p[:n])
	return n, err
}

// abort throws away what was not committed.
func (in *incoming) abort() {
	for _, m := range in.list {
		m.staged.Abort()
	}
}

// read takes the messages. What it returns is a refusal; the decoder has its own
// errors.
func (in *incoming) read() error {
	for d := in.d; d.Err() == nil; {
		d.Space()
		if err := in.message(); err != nil || d.Err() != nil {
			return err
		}
		if d.AtEnd() {
			return nil
		}
	}
	return nil
}

// message takes flags, a date and a message.
func (in *incoming) message() (err error) {
	d, m := in.d, &taken{}
	var list []imap.Flag
	if d.Peek() == '(' {
		list = d.Flags()
		d.Space()
	}
	if d.Peek() == '"' {
		m.date = d.DateTime()
		d.Space()
	}
	switch d.Peek() {
	case 'U', 'u', 'C', 'c':
		switch d.Word() {
		case "UTF8": // UTF8 (~{n} …), RFC 6855 section 4
			d.Space()
			d.Expect('(')
			if err := in.literal(m, list); err != nil {
				return err
			}
			d.Expect(')')
			return nil
		case "CATENATE":
			d.Space()
			return in.catenate(m, list)
		}
		d.Fail("A message is missing")
	}
	return in.literal(m, list)
}

// literal takes a message that is sent as it is.
func (in *incoming) literal(m *taken, list []imap.Flag) error {
	size, binary, is := in.d.Literal()
	if !is {
		in.d.Fail("A message is missing")
	}
	if in.d.Err() != nil {
		return nil
	}
	if size == 0 { // RFC 3502 section 6.3.11
		return no("", "There are no messages of no octets; nothing was stored")
	}
	if err := in.begin(m, list, size); err != nil {
		return err
	}
	if binary {
		return in.binary(m, in.d.Stream(), size)
	}
	return in.copy(m, in.d.Stream(), size)
}

// begin makes a message of at least size octets, if there can be one.
func (in *incoming) begin(m *taken, list []imap.Flag, size int64) (err error) {
	if m.flags, err = parseFlags(list); err != nil {
		return err
	}
	if len(in.list) == in.most {
		code := imap.ResponseCodeLimit
		if in.most == in.s.srv.opt.MaxMessages {
			code = in.s.codeMessageLimit(0)
		}
		return no(code, fmt.Sprintf("At most %d messages can be stored together", in.most))
	}
	if in.row.ID == 0 {
		to, err := in.s.mailbox(in.name, rightInsert)
		if err != nil {
			return in.s.tryCreate(in.op, in.name, err)
		}
		in.row, in.rights = to.row, to.rights
	}
	m.flags = m.flags.Without(in.rights.fixed())
	if err := in.fits(0, size, len(in.list)+1); err != nil {
		return err
	}
	if m.staged, err = in.s.srv.opt.Intake.Create(); err != nil {
		return in.s.failure(in.op, err)
	}
	m.parser = structure.NewParser()
	in.list = append(in.list, m)
	return nil
}

// fits tells whether size octets more can be stored, of a message of which there
// are some already, and which is the last of so many.
func (in *incoming) fits(some, size int64, messages int) error {
	if most := in.s.srv.opt.MaxAppend; size > most-some {
		return no(codeTooBig, fmt.Sprintf("Messages are limited to %d octets", most))
	}
	freed := in.freed
	if in.s.box != nil && in.s.box.owner != in.row.Account {
		freed.octets, freed.messages = 0, 0
	}
	return in.s.room(in.row.Account, in.size+size-freed.octets, int64(messages)-freed.messages)
}

// copy adds octets to a message.
func (in *incoming) copy(m *taken, r io.Reader, size int64) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{m}, struct{ io.Reader }{r}, make([]byte, min(copyBuffer, size+1)))
	if err == nil && n != size {
		err = fmt.Errorf("got %d of %d octets: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return in.s.failure(in.op, err)
	}
	in.size += n
	return nil
}

// commit stores the messages, all or none, in the place of another if there is
// one.
func (in *incoming) commit(replaced spool.Place) ([]spool.Deposited, error) {
	s := in.s
	list := make([]spool.Staging, len(in.list))
	for i, m := range in.list {
		list[i] = spool.Staging{Staged: m.staged, Message: spool.Message{
			Envelope:  mail.Envelope{Client: mail.Client{Protocol: "append", Addr: s.remote, Account: s.account}},
			Structure: m.parser.Finish().Encode(),
			Deposits:  []spool.Deposit{{Account: in.row.Account, Mailbox: in.row.Name, Flags: m.flags, InternalDate: m.date}},
		}}
	}
	receipts, err := s.srv.opt.Intake.CommitAll(s.ctx, list, replaced)
	if err != nil {
		return nil, s.tryCreate(in.op, in.name, err)
	}
	deposited := make([]spool.Deposited, len(receipts))
	for i, r := range receipts {
		deposited[i] = r.Deposited[0]
		s.moved(deposited[i].Mailbox, []spool.UID{deposited[i].UID})
		s.log.Debug("appended", "id", r.ID, "mailbox", in.row.Name, "size", in.list[i].staged.Size())
	}
	return deposited, nil
}

// isGone tells whether an error only means that the message was expunged in
// the meantime.
func isGone(err error) bool { return errors.Is(err, spool.ErrNotFound) }

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }
