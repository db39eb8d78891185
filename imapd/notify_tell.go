package imapd

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"restante/spool"
)

func isNoMailbox(err error) bool { return errors.Is(err, spool.ErrNoMailbox) }

// pollOthers tells what NOTIFY has asked for but the messages of the selected
// mailbox. What cannot be read now will be at the next time.
func (s *session) pollOthers() {
	n := s.notify
	if n == nil || n.watch == nil {
		return
	}
	n.gather()
	if err := s.tellNews(n); err != nil {
		s.log.Error("reading what NOTIFY asks for failed", "err", err)
		return
	}
	n.quiet, n.mine = nil, nil
}

// gather takes in where something has happened.
func (n *notifier) gather() {
	news := n.watch.Take()
	n.arranged = n.arranged || len(news.Accounts) > 0
	for _, id := range news.Entries {
		if n.known[id] != nil {
			put(&n.entries, id)
		}
	}
	for _, id := range news.Attributes {
		put(&n.marked, id)
	}
	if news.All || len(n.marked) > spool.MaxNews {
		n.everything = true
	}
}

// tellNews compares what is there with what the client knows, wherever something
// has happened.
func (s *session) tellNews(n *notifier) error {
	if n.everything {
		n.arranged, n.everything, n.marked = true, false, nil
		for id := range n.known {
			put(&n.marked, id)
		}
	}
	for id := range n.marked {
		changed, err := s.otherRights(n, id)
		if err != nil {
			return err
		}
		n.arranged = n.arranged || changed
	}
	if n.arranged {
		if err := s.tellNames(n); err != nil || s.notify != n {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(n.marked)) {
		if err := s.tellMarked(n, id); err != nil {
			return err
		}
		delete(n.marked, id)
	}
	for _, id := range slices.Sorted(maps.Keys(n.entries)) {
		// The selected mailbox has rules of its own until it is left.
		if s.box == nil || s.box.view.Mailbox() != id {
			if err := s.tellChanged(n, id); err != nil {
				return err
			}
		}
		delete(n.entries, id)
	}
	return nil
}

// otherRights tells whether the client may see or read a mailbox of another that it
// might not, or the reverse.
func (s *session) otherRights(n *notifier, id spool.MailboxID) (bool, error) {
	row, err := s.srv.opt.Mailboxes.MailboxByID(id)
	var now rights
	if err == nil {
		now, err = s.rightsOf(row)
	}
	if isNoMailbox(err) {
		return false, nil // the names say so
	}
	var was rights
	if k := n.known[id]; k != nil {
		was = k.rights
	}
	return (was^now)&(rightLookup|rightRead) != 0, err
}

// tellMarked tells of metadata, of a mailbox and of the server, that are not as they
// were.
func (s *session) tellMarked(n *notifier, id spool.MailboxID) error {
	k := n.known[id]
	if k == nil {
		return nil
	}
	server, err := s.serverMetadata(n, k, id)
	if err != nil {
		return err
	}
	box, err := s.boxMetadata(k, id)
	if err != nil {
		return err
	}
	if server != nil {
		s.tellEntries("", differing(n.server, server))
		n.server = server
	}
	s.tellEntries(k.name, differing(k.metadata, box))
	k.metadata = box
	return nil
}

// tellEntries tells that entries have changed (RFC 5464 section 4.4.2).
func (s *session) tellEntries(name string, entries []string) {
	if len(entries) == 0 {
		return
	}
	s.out.Raw("* METADATA ").Mailbox(name)
	for _, entry := range entries {
		s.out.Raw(" ")
		if strings.ContainsAny(entry, ` (){"\`) {
			s.out.String(entry)
		} else {
			s.out.Raw(entry)
		}
	}
	s.out.CRLF()
}

// tellChanged tells how a mailbox is that has changed.
func (s *session) tellChanged(n *notifier, id spool.MailboxID) error {
	k := n.known[id]
	if k == nil || !k.events.has(messageEvents) {
		return nil
	}
	row, err := s.srv.opt.Mailboxes.MailboxByID(id)
	if isNoMailbox(err) {
		return nil
	}
	if err != nil {
		return err
	}
	tells := k.hears() && !k.is(row)
	if tells {
		unknown := k.next == 0 || row.UIDValidity != k.validity
		counts := k.events.has(messageNew|messageExpunge) && (row.UIDNext != k.next || row.Messages != k.messages)
		flags := k.events.has(flagChange) && (row.Unseen != k.unseen || s.has(condstore))
		tells = unknown || counts || flags
	}
	if tells && len(n.mine[id]) > 0 {
		own, err := s.onlyMine(id, k.modseq, n.mine[id])
		if err != nil {
			return err
		}
		tells = !own
	}
	if tells {
		s.tellRow(k, row, false)
	}
	if k.readable() { // else it is told when the client may read it
		k.take(row)
	}
	return nil
}

// onlyMine tells whether all that has happened in a mailbox since then is the
// client's own doing.
func (s *session) onlyMine(id spool.MailboxID, since spool.ModSeq, mine []spool.UID) (bool, error) {
	changes, _, err := s.srv.opt.Mailboxes.Changes(id, since)
	switch {
	case errors.Is(err, spool.ErrChangesLost), isNoMailbox(err):
		return false, nil
	case err != nil:
		return false, err
	}
	for _, c := range changes {
		if !slices.Contains(mine, c.UID) {
			return false, nil
		}
	}
	return true, nil
}
