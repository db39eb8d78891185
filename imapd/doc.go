// Package imapd is where mail is collected: an IMAP server (RFC 9051 and RFC
// 3501) over the spool's mailboxes. What is not the business of its commands lies
// in packages of its own: the octets and the grammar on the line (wire), what a
// session sees of a mailbox (view), what SEARCH means (search), the orders of SORT
// and the threads of THREAD (order), how letters compare (casemap), the beginnings
// of texts (preview), and what is remembered of what was read (recall).
//
// The protocol engine is ours, and go-imap is only its vocabulary: imapserver
// cannot be extended from outside (a command is a case of its switch, the encoder
// is its own), runs the octets of refused literals as commands, panics on odd
// MIME, and writes one packet for each line. Its client is a peer in the tests.
//
// A session is one goroutine: it reads a command to its end, executes it, tells
// what other sessions have changed, and replies. So pipelined commands are
// answered in order, and nothing of a session needs a lock.
//
// What it guarantees:
//
//   - A client can only log in over TLS.
//   - Sequence numbers are right at any time, whatever other sessions do; a
//     message that another session has expunged reads as missing, never as
//     another message. If a FETCH or STORE by sequence numbers misses some of its
//     messages, or all, it says OK [EXPUNGEISSUED]; a COPY or MOVE that finds none
//     any more says NO [EXPUNGEISSUED] (RFC 2180 section 4, RFC 5530). By UID they
//     say OK.
//   - BODY[] is exactly what was stored: the prefix of the mailbox entry and
//     then the body, streamed in bounded memory.
//   - ENVELOPE, BODYSTRUCTURE and sections come from what was found out at
//     delivery; a message without that is parsed at each command instead.
//   - New mail and other sessions' changes are told at the next command, or at
//     once in IDLE and as NOTIFY asks. What is told is the state, so a client that
//     does not read misses nothing and costs no memory.
//   - The octets of a refused message are never run as commands (package wire).
//   - An error of the spool is a NO with a response code and no internals, and
//     is logged. A panic costs the session it happens in.
//   - What an account may do in the mailbox of another (RFC 4314) is looked at
//     when a command names it and at each command while it is selected; one that
//     it may not know of reads as missing.
//   - A mailbox that is deleted while selected loses its messages to its
//     sessions, by EXPUNGE.
package imapd
