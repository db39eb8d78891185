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
// What a next hop says costs bounded memory and time: replies have at most
// maxReplyLines lines and maxReplySize octets, every read and write has a
// deadline, and one attempt ends after Timeouts.Total whatever happens.
//
// A next hop that lacks 8BITMIME is sent 8-bit messages encoded with 7 bits, or
// not at all where that would break a signature inside; one that lacks SMTPUTF8
// gets no message that needs it, one that lacks DELIVERBY none that is to be
// returned when it is late, and REQUIRETLS is kept or the message goes back.
package remote
