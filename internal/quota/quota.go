// Package quota bounds what an account may keep in its mailboxes, in octets and
// in messages. What is used is the sum over the rows of its mailboxes, which the
// spool keeps exact, so that asking costs as much as the account has mailboxes,
// however many messages are in them.
//
// What is asked for before a message is stored is not reserved: several that
// come at the same time can exceed the quota together, by no more than what was
// on its way. A message that was taken is never lost for the lack of room.
package quota

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"restante/spool"
)

// ErrOver tells that there is no room left in an account.
var ErrOver = errors.New("quota: the account is full")

// Limit is how much an account may keep; 0 is no limit.
type Limit struct {
	Octets   int64 `json:"octets"`
	Messages int64 `json:"messages"`
}

// Rules are the limits of all accounts.
type Rules struct {
	// Default is for accounts that are not in Accounts, whose names are in lower
	// case.
	Default  Limit
	Accounts map[string]Limit
	// Grace is how many octets above its limit an account still takes of what
	// arrives for it; the limit of messages has none.
	Grace int64
}

// Usage is what an account keeps, and may keep.
type Usage struct {
	Octets   int64 `json:"octets"`
	Messages int64 `json:"messages"`
	Limit    Limit `json:"limit"`
}

// Rows is where the mailboxes of an account are found.
type Rows interface {
	ListMailboxes(account string) ([]spool.Mailbox, error)
}

// Keeper knows the limits and what is used of them. It is safe for concurrent
// use.
type Keeper struct {
	rows  Rows
	rules atomic.Pointer[Rules]
}

// New returns a Keeper.
func New(rows Rows, r Rules) *Keeper {
	k := &Keeper{rows: rows}
	k.Replace(r)
	return k
}

// Replace changes the limits.
func (k *Keeper) Replace(r Rules) { k.rules.Store(&r) }

// Limit returns that of an account.
func (k *Keeper) Limit(account string) Limit {
	r := k.rules.Load()
	if l, ok := r.Accounts[strings.ToLower(account)]; ok {
		return l
	}
	return r.Default
}

// Usage returns what an account keeps. It fails as the spool does.
func (k *Keeper) Usage(account string) (Usage, error) {
	u := Usage{Limit: k.Limit(account)}
	rows, err := k.rows.ListMailboxes(account)
	if err != nil {
		return u, fmt.Errorf("quota: %w", err)
	}
	for _, row := range rows {
		u.Octets += row.Size
		u.Messages += int64(row.Messages)
	}
	return u, nil
}

// Room fails with ErrOver unless an account may keep so many octets and messages
// more, or as the spool does.
func (k *Keeper) Room(account string, octets, messages int64) error {
	return k.room(account, octets, messages, 0)
}

// Arrival is Room for one message that is sent to the account, with the grace.
// octets is 0 if they are not known: then it is full if nothing fits any more.
func (k *Keeper) Arrival(account string, octets int64) error {
	return k.room(account, max(octets, 1), 1, k.rules.Load().Grace)
}

func (k *Keeper) room(account string, octets, messages, grace int64) error {
	if k.Limit(account) == (Limit{}) {
		return nil
	}
	u, err := k.Usage(account)
	if err != nil {
		return err
	}
	l := u.Limit
	if l.Octets > 0 && u.Octets+octets > l.Octets+grace || l.Messages > 0 && u.Messages+messages > l.Messages {
		return fmt.Errorf("%s: %w", account, ErrOver)
	}
	return nil
}
