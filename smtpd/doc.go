// Package smtpd is the way in by SMTP: one Server for each listener, in the
// role of a relay (port 25), of a submission service (ports 587 and 465), or of
// LMTP for other servers that deliver into the mailboxes here.
//
// It guarantees that a 250 to DATA or to the last BDAT is given only after
// accept.Message.Commit returned nil; that nothing in the body of a message is
// ever run as a command, nor a command taken for a body; that nobody relays
// who is not allowed to (policy.go is all of that); and that whatever a client
// sends costs bounded memory and time and no other client's connection.
//
// When the spool cannot take a message the client is told to come again (4xx)
// and still owns it. When the connection fails in the middle of a message,
// nothing of it is kept. A panic costs the connection it happened on.
//
// # How it is built
//
// go-smtp runs the dialogue: it greets, dispatches verbs, goes through SASL
// exchanges and calls the session. Between it and the network stands conn,
// which is where the input is judged:
//
//	network <-> TLS <-> conn <-> go-smtp -> session -> accept.Message
//	                     |                     ^
//	                     +------- body --------+
//
// conn hands over one checked command at a time, and when the library reads
// again it knows that the reply is complete. So replies are gathered and sent
// together, can be given better codes than the library's, and conn can answer
// by itself whatever the library would answer wrongly or not at all. TLS and
// the transfer of bodies are conn's too: the library never sees an address, a
// parameter or an octet of a message, and everything on a connection happens
// in one goroutine, BDAT included.
//
// # Extensions
//
// What EHLO announces is true to the end of the way (capabilities says what is
// announced to whom, params.go has the syntax):
//
//   - DSN (RFC 3461) is in every report, of relay's and of deposits here, and
//     goes on to next hops that announce it.
//   - DELIVERBY (RFC 2852) becomes the task's expiry in mode R and its warning
//     in mode N. A message of mode R is given to no next hop without DELIVERBY.
//   - MT-PRIORITY (RFC 6710) orders the queue and goes on; strangers can only
//     step back.
//   - FUTURERELEASE (RFC 4865) delays the tasks, and deposits by a task of
//     their own. It is for those who may relay.
//   - REQUIRETLS (RFC 8689) is announced under TLS. The relay keeps to it, or
//     returns the message.
//   - 8BITMIME: a next hop without it gets the message encoded. SMTPUTF8: one
//     without it gets no message that needs it.
//   - LIMITS (RFC 9422) tells how many recipients a transaction can have.
//   - XONCE is ours: it tells for how long, in seconds, a transaction that is
//     repeated is taken only once (once.go). MAIL FROM:<...> XONCE=NO says that
//     this one counts in any case; XONCE=YES is the same as nothing.
//
// # What a client costs
//
// Waiting for a command costs less than 20 KB, most of it go-smtp's buffers and
// a stack: input has a large buffer only while much is coming. A header is held
// in memory, a body is not. Lines, headers, messages, recipients, errors and
// commands that lead to nothing are counted (Limits), and nonsense is answered
// late. Each wait has an end: for a command to begin and, sooner, to be
// complete; for an envelope to come to its message; for the next piece of a
// body, its average rate, and the whole of it; for replies to be taken. The
// rate is an average over minutes in which it was the client's turn, so that it
// ends who dribbles, and no link that is merely slow.
//
// What counts over connections is the Gate's, by client network and account:
// connections, messages, recipients, failed logins. A failed login delays
// others from that network and, for a moment, into that account from where it
// is not known; the owner at a known place does not notice. Strangers must wait
// for the greeting, and for the replies that RFC 2920 bids them wait for.
//
// Only CR LF ends a line, and only CR LF "." CR LF a message. A bare CR, a bare
// LF or NUL in a body is refused, in a command ends the connection or is
// refused, and is made clean in bodies of devices that are listed for that; in
// no case is anything run that somebody before or behind us may have taken for
// a part of the message.
//
// # What is missing
//
// BINARYMIME is not announced. A binary message could only go on to a next hop
// that has it as well, which hardly one has, and would otherwise have to be
// encoded anew, signatures notwithstanding; and the bare CRs and LFs that are
// the point of it are what a message is refused for here, since servers do not
// agree where a line ends. RRVS (RFC 7293) is not, since it is not kept for how
// long an address has been its owner's.
package smtpd
