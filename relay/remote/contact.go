package remote

import (
	"errors"
	"strings"

	"restante/internal/mail"
	"restante/relay"
)

// maxQueueID bounds what is taken for a queue ID, in octets.
const maxQueueID = 128

// turn notes that a host is turned to; what is told of it later goes to the
// contact that was added last.
func (d *delivery) turn(host, addr string) {
	d.contacts = append(d.contacts, relay.Contact{Host: host, Addr: addr, Began: d.now()})
}

// failed notes a host with which nothing came about.
func (d *delivery) failed(host, addr string, err error) {
	d.turn(host, addr)
	d.leave(nil, err)
}

// leave notes how the last contact ended: with what session, if it came to
// one, and with what fault, if there was any.
func (d *delivery) leave(s *session, err error) {
	if len(d.contacts) == 0 {
		return
	}
	c := &d.contacts[len(d.contacts)-1]
	c.Took = d.now().Sub(c.Began)
	if s != nil {
		c.TLS, c.Verified = s.tls, s.verified
	}
	if f := (*fault)(nil); errors.As(err, &f) {
		c.Status = f.status
	}
}

// said notes what the host said of the message, if that was the last word.
func (d *delivery) said(s mail.Status) {
	if len(d.contacts) == 0 {
		return
	}
	c := &d.contacts[len(d.contacts)-1]
	c.Status = s
	if s.Class() == mail.Delivered {
		c.QueueID = queueID(s.Text)
	}
}

// queueID finds what a next hop calls a message in the words of its reply.
// There is no rule for these; known are the ways of Postfix and its kind ("Ok:
// queued as 4Zx1"), Exim ("OK id=1abc-000-2"), sendmail and OpenSMTPD ("4Zx1
// Message accepted for delivery"), Gmail ("OK 1700 x1si - gsmtp") and Exchange
// ("<id> [InternalId=1, …] Queued mail for delivery").
func queueID(text string) string {
	lower, id := strings.ToLower(text), ""
	words := strings.Fields(text)
	for _, before := range []string{"queued as ", " id="} {
		if i := strings.Index(lower, before); i >= 0 && len(lower) == len(text) {
			id, _, _ = strings.Cut(text[i+len(before):], " ")
			break
		}
	}
	switch {
	case id != "":
	case len(words) < 5:
	case strings.HasSuffix(lower, "message accepted for delivery") || strings.HasSuffix(lower, "queued mail for delivery"):
		id = words[0]
	case strings.HasSuffix(lower, "gsmtp"):
		id = words[2]
	}
	if id = strings.Trim(id, "<>[](),;.:"); len(id) > maxQueueID {
		return ""
	}
	return id
}
