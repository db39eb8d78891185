// Package order puts messages into the orders of SORT (RFC 5256 section 3, RFC
// 5957) and into the threads of THREAD (RFC 5256 section 3, and THREAD=REFS).
//
// Of each message only what its place depends on is kept: for SORT the values of
// the keys, for THREAD the identifiers, the date and the subject, each of bounded
// length. What cannot be read of a message counts as empty, so that the message
// has its place all the same. Sorting costs n log n comparisons, threads the
// number of references and n log n; loops of references are broken, and the walks
// by which they are found are bounded, whatever somebody sends.
//
// Text is compared as package casemap does it. Equal messages are in the order of
// their UIDs, which is that of sequence numbers.
package order
