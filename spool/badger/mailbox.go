package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/spool"
)

func mailboxOf(key []byte) spool.MailboxID {
	return spool.MailboxID(binary.BigEndian.Uint64(key[1:]))
}

func checkAccount(account string) error {
	if account == "" || len(account) > spool.MaxName || strings.ContainsRune(account, 0) {
		return fmt.Errorf("spool: malformed account name %.100q", account)
	}
	return nil
}

// mailboxID looks a canonical name up; 0 if there is no such mailbox.
func (t *tx) mailboxID(account, name string) (spool.MailboxID, error) {
	if strings.ContainsRune(account, 0) || strings.ContainsRune(name, 0) {
		return 0, nil
	}
	id, err := load(t, nameKey(kName, account, name), decodeCounter)
	if errors.Is(err, spool.ErrNotFound) {
		return 0, nil
	}
	return spool.MailboxID(id), err
}

// row loads a mailbox; spool.ErrNoMailbox if it is gone. What sessions were
// told of since it was stored is in it, so that whoever stores it keeps that.
func (t *tx) row(id spool.MailboxID) (spool.Mailbox, error) {
	m, err := t.storedRow(id)
	m.Recent = max(m.Recent, t.recent.of(id))
	return m, err
}

func (t *tx) storedRow(id spool.MailboxID) (spool.Mailbox, error) {
	m, err := load(t, mailboxKey(kMailbox, id), func(p []byte) (spool.Mailbox, error) { return decodeMailbox(id, p) })
	if errors.Is(err, spool.ErrNotFound) {
		return m, fmt.Errorf("mailbox %d: %w", id, spool.ErrNoMailbox)
	}
	return m, err
}

func (t *tx) setRow(m *spool.Mailbox) error {
	t.touch(spool.Touched{Account: m.Account, Mailbox: m.ID})
	return t.set(mailboxKey(kMailbox, m.ID), encodeMailbox(m))
}

// named loads a mailbox by name.
func (t *tx) named(account, name string) (spool.Mailbox, error) {
	id, err := t.mailboxID(account, spool.CanonicalName(name))
	if err != nil {
		return spool.Mailbox{}, err
	}
	if id == 0 {
		return spool.Mailbox{}, fmt.Errorf("mailbox %.100q: %w", name, spool.ErrNoMailbox)
	}
	return t.row(id)
}

// create makes a mailbox and the levels above it that are missing.
func (t *tx) create(account, name string, use spool.Use, now time.Time) (spool.Mailbox, error) {
	if err := t.createParents(account, name, now); err != nil {
		return spool.Mailbox{}, err
	}
	id, err := t.next(metaMailbox, 1)
	if err != nil {
		return spool.Mailbox{}, err
	}
	validity, err := t.next(metaUIDValidity, uint64(uint32(now.Unix())))
	if err != nil {
		return spool.Mailbox{}, err
	}
	m := spool.Mailbox{
		ID:          spool.MailboxID(id),
		Account:     account,
		Name:        name,
		Use:         use,
		UIDValidity: uint32(validity),
		UIDNext:     1,
		ModSeq:      1,
		Recent:      1,
	}
	if err := t.set(nameKey(kName, account, name), encodeCounter(id)); err != nil {
		return m, err
	}
	t.arranged(account)
	return m, t.setRow(&m)
}

func (t *tx) createParents(account, name string, now time.Time) error {
	i := strings.LastIndex(name, spool.Separator)
	if i < 0 {
		return nil
	}
	if id, err := t.mailboxID(account, name[:i]); err != nil || id != 0 {
		return err
	}
	_, err := t.create(account, name[:i], spool.UseNone, now)
	return err
}

// read runs f on a snapshot.
func (e *Engine) read(f func(t *tx) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	t := e.view()
	defer t.discard()
	return f(t)
}

// ListMailboxes implements spool.Mailboxes.
func (e *Engine) ListMailboxes(account string) (list []spool.Mailbox, err error) {
	if strings.ContainsRune(account, 0) {
		return nil, nil
	}
	err = e.read(func(t *tx) error {
		list, err = t.tree(account, "")
		return err
	})
	slices.SortFunc(list, func(a, b spool.Mailbox) int { return spool.CompareNames(a.Name, b.Name) })
	return list, err
}

// tree returns the mailboxes of an account whose names begin so.
func (t *tx) tree(account, prefix string) (list []spool.Mailbox, err error) {
	var ids []spool.MailboxID
	collect(t, nameKey(kName, account, prefix), func(key []byte) {
		id, err2 := load(t, key, decodeCounter)
		ids, err = append(ids, spool.MailboxID(id)), errors.Join(err, err2)
	})
	for _, id := range ids {
		if err != nil {
			return nil, err
		}
		var m spool.Mailbox
		m, err = t.row(id)
		list = append(list, m)
	}
	return list, err
}

// Mailbox implements spool.Mailboxes.
func (e *Engine) Mailbox(account, name string) (m spool.Mailbox, err error) {
	err = e.read(func(t *tx) error {
		m, err = t.named(account, name)
		return err
	})
	return m, err
}

// MailboxByID implements spool.Mailboxes.
func (e *Engine) MailboxByID(id spool.MailboxID) (m spool.Mailbox, err error) {
	err = e.read(func(t *tx) error {
		m, err = t.row(id)
		return err
	})
	return m, err
}

// CreateMailbox implements spool.Mailboxes.
func (e *Engine) CreateMailbox(account, name string, use spool.Use) (m spool.Mailbox, err error) {
	name = spool.CanonicalName(name)
	if err := errors.Join(checkAccount(account), spool.CheckName(name)); err != nil {
		return m, fmt.Errorf("create: %w", err)
	}
	if err := e.enter(); err != nil {
		return m, err
	}
	defer e.leave()
	err = e.do(func(t *tx) error {
		id, err := t.mailboxID(account, name)
		if err != nil {
			return err
		}
		if id != 0 {
			return fmt.Errorf("create %q: %w", name, spool.ErrMailboxExists)
		}
		m, err = t.create(account, name, use, e.opt.Now())
		return err
	}, nil)
	return m, err
}

// RenameMailbox implements spool.Mailboxes.
func (e *Engine) RenameMailbox(account, from, to string) error {
	from, to = spool.CanonicalName(from), spool.CanonicalName(to)
	if err := spool.CheckName(to); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	if from == spool.Inbox {
		return e.renameInbox(account, to)
	}
	err := e.do(func(t *tx) error { return t.rename(account, from, to, e.opt.Now()) }, nil)
	if err != nil {
		return fmt.Errorf("rename %.100q: %w", from, err)
	}
	return nil
}

// renameInbox makes the new mailbox and moves what INBOX holds. What a crash
// leaves between the two is a mailbox with some of the messages, none lost.
func (e *Engine) renameInbox(account, to string) error {
	inbox, err := e.Mailbox(account, spool.Inbox)
	if err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	target, err := e.CreateMailbox(account, to, spool.UseNone)
	if err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	o, err := e.Overview(inbox.ID)
	if err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	_, err = e.Move(inbox.ID, o.UIDs, target.ID, spool.FlagMask{})
	return err
}

// rename renames a mailbox that is not INBOX, and those below it.
func (t *tx) rename(account, from, to string, now time.Time) error {
	top, err := t.named(account, from)
	if err != nil {
		return err
	}
	if strings.HasPrefix(to, from+spool.Separator) {
		return fmt.Errorf("below itself: %w", spool.ErrMailboxName)
	}
	below, err := t.tree(account, from+spool.Separator)
	if err != nil {
		return err
	}
	moved := append([]spool.Mailbox{top}, below...)
	for i := range moved {
		name := to + strings.TrimPrefix(moved[i].Name, from)
		if err := spool.CheckName(name); err != nil {
			return err
		}
		id, err := t.mailboxID(account, name)
		if err != nil {
			return err
		}
		if id != 0 || name == spool.Inbox {
			return fmt.Errorf("to %q: %w", name, spool.ErrMailboxExists)
		}
	}
	for i := range moved {
		m := &moved[i]
		if err := t.delete(nameKey(kName, account, m.Name)); err != nil {
			return err
		}
		m.Name = to + strings.TrimPrefix(m.Name, from)
		if err := t.set(nameKey(kName, account, m.Name), encodeCounter(uint64(m.ID))); err != nil {
			return err
		}
		if err := t.setRow(m); err != nil {
			return err
		}
	}
	t.arranged(account)
	return t.createParents(account, to, now)
}

// DeleteMailbox implements spool.Mailboxes.
func (e *Engine) DeleteMailbox(account, name string) error {
	name = spool.CanonicalName(name)
	if name == spool.Inbox {
		return fmt.Errorf("delete INBOX: %w", spool.ErrMailboxName)
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	var id spool.MailboxID
	return e.do(func(t *tx) error {
		m, err := t.named(account, name)
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		id = m.ID
		return t.drop(&m)
	}, func() { e.dropped(id) })
}

// drop takes a mailbox away at once; its entries are freed by the sweeper.
func (t *tx) drop(m *spool.Mailbox) error {
	t.arranged(m.Account)
	if err := t.delete(nameKey(kName, m.Account, m.Name)); err != nil {
		return err
	}
	if err := t.delete(mailboxKey(kMailbox, m.ID)); err != nil {
		return err
	}
	if err := t.dropAttributes(m.ID); err != nil {
		return err
	}
	return t.set(mailboxKey(kZombie, m.ID), []byte{recordVersion})
}

func (e *Engine) dropped(id spool.MailboxID) {
	e.recent.forget(id)
	e.sweeper.mailbox(id)
	e.watch.notify([]spool.MailboxID{id})
}

// DeleteAccount implements spool.Mailboxes.
func (e *Engine) DeleteAccount(account string) error {
	if err := checkAccount(account); err != nil {
		return err
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	var gone []spool.Mailbox
	return e.do(func(t *tx) (err error) {
		if gone, err = t.tree(account, ""); err != nil {
			return err
		}
		var keys [][]byte
		collect(t, nameKey(kSubscribed, account, ""), func(key []byte) { keys = append(keys, key) })
		t.arranged(account)
		for _, key := range keys {
			if err := t.delete(key); err != nil {
				return err
			}
		}
		for i := range gone {
			if err := t.drop(&gone[i]); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		for _, m := range gone {
			e.dropped(m.ID)
		}
	})
}

// Subscribe implements spool.Mailboxes.
func (e *Engine) Subscribe(account, name string, on bool) error {
	name = spool.CanonicalName(name)
	if err := errors.Join(checkAccount(account), spool.CheckName(name)); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	key := nameKey(kSubscribed, account, name)
	return e.do(func(t *tx) error {
		t.arranged(account)
		if on {
			return t.set(key, []byte{recordVersion})
		}
		return t.delete(key)
	}, nil)
}

// Subscriptions implements spool.Mailboxes.
func (e *Engine) Subscriptions(account string) (names []string, err error) {
	if strings.ContainsRune(account, 0) {
		return nil, nil
	}
	prefix := nameKey(kSubscribed, account, "")
	err = e.read(func(t *tx) error {
		collect(t, prefix, func(key []byte) { names = append(names, string(key[len(prefix):])) })
		return nil
	})
	return names, err
}

// deposit puts a message into a mailbox by name, INBOX being made if missing.
func (t *tx) deposit(id mail.ID, size int64, d spool.Deposit, now time.Time) (spool.Deposited, error) {
	name := spool.CanonicalName(d.Mailbox)
	if name == "" {
		name = spool.Inbox
	}
	m, err := t.named(d.Account, name)
	if errors.Is(err, spool.ErrNoMailbox) && name == spool.Inbox {
		if err = checkAccount(d.Account); err == nil {
			m, err = t.create(d.Account, name, spool.UseNone, now)
		}
	}
	if err != nil {
		return spool.Deposited{}, fmt.Errorf("deposit for %s: %w", d.Account, err)
	}
	m.ModSeq++
	n := spool.Entry{
		Message:      id,
		Flags:        applyFlags(spool.Flags{}, spool.FlagSet, d.Flags),
		InternalDate: d.InternalDate,
		Prefix:       d.Prefix,
		Size:         int64(len(d.Prefix)) + size,
	}
	if n.InternalDate.IsZero() {
		n.InternalDate = now
	}
	index := t.index(m.ID)
	if err := t.addEntry(&m, index, &n, now); err != nil {
		return spool.Deposited{}, err
	}
	return spool.Deposited{Mailbox: m.ID, UIDValidity: m.UIDValidity, UID: n.UID}, errors.Join(index.flush(), t.setRow(&m))
}
