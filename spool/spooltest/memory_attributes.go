package spooltest

import (
	"fmt"
	"maps"
	"slices"

	"restante/spool"
)

// Attributes implements spool.Attributes.
func (m *Memory) Attributes(id spool.MailboxID) (map[string]string, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err != nil {
		return nil, err
	}
	list := maps.Clone(b.attributes)
	if list == nil {
		list = make(map[string]string)
	}
	return list, nil
}

// SetAttributes implements spool.Attributes.
func (m *Memory) SetAttributes(id spool.MailboxID, change map[string]*string) error {
	if err := m.enter(OpArrange); err != nil {
		return err
	}
	defer m.mu.Unlock()
	b, err := m.byID(id)
	if err == nil {
		err = spool.CheckAttributes(change)
	}
	if err != nil {
		return fmt.Errorf("set attributes: %w", err)
	}
	list := maps.Clone(b.attributes)
	if list == nil {
		list = make(map[string]string)
	}
	for name, value := range change {
		if value == nil {
			delete(list, name)
		} else {
			list[name] = *value
		}
	}
	if len(list) > spool.MaxAttributes {
		return fmt.Errorf("set attributes: %w", spool.ErrAttributes)
	}
	b.attributes = list
	m.accounts.Note(spool.Touched{Account: b.row.Account, Mailbox: id, Attributes: slices.Sorted(maps.Keys(change))})
	return nil
}

// HaveAttribute implements spool.Attributes.
func (m *Memory) HaveAttribute(name string) ([]spool.MailboxID, error) {
	if err := m.enter(OpMailboxes); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var list []spool.MailboxID
	for id, b := range m.mailboxes {
		if _, ok := b.attributes[name]; ok {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list, nil
}
