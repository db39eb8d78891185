package spool

// Attributes are small named values that a mailbox has for as long as it exists,
// through renames: who may do what with it (IMAP's ACL), and notes of clients.
// They are no part of its state: ModSeq does not move, and of those who watch only a
// Watcher is told. Names are opaque octets.
type Attributes interface {
	// Attributes returns all that a mailbox has.
	Attributes(id MailboxID) (map[string]string, error)
	// SetAttributes changes some, all or none: a nil value removes. It fails with
	// ErrNoMailbox, or ErrAttributes if a bound is exceeded.
	SetAttributes(id MailboxID, change map[string]*string) error
	// HaveAttribute returns the mailboxes that have an attribute of that name, by
	// ID. It takes time in the number of all attributes there are.
	HaveAttribute(name string) ([]MailboxID, error)
}

// Bounds of attributes: how many a mailbox has, and the octets of a name, which is
// not empty, and of a value.
const (
	MaxAttributes     = 200
	MaxAttributeName  = 512
	MaxAttributeValue = 16 << 10
)

// CheckAttributes returns ErrAttributes if a change has a name or a value that is
// out of bounds.
func CheckAttributes(change map[string]*string) error {
	for name, value := range change {
		if name == "" || len(name) > MaxAttributeName || value != nil && len(*value) > MaxAttributeValue {
			return ErrAttributes
		}
	}
	return nil
}
