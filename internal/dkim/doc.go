// Package dkim signs messages and verifies their signatures (RFC 6376, with
// RFC 8301 and RFC 8463: SHA-256 only, RSA of at least 1024 bits, Ed25519), and
// keeps the keys for it.
//
// Both ways the body streams by and is never held: it goes through a
// canonicalisation of constant memory into a hash, one for each form of
// canonicalisation that a signature asks for, however many signatures there are.
//
// Why the package has a verifier of its own, where go-msgauth has one too: what
// a message may cost is up to a stranger, and that library takes a second for a
// header of 64 KiB (continuation lines are joined one by one, and each name of
// h= is searched for in all fields) and memory for a body that is nothing but
// line ends. Here the work is linear in the header, and bounded for each
// signature (BenchmarkHostileHeader shows both). The tests hold the two against
// each other, and against dkimpy where it is installed.
//
// Signing never changes the message: it makes fields to put in front of it. A
// message without a key for its author goes on without a signature.
package dkim
