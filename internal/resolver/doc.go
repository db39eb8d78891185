// Package resolver asks the DNS all questions that restante has: those of the
// authentication of mail (TXT, MX, A, AAAA, PTR) and those of its delivery (MX,
// addresses, TLSA), of one configured name server or those of /etc/resolv.conf,
// with a small cache.
//
// It does not validate DNSSEC itself: a validating resolver says by the AD bit
// that it has, and is believed if Options.Trust allows it.
//
// What strangers can make it do is bounded: a question takes no longer than its
// context and a fixed number of tries, only so many are under way at a time,
// and the cache has a limit in octets. Names that no name server could know are
// not asked for.
//
// A name that does not exist, and one that has no such records, are answers. An
// error is a *net.DNSError, unwrapped, so that the SPF library understands it:
// IsNotFound where the name does not exist, IsTemporary or IsTimeout where
// nothing is known for now. Only answers are cached, never failures.
package resolver
