package accept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
	"restante/spool"
)

// judge is a screen at work on a message.
type judge struct{ screen.Judge }

// screen has the screens begin.
func (m *Message) screen(ctx context.Context) error {
	for _, s := range m.a.opt.Screens {
		j, err := s.Begin(ctx, m.seen)
		if err != nil {
			m.dismiss()
			return fmt.Errorf("screening: %w", err)
		}
		if j != nil {
			m.judges = append(m.judges, judge{j})
		}
	}
	return nil
}

// dismiss ends the judging.
func (m *Message) dismiss() {
	for _, j := range m.judges {
		j.Close()
	}
	m.judges = nil
}

// obey asks the judges in their order, and does what they say: to the header
// in e, to the envelope, to the body. The message is kept unless one of them
// discards it, or leaves nobody who would get it.
func (m *Message) obey(ctx context.Context, e *header.Editor) (keep bool, err error) {
	var (
		body       io.ReadCloser // the last replacement
		quarantine string
	)
	defer func() {
		if body != nil {
			body.Close()
		}
	}()
	log := m.a.opt.Logger.With("id", m.ID().String())
	for _, j := range m.judges {
		v, err := j.Verdict(ctx)
		if v.Body != nil {
			if body != nil {
				body.Close()
			}
			body = v.Body
		}
		switch {
		case err != nil:
			return false, fmt.Errorf("screening: %w", err)
		case v.Refuse.Code != 0:
			log.Info("refused by a screen", "status", v.Refuse.String())
			return false, &RefusedError{v.Refuse}
		case v.Discard:
			log.Warn("discarded by a screen", "from", m.msg.Envelope.From.String(), "recipients", len(m.sub.Recipients))
			return false, nil
		}
		if quarantine == "" {
			quarantine = v.Quarantine
		}
		if v.Unverified {
			m.sub.Envelope.Unverified, m.msg.Envelope.Unverified = true, true
		}
		m.fields = append(m.fields, v.Fields...)
		m.tellVerdict(v)
		for _, edit := range v.Edits {
			m.edited = true
			apply(e, edit)
		}
		if err := m.redirect(v); err != nil {
			return false, err
		}
	}
	if len(m.msg.Deposits)+len(m.msg.Tasks) == 0 {
		log.Warn("discarded, since a screen removed all recipients", "from", m.msg.Envelope.From.String())
		return false, nil
	}
	if body != nil {
		if err := m.replace(body); err != nil {
			return false, fmt.Errorf("replacing the body: %w", err)
		}
	}
	if quarantine != "" {
		m.screened("quarantined: %s", quarantine)
		log.Info("quarantined by a screen", "reason", quarantine)
		return true, m.quarantine()
	}
	return true, nil
}

// apply changes one field.
func apply(e *header.Editor, edit screen.Edit) {
	switch edit.Op {
	case screen.Append:
		e.Append(edit.Name, edit.Value)
	case screen.Insert:
		e.Insert(edit.Index, edit.Name, edit.Value)
	case screen.Change:
		if !e.Change(edit.Name, edit.Index, edit.Value) {
			e.Append(edit.Name, edit.Value)
		}
	case screen.Delete:
		e.Delete(edit.Name, edit.Index)
	}
}

// redirect changes the envelope. An added recipient that leads nowhere is left
// out: the client cannot help it.
func (m *Message) redirect(v screen.Verdict) error {
	if v.From == nil && len(v.Add)+len(v.Remove) == 0 {
		return nil
	}
	if v.From != nil {
		m.sub.Envelope.From = *v.From
	}
	m.sub.Recipients = slices.DeleteFunc(slices.Clone(m.sub.Recipients), func(r mail.Recipient) bool {
		return slices.ContainsFunc(v.Remove, func(a mail.Address) bool { return a.Key() == r.To.Key() })
	})
	for _, to := range v.Add {
		if err := m.a.Check(to); errors.Is(err, mail.ErrNoSuchUser) {
			m.a.opt.Logger.Warn("a screen added a recipient that is not there", "id", m.ID().String(), "to", to.String())
			continue
		}
		m.screened("recipient added: %s", to)
		m.sub.Recipients = append(m.sub.Recipients, mail.Recipient{To: to})
	}
	env := m.msg.Envelope // with what became known of the body
	if err := m.plan(); err != nil {
		return err
	}
	env.From = m.msg.Envelope.From
	m.msg.Envelope = env
	return nil
}

// replace puts another body in the place of the one in the spool.
func (m *Message) replace(body io.Reader) error {
	staged, err := m.a.opt.Intake.Create()
	if err != nil {
		return err
	}
	old := m.staged
	m.staged = staged
	old.Abort()
	m.a.opt.Logger.Info("the body was replaced by a screen", "id", staged.ID().String(), "instead", old.ID().String())
	m.screened("the body was replaced, which was %s before", old.ID())
	m.begin()
	eight := &eightBit{w: storer{m}}
	if _, err := io.Copy(eight, body); err != nil {
		return err
	}
	m.msg.Envelope.EightBit = eight.seen || m.block.EightBit()
	return nil
}

// storer writes to the spool what no judge is shown again.
type storer struct{ m *Message }

func (s storer) Write(p []byte) (int, error) { return s.m.store(p) }

// eightBit notes whether what passes is ASCII.
type eightBit struct {
	w    io.Writer
	seen bool
}

func (e *eightBit) Write(p []byte) (int, error) {
	e.seen = e.seen || slices.ContainsFunc(p, func(c byte) bool { return c >= 0x80 })
	return e.w.Write(p)
}

// quarantine has deposits go to Junk, and tasks wait for an administrator.
func (m *Message) quarantine() error {
	for i := range m.msg.Tasks {
		if r := m.msg.Tasks[i].Destination.Route; r == LocalRoute || !OwnRoute(r) {
			m.msg.Tasks[i].Held = true
		}
	}
	for i := range m.msg.Deposits {
		d := &m.msg.Deposits[i]
		d.Flags.Keywords = append(d.Flags.Keywords, "$Junk")
		name, err := m.a.junk(d.Account)
		if err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		d.Mailbox = name
	}
	return nil
}

// junk finds an account's mailbox for quarantined mail: that of the special
// use, else one that is called Junk, which is made if there is none.
func (a *Acceptor) junk(account string) (string, error) {
	const name = "Junk"
	if a.opt.Mailboxes == nil {
		return spool.Inbox, nil
	}
	list, err := a.opt.Mailboxes.ListMailboxes(account)
	if err != nil {
		return "", err
	}
	named := false
	for _, m := range list {
		if m.Use == spool.UseJunk {
			return m.Name, nil
		}
		named = named || m.Name == name
	}
	if !named {
		_, err = a.opt.Mailboxes.CreateMailbox(account, name, spool.UseJunk)
		if errors.Is(err, spool.ErrMailboxExists) {
			err = nil // another message was faster
		}
	}
	return name, err
}
