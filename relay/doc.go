// Package relay is the queue runner: it leases tasks from the spool, finds
// their route, has a courier deliver them, and settles what became of every
// recipient.
//
// What it guarantees: a recipient leaves its task only with an end, and the
// end is durable together with the report that it calls for. A failure that
// nobody can be told of leaves the task in state Dead, kept and shown. What
// has no definite result is tried again, so a remote delivery happens at least
// once, and twice only if the connection or the machine dies between the next
// hop's 250 and our settlement.
//
// Whose fault a failure is decides who waits. A destination that cannot be
// reached backs off as a whole, at the cost of one probe for each back-off,
// however many messages wait for it. A refusal that concerns the message or
// the recipient delays that task alone. A connection lost once the envelope
// had been sent may be either's, and costs both: the destination rests, and a
// message that kills connections does not stand at the head of the queue again.
//
// How many deliveries go on is decided by destination: more with each success,
// half as many with each trouble, in two lanes so that slow destinations hold
// up nobody (pace.go, DESIGN.md). Routes have rates and daily quotas; Budgets
// counts them and outlives the runner.
//
// The runner holds in memory the deliveries in progress, some thousand
// destinations that it dealt with lately, and nothing of the backlog. It never
// polls: it waits for the queue's wake-up, for a delivery to end, or for the
// time that the queue or a limit named.
package relay
