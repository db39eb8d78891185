package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// batch is how many messages are asked for at a time. While their texts come, it
// is asked what is known of the next batch. Servers may answer commands that
// are on their way together in any order, and the library holds 128 answers of
// one before it waits for somebody to read them: so there is never more than
// one command for texts, and a batch is smaller than that.
const batch = 100

// maxFolder bounds the messages of one folder, whatever a server says of it, and
// manyNew those that may come between two commands.
const (
	maxFolder = 20_000_000
	manyNew   = 10_000
)

// open examines a folder and returns the UIDs that were not had, ascending, and
// what makes a key of one.
func (s *imapSource) open(f Folder, had func(string) bool) ([]imap.UID, func(imap.UID) string, error) {
	data, err := s.c.Select(f.place, &imap.SelectOptions{ReadOnly: true}).Wait()
	if refusal(err) {
		return nil, nil, fmt.Errorf("%w: %w", errFolder, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("EXAMINE: %w", err)
	}
	key := keyOf(data.UIDValidity)
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
	// The ranges are the server's word: they are not made numbers before they
	// are known to be few.
	total := uint64(0)
	for _, r := range set {
		total += uint64(r.Stop) - uint64(r.Start) + 1
	}
	all, ok := []imap.UID(nil), false
	if total <= min(maxFolder, uint64(data.NumMessages)+manyNew) {
		all, ok = set.Nums()
	}
	if !ok {
		return nil, nil, errors.New("SEARCH: the server tells of more messages than there are")
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

func keyOf(validity uint32) func(imap.UID) string {
	return func(uid imap.UID) string { return fmt.Sprintf("%d/%d", validity, uid) }
}

// asked is a batch of which it was asked what is known of its messages: that has
// to be known before their texts come, and a server may put flags behind a text.
type asked struct {
	uids  []imap.UID
	about *imapclient.FetchCommand
}

func (s *imapSource) ask(uids []imap.UID) *asked {
	return &asked{uids, s.c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, Flags: true, InternalDate: true})}
}

func (s *imapSource) askTexts(uids []imap.UID) *imapclient.FetchCommand {
	return s.c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
}

// visit is a folder being brought over.
type visit struct {
	*imapSource
	folder Folder
	key    func(imap.UID) string
	skip   func(string, error)
	take   func(Message, io.Reader) error
	// missing are messages that were not asked for yet; left those that were,
	// and whose text did not come.
	missing, left []imap.UID
	// losses counts lost connections, idle those since the last message.
	losses, idle int
}

// Bounds on lost connections: of one folder, and without any progress.
const (
	maxLosses = 100
	maxIdle   = 3
)

// errLost is wrapped by errors after which nothing more comes by a connection.
var errLost = errors.New("the connection is lost")

func isLost(err error) bool { return errors.Is(err, errLost) || errors.Is(err, errRead) }

func (s *imapSource) Each(ctx context.Context, f Folder, had func(string) bool, skip func(string, error), take func(Message, io.Reader) error) error {
	missing, key, err := s.open(f, had)
	if err != nil {
		return err
	}
	v := &visit{imapSource: s, folder: f, key: key, skip: skip, take: take, missing: missing}
	s.broken = true
	if err := v.all(ctx); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
	s.broken = false
	return nil
}

// all goes through the folder in batches, and then through what was left, one
// at a time: what another session did to a message may have come in the place
// of its text, and one that the server cannot read spoils a whole batch. Dovecot
// ends the connection at such a message, so that this is no reason to give up.
func (v *visit) all(ctx context.Context) error {
	for len(v.missing) > 0 {
		err := v.batches()
		if isLost(err) {
			err = v.again(ctx, err)
		}
		if err != nil {
			return err
		}
	}
	for ; len(v.left) > 0; v.left = v.left[1:] {
		uid := v.left[0]
		err := v.alone(uid)
		if isLost(err) {
			if err = v.again(ctx, err); err == nil {
				v.skip(v.key(uid), errors.New("the server ends the connection when it is asked for it"))
				v.idle = 0
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again connects anew after the connection was lost.
func (v *visit) again(ctx context.Context, lost error) error {
	v.losses++
	v.idle++
	if ctx.Err() != nil || v.losses > maxLosses || v.idle > maxIdle {
		return lost
	}
	v.stop()
	_ = v.c.Close()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(v.idle-1) * time.Second):
	}
	if err := v.dial(ctx); err != nil {
		return errors.Join(lost, err)
	}
	data, err := v.c.Select(v.folder.place, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return fmt.Errorf("EXAMINE: %w", err)
	}
	if keyOf(data.UIDValidity)(1) != v.key(1) {
		return errors.New("the folder has a new UIDVALIDITY")
	}
	return nil
}

func (v *visit) batches() error {
	some := func(from int) *asked {
		if from >= len(v.missing) {
			return nil
		}
		return v.ask(v.missing[from:min(from+batch, len(v.missing))])
	}
	for now := some(0); now != nil; {
		known, err := v.about(now)
		if err != nil {
			return err
		}
		texts := v.askTexts(now.uids)
		next := some(len(now.uids))
		v.missing = v.missing[len(now.uids):]
		if err := v.batch(now.uids, known, texts); err != nil {
			return err
		}
		now = next
	}
	return nil
}

// refusal tells whether an answer is a NO or BAD, and the connection is as well
// as before.
func refusal(err error) bool {
	var no *imap.Error
	return errors.As(err, &no) && no.Type != imap.StatusResponseTypeBye
}

// about is what is known of a batch.
func (v *visit) about(a *asked) (map[imap.UID]Message, error) {
	list, err := a.about.Collect()
	if err != nil && !refusal(err) {
		return nil, fmt.Errorf("FETCH: %w: %w", errLost, err)
	}
	known := make(map[imap.UID]Message, len(list))
	for _, m := range list {
		known[m.UID] = v.message(m)
	}
	return known, nil
}

// batch takes the messages of a batch. Those without a text are left.
func (v *visit) batch(uids []imap.UID, known map[imap.UID]Message, texts *imapclient.FetchCommand) error {
	came := make(map[imap.UID]bool, len(uids))
	err := v.texts(texts, known, came)
	for _, uid := range uids {
		if _, ok := known[uid]; ok && !came[uid] {
			v.left = append(v.left, uid)
		}
	}
	if refusal(err) {
		err = nil
	}
	return err
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
					came[uid] = false
					return err
				}
				v.idle = 0
			}
		}
	}
	err := cmd.Close()
	if err == nil || refusal(err) {
		return err
	}
	return fmt.Errorf("FETCH: %w: %w", errLost, err)
}

// alone asks for one message once more, and tells of it if it cannot be had. One
// that is gone is not missed.
func (v *visit) alone(uid imap.UID) error {
	uids := []imap.UID{uid}
	known, err := v.about(v.ask(uids))
	if err != nil || len(known) == 0 {
		return err
	}
	came := make(map[imap.UID]bool)
	err = v.texts(v.askTexts(uids), known, came)
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
