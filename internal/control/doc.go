// Package control is the daemon's control socket: an HTTP/JSON API (version 1,
// described in docs/control.md) over a Unix socket in the state directory, and
// the typed Client that the commands use.
//
// Who may do what is decided by the kernel's word on who is at the other end:
// root and the daemon's own user administer; anybody else whom the socket's
// mode lets in may hand over mail and ask for the status. On systems that do
// not tell, only the owner can open the socket.
//
// The server holds nothing of its own. Lists are streamed, and every request
// is bounded in size and in the time it may stand still. A message is
// acknowledged when the spool has committed it, never before; a list that
// breaks off is left unclosed, so that no reader takes it for complete.
package control
