package spooltest

import (
	"fmt"
	"slices"
	"strings"

	"restante/spool"
)

// mailboxName names a mailbox, or a subscription, of an account.
type mailboxName struct{ account, name string }

// memoryMailbox is a mailbox. The counts of row are not kept; they are counted
// when somebody asks.
type memoryMailbox struct {
	row     spool.Mailbox
	entries []spool.Entry  // by UID
	gone    []spool.Change // tombstones, by ModSeq
	// horizon is up to where tombstones have been forgotten.
	horizon    spool.ModSeq
	attributes map[string]string
}

// isBelow tells whether name is a level under parent.
func isBelow(name, parent string) bool { return strings.HasPrefix(name, parent+spool.Separator) }

// find returns a mailbox by its canonical name, nil if there is none.
func (m *Memory) find(account, name string) *memoryMailbox {
	for _, b := range m.mailboxes {
		if b.row.Account == account && b.row.Name == name {
			return b
		}
	}
	return nil
}

// addMailbox makes a mailbox and the missing levels above it.
func (m *Memory) addMailbox(account, name string, use spool.Use) *memoryMailbox {
	m.addParents(account, name)
	m.lastMailbox++
	m.lastValidity++
	b := &memoryMailbox{row: spool.Mailbox{
		ID:          m.lastMailbox,
		Account:     account,
		Name:        name,
		Use:         use,
		UIDValidity: m.lastValidity,
		UIDNext:     1,
		ModSeq:      1,
		Recent:      1,
	}}
	m.mailboxes[b.row.ID] = b
	m.accounts.Note(spool.Touched{Account: account})
	return b
}

func (m *Memory) addParents(account, name string) {
	if i := strings.LastIndex(name, spool.Separator); i >= 0 && m.find(account, name[:i]) == nil {
		m.addMailbox(account, name[:i], spool.UseNone)
	}
}

func (m *Memory) removeMailbox(b *memoryMailbox) {
	for _, e := range b.entries {
		m.unreference(e.Message)
	}
	delete(m.mailboxes, b.row.ID)
	m.notify(b.row.ID)
	m.accounts.Note(spool.Touched{Account: b.row.Account})
}

// counted returns the row with its counts.
func (b *memoryMailbox) counted() spool.Mailbox {
	row := b.row
	for _, e := range b.entries {
		row.Messages++
		row.Size += e.Size
		if e.Flags.System&spool.Seen == 0 {
			row.Unseen++
		}
		if e.Flags.System&spool.Deleted != 0 {
			row.Deleted++
		}
	}
	return row
}

// ListMailboxes implements spool.Mailboxes.
func (m *Memory) ListMailboxes(account string) ([]spool.Mailbox, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var list []spool.Mailbox
	for _, b := range m.mailboxes {
		if b.row.Account == account {
			list = append(list, b.counted())
		}
	}
	slices.SortFunc(list, func(a, b spool.Mailbox) int { return spool.CompareNames(a.Name, b.Name) })
	return list, nil
}

// Mailbox implements spool.Mailboxes.
func (m *Memory) Mailbox(account, name string) (spool.Mailbox, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return spool.Mailbox{}, err
	}
	defer m.mu.Unlock()
	b := m.find(account, spool.CanonicalName(name))
	if b == nil {
		return spool.Mailbox{}, fmt.Errorf("mailbox %.100q: %w", name, spool.ErrNoMailbox)
	}
	return b.counted(), nil
}

// MailboxByID implements spool.Mailboxes.
func (m *Memory) MailboxByID(id spool.MailboxID) (spool.Mailbox, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return spool.Mailbox{}, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return spool.Mailbox{}, err
	}
	return b.counted(), nil
}

func (m *Memory) byID(id spool.MailboxID) (*memoryMailbox, error) {
	b, ok := m.mailboxes[id]
	if !ok {
		return nil, fmt.Errorf("mailbox %d: %w", id, spool.ErrNoMailbox)
	}
	return b, nil
}

// CreateMailbox implements spool.Mailboxes.
func (m *Memory) CreateMailbox(account, name string, use spool.Use) (spool.Mailbox, error) {
	if err := m.enter(OpArrange); err != nil {
		return spool.Mailbox{}, err
	}
	defer m.mu.Unlock()
	name = spool.CanonicalName(name)
	if err := spool.CheckName(name); err != nil {
		return spool.Mailbox{}, fmt.Errorf("create: %w", err)
	}
	if m.find(account, name) != nil {
		return spool.Mailbox{}, fmt.Errorf("create %q: %w", name, spool.ErrMailboxExists)
	}
	return m.addMailbox(account, name, use).row, nil
}

// RenameMailbox implements spool.Mailboxes.
func (m *Memory) RenameMailbox(account, from, to string) error {
	if err := m.enter(OpArrange); err != nil {
		return err
	}
	defer m.mu.Unlock()
	from, to = spool.CanonicalName(from), spool.CanonicalName(to)
	if err := spool.CheckName(to); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	b := m.find(account, from)
	if b == nil {
		return fmt.Errorf("rename %.100q: %w", from, spool.ErrNoMailbox)
	}
	if to == spool.Inbox || m.find(account, to) != nil {
		return fmt.Errorf("rename to %q: %w", to, spool.ErrMailboxExists)
	}
	if from == spool.Inbox {
		m.transfer(b, m.addMailbox(account, to, spool.UseNone), slices.Clone(b.entries), spool.FlagMask{}, true)
		return nil
	}
	return m.renameTree(b, to)
}

// renameTree renames a mailbox and those below it, all or none.
func (m *Memory) renameTree(top *memoryMailbox, to string) error {
	account, from := top.row.Account, top.row.Name
	if isBelow(to, from) {
		return fmt.Errorf("rename %q below itself: %w", from, spool.ErrMailboxName)
	}
	tree := map[*memoryMailbox]string{top: to}
	for _, b := range m.mailboxes {
		if b.row.Account != account || !isBelow(b.row.Name, from) {
			continue
		}
		name := to + strings.TrimPrefix(b.row.Name, from)
		if err := spool.CheckName(name); err != nil {
			return fmt.Errorf("rename: %w", err)
		}
		if m.find(account, name) != nil {
			return fmt.Errorf("rename to %q: %w", name, spool.ErrMailboxExists)
		}
		tree[b] = name
	}
	for b, name := range tree {
		b.row.Name = name
	}
	m.addParents(account, to)
	m.accounts.Note(spool.Touched{Account: account})
	return nil
}

// DeleteMailbox implements spool.Mailboxes.
func (m *Memory) DeleteMailbox(account, name string) error {
	if err := m.enter(OpArrange); err != nil {
		return err
	}
	defer m.mu.Unlock()
	name = spool.CanonicalName(name)
	if name == spool.Inbox {
		return fmt.Errorf("delete INBOX: %w", spool.ErrMailboxName)
	}
	b := m.find(account, name)
	if b == nil {
		return fmt.Errorf("delete %.100q: %w", name, spool.ErrNoMailbox)
	}
	m.removeMailbox(b)
	return nil
}

// DeleteAccount implements spool.Mailboxes. An account that is not there is
// deleted already.
func (m *Memory) DeleteAccount(account string) error {
	if err := m.enter(OpArrange); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for _, b := range m.mailboxes {
		if b.row.Account == account {
			m.removeMailbox(b)
		}
	}
	for n := range m.subscriptions {
		if n.account == account {
			delete(m.subscriptions, n)
			m.accounts.Note(spool.Touched{Account: account})
		}
	}
	return nil
}

// Subscribe implements spool.Mailboxes.
func (m *Memory) Subscribe(account, name string, on bool) error {
	if err := m.enter(OpArrange); err != nil {
		return err
	}
	defer m.mu.Unlock()
	n := mailboxName{account, spool.CanonicalName(name)}
	if !on {
		delete(m.subscriptions, n)
		m.accounts.Note(spool.Touched{Account: account})
		return nil
	}
	if err := spool.CheckName(n.name); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	m.subscriptions[n] = true
	m.accounts.Note(spool.Touched{Account: account})
	return nil
}

// Subscriptions implements spool.Mailboxes, by name, INBOX first.
func (m *Memory) Subscriptions(account string) ([]string, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var list []string
	for n := range m.subscriptions {
		if n.account == account {
			list = append(list, n.name)
		}
	}
	slices.SortFunc(list, spool.CompareNames)
	return list, nil
}
