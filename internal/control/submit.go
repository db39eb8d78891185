package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
)

// commitPatience bounds the wait for a commit.
const commitPatience = time.Minute

// query writes a submission as the parameters of POST /v1/messages.
func (sub Submission) query() url.Values {
	q := url.Values{}
	set := func(name, v string) {
		if v != "" {
			q.Set(name, v)
		}
	}
	set("from", sub.From)
	set("name", sub.Name)
	set("envid", sub.EnvID)
	set("ret", sub.Ret)
	if sub.FromHeader {
		q.Set("from_header", "true")
	}
	for _, to := range sub.Recipients {
		q.Add("to", to)
	}
	for _, n := range sub.Notify {
		q.Add("notify", n)
	}
	return q
}

func submissionFromQuery(q url.Values) (Submission, error) {
	var sub Submission
	for name, values := range q {
		switch name {
		case "from":
			sub.From = values[0]
		case "name":
			sub.Name = values[0]
		case "envid":
			sub.EnvID = values[0]
		case "ret":
			sub.Ret = values[0]
		case "to":
			sub.Recipients = values
		case "notify":
			sub.Notify = values
		case "from_header":
			switch values[0] {
			case "true":
				sub.FromHeader = true
			case "false":
			default:
				return Submission{}, errorf(CodeBadRequest, "from_header: %q is neither true nor false", values[0])
			}
		default:
			return Submission{}, errorf(CodeBadRequest, "unknown parameter %q", name)
		}
	}
	return sub, nil
}

// submission is one message on its way in.
type submission struct {
	server *Server
	peer   Peer
	Submission
	env   mail.Envelope
	rcpts []mail.Recipient
	head  []byte // the fields as they will be stored, without the empty line
}

// postMessage takes a message in: the answer comes when it is durable.
func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) error {
	q, err := submissionFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	sub := submission{server: s, peer: peerOf(r.Context()), Submission: q}
	if err := sub.envelope(); err != nil {
		return err
	}
	if r.ContentLength > s.opt.MaxSize {
		// Before the client sends it all in vain.
		return errorf(CodeTooLarge, "larger than %d octets", s.opt.MaxSize)
	}
	block, rest, err := header.Read(newLines(s.body(w, r, s.opt.MaxSize)), s.opt.MaxHeader)
	if errors.Is(err, header.ErrTooLarge) {
		return errorf(CodeTooLarge, "header larger than %d octets", s.opt.MaxHeader)
	}
	if err != nil {
		return err
	}
	if n := block.Hops(); n > s.opt.MaxHops {
		return errorf(CodeUnprocessable, "mail loop: %d Received fields", n)
	}
	if err := sub.readHeader(block); err != nil {
		return err
	}
	m, err := s.opt.Accept.Begin(sub.env, sub.rcpts)
	if err != nil {
		return err
	}
	defer m.Abort()
	if err := sub.write(m, block, rest); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), commitPatience)
	defer cancel()
	receipt, err := m.Commit(ctx)
	if err != nil {
		return err
	}
	s.log(r, "accepted", "service", "control", "id", receipt.ID.String(), "from", sub.env.From.String(), "recipients", len(sub.rcpts), "size", m.Size())
	s.prolongWrite(w)
	writeJSON(w, http.StatusCreated, Submitted{ID: receipt.ID, Deposited: len(receipt.Deposited), Queued: len(receipt.Tasks)})
	return nil
}

// envelope reads what the parameters say.
func (sub *submission) envelope() error {
	var err error
	origin := sub.server.opt.Origin
	switch sub.From {
	case "":
		// A user without a name, or with a strange one, still has a sender.
		if sub.env.From, err = qualify(sub.peer.Name, origin); err != nil {
			sub.env.From = mail.Address{Local: fmt.Sprintf("uid-%d", sub.peer.UID), Domain: origin}
		}
	case "<>":
	default:
		if sub.env.From, err = qualify(sub.From, origin); err != nil {
			return fmt.Errorf("sender: %w", err)
		}
	}
	if len(sub.EnvID) > 100 {
		return errorf(CodeBadRequest, "envid: longer than 100 octets")
	}
	sub.env.EnvID = sub.EnvID
	if sub.env.Ret, err = parseRet(sub.Ret); err != nil {
		return err
	}
	sub.env.Client = mail.Client{Protocol: "local", Helo: sub.peer.Name}
	for _, to := range sub.Recipients {
		if err := sub.addRecipient(to); err != nil {
			return err
		}
	}
	return nil
}

// qualify reads an address; a bare local name is one of the origin's.
func qualify(s, origin string) (mail.Address, error) {
	s = strings.TrimSpace(s)
	if bare, ok := strings.CutPrefix(s, "<"); ok {
		s = strings.TrimSuffix(bare, ">")
	}
	if s != "" && !strings.Contains(s, "@") {
		s += "@" + origin
	}
	return mail.ParseAddress(s)
}

func (sub *submission) addRecipient(s string) error {
	to, err := qualify(s, sub.server.opt.Origin)
	if err != nil {
		return fmt.Errorf("recipient: %w", err)
	}
	notify, err := parseNotify(sub.Notify)
	if err != nil {
		return err
	}
	if len(sub.rcpts) == sub.server.opt.MaxRecipients {
		return errorf(CodeUnprocessable, "more than %d recipients", sub.server.opt.MaxRecipients)
	}
	sub.rcpts = append(sub.rcpts, mail.Recipient{To: to, Notify: notify})
	if !to.IsASCII() {
		sub.env.UTF8 = true
	}
	return nil
}

// readHeader takes the recipients from the header if it was asked to, and
// writes down the fields that go on.
func (sub *submission) readHeader(b *header.Block) error {
	if !sub.env.From.IsASCII() {
		sub.env.UTF8 = true
	}
	raw := b.Raw()
	if header.IsMboxFrom(raw) {
		// The envelope of an mbox file, which some programs still hand over.
		_, raw, _ = cutLine(raw)
		b = header.Parse(raw)
	}
	if sub.FromHeader {
		for _, to := range headerRecipients(b) {
			if err := sub.addRecipient(to); err != nil {
				return err
			}
		}
		raw = withoutBcc(b)
	}
	if len(sub.rcpts) == 0 {
		return errorf(CodeBadRequest, "no recipients")
	}
	sub.head = header.Parse(raw).Raw()
	return nil
}

// write stores trace field, missing fields, header and body, in this order.
func (sub *submission) write(m *accept.Message, b *header.Block, rest io.Reader) error {
	opt := sub.server.opt
	received := header.Received{
		Helo: sub.env.Client.Helo, By: opt.Hostname, With: sub.env.Client.Protocol,
		ID: m.ID().String(), Time: opt.Now(),
	}
	if len(sub.rcpts) == 1 {
		received.For = sub.rcpts[0].To
	}
	front := received.String()
	for _, name := range b.Missing("Date", "Message-ID", "From") {
		switch name {
		case "Date":
			front += header.Date(opt.Now())
		case "Message-ID":
			front += header.MessageID(m.ID().String(), opt.Hostname)
		case "From":
			front += header.Compose("From", sub.fromField())
		}
	}
	eight := &eightBit{w: m}
	if _, err := io.WriteString(eight, front); err != nil {
		return err
	}
	if _, err := eight.Write(sub.head); err != nil {
		return err
	}
	if !header.Parse(sub.head).Separated() {
		if _, err := io.WriteString(eight, "\r\n"); err != nil {
			return err
		}
	}
	if _, err := io.Copy(eight, rest); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	m.Envelope().EightBit = eight.seen
	return nil
}

// fromField is the value of a From field for a message that came without.
func (sub *submission) fromField() string {
	from := sub.env.From
	if from.IsNull() {
		from = mail.Address{Local: "MAILER-DAEMON", Domain: sub.server.opt.Origin}
	}
	if sub.Name == "" {
		return from.String()
	}
	return displayName(sub.Name) + " <" + from.String() + ">"
}
