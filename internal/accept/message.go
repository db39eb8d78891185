package accept

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"restante/internal/archive"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
	"restante/internal/structure"
	"restante/spool"
)

// Message is one message on its way in: SetHeader, Write for the body, and
// then Commit, Report or Abort. It is not safe for concurrent use.
type Message struct {
	a      *Acceptor
	sub    Submission
	staged spool.Staged
	msg    spool.Message
	local  bool           // something is or will be deposited
	rules  []archive.Rule // that keep a copy, unless the header is against it

	// front is what was written of a header that is not complete yet; block is
	// the header, once it is.
	front []byte
	block *header.Block

	parser *structure.Parser  // nil if nobody will look at the structure
	found  *structure.Message // by the parser, when it has ended
	seen   *screen.Message    // what screens and signers are shown
	judges []judge
	jobs   []SignJob
	fields []byte // of the screens, behind the trace
	edited bool   // a screen changed the header

	// For the story: the rules that were applied, what screens did, and whose
	// the deposits are, as far as those are the plan's.
	steps  []taken
	said   []spool.Event
	owners []mail.Address
}

// Begin takes in a message of our own making, which is written whole: a report,
// or one that was handed over on this machine. See Submit.
func (a *Acceptor) Begin(env mail.Envelope, rcpts []mail.Recipient) (*Message, error) {
	return a.Submit(Submission{Envelope: env, Recipients: rcpts, Trusted: true})
}

// Submit resolves the recipients and opens a staging area. A recipient that
// leads nowhere any more fails the whole with mail.ErrNoSuchUser, a group that
// is closed to the sender with ErrClosed. Other errors are the spool's.
func (a *Acceptor) Submit(s Submission) (*Message, error) {
	m := &Message{a: a, sub: s}
	if err := m.plan(); err != nil {
		return nil, err
	}
	staged, err := a.opt.Intake.Create()
	if err != nil {
		return nil, err
	}
	m.staged = staged
	return m, nil
}

// plan finds out what becomes of the message, for the recipients as they are.
func (m *Message) plan() error {
	m.steps = nil
	p, err := m.a.Plan(m.sub, m.noteStep)
	if err != nil {
		return err
	}
	m.msg.Envelope = m.sub.Envelope
	m.msg.Envelope.From = p.From
	m.msg.Deposits, m.msg.Tasks, m.local, m.owners = p.Deposits, p.Tasks, p.local, p.owners
	m.rules = m.a.matching(&m.sub, p.From)
	m.local = m.local || slices.ContainsFunc(m.rules, func(r archive.Rule) bool { return r.To.IsNull() })
	return nil
}

// ID is the queue ID the message will have; Commit may give it another, if a
// screen replaces the body.
func (m *Message) ID() mail.ID { return m.staged.ID() }

// Size is the number of octets that the message came with so far.
func (m *Message) Size() int64 {
	if m.block == nil {
		return int64(len(m.front))
	}
	return int64(len(m.block.Raw())) + m.staged.Size()
}

// Envelope gives access to the envelope until the message is committed: some
// of it, such as EightBit, is only known after the body. Changes of From do not
// count.
func (m *Message) Envelope() *mail.Envelope { return &m.msg.Envelope }

// SetHeader gives the message its header, as it came. It must come before the
// body, and only once. An error refuses the message for now.
func (m *Message) SetHeader(ctx context.Context, b *header.Block) error {
	m.block, m.front = b, nil
	if len(m.a.opt.Screens)+len(m.a.opt.Signers) > 0 {
		m.seen = &screen.Message{
			ID: m.staged.ID(), Envelope: m.sub.Envelope, Recipients: m.sub.Recipients,
			Trusted: m.sub.Trusted, TLS: m.sub.TLS, Header: b.Edit().Fields(),
		}
	}
	if m.sub.Screened {
		if err := m.screen(ctx); err != nil {
			return err
		}
	}
	m.begin()
	return nil
}

// begin has those ready who look at the body on its way into the spool.
func (m *Message) begin() {
	m.parser, m.found, m.jobs = nil, nil, nil
	if m.local || len(m.judges) > 0 {
		m.parser = structure.NewParser()
		m.parser.Write(m.block.Raw())
		if !m.block.Separated() {
			m.parser.Write([]byte("\r\n"))
		}
	}
	if !m.sub.ours() {
		return
	}
	for _, s := range m.a.opt.Signers {
		if job := s.Begin(m.seen); job != nil {
			m.jobs = append(m.jobs, job)
		}
	}
}

// Write appends to the body. Before SetHeader it is given the message whole:
// the header, up to its empty line, and the body.
func (m *Message) Write(p []byte) (int, error) {
	if m.block == nil {
		return m.gather(p)
	}
	for _, j := range m.judges {
		j.Write(p)
	}
	return m.store(p)
}

// store writes what is the body in the end.
func (m *Message) store(p []byte) (int, error) {
	if m.parser != nil {
		m.parser.Write(p)
	}
	for _, job := range m.jobs {
		job.Write(p)
	}
	return m.staged.Write(p)
}

// gather collects a header that is written together with the body.
func (m *Message) gather(p []byte) (int, error) {
	m.front = append(m.front, p...)
	if bytes.IndexByte(p, '\n') < 0 || !header.Ends(m.front) {
		if len(m.front) > spool.MaxHead {
			return 0, header.ErrTooLarge
		}
		return len(p), nil
	}
	return len(p), m.divide()
}

// divide makes header and body of what was gathered.
func (m *Message) divide() error {
	block, rest, err := header.Read(bytes.NewReader(m.front), spool.MaxHead)
	if err != nil {
		return err
	}
	if err := m.SetHeader(context.Background(), block); err != nil {
		return err
	}
	_, err = io.Copy(writer{m}, rest)
	return err
}

// writer hides all of a Message but Write.
type writer struct{ m *Message }

func (w writer) Write(p []byte) (int, error) { return w.m.Write(p) }

// Commit makes the message durable; see spool.Staged. A screen's refusal is a
// *RefusedError; other errors of screens and signers refuse the message for
// now. A message that a screen discards is committed without an error, and
// nothing is stored of it.
func (m *Message) Commit(ctx context.Context) (spool.Receipt, error) {
	defer m.dismiss()
	keep, err := m.finish(ctx)
	if err != nil || !keep {
		m.staged.Abort()
		return spool.Receipt{ID: m.staged.ID()}, err
	}
	m.begun()
	return m.staged.Commit(ctx, m.msg)
}

// Report hands the message over to be committed by a Settle. Screens are not
// asked, and a signature that cannot be made is left out.
func (m *Message) Report() spool.Report {
	m.sub.Screened = false
	if _, err := m.finish(context.Background()); err != nil {
		// What is left unsigned here still has to be told.
		m.a.opt.Logger.Error("report is not signed", "id", m.ID().String(), "error", err)
		m.jobs = nil
		if m.block == nil {
			m.block = header.Parse(m.front)
		}
		_ = m.seal(context.Background(), m.block.Edit())
	}
	m.begun()
	return spool.Report{Staged: m.staged, Message: m.msg}
}

// Abort throws the message away, unless it was committed.
func (m *Message) Abort() {
	m.dismiss()
	m.staged.Abort()
}

// finish has the screens' say, and makes the head of the message. It does not
// keep what they discard.
func (m *Message) finish(ctx context.Context) (keep bool, err error) {
	if m.block == nil {
		if err := m.divide(); err != nil {
			return false, err
		}
	}
	e := m.block.Edit()
	if len(m.judges) > 0 {
		if keep, err := m.obey(ctx, e); err != nil || !keep {
			return false, err
		}
	}
	m.complete(e)
	if err := m.keep(m.block); err != nil {
		return false, err
	}
	return true, m.seal(ctx, e)
}

// seal signs the final header, and makes of it the head and the structure.
func (m *Message) seal(ctx context.Context, e *header.Editor) error {
	if m.parser != nil {
		m.found = m.divided(e)
	}
	m.name(e)
	fields := e.Fields()
	var head []byte
	for _, job := range m.jobs {
		signature, err := job.Sign(ctx, fields)
		if err != nil {
			return fmt.Errorf("signing: %w", err)
		}
		head = append(head, signature...)
	}
	if m.sub.Trace != nil {
		head = append(head, m.sub.Trace(m.staged.ID())...)
	}
	head = append(append(head, m.fields...), fields...)
	if m.block.Separated() || m.staged.Size() > 0 {
		head = append(head, m.emptyLine()...)
	}
	m.msg.Head = head
	if len(head) > spool.MaxHead {
		return &RefusedError{mail.Status{Code: 552, Enhanced: [3]int{5, 3, 4}, Text: "Header too large"}}
	}
	m.route(head)
	if m.found != nil {
		whole, ok := m.found.Rehead(head)
		if !ok {
			return errors.New("the structure does not fit the header")
		}
		m.msg.Structure = whole.Encode()
	}
	return nil
}

// emptyLine is the one that ends the header, as it came.
func (m *Message) emptyLine() string {
	if raw := m.block.Raw(); m.block.Separated() && !bytes.HasSuffix(raw, []byte("\r\n")) {
		return "\n"
	}
	return "\r\n"
}

// divided ends the parser. A change of Content-Type that would divide the body
// in another way, which has gone by, is undone.
func (m *Message) divided(e *header.Editor) *structure.Message {
	found := m.parser.Finish()
	m.parser = nil
	if !m.edited {
		return found
	}
	if now, ok := found.Rehead(append(e.Fields(), m.emptyLine()...)); ok {
		return now
	}
	m.a.opt.Logger.Warn("a screen's change of Content-Type does not fit the body and is left out", "id", m.ID().String())
	e.DeleteAll("Content-Type")
	for _, f := range m.block.Fields() {
		if f.Is("Content-Type") {
			e.Append(f.Name, f.Value())
			break
		}
	}
	now, _ := found.Rehead(append(e.Fields(), m.emptyLine()...))
	return now
}
