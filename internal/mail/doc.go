// Package mail holds the nouns that every room of restante shares: what an
// address, a recipient, an envelope and a delivery status are. It imports
// nothing of restante and does no I/O.
package mail
