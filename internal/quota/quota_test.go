package quota

import (
	"errors"
	"testing"

	"restante/spool"
)

// rows are the mailboxes of accounts.
type rows map[string][]spool.Mailbox

var errRows = errors.New("the rows cannot be read")

func (r rows) ListMailboxes(account string) ([]spool.Mailbox, error) {
	if account == "broken" {
		return nil, errRows
	}
	return r[account], nil
}

func testKeeper() *Keeper {
	return New(rows{"alice": {{Size: 600, Messages: 2}, {Size: 300, Messages: 1}}, "bob": {{Size: 1000, Messages: 5}}}, Rules{
		Default:  Limit{Octets: 1000},
		Accounts: map[string]Limit{"bob": {Messages: 6}, "carol": {}, "dave": {Octets: 1}},
		Grace:    50,
	})
}

func TestUsage(t *testing.T) {
	u, err := testKeeper().Usage("alice")
	if want := (Usage{Octets: 900, Messages: 3, Limit: Limit{Octets: 1000}}); err != nil || u != want {
		t.Errorf("got %+v, %v; want %+v", u, err, want)
	}
}

func TestRoom(t *testing.T) {
	k := testKeeper()
	for _, c := range []struct {
		account          string
		octets, messages int64
		want             error
	}{
		{"alice", 100, 1, nil},
		{"alice", 101, 1, ErrOver},
		{"Bob", 0, 1, nil},
		{"bob", 1 << 40, 1, nil},
		{"bob", 1, 2, ErrOver},
		{"carol", 1 << 40, 1 << 20, nil},
		{"broken", 1, 1, errRows},
	} {
		if err := k.Room(c.account, c.octets, c.messages); !errors.Is(err, c.want) {
			t.Errorf("Room(%s, %d, %d) = %v, want %v", c.account, c.octets, c.messages, err, c.want)
		}
	}
}

func TestArrivalHasGrace(t *testing.T) {
	k := testKeeper()
	for _, c := range []struct {
		account string
		octets  int64
		want    error
	}{
		{"alice", 150, nil}, {"alice", 151, ErrOver}, {"alice", 0, nil}, {"bob", 1, nil}, {"dave", 51, nil}, {"dave", 52, ErrOver},
	} {
		if err := k.Arrival(c.account, c.octets); !errors.Is(err, c.want) {
			t.Errorf("Arrival(%s, %d) = %v, want %v", c.account, c.octets, err, c.want)
		}
	}
	k.Replace(Rules{Default: Limit{Octets: 900}})
	if err := k.Arrival("alice", 0); !errors.Is(err, ErrOver) {
		t.Errorf("without room and without grace: %v", err)
	}
	k.Replace(Rules{})
	if err := k.Arrival("broken", 1); err != nil {
		t.Errorf("without a limit nothing is counted: %v", err)
	}
}
