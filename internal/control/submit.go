package control

import (
	"context"
	"crypto/sha256"
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
	"restante/spool"
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
	set("once", sub.Once)
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
		case "once":
			sub.Once = values[0]
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
	// date is when the message was written, service the way by which it came.
	date    time.Time
	service string
}

// postMessage takes a message in: the answer comes when it is durable.
func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) error {
	q, err := submissionFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	if r.ContentLength > s.opt.MaxSize {
		// Before the client sends it all in vain.
		return errorf(CodeTooLarge, "larger than %d octets", s.opt.MaxSize)
	}
	sub := s.submission(peerOf(r.Context()), q)
	block, rest, err := sub.read(s.body(w, r, s.opt.MaxSize))
	if err != nil {
		return err
	}
	done, err := sub.commit(context.WithoutCancel(r.Context()), block, rest)
	if err != nil {
		return err
	}
	s.prolongWrite(w)
	writeJSON(w, http.StatusCreated, done)
	return nil
}

func (s *Server) submission(peer Peer, q Submission) *submission {
	return &submission{server: s, peer: peer, Submission: q, date: s.opt.Now(), service: "control"}
}

// read reads the envelope and the header, and judges both.
func (sub *submission) read(body io.Reader) (*header.Block, io.Reader, error) {
	if err := sub.envelope(); err != nil {
		return nil, nil, err
	}
	opt := sub.server.opt
	block, rest, err := header.Read(newLines(body), opt.MaxHeader)
	if errors.Is(err, header.ErrTooLarge) {
		return nil, nil, errorf(CodeTooLarge, "header larger than %d octets", opt.MaxHeader)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := sub.readHeader(block); err != nil {
		return nil, nil, err
	}
	if n := block.Hops(); n > opt.MaxHops {
		return block, rest, errorf(CodeUnprocessable, "mail loop: %d Received fields", n)
	}
	return block, rest, nil
}

// commit makes the message durable for the recipients there are.
func (sub *submission) commit(ctx context.Context, block *header.Block, rest io.Reader) (Submitted, error) {
	s := sub.server
	m, err := s.opt.Accept.Submit(accept.Submission{Envelope: sub.env, Recipients: sub.rcpts, Trusted: true, Complete: true, By: sub.peer.Name, Rule: "handed over on this machine"})
	if err != nil {
		return Submitted{}, err
	}
	defer m.Abort()
	if err := sub.write(m, block, rest); err != nil {
		return Submitted{}, err
	}
	if sub.Once != "" {
		m.Once(onceKey(sub.Once), spool.MaxOnce)
	}
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	receipt, err := m.Commit(ctx)
	var before *spool.DuplicateError
	if errors.As(err, &before) {
		s.opt.Logger.Info("handed over again, and taken before", "service", sub.service, "id", before.ID.String())
		return Submitted{ID: before.ID}, nil
	}
	if err != nil {
		return Submitted{}, err
	}
	s.opt.Logger.Info("accepted", "service", sub.service, "id", receipt.ID.String(), "from", sub.env.From.String(),
		"recipients", len(sub.rcpts), "size", m.Size(), "by", sub.peer.Name, "uid", sub.peer.UID)
	return Submitted{ID: receipt.ID, Deposited: len(receipt.Deposited), Queued: len(receipt.Tasks)}, nil
}

// onceKey is what a client's name for a transaction is called in the spool.
func onceKey(once string) [32]byte { return sha256.Sum256([]byte("handed over\x00" + once)) }

// maxEnvID and maxOnce bound what a client names a message, in octets.
const (
	maxEnvID = 100
	maxOnce  = 100
)

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
	if len(sub.EnvID) > maxEnvID {
		return errorf(CodeBadRequest, "envid: longer than %d octets", maxEnvID)
	}
	if len(sub.Once) > maxOnce {
		return errorf(CodeBadRequest, "once: longer than %d octets", maxOnce)
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
	}
	raw = withoutOwn(b)
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
	prefix := ""
	if isResent(b) {
		// Who resends signs for that; the original's fields are the author's.
		prefix = resentPrefix
	}
	for _, name := range []string{"Date", "Message-ID", "From"} {
		switch {
		case b.Has(prefix + name):
		case name == "Date":
			front += prefix + header.Date(sub.date)
		case name == "Message-ID":
			front += prefix + header.MessageID(m.ID().String(), opt.Hostname)
		case name == "From":
			front += header.Compose(prefix+name, sub.fromField())
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
