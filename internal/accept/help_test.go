package accept_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/screen"
	"restante/internal/structure"
	"restante/spool"
	"restante/spool/spooltest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// house is an acceptor with a spool.
type house struct {
	*testing.T
	*spooltest.Memory
	*accept.Acceptor
}

func newHouse(t *testing.T, change func(*accept.Options)) *house {
	t.Helper()
	store := spooltest.NewMemory(spooltest.MemoryOptions{Now: func() time.Time { return noon }})
	opt := accept.Options{
		Intake: store, Directory: directory{}, Mailboxes: store, Hostname: "mx.here.example",
		Route: func(w accept.Way) spool.Destination { return spool.Destination{Route: "mx", Domain: w.To.Domain} },
		Now:   func() time.Time { return noon },
	}
	if change != nil {
		change(&opt)
	}
	return &house{t, store, accept.New(opt)}
}

// take takes a message in, header and body each for itself.
func (h *house) take(s accept.Submission, text string) (spool.Receipt, error) {
	h.Helper()
	m, err := h.Submit(s)
	if err != nil {
		return spool.Receipt{}, err
	}
	defer m.Abort()
	block, rest, err := header.Read(strings.NewReader(text), 0)
	if err != nil {
		h.Fatal(err)
	}
	if err := m.SetHeader(context.Background(), block); err != nil {
		return spool.Receipt{}, err
	}
	if _, err := io.Copy(struct{ io.Writer }{m}, rest); err != nil {
		h.Fatal(err)
	}
	return m.Commit(context.Background())
}

// taken is what was stored of a message that was taken in.
func (h *house) taken(s accept.Submission, text string) string {
	h.Helper()
	r, err := h.take(s, text)
	if err != nil {
		h.Fatal(err)
	}
	return h.stored(r.ID)
}

// stored reads a message, and holds its structure against its octets.
func (h *house) stored(id mail.ID) string {
	h.Helper()
	body, err := h.OpenBody(id)
	if err != nil {
		h.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		h.Fatal(err)
	}
	encoded, err := h.Structure(id)
	if err != nil {
		h.Fatal(err)
	}
	if encoded != nil {
		p := structure.NewParser()
		p.Write(b)
		if !bytes.Equal(encoded, p.Finish().Encode()) {
			h.Errorf("the structure is not that of\n%s", b)
		}
	}
	return string(b)
}

func (h *house) wantStored(what string, s accept.Submission, text, want string) {
	h.Helper()
	if got := h.taken(s, text); got != want {
		h.Errorf("%s: stored is\n%q\nwant\n%q", what, got, want)
	}
}

// tasksOf describes the tasks of a message.
func (h *house) tasksOf(id mail.ID) string {
	h.Helper()
	tasks, err := h.MessageTasks(id)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, t := range tasks {
		var to []string
		for _, r := range t.Recipients {
			to = append(to, r.To.String())
		}
		all = append(all, fmt.Sprintf("%s %s from <%s> to %s", t.State, t.Destination, t.Envelope.From, strings.Join(to, ",")))
	}
	return strings.Join(all, "; ")
}

func submission(from string, to ...string) accept.Submission {
	s := accept.Submission{Recipients: rcpts(to...)}
	if from != "" {
		s.Envelope.From = mail.MustParseAddress(from)
	}
	return s
}

// fakeScreen gives one verdict, and keeps what it was shown.
type fakeScreen struct {
	verdict screen.Verdict
	err     error // of Verdict
	refuse  error // of Begin
	pass    bool  // has nothing to do with the message

	header, body string
	message      screen.Message
	closed       int
}

func (f *fakeScreen) Begin(_ context.Context, m *screen.Message) (screen.Judge, error) {
	f.message, f.header = *m, string(m.Header)
	if f.pass || f.refuse != nil {
		return nil, f.refuse
	}
	return f, nil
}

func (f *fakeScreen) Write(p []byte) (int, error) {
	f.body += string(p)
	return len(p), nil
}

func (f *fakeScreen) Verdict(context.Context) (screen.Verdict, error) { return f.verdict, f.err }
func (f *fakeScreen) Close()                                          { f.closed++ }

// fakeSigner signs with what it was given.
type fakeSigner struct {
	name string
	err  error
}

type fakeJob struct {
	fakeSigner
	body string
}

func (f fakeSigner) Begin(m *screen.Message) accept.SignJob {
	if m.Outside() {
		return nil
	}
	return &fakeJob{fakeSigner: f}
}

func (j *fakeJob) Write(p []byte) (int, error) {
	j.body += string(p)
	return len(p), nil
}

func (j *fakeJob) Sign(_ context.Context, fields []byte) ([]byte, error) {
	subject, _ := header.Parse(fields).Get("Subject")
	return fmt.Appendf(nil, "%s: %s/%d/%q\r\n", j.name, subject, header.Parse(fields).Count("Received"), j.body), j.err
}
