// Package mtasts knows the MTA-STS policies of recipient domains (RFC 8461): by
// whom their mail is taken, and that it is to go there by TLS with a certificate
// that holds.
//
// A Store asks for a domain's policy when mail is for it: for the record in the
// DNS each time (the resolver's cache answers), for the policy by HTTPS when the
// record's id has changed. Policies are kept in a directory, one file each,
// written whole or not at all, so that they hold over a restart; Run fetches them
// anew well before they run out, since a policy that has run out protects nobody.
//
// What a stranger's domain can cost is bounded: the octets and the time of an
// answer, the patterns in a policy, the number and the size of all policies,
// and how often a domain that fails is asked again.
//
// A policy that cannot be fetched is no obstacle: the one that is known holds as
// long as it said it would, and without one mail goes as if there were none (RFC
// 8461 section 3.3). Who asks is told why, for the reports of RFC 8460.
package mtasts
