package spool

import (
	"iter"
	"time"

	"restante/internal/mail"
)

// MailboxID names a mailbox for as long as it exists, through renames, and
// is never used again. It serves as IMAP's MAILBOXID (RFC 8474).
type MailboxID uint64

// UID is a message's number in a mailbox (RFC 9051 section 2.3.1.1).
type UID uint32

// ModSeq is a modification sequence (RFC 7162); it ascends within a mailbox
// and starts at 1.
type ModSeq uint64

// Use is a special use of RFC 6154 without its backslash, "" for none.
type Use string

// The special uses.
const (
	UseNone    Use = ""
	UseArchive Use = "Archive"
	UseDrafts  Use = "Drafts"
	UseFlagged Use = "Flagged"
	UseJunk    Use = "Junk"
	UseSent    Use = "Sent"
	UseTrash   Use = "Trash"
)

// Inbox is the one name that every account has and that has no case.
const Inbox = "INBOX"

// Separator divides the levels of a mailbox name.
const Separator = "/"

// Mailbox is the row of a mailbox. The counts are exact as of ModSeq.
type Mailbox struct {
	ID          MailboxID
	Account     string
	Name        string
	Use         Use
	UIDValidity uint32
	UIDNext     UID
	// ModSeq is the HIGHESTMODSEQ.
	ModSeq                    ModSeq
	Messages, Unseen, Deleted uint32
	// Size is the sum of the messages' sizes as IMAP shows them.
	Size int64
	// Recent is the lowest UID that no session has been told of (see TakeRecent):
	// entries from it on are \Recent (RFC 3501 section 2.3.2).
	Recent UID
}

// Flags are the flags of one message: system flags as bits, keywords sorted,
// without duplicates, in the case in which they were first given.
type Flags struct {
	System   SystemFlags
	Keywords []string
}

// SystemFlags are those of RFC 9051 section 2.3.2 that a client can set.
type SystemFlags uint8

// The system flags.
const (
	Seen SystemFlags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// FlagMask stands for some system flags, and for all keywords or none.
type FlagMask struct {
	System   SystemFlags
	Keywords bool
}

// Without returns those of some flags that are not in a mask.
func (f Flags) Without(m FlagMask) Flags {
	f.System &^= m.System
	if m.Keywords {
		f.Keywords = nil
	}
	return f
}

// Entry is a message in a mailbox.
type Entry struct {
	UID     UID
	Message mail.ID
	Flags   Flags
	// InternalDate is what IMAP calls so; Saved is when it came into this
	// mailbox (SAVEDATE).
	InternalDate, Saved time.Time
	// Prefix stands in front of the body: the message as this mailbox shows
	// it is Prefix and then the body, Size octets in all.
	Prefix []byte
	Size   int64
	ModSeq ModSeq
}

// Overview is what a session must know of a mailbox to open it.
type Overview struct {
	// Mailbox is the row; what follows is as of its ModSeq.
	Mailbox Mailbox
	// UIDs are those of all entries, ascending.
	UIDs []UID
	// FirstUnseen is the lowest UID without Seen, 0 if there is none.
	FirstUnseen UID
	// Keywords are those that entries have, sorted, without duplicates.
	Keywords []string
}

// Change is one line of a mailbox's journal.
type Change struct {
	UID    UID
	ModSeq ModSeq
	// Expunged tells that the entry is gone; otherwise it is new or its
	// flags have changed.
	Expunged bool
}

// FlagOp is what Flag does with the flags it is given.
type FlagOp uint8

// The operations of STORE.
const (
	FlagSet FlagOp = iota
	FlagAdd
	FlagRemove
)

// Flagging is the outcome of Flag.
type Flagging struct {
	// Changed are the entries after the change, by UID; entries that already
	// were as asked for keep their ModSeq and are included.
	Changed []Entry
	// Before are the ModSeqs that the entries of Changed had before.
	Before []ModSeq
	// Modified are the UIDs left alone since their ModSeq was above the
	// bound (RFC 7162 section 3.1.3).
	Modified []UID
}

// Copied is the outcome of Copy and Move: Source[i] became Target[i].
type Copied struct {
	UIDValidity    uint32
	Source, Target []UID
}

// Mailboxes are the accounts' mailboxes. Accounts are opaque names; one comes
// into being with its first mailbox. Lists of UIDs are ascending, without
// duplicates; UIDs that are not there are passed over in silence.
type Mailboxes interface {
	Attributes

	// ListMailboxes returns an account's mailboxes, by name, INBOX first.
	ListMailboxes(account string) ([]Mailbox, error)
	// Mailbox looks one up by name (INBOX in any case), MailboxByID by ID.
	Mailbox(account, name string) (Mailbox, error)
	MailboxByID(id MailboxID) (Mailbox, error)
	// CreateMailbox makes a mailbox, and the levels above it that are
	// missing. A new mailbox never has the UIDVALIDITY of an earlier one of
	// its name.
	CreateMailbox(account, name string, use Use) (Mailbox, error)
	// RenameMailbox renames a mailbox and those below it. INBOX is special
	// (RFC 9051 section 6.3.6): its messages move to the new name, and it
	// stays, empty, with what is below it.
	RenameMailbox(account, from, to string) error
	// DeleteMailbox removes a mailbox and its entries; those below it stay.
	// The bodies that only it needed are freed in the background.
	DeleteMailbox(account, name string) error
	// DeleteAccount removes every mailbox, entry and subscription.
	DeleteAccount(account string) error
	// Subscribe and Subscriptions keep names, of mailboxes that need not exist.
	Subscribe(account, name string, on bool) error
	Subscriptions(account string) ([]string, error)

	// Overview returns what a session needs to open a mailbox, without the
	// cost of reading its entries. An entry that is damaged is listed.
	Overview(id MailboxID) (Overview, error)
	// Entries iterates over the entries with from <= UID <= to, ascending,
	// as of the time of the call; to 0 is no bound.
	Entries(id MailboxID, from, to UID) iter.Seq2[Entry, error]
	// Entry returns one; ErrNotFound if it is gone.
	Entry(id MailboxID, uid UID) (Entry, error)
	// Changes returns what happened after since, by ModSeq, at most one line
	// for each UID, and the ModSeq up to which that is all there is.
	// ErrChangesLost if tombstones from since on may be gone.
	Changes(id MailboxID, since ModSeq) ([]Change, ModSeq, error)
	// Flag changes flags. Entries whose ModSeq is above unchangedSince are
	// left alone and reported; ModSeqUnbounded is no bound.
	Flag(id MailboxID, uids []UID, op FlagOp, f Flags, unchangedSince ModSeq) (Flagging, error)
	// Copy and Move put entries into another mailbox, or the same, all or
	// none, keeping dates and those flags that are not to be lost. Bodies are
	// shared, not copied.
	Copy(from MailboxID, uids []UID, to MailboxID, lost FlagMask) (Copied, error)
	Move(from MailboxID, uids []UID, to MailboxID, lost FlagMask) (Copied, error)
	// Expunge removes the entries that have \Deleted set, of those given, or
	// of all if uids is nil, and returns their UIDs.
	// The events go into the story of each message that goes, if it has one, in
	// the same transaction.
	Expunge(id MailboxID, uids []UID, story ...Event) ([]UID, error)
	// TakeRecent notes that a session is told of the entries up to a UID, and returns
	// the lowest that none had been told of before: those from there on are \Recent
	// in that session, and in no other. It costs no commit. Close keeps what was
	// noted; a crash may make entries recent again that no change of the mailbox
	// has followed.
	TakeRecent(id MailboxID, upto UID) (from UID, err error)
	// Watch returns a channel that receives after something changed in the
	// mailbox, at most one signal held; stop ends it. Watching a mailbox that
	// is deleted receives once.
	Watch(id MailboxID) (changed <-chan struct{}, stop func())
	// Watcher returns a Watcher of accounts, which watches nothing yet. It must be
	// stopped.
	Watcher() Watcher
}

// ModSeqUnbounded is Flag's unchangedSince when there is no bound.
const ModSeqUnbounded ModSeq = 1<<63 - 1
