package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// batch is how many messages are asked for at a time. The next batch is asked
// for while the first comes.
const batch = 100

// open examines a folder and returns the UIDs that were not had, ascending, and
// what makes a key of one.
func (s *imapSource) open(f Folder, had func(string) bool) ([]imap.UID, func(imap.UID) string, error) {
	data, err := s.c.Select(f.place, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, nil, fmt.Errorf("EXAMINE: %w", err)
	}
	key := func(uid imap.UID) string { return fmt.Sprintf("%d/%d", data.UIDValidity, uid) }
	if data.NumMessages == 0 {
		return nil, key, nil
	}
	var opt *imap.SearchOptions
	if s.c.Caps().Has(imap.CapESearch) {
		opt = &imap.SearchOptions{ReturnAll: true} // ranges instead of numbers
	}
	found, err := s.c.UIDSearch(&imap.SearchCriteria{}, opt).Wait()
	if err != nil {
		return nil, nil, fmt.Errorf("SEARCH: %w", err)
	}
	var missing []imap.UID
	set, _ := found.All.(imap.UIDSet)
	all, ok := set.Nums()
	if !ok {
		return nil, nil, errors.New("SEARCH: the server answered with an open range")
	}
	for _, uid := range all {
		if !had(key(uid)) {
			missing = append(missing, uid)
		}
	}
	return missing, key, nil
}

func (s *imapSource) Count(_ context.Context, f Folder, had func(string) bool) (int, error) {
	missing, _, err := s.open(f, had)
	return len(missing), err
}

// asked is a batch on its way: what is known of its messages comes before
// their texts, since a server may put flags behind a text.
type asked struct {
	uids        []imap.UID
	about, text *imapclient.FetchCommand
}

func (s *imapSource) ask(uids []imap.UID) *asked {
	set := imap.UIDSetNum(uids...)
	return &asked{
		uids:  uids,
		about: s.c.Fetch(set, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true}),
		text:  s.c.Fetch(set, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}}),
	}
}

// visit is a folder being brought over.
type visit struct {
	*imapSource
	key  func(imap.UID) string
	skip func(string, error)
	take func(Message, io.Reader) error
	// left are messages that were asked for and whose text did not come.
	left []imap.UID
}

func (s *imapSource) Each(ctx context.Context, f Folder, had func(string) bool, skip func(string, error), take func(Message, io.Reader) error) error {
	missing, key, err := s.open(f, had)
	if err != nil {
		return err
	}
	v := &visit{imapSource: s, key: key, skip: skip, take: take}
	s.broken = true
	if err := v.all(missing); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
	s.broken = false
	return nil
}

func (v *visit) all(missing []imap.UID) error {
	some := func() *asked {
		if len(missing) == 0 {
			return nil
		}
		n := min(batch, len(missing))
		a := v.ask(missing[:n])
		missing = missing[n:]
		return a
	}
	now := some()
	for now != nil {
		next := some()
		if err := v.batch(now); err != nil {
			return err
		}
		now = next
	}
	// Alone: what another session did to a message may have come in the place
	// of its text, and one that the server cannot read spoils a whole batch.
	for _, uid := range v.left {
		if err := v.alone(uid); err != nil {
			return err
		}
	}
	return nil
}

// refusal tells whether an answer is a NO or BAD, and the connection is as well
// as before.
func refusal(err error) bool {
	var no *imap.Error
	return errors.As(err, &no) && no.Type != imap.StatusResponseTypeBye
}

// batch takes the messages of a batch. Those without a text are left.
func (v *visit) batch(a *asked) error {
	about, err := a.about.Collect()
	if err != nil && !refusal(err) {
		return fmt.Errorf("FETCH: %w", err)
	}
	known := make(map[imap.UID]Message, len(about))
	for _, m := range about {
		known[m.UID] = v.message(m)
	}
	came := make(map[imap.UID]bool, len(a.uids))
	if err := v.texts(a.text, known, came); err != nil && !refusal(err) {
		return err
	}
	for _, uid := range a.uids {
		if _, ok := known[uid]; ok && !came[uid] {
			v.left = append(v.left, uid)
		}
	}
	return nil
}

func (v *visit) message(m *imapclient.FetchMessageBuffer) Message {
	out := Message{Key: v.key(m.UID), Date: m.InternalDate, Size: -1}
	for _, f := range m.Flags {
		out.Flags = append(out.Flags, string(f))
	}
	return out
}

// texts takes the messages whose texts come. Its error is take's, or the
// command's.
func (v *visit) texts(cmd *imapclient.FetchCommand, known map[imap.UID]Message, came map[imap.UID]bool) error {
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		var uid imap.UID
		for item := data.Next(); item != nil; item = data.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				uid = item.UID
			case imapclient.FetchItemDataBodySection:
				m, ok := known[uid]
				if !ok || came[uid] || item.Literal == nil {
					continue
				}
				came[uid] = true
				m.Size = item.Literal.Size()
				if err := v.take(m, item.Literal); err != nil {
					return err
				}
			}
		}
	}
	if err := cmd.Close(); err != nil {
		return fmt.Errorf("FETCH: %w", err)
	}
	return nil
}

// alone asks for one message once more, and tells of it if it cannot be had. One
// that is gone is not missed.
func (v *visit) alone(uid imap.UID) error {
	set := imap.UIDSetNum(uid)
	list, err := v.c.Fetch(set, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true}).Collect()
	if err != nil && !refusal(err) {
		return fmt.Errorf("FETCH: %w", err)
	}
	known := make(map[imap.UID]Message)
	for _, m := range list {
		known[m.UID] = v.message(m)
	}
	if len(known) == 0 && err == nil {
		return nil
	}
	came := make(map[imap.UID]bool)
	if err == nil {
		cmd := v.c.Fetch(set, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
		err = v.texts(cmd, known, came)
	}
	switch {
	case err != nil && !refusal(err):
		return err
	case err != nil:
		v.skip(v.key(uid), err)
	case !came[uid]:
		v.skip(v.key(uid), errors.New("the server has no text of it"))
	}
	return nil
}
