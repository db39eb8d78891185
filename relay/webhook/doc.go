// Package webhook is the courier of routes of kind HTTP: it posts messages to
// a program, whole or in their parts as JSON, and reports one status for each
// recipient.
//
// What it guarantees: a message is delivered only if the program answered 2xx,
// and an answer can name recipients for whom it is otherwise. A program never
// sees half a message as a whole one: the length is announced, and a body that
// cannot be read to its end breaks the connection. Every attempt to post the
// same message to the same recipients has the same Idempotency-Key, and a
// program that has a secret can tell by the signature that a message comes from
// here, and when it was signed.
//
// What a program does costs bounded memory and time: answers are read up to
// maxAnswer octets, redirects are not followed, every step has a deadline.
// Messages stream, whatever their size, in both formats; for the signature and
// the length they are read twice. docs/routes.md is the reference for who
// writes such a program.
//
// Whose fault a failure is follows package relay: what concerns the address,
// the key or the service (no connection, redirects, 401, 403, 404, 405, 429,
// 502, 503, 504) is charged to the destination, whose mail waits; other 4xx
// return the message; 408, 425 and other 5xx delay it.
package webhook
