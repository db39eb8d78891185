// Package milter lets mail filters that speak the milter protocol (rspamd,
// clamav-milter, OpenDKIM and whatever is built on libmilter) judge messages
// on their way in. A Client is one such filter, as a screen.Screen.
//
// It guarantees that whatever the filter sends or fails to send costs bounded
// memory and time, and that what it changes cannot break a message: fields are
// legal fields, addresses are addresses, and the line ends of a body in the
// place of the old one are CRLF, whatever they came as.
//
// What happens when the filter cannot be reached, is too slow, or does not keep
// to the protocol is the administrator's choice: the message is refused for now
// or goes on unjudged. It never goes on half changed.
//
// # The dialogue
//
// Screens are asked when the header is complete, so the steps of an SMTP session
// are played to the filter one after the other: connection, greeting, sender,
// recipients, DATA, header. The body follows as it comes. Two things differ from
// a filter that sits at the session itself:
//
//   - Recipients have been accepted by then. A filter that refuses one of them
//     refuses the message; the sender's own server sorts it out.
//   - Filters are asked side by side. Each sees the message as it came, not as
//     another has changed it.
//
// Every message has a connection of its own, over TCP or a Unix socket. The
// protocol could carry the next on the same connection, but nothing in it tells
// whether the filter is able to, and on one machine a connection costs little
// beside the commands in it.
package milter
