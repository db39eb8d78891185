// Package imapd is where mail is collected: an IMAP server (RFC 9051 and RFC
// 3501) over the spool's mailboxes. The protocol engine is go-imap's imapserver
// for now; what is not its business lies in packages of its own, which another
// engine will find ready: what a session sees of a mailbox (view), what SEARCH
// means (search), transfer encodings (decode), and the octets on the line
// (wire).
//
// What it guarantees:
//
//   - A client can only log in over TLS.
//   - Sequence numbers are right at any time, whatever other sessions do; a
//     message that another session has expunged reads as missing, never as
//     another message. If a FETCH, STORE, COPY or MOVE by sequence numbers finds
//     none of its messages any more, it says NO [EXPUNGEISSUED]; if it finds
//     some, FETCH and STORE say OK [EXPUNGEISSUED] (RFC 2180 section 4, RFC
//     5530). By UID it says OK.
//   - BODY[] is exactly what was stored: the prefix of the mailbox entry and
//     then the body, streamed in bounded memory.
//   - ENVELOPE, BODYSTRUCTURE and sections come from what was found out at
//     delivery; a message without that is parsed at each command instead.
//   - New mail and other sessions' changes are told at the next command, or at
//     once in IDLE.
//   - The octets of a refused message are never run as commands (package wire).
//   - An error of the spool is a NO with a response code and no internals, and
//     is logged. A panic costs the session it happens in.
//   - A mailbox that is deleted while selected loses its messages to its
//     sessions, by EXPUNGE.
//
// What the library does wrong and cannot be mended from outside:
//
//   - BINARY[...]<offset> is answered without the offset (RFC 3516 section 4.3).
//   - SEARCH RETURN (SAVE) is answered with the numbers, which are not wanted.
//   - BODYSTRUCTURE has no MD5, ENVELOPE dates are normalised, a section that
//     does not exist is an empty string where NIL is meant.
//   - A malformed date or modified UTF-7 is answered NO [SERVERBUG].
//   - Mailbox names are taken for modified UTF-7 even after ENABLE UTF8=ACCEPT:
//     a "&" in them must be written "&-".
//   - A search for the key RECENT, which IMAP4rev2 does not have, finds nothing.
//   - CONDSTORE, QRESYNC, SORT, THREAD, COMPRESS, QUOTA, METADATA, NOTIFY,
//     OBJECTID, MULTIAPPEND and SAVEDATE are closed to extensions. ID is answered
//     but not announced.
package imapd
