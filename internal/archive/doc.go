// Package archive says which mail is kept as a copy, and how a copy keeps its
// envelope: as fields in front of it. Those of an archived message and of a dead
// letter are the same, so whoever sends one again reads both alike:
//
//	X-Restante-Message: 06H0AUEDU7PI71FC rule=journal
//	X-Restante-Envelope-From: <alice@example.org> RET=HDRS ENVID=QQ314159
//	X-Restante-Envelope-To: <bob@example.net> NOTIFY=FAILURE X-ROUTE=mx
//	X-Restante-Envelope-To: <hidden@example.net> X-ROUTE=mx
//	X-Restante-Reason: 550 5.1.1 no such user (mx.example.net [192.0.2.1])
//
// The parameters are those of SMTP's MAIL and RCPT (RFC 3461 and others), with
// values in xtext. A recipient who is in no field of the message, by Bcc, is in
// these fields too: they belong to the copy alone, and no recipient gets them.
//
// Nothing a stranger chose (an address, an ENVID, a reply) can add a field or a
// parameter. What Fields wrote Parse reads, and other text it refuses. The
// package acts on nothing and keeps nothing.
package archive
