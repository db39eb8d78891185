package imapd

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/spool"
)

// codeBadURL is of RFC 4469: a URL of CATENATE that leads nowhere. What could not
// stand in a response code is encoded as in a URL.
func codeBadURL(u string) imap.ResponseCode {
	var b strings.Builder
	for i := range len(u) {
		if c := u[i]; c < ' ' || c >= 0x7f || strings.IndexByte(`]"\`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return imap.ResponseCode(`BADURL "` + b.String() + `"`)
}

// maxParts bounds the parts of a CATENATE.
const maxParts = 1000

// catenate takes a message that is put together of literals and of what is in
// mailboxes (RFC 4469).
func (in *incoming) catenate(m *taken, list []imap.Flag) error {
	d, parts := in.d, 0
	var refusal error
	if d.Peek() == '(' {
		refusal = in.begin(m, list, 0)
	}
	if refusal != nil {
		return refusal
	}
	d.List(func() {
		if parts++; parts > maxParts {
			d.Refuse(no(imap.ResponseCodeLimit, "Too many parts in one message"))
			return
		}
		switch d.Word() {
		case "TEXT":
			d.Space()
			size, _, is := d.Literal()
			if !is {
				d.Fail("A literal is missing")
			}
			if d.Err() != nil {
				return
			}
			err := in.fits(m.staged.Size(), size, len(in.list))
			if err == nil {
				err = in.copy(m, d.Stream(), size)
			}
			if err != nil {
				d.Refuse(err)
			}
		case "URL":
			d.Space()
			u := d.AString()
			if d.Err() != nil {
				return
			}
			if err := in.quote(m, u); err != nil {
				d.Refuse(err)
			}
		default:
			d.Fail("Unknown part of CATENATE")
		}
	})
	if parts == 0 {
		d.Fail("A part of the message is missing")
	}
	return nil
}

// quote adds what a URL leads to.
func (in *incoming) quote(m *taken, text string) error {
	s := in.s
	bad := no(codeBadURL(text), "There is nothing at this URL")
	u, ok := parseURL(text)
	if !ok {
		return bad
	}
	id, err := s.urlMailbox(u)
	if err != nil {
		return bad
	}
	entry, err := s.srv.opt.Mailboxes.Entry(id, u.uid)
	if err != nil {
		if errors.Is(err, spool.ErrNotFound) || errors.Is(err, spool.ErrNoMailbox) {
			return bad
		}
		return s.failure(in.op, err)
	}
	source := &message{bodies: s.srv.opt.Bodies, entry: entry}
	defer source.close()
	sec, ok, err := source.section(u.section.part, u.section.specifier)
	if err == nil && ok && u.section.fields != nil {
		sec, err = source.filtered(sec, u.section.fields, u.section.not)
	}
	switch {
	case isGone(err) || err == nil && !ok:
		return bad
	case err != nil:
		return s.failure(in.op, err)
	}
	if u.section.partial {
		sec = sec.cut(u.section.offset, u.section.size)
	}
	if err := in.fits(m.staged.Size(), sec.size(), len(in.list)); err != nil {
		return err
	}
	return in.copy(m, sec.reader(), sec.size())
}

// urlMailbox is where a URL leads: to a mailbox of ours, or to the selected one.
func (s *session) urlMailbox(u imapURL) (spool.MailboxID, error) {
	if u.mailbox == "" {
		if s.box == nil {
			return 0, spool.ErrNoMailbox
		}
		return s.box.view.Mailbox(), nil
	}
	p, err := s.mailbox(u.mailbox, rightRead)
	row := p.row
	if err == nil && u.validity != 0 && u.validity != row.UIDValidity {
		err = spool.ErrNoMailbox
	}
	return row.ID, err
}

// imapURL is a URL of a message or of a section of it.
type imapURL struct {
	mailbox  string // "" for the selected one
	validity uint32 // 0 if it is not given
	uid      spool.UID
	section  sectionItem
}

// parseURL reads a relative IMAP URL (RFC 5092), as in
//
//	/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2/;PARTIAL=0.1024
//
// relative to the server, or, without a mailbox, to the one that is selected.
// Absolute ones are not taken: whether their server is this one cannot be told.
func parseURL(text string) (u imapURL, ok bool) {
	place, rest, found := cutFold(text, ";uid=")
	if !found {
		return u, false
	}
	if place = strings.TrimSuffix(place, "/"); place != "" {
		if !strings.HasPrefix(place, "/") || strings.HasPrefix(place, "//") {
			return u, false
		}
		name, validity, has := cutFold(place[1:], ";uidvalidity=")
		if has {
			n, err := strconv.ParseUint(validity, 10, 32)
			if err != nil || n == 0 {
				return u, false
			}
			u.validity = uint32(n)
		}
		var err error
		if u.mailbox, err = url.PathUnescape(name); err != nil || u.mailbox == "" {
			return u, false
		}
	}
	rest, partial, _ := cutFold(rest, "/;partial=")
	number, section, hasSection := cutFold(rest, "/;section=")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 {
		return u, false
	}
	u.uid = spool.UID(n)
	if hasSection && !u.section.fromURL(section) {
		return u, false
	}
	return u, partial == "" || u.section.partOf(partial)
}

// cutFold is strings.Cut around a separator of ASCII in any case.
func cutFold(s, sep string) (before, after string, found bool) {
	if i := strings.Index(asciiLower(s), sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// asciiLower keeps the length, unlike strings.ToLower.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// fromURL reads a section, with its fields if it has such.
func (item *sectionItem) fromURL(text string) bool {
	text, err := url.PathUnescape(text)
	if err != nil || text == "" {
		return false
	}
	spec, list, has := strings.Cut(text, " (")
	if !item.parsePath(strings.ToUpper(spec)) || has != (item.fields != nil) {
		return false
	}
	if has {
		list, closed := strings.CutSuffix(list, ")")
		item.fields = strings.Fields(strings.ReplaceAll(list, `"`, ""))
		return closed && len(item.fields) > 0
	}
	return true
}

// partOf reads "offset.length", or "offset" alone, which is up to the end.
func (item *sectionItem) partOf(text string) bool {
	offset, size, has := strings.Cut(text, ".")
	var err error
	if item.offset, err = strconv.ParseInt(offset, 10, 64); err != nil || item.offset < 0 {
		return false
	}
	item.partial, item.size = true, 1<<62
	if has {
		if item.size, err = strconv.ParseInt(size, 10, 64); err != nil || item.size <= 0 {
			return false
		}
	}
	return true
}
