// Package authres authenticates mail from outside: it evaluates SPF (RFC 7208),
// DKIM (RFC 6376) and DMARC (RFC 7489) while the message comes in, notes the
// results in one Authentication-Results field (RFC 8601), and does with the
// message what the configuration allows the domains' policies to do.
//
// The DNS is asked while the body streams by. Nothing that it says or does not
// say in time can lose mail: without an answer the result is temperror, and the
// message is taken in, or asked to come again (451) where that is configured.
//
// What a message costs is bounded: the ten terms and two void lookups of SPF and
// the questions they lead to, five signatures of a header of 64 KiB, eight domains
// of an author, and a time for all of it. All questions are asked at a time, so
// that no stranger's slow name server keeps another's answer from us.
//
// Who is told in From decides about DMARC. A message with one From field is
// judged by all the domains in it, and the strictest of their policies is done.
// One with several From fields, or with one that could be read in more than one
// way, has no author that could be authenticated: its result is permerror, and
// it is treated as if a policy of the configured strictness had failed. One
// without any author is put into quarantine at most, since some reports have
// none.
//
// Fields that claim to be ours are taken out of mail that does not come from a
// trusted network, whoever sent it, so that a reader can believe what stands
// there. Where such a field cannot be read but has our name in it, it goes too.
package authres
