package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// Parcel is a message on its way to another spool, without its text: all that
// the other needs in order to go on where this one left off.
type Parcel struct {
	// ID is the message's where it comes from, Node that daemon's host name.
	ID   mail.ID `json:"id"`
	Node string  `json:"node,omitempty"`
	// Once names the transaction: what comes again under the same name within a
	// day is not taken again, and answered with the first ID.
	Once     string       `json:"once"`
	Size     int64        `json:"size"`
	Envelope Envelope     `json:"envelope"`
	Tasks    []ParcelTask `json:"tasks"`
}

// ParcelTask is what is left of a task. Times are seconds from when the parcel
// is taken, whatever the clocks of the two say.
type ParcelTask struct {
	// From is the sender; it may be another than the envelope's.
	From       mail.Address `json:"from"`
	Recipients []Recipient  `json:"recipients"`
	// Held tasks arrive held.
	Held bool `json:"held,omitempty"`
	// TryIn is when it is due, WarnIn and ExpireIn when the sender is told of
	// the delay or has it back; 0 is at once, or never.
	TryIn    int64 `json:"try_in,omitempty"`
	WarnIn   int64 `json:"warn_in,omitempty"`
	ExpireIn int64 `json:"expire_in,omitempty"`
	// Destination, Attempts and Queued are for people: what it was before.
	Destination string    `json:"destination,omitempty"`
	Attempts    int       `json:"attempts,omitempty"`
	Queued      time.Time `json:"queued,omitzero"`
}

// maxParcel bounds a parcel's line of JSON, in octets: some ten thousand
// recipients.
const maxParcel = 8 << 20

// NewParcel packs tasks of a message, as they are at a time.
func NewParcel(m Message, tasks []Task, once string, now time.Time) Parcel {
	p := Parcel{ID: m.ID, Once: once, Size: m.Size, Envelope: m.Envelope}
	for _, t := range tasks {
		p.Tasks = append(p.Tasks, packTask(t, now))
	}
	return p
}

func packTask(t Task, now time.Time) ParcelTask {
	p := ParcelTask{
		From: t.From, Recipients: t.Recipients, Destination: t.Destination,
		Attempts: t.Attempts, Queued: t.Queued,
	}
	seconds := func(at, from time.Time) int64 {
		if at.IsZero() {
			return 0
		}
		return max(1, int64(at.Sub(from)/time.Second))
	}
	from := now
	if t.State != spool.Queued && t.State != spool.Leased {
		// No timer runs. How long it has stood is not known, and must not count:
		// it gets its whole time again.
		p.Held, from = true, t.Queued
	} else if t.Due.After(now) {
		p.TryIn = seconds(t.Due, now)
	}
	p.ExpireIn = seconds(t.Expires, from)
	if !t.Warned {
		p.WarnIn = seconds(t.Warns, from)
	}
	return p
}

// task is the spool's.
func (p ParcelTask) task(env *mail.Envelope) (spool.Task, error) {
	t := spool.Task{
		Held: p.Held, Delay: time.Duration(p.TryIn) * time.Second,
		Warn: time.Duration(p.WarnIn) * time.Second, Expire: time.Duration(p.ExpireIn) * time.Second,
	}
	if p.TryIn < 0 || p.WarnIn < 0 || p.ExpireIn < 0 || max(p.TryIn, p.WarnIn, p.ExpireIn) > maxSeconds {
		return t, errorf(CodeBadRequest, "times: seconds from 0 to %d are expected", maxSeconds)
	}
	if p.From != env.From {
		t.From = &p.From
	}
	if len(p.Recipients) == 0 {
		return t, errorf(CodeBadRequest, "a task without recipients")
	}
	for _, r := range p.Recipients {
		n, err := parseNotify(r.Notify)
		if err != nil {
			return t, err
		}
		t.Recipients = append(t.Recipients, mail.Recipient{To: r.To, Original: r.Original, Notify: n})
	}
	return t, nil
}

// maxSeconds bounds the times of a parcel: ten years.
const maxSeconds = 10 * 366 * 24 * 3600

// mail is the envelope that a view shows.
func (e Envelope) mail() (mail.Envelope, error) {
	out := mail.Envelope{
		From: e.From, EnvID: e.EnvID, EightBit: e.EightBit, UTF8: e.UTF8, RequireTLS: e.RequireTLS,
		Priority: e.Priority, HoldUntil: e.HoldUntil,
		By:     mail.By{At: e.DeliverBy, Return: e.OrReturn, Trace: e.TraceBy},
		Client: mail.Client{Protocol: e.Protocol, Helo: e.Helo, Account: e.Account},
	}
	var err error
	if out.Ret, err = parseRet(e.Ret); err != nil {
		return out, err
	}
	if e.Addr != "" {
		if out.Client.Addr, err = netip.ParseAddr(e.Addr); err != nil {
			return out, errorf(CodeBadRequest, "addr: %v", err)
		}
	}
	if len(e.EnvID) > maxEnvID || e.Priority < -9 || e.Priority > 9 {
		return out, errorf(CodeBadRequest, "envid or priority is out of bounds")
	}
	return out, nil
}

// postParcel takes a parcel in: a line of JSON, and then the message as it is.
// The answer comes when it is durable.
func (s *Server) postParcel(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength > s.opt.MaxSize+maxParcel {
		return errorf(CodeTooLarge, "larger than %d octets", s.opt.MaxSize)
	}
	in := bufio.NewReader(s.body(w, r, s.opt.MaxSize+maxParcel))
	p, err := readParcel(in)
	if err != nil {
		return err
	}
	env, tasks, err := p.unpack()
	if err != nil {
		return err
	}
	block, rest, err := header.Read(newLines(in), spool.MaxHead)
	if errors.Is(err, header.ErrTooLarge) {
		return errorf(CodeTooLarge, "header larger than %d octets", spool.MaxHead)
	}
	if err != nil {
		return err
	}
	rule := strings.TrimSuffix(fmt.Sprintf("moved here, was %s at %s", p.ID, p.Node), " at ")
	m, err := s.opt.Accept.Readmit(accept.Submission{Envelope: env, By: peerOf(r.Context()).Name, Rule: rule}, tasks, block)
	if err != nil {
		return err
	}
	defer m.Abort()
	if _, err := io.Copy(m, io.LimitReader(rest, s.opt.MaxSize+1)); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if m.Size() > s.opt.MaxSize {
		return errorf(CodeTooLarge, "larger than %d octets", s.opt.MaxSize)
	}
	m.Once(onceKey("parcel "+p.Once), spool.MaxOnce)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), commitPatience)
	defer cancel()
	receipt, err := m.Commit(ctx)
	var before *spool.DuplicateError
	if errors.As(err, &before) {
		s.log(r, "a parcel was brought again, and taken before", "id", before.ID.String(), "was", p.ID.String())
		writeJSON(w, http.StatusCreated, Submitted{ID: before.ID})
		return nil
	}
	if err != nil {
		return err
	}
	s.log(r, "parcel taken", "id", receipt.ID.String(), "was", p.ID.String(), "node", p.Node,
		"from", env.From.String(), "tasks", len(receipt.Tasks), "size", m.Size())
	s.prolongWrite(w)
	writeJSON(w, http.StatusCreated, Submitted{ID: receipt.ID, Queued: len(receipt.Tasks)})
	return nil
}

func readParcel(in *bufio.Reader) (Parcel, error) {
	var p Parcel
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > maxParcel:
			return p, errorf(CodeTooLarge, "parcel: more than %d octets of JSON", maxParcel)
		case err == nil:
			if err := unmarshalStrict(bytes.TrimSpace(text), &p); err != nil {
				return p, errorf(CodeBadRequest, "parcel: the first line is not the JSON expected: %v", err)
			}
			return p, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			return p, errorf(CodeBadRequest, "parcel: a line of JSON is expected")
		default:
			return p, err
		}
	}
}

func (p Parcel) unpack() (mail.Envelope, []spool.Task, error) {
	env, err := p.Envelope.mail()
	if err != nil {
		return env, nil, err
	}
	switch {
	case p.ID.IsZero():
		return env, nil, errorf(CodeBadRequest, "id: it is missing")
	case p.Once == "" || len(p.Once) > maxPackedOnce:
		return env, nil, errorf(CodeBadRequest, "once: up to %d octets are expected", maxPackedOnce)
	case len(p.Tasks) == 0:
		return env, nil, errorf(CodeBadRequest, "tasks: there are none")
	}
	var tasks []spool.Task
	for _, t := range p.Tasks {
		task, err := t.task(&env)
		if err != nil {
			return env, nil, err
		}
		tasks = append(tasks, task)
	}
	return env, tasks, nil
}

// maxPackedOnce bounds Parcel.Once, in octets.
const maxPackedOnce = 1024

// PutParcel hands a parcel over: size octets of the message are read from body.
// When it returns without an error, it is durable.
func (c *Client) PutParcel(ctx context.Context, p Parcel, body io.Reader, size int64) (Submitted, error) {
	var s Submitted
	text, err := json.Marshal(p)
	if err != nil {
		return s, err
	}
	text = append(text, '\n')
	in := io.NopCloser(io.MultiReader(bytes.NewReader(text), io.LimitReader(body, size)))
	resp, err := c.send(ctx, "POST", "/v1/parcels", nil, in, func(r *http.Request) {
		r.ContentLength = int64(len(text)) + size
		r.Header.Set("Expect", "100-continue")
	})
	if err != nil {
		return s, err
	}
	return s, decode(resp, &s)
}
