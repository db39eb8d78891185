package search

import (
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/encoding/htmlindex"

	"restante/imapd/casemap"
	"restante/internal/header"
)

// matchField looks for a string in a header field.
func matchField(f imap.SearchCriteriaHeaderField, m Message) (bool, error) {
	want := foldText(f.Value)
	return fieldTexts(f.Key, m, func(text string) bool { return strings.Contains(foldText(text), want) })
}

// fieldTexts visits the fields of a name as readers see them, until one is right.
// Those that every client asks for are in the stored envelope.
func fieldTexts(name string, m Message, right func(text string) bool) (bool, error) {
	if text, ok, err := fromEnvelope(name, m); err != nil {
		return false, fmt.Errorf("search header: %w", err)
	} else if ok {
		return right(text), nil
	}
	head, err := m.Header()
	if err != nil {
		return false, fmt.Errorf("search header: %w", err)
	}
	for _, field := range header.Parse(head).Fields() {
		if strings.EqualFold(field.Name, name) && right(decodeHeader(field.Value())) {
			return true, nil
		}
	}
	return false, nil
}

// headerText is all of the header, as readers see it.
func headerText(m Message) (string, error) {
	head, err := m.Header()
	if err != nil {
		return "", fmt.Errorf("search header: %w", err)
	}
	return decodeHeader(unfold(string(head))), nil
}

// fromEnvelope returns the text of a field, as a reader sees it. It is not ok
// if the envelope does not have the field, or has nothing of it: it may be
// there and malformed.
func fromEnvelope(key string, m Message) (text string, ok bool, err error) {
	key = strings.ToLower(key)
	if !inEnvelope(key) {
		return "", false, nil
	}
	s, err := m.Structure()
	if err != nil {
		return "", false, err
	}
	env := s.Envelope()
	switch key {
	case "subject":
		text = env.Subject
	case "message-id":
		text = s.Root.Envelope.MessageID
	case "in-reply-to":
		text = s.Root.Envelope.InReplyTo
	default:
		text = addresses(map[string][]imap.Address{
			"from": env.From, "sender": env.Sender, "reply-to": env.ReplyTo,
			"to": env.To, "cc": env.Cc, "bcc": env.Bcc,
		}[key])
	}
	return text, text != "", nil
}

// inEnvelope tells whether the stored envelope has a field.
func inEnvelope(key string) bool {
	switch strings.ToLower(key) {
	case "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to":
		return true
	}
	return false
}

func addresses(list []imap.Address) string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case a.IsGroupStart():
			b.WriteString(a.Mailbox + ":")
		case a.IsGroupEnd():
			b.WriteString(";")
		case a.Name == "":
			b.WriteString(a.Addr())
		default:
			b.WriteString(a.Name + " <" + a.Addr() + ">")
		}
	}
	return b.String()
}

// decodeHeader decodes encoded words (RFC 2047); what cannot be decoded stays.
func decodeHeader(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	d := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		enc, err := htmlindex.Get(charset)
		if err != nil {
			return nil, err
		}
		return enc.NewDecoder().Reader(r), nil
	}}
	if out, err := d.DecodeHeader(s); err == nil {
		return out
	}
	return s
}

// unfold joins the lines of folded fields.
func unfold(s string) string {
	return strings.NewReplacer("\r\n ", " ", "\r\n\t", "\t", "\n ", " ", "\n\t", "\t").Replace(s)
}

func foldText(s string) string { return casemap.Fold(s) }
