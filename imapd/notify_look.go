package imapd

import (
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"

	"restante/spool"
)

// known is a mailbox that the client may see, as it knows it.
type known struct {
	name string
	// own tells that it is of the account; rights are the client's, and events what
	// it wants to hear while it is not selected.
	own    bool
	rights rights
	events events

	validity         uint32
	next             spool.UID // 0 if the client does not know
	messages, unseen uint32
	modseq           spool.ModSeq
	// metadata are sums of the values by the names of the entries, as far as they are
	// asked for.
	metadata map[string]uint64
}

// take has the client know a row.
func (k *known) take(row spool.Mailbox) {
	k.validity, k.next, k.messages, k.unseen, k.modseq = row.UIDValidity, row.UIDNext, row.Messages, row.Unseen, row.ModSeq
}

// is tells whether the client knows all of a row.
func (k *known) is(row spool.Mailbox) bool {
	return k.modseq == row.ModSeq && k.validity == row.UIDValidity
}

// readable tells whether the client may hear what happens inside (RFC 5465 section
// 5).
func (k *known) readable() bool { return k.rights.has(rightLookup | rightRead) }

// hears tells whether the client wants to hear of messages, and may.
func (k *known) hears() bool { return k.events.has(messageEvents) && k.readable() }

// survey begins the watch, and takes in what is there.
func (s *session) survey(n *notifier) (*listing, error) {
	n.watch = s.srv.opt.Mailboxes.Watcher()
	n.watch.Account(s.account)
	n.watch.Attribute(aclPrefix + identifier(s.account))
	n.watch.Attribute(aclPrefix + anyone)
	for _, t := range s.srv.opt.Shared {
		n.watch.Account(t.Account)
	}
	l, err := s.watchedListing(n)
	if err != nil {
		return nil, err
	}
	if len(l.boxes) > s.srv.opt.MaxNotified {
		return nil, no(codeOverflow, fmt.Sprintf("Not more than %d mailboxes can be watched", s.srv.opt.MaxNotified))
	}
	n.known = make(map[spool.MailboxID]*known, len(l.boxes))
	for _, row := range l.boxes {
		k := &known{name: row.Name}
		k.take(row)
		if err := s.place(n, k, l, row); err != nil {
			return nil, err
		}
		n.known[row.ID] = k
		if k.metadata, err = s.boxMetadata(k, row.ID); err != nil {
			return nil, err
		}
		if server, err := s.serverMetadata(n, k, row.ID); err != nil {
			return nil, err
		} else if server != nil {
			n.server = server
		}
	}
	n.subscribed = l.subscribed
	return l, nil
}

// watchedListing is a listing of which all accounts are watched.
func (s *session) watchedListing(n *notifier) (*listing, error) {
	for {
		l, err := s.listing()
		if err != nil {
			return nil, err
		}
		added := false
		for _, row := range l.boxes {
			if row.Account != s.account && n.watch.Account(row.Account) {
				added = true
			}
		}
		if !added {
			return l, nil
		}
	}
}

// place finds out what the client may do with a mailbox and wants to hear of it.
func (s *session) place(n *notifier, k *known, l *listing, row spool.Mailbox) error {
	r, err := s.rightsOf(row)
	if err != nil && !isNoMailbox(err) {
		return err
	}
	k.own, k.rights = row.Account == s.account, r
	k.events = n.eventsOf(row.Name, k.own, l.subscribed[row.Name])
	return nil
}

// tellSurvey tells of the mailboxes that are watched from now on: with status how
// they are, and of which the client will hear nothing since it may not.
func (s *session) tellSurvey(n *notifier, l *listing, status bool) {
	for _, name := range l.names() {
		row, ok := l.boxes[name]
		if !ok {
			continue
		}
		switch k := n.known[row.ID]; {
		case k.events == 0:
		case !k.readable():
			s.listed("LIST", l.notice(name, true))
		case status && k.hears() && (s.box == nil || s.box.view.Mailbox() != row.ID):
			s.tellRow(k, row, k.events.has(flagChange))
		}
	}
}

// notice is what LIST says of a name, whatever was asked for; noAccess tells that
// the client may not read it.
func (l *listing) notice(name string, noAccess bool) listData {
	data, ok := l.list(name, &listOptions{extended: true, returnSubscribed: true})
	if !ok {
		data = listData{name: name, attrs: []string{`\NonExistent`}}
		if l.subscribed[name] {
			data.attrs = append(data.attrs, `\Subscribed`)
		}
	}
	if noAccess {
		data.attrs = append(data.attrs, `\NoAccess`)
	}
	return data
}

// tellRow writes the STATUS response of a mailbox, with HIGHESTMODSEQ if the client
// knows what that is or modseq.
func (s *session) tellRow(k *known, row spool.Mailbox, modseq bool) {
	items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"}
	if modseq || s.has(condstore) {
		items = append(items, "HIGHESTMODSEQ")
	}
	row.Name = k.name
	s.tellStatus(row, items) // of these items none can fail
}

// boxMetadata are sums of the metadata of a mailbox, nil if they are not asked for.
func (s *session) boxMetadata(k *known, id spool.MailboxID) (map[string]uint64, error) {
	if !k.events.has(mailboxMetadataChange) || !k.readable() {
		return nil, nil
	}
	attributes, err := s.srv.opt.Mailboxes.Attributes(id)
	if err != nil && !isNoMailbox(err) {
		return nil, err
	}
	list := sums(attributes, privatePrefix+identifier(s.account)+"\x00", "/private/")
	maps.Copy(list, sums(attributes, sharedPrefix, "/shared/"))
	return list, nil
}

// serverMetadata are sums of the metadata of the server, which are with INBOX, nil
// if that is not INBOX or they are not asked for.
func (s *session) serverMetadata(n *notifier, k *known, id spool.MailboxID) (map[string]uint64, error) {
	if !k.own || k.name != spool.Inbox || !n.wants(serverMetadataChange) {
		return nil, nil
	}
	attributes, err := s.srv.opt.Mailboxes.Attributes(id)
	if err != nil && !isNoMailbox(err) {
		return nil, err
	}
	return sums(attributes, serverPrivatePrefix, "/private/"), nil
}

// sums are of the values of attributes that begin so, by the names of the entries.
func sums(attributes map[string]string, prefix, scope string) map[string]uint64 {
	list := make(map[string]uint64)
	for name, value := range attributes {
		if rest, is := strings.CutPrefix(name, prefix); is {
			list[scope+rest] = sum(value)
		}
	}
	return list
}

func sum(value string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, value)
	return h.Sum64()
}

// differing are the names, sorted, that have not the same sum in both.
func differing(a, b map[string]uint64) (names []string) {
	for name, sum := range a {
		if other, ok := b[name]; !ok || other != sum {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// wroteMetadata takes note of entries that the client itself has changed.
func (s *session) wroteMetadata(id spool.MailboxID, server bool, change map[string]*string) {
	n := s.notify
	if n == nil || n.known[id] == nil {
		return
	}
	list := n.known[id].metadata
	if server {
		list = n.server
	}
	if list == nil {
		return // not asked for
	}
	for entry, value := range change {
		if value == nil {
			delete(list, entry)
		} else {
			list[entry] = sum(*value)
		}
	}
}
