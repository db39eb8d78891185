// Package smtpd is the way in by SMTP: one Server for each listener, in the
// role of a relay (port 25) or of a submission service (ports 587 and 465).
//
// It guarantees that a 250 to DATA or to the last BDAT is given only after
// accept.Message.Commit returned nil; that nothing in the body of a message is
// ever run as a command, nor a command taken for a body; that nobody relays
// who is not allowed to (policy.go is all of that); and that whatever a client
// sends costs bounded memory and time and no other client's connection.
//
// When the spool cannot take a message the client is told to come again (4xx)
// and still owns it. When the connection fails in the middle of a message,
// nothing of it is kept. A panic costs the connection it happened on.
//
// # How it is built
//
// go-smtp runs the dialogue: it greets, dispatches verbs, goes through SASL
// exchanges and calls the session. Between it and the network stands conn,
// which is where the input is judged:
//
//	network <-> TLS <-> conn <-> go-smtp -> session -> accept.Message
//	                     |                     ^
//	                     +------- body --------+
//
// conn hands over one checked command at a time, and when the library reads
// again it knows that the reply is complete. So replies are gathered and sent
// together, can be given better codes than the library's, and conn can answer
// by itself whatever the library would answer wrongly or not at all. TLS and
// the transfer of bodies are conn's too: the library never sees an address, a
// parameter or an octet of a message, and everything on a connection happens
// in one goroutine, BDAT included.
package smtpd
