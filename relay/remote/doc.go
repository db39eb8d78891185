// Package remote is the sending side of SMTP (RFC 5321): the relay's courier.
// It finds the next hops of a job, by MX or by route, tries them in order, and
// reports one status for each recipient.
//
// What it guarantees: a message is accepted by a next hop whole or not at all.
// When anything fails between the first and the last octet of a body, the
// connection is closed there and then, without QUIT and without another octet,
// so that no truncated message can be taken for a whole one. Nothing that is
// sent as a body has a bare CR or LF in it, since receivers disagree about
// what these mean.
//
// What TLS with a host has to be is known before it is spoken to: by the route,
// by DANE (RFC 7672), or by the MTA-STS policy of the recipient domain (RFC 8461).
// A host that is not so gets neither mail nor password, and there is no way from
// there into the clear.
//
// What a next hop says costs bounded memory and time: replies have at most
// maxReplyLines lines and maxReplySize octets, every read and write has a
// deadline, and one attempt ends after Timeouts.Total whatever happens.
//
// As little as possible is waited for. Where PIPELINING and CHUNKING are offered
// a message of up to 64 KiB goes in one write with its envelope, by BDAT, and
// costs one round trip; that it may be sent for nothing is the price. A longer
// one goes by DATA, after the envelope's replies: further chunks would have to
// wait for the reply to each before them, so that none follows one that was
// refused. After a message that came to a verdict no RSET is sent. A kept
// connection is looked at before it is used, and costs no attempt if it is gone.
//
// A connection that breaks before all of the envelope is answered leaves the
// message for the next address or host at once; one that breaks after it, when
// the end of the message may have arrived, leaves it for the next attempt.
//
// Next hops that refuse what they offer are given the message without; see
// transaction.strip and manners. BDAT to one that does not know it has it read
// lines of the message as commands: the connection is closed at the first
// reply that says so, and relay.Route.NoChunking avoids it.
//
// With LMTP (RFC 2033) each recipient has a verdict of its own; those who had
// one when the connection breaks keep it.
//
// A next hop that lacks 8BITMIME is sent 8-bit messages encoded with 7 bits, and
// signed anew if we had signed them (signed.go), or not at all where that would
// break a signature inside; one that lacks SMTPUTF8
// gets no message that needs it, one that lacks DELIVERBY none that is to be
// returned when it is late, and REQUIRETLS is kept or the message goes back.
package remote
