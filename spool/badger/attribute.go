package badger

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"restante/spool"
)

// attributeKey is where an attribute of a mailbox is.
func attributeKey(id spool.MailboxID, name string) []byte {
	return append(mailboxKey(kAttribute, id), name...)
}

// attributeStart is where the name begins in a key.
const attributeStart = 1 + 8

func encodeAttribute(value string) []byte { return append([]byte{recordVersion}, value...) }

func decodeAttribute(p []byte) (string, error) {
	if len(p) == 0 || p[0] != recordVersion {
		return "", errRecord
	}
	return string(p[1:]), nil
}

// Attributes implements spool.Attributes.
func (e *Engine) Attributes(id spool.MailboxID) (list map[string]string, err error) {
	err = e.read(func(t *tx) error {
		list = make(map[string]string)
		if _, err := t.row(id); err != nil {
			return err
		}
		for _, key := range t.attributes(id) {
			value, err := load(t, key, decodeAttribute)
			if err != nil {
				return err
			}
			list[string(key[attributeStart:])] = value
		}
		return nil
	})
	return list, err
}

// attributes are the keys of a mailbox's.
func (t *tx) attributes(id spool.MailboxID) (keys [][]byte) {
	collect(t, mailboxKey(kAttribute, id), func(key []byte) { keys = append(keys, key) })
	return keys
}

// SetAttributes implements spool.Attributes.
func (e *Engine) SetAttributes(id spool.MailboxID, change map[string]*string) error {
	if err := spool.CheckAttributes(change); err != nil {
		return fmt.Errorf("spool: set attributes: %w", err)
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	err := e.do(func(t *tx) error {
		m, err := t.row(id)
		if err != nil {
			return err
		}
		t.touch(spool.Touched{Account: m.Account, Mailbox: id, Attributes: slices.Sorted(maps.Keys(change))})
		for name, value := range change {
			var err error
			if key := attributeKey(id, name); value == nil {
				err = t.delete(key)
			} else {
				err = t.set(key, encodeAttribute(*value))
			}
			if err != nil {
				return err
			}
		}
		if len(t.attributes(id)) > spool.MaxAttributes {
			return spool.ErrAttributes
		}
		return nil
	}, nil)
	if err != nil {
		return fmt.Errorf("spool: set attributes: %w", err)
	}
	return nil
}

// HaveAttribute implements spool.Attributes.
func (e *Engine) HaveAttribute(name string) (list []spool.MailboxID, err error) {
	err = e.read(func(t *tx) error {
		list = nil
		collect(t, []byte{kAttribute}, func(key []byte) {
			if len(key) > attributeStart && string(key[attributeStart:]) == name {
				list = append(list, mailboxOf(key))
			}
		})
		return nil
	})
	return list, err
}

// dropAttributes removes those of a mailbox.
func (t *tx) dropAttributes(id spool.MailboxID) error {
	for _, key := range t.attributes(id) {
		if err := t.delete(key); err != nil {
			return err
		}
	}
	return nil
}

// attributes are those of mailboxes that are there.
func (c *checker) attributes() error {
	return c.each([]byte{kAttribute}, func(key, p []byte, err error) error {
		if len(key) <= attributeStart {
			c.stray(key, "a malformed key")
			return nil
		}
		if err == nil {
			_, err = decodeAttribute(p)
		}
		if err != nil {
			c.find(damageRecord, c.keyText(key), c.takeAside(key, nil), "%s", why(err))
			return nil
		}
		_, err = c.t.row(mailboxOf(key))
		if errors.Is(err, spool.ErrCorrupt) {
			return nil // told
		}
		if !errors.Is(err, spool.ErrNoMailbox) {
			return err
		}
		// A mailbox that has lost its row gets one again as long as it has entries.
		entries, err := c.hasAny(mailboxKey(kEntry, mailboxOf(key)), mailboxKey(kJournal, mailboxOf(key)))
		if err == nil && !entries {
			c.stray(key, "an attribute of a mailbox that is not there")
		}
		return err
	})
}
