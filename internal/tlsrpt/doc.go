// Package tlsrpt reports to recipient domains how TLS went with them (RFC 8460).
//
// A Book counts the sessions of each UTC day by the domain and by the policy they
// were held against: MTA-STS, DANE, or none. It is written to a file every few
// minutes and at its end, so that a crash costs no more than that, and a restart
// nothing. A Reporter makes the report of each day that is over, at some time in
// the first hours of the next so that not all the world's reports come at once,
// and sends it where the domain's _smtp._tls record wants it, by mail or by HTTPS.
//
// Reports are best effort: a domain that cannot be told within a day is not told.
// Everything is bounded: domains in a day, kinds of failures of a domain, days.
//
// The mail that carries reports must not be reported on, or two servers would
// write to each other for ever: who records leaves it out.
package tlsrpt
