// Package migrate brings the mail of one account over: from an IMAP server, a
// Maildir or mbox files into the daemon, and from the daemon into a Maildir or
// mbox files, with folders, flags and dates.
//
// A message is brought once. What has been taken is written down in a Journal,
// by what the source calls it (UIDVALIDITY and UID, the name of a file, the
// hash of a text), after the daemon said that it is durable. A run that ends in
// between leaves at most one message that is there and not written down; the
// daemon knows it by the name of its deposit for a day, and does not take it
// again.
//
// Memory is bounded by the number of messages of one mailbox, some octets for
// each, never by their size. What cannot be read, or is refused, is told and
// passed over; the next run tries it again. When the source or the daemon
// cannot go on the run ends with an error, and what was taken stays taken.
package migrate
