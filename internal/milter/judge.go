package milter

import (
	"bytes"
	"context"
	"strings"

	"restante/internal/header"
	"restante/internal/screen"
)

// judge is one message at one filter.
type judge struct {
	client *Client
	id     string
	// session is nil as soon as the filter has nothing more to say, be it
	// because of its verdict or because it failed.
	session *session
	// err is what the filter failed with. It is Verdict's to tell.
	err error
	// refusal is a verdict given before the end of the message.
	refusal screen.Verdict
	// chunk is what has not been sent of the body; sated tells that the filter
	// does not want any more of it.
	chunk []byte
	sated bool
}

// begin plays everything before the body. A verdict in it ends the session.
func (j *judge) begin(ctx context.Context, m *screen.Message) error {
	s, err := j.client.dial(ctx)
	if err != nil {
		return err
	}
	j.session = s
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	return j.tell(m)
}

// tell tells the filter all but the body.
func (j *judge) tell(m *screen.Message) error {
	s := j.session
	s.macros = macros(m, j.client.opt.Hostname)
	if ok, err := j.opening(m); !ok {
		return err
	}
	for _, f := range header.Parse(m.Header).Fields() {
		if len(f.Name) > maxName {
			continue
		}
		value := fieldValue(f, s.asked&leadSpace != 0)
		data := text(nil, f.Name)
		// What a packet cannot carry of a huge field the filter does not see.
		data = text(data, value[:min(len(value), maxData-len(data)-1)])
		if ok, err := j.step(step{cmdHeader, noHeader, muteHeader}, data); !ok {
			return err
		}
	}
	_, err := j.step(step{cmdEndHeader, noEndHeader, muteEndHead})
	j.sated = s.asked&noBody != 0
	return err
}

// opening plays the envelope. It tells whether the filter wants to go on.
func (j *judge) opening(m *screen.Message) (bool, error) {
	if ok, err := j.step(step{cmdConnect, noConnect, muteConnect}, connectData(m.Envelope.Client)); !ok {
		return false, err
	}
	if helo := m.Envelope.Client.Helo; helo != "" {
		if ok, err := j.step(step{cmdHelo, noHelo, muteHelo}, text(nil, helo)); !ok {
			return false, err
		}
	}
	if ok, err := j.step(step{cmdMail, noMail, muteMail}, mailData(&m.Envelope)); !ok {
		return false, err
	}
	s := j.session
	base := s.macros
	for _, r := range m.Recipients {
		to := r.To.String()
		s.macros = text(base[:len(base):len(base)], "{rcpt_addr}", to, "{rcpt_host}", r.To.Domain)
		if ok, err := j.step(step{cmdRcpt, noRcpt, muteRcpt}, text(nil, "<"+to+">")); !ok {
			return false, err
		}
	}
	s.macros = base
	if s.version < 4 { // it does not know the command
		return true, nil
	}
	return j.step(step{cmdData, noData, muteData})
}

// step asks for one step and heeds the answer. It tells whether the filter
// wants to go on.
func (j *judge) step(st step, data ...[]byte) (bool, error) {
	a, err := j.session.ask(st, data...)
	if err != nil {
		return false, err
	}
	switch a.says {
	case saysContinue:
		return true, nil
	case saysSkip:
		if st.cmd != cmdBody {
			return false, protocolError("it skips what is not the body")
		}
		j.sated = true
		return true, nil
	}
	v, err := conclusion(a)
	if err != nil {
		return false, err
	}
	j.refusal = v
	j.session.leave(st.cmd != cmdConnect && st.cmd != cmdHelo)
	j.session = nil
	return false, nil
}

// Write passes the body on. It never fails.
func (j *judge) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && j.session != nil && !j.sated {
		k := min(len(p), maxData-len(j.chunk))
		j.chunk = append(j.chunk, p[:k]...)
		p = p[k:]
		if len(j.chunk) == maxData {
			j.send()
		}
	}
	return n, nil
}

// send sends what there is of the body.
func (j *judge) send() {
	if len(j.chunk) == 0 || j.session == nil || j.sated {
		return
	}
	_, err := j.step(step{cmdBody, noBody, muteBody}, j.chunk)
	j.chunk = j.chunk[:0]
	if err != nil {
		j.err = err
		j.Close()
	}
}

// Verdict ends the message and hears the filter out.
func (j *judge) Verdict(ctx context.Context) (screen.Verdict, error) {
	defer j.Close()
	if s := j.session; s != nil {
		stop := context.AfterFunc(ctx, func() { s.Close() })
		defer stop()
	}
	j.send()
	if j.session == nil && j.err == nil {
		return j.refusal, nil
	}
	if j.err == nil {
		v, err := j.hear()
		if err == nil {
			j.session.leave(false)
			j.session = nil
			return v, nil
		}
		j.err = err
	}
	return screen.Verdict{}, j.failed(ctx, j.err)
}

// hear collects what the filter changes, up to its verdict.
func (j *judge) hear() (screen.Verdict, error) {
	opt := j.client.opt
	c := changes{
		leadSpace: j.session.asked&leadSpace != 0,
		body:      replacement{dir: opt.Dir, limit: opt.MaxBody},
	}
	a, err := j.session.ask(step{cmd: cmdEndBody})
	for err == nil {
		var done bool
		if done, err = c.take(a); done {
			return c.verdict, nil
		}
		if err == nil {
			a, err = j.session.answer()
		}
	}
	c.body.drop()
	return screen.Verdict{}, err
}

// Close gives the connection up, if there is one still.
func (j *judge) Close() {
	if j.session == nil {
		return
	}
	if j.err == nil {
		j.session.leave(true)
	} else {
		j.session.Close()
	}
	j.session = nil
}

// fieldValue is a field's value as the protocol has it: folded with LF, and
// without the space after the colon unless the filter wants it.
func fieldValue(f header.Field, leadSpace bool) string {
	v := string(bytes.ReplaceAll(f.RawValue(), []byte("\r\n"), []byte("\n")))
	v = strings.TrimSuffix(v, "\n")
	if !leadSpace && v != "" && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	return v
}
