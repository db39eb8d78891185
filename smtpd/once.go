package smtpd

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"slices"

	"restante/internal/accept"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/spool"
)

// Accepted once: when a connection dies after the end of a message and before
// our 250 has arrived, the client sends the message again (RFC 1047). Such a
// transaction is known by its fingerprint, and is answered with the queue ID
// that the first one got.
//
// The fingerprint is of the account, or else of the client's network, of the
// sender, of the recipients in whatever order, and of all octets as received.
// A message without a Message-ID and without a Date has none: nothing tells a
// second alarm in the same words from a repetition of the first.

// fingerprint gathers what names a transaction. The nil fingerprint is of one
// that may be repeated.
type fingerprint struct {
	session *session
	content hash.Hash
	named   bool // the message can be told from another
}

func (s *session) fingerprint() *fingerprint {
	x := &s.srv.opt.Extensions
	if x.Once <= 0 || s.tx.repeat || within(s.addr, x.Repeaters) {
		return nil
	}
	return &fingerprint{session: s, content: sha256.New()}
}

// reader notes what is read of the message.
func (f *fingerprint) reader(r io.Reader) io.Reader {
	if f == nil {
		return r
	}
	return io.TeeReader(r, f.content)
}

// header looks for what tells the message from others.
func (f *fingerprint) header(block *header.Block) {
	if f != nil {
		f.named = block.Has("Message-ID") || block.Has("Date")
	}
}

// mark gives the fingerprint to a message that has been read.
func (f *fingerprint) mark(m *accept.Message) {
	if f != nil && f.named {
		m.Once(f.sum(), f.session.srv.opt.Extensions.Once)
	}
}

func (f *fingerprint) sum() [32]byte {
	s, h := f.session, sha256.New()
	word := func(text string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		io.WriteString(h, text)
	}
	if s.account != "" {
		word("account " + s.account)
	} else {
		word("network " + s.srv.network(s.addr).String())
	}
	word(s.tx.from.String())
	rcpts := make([]string, 0, len(s.tx.rcpts))
	for _, r := range s.tx.rcpts {
		rcpts = append(rcpts, r.To.String())
	}
	slices.Sort(rcpts)
	for _, r := range slices.Compact(rcpts) {
		word(r)
	}
	h.Write(f.content.Sum(nil))
	return [32]byte(h.Sum(nil))
}

// takenAs is the queue ID that a message has been given before, if that is
// what err says; the zero ID otherwise.
func (s *session) takenAs(err error) mail.ID {
	var d *spool.DuplicateError
	if !errors.As(err, &d) {
		return mail.ID{}
	}
	s.srv.log.Info("accepted before", "id", d.ID.String(), "from", s.tx.from.String(),
		"remote", s.conn.remote(), "helo", s.helo, "account", s.account, "recipients", len(s.tx.rcpts))
	return d.ID
}
