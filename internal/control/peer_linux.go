package control

import (
	"net"

	"golang.org/x/sys/unix"
)

// socketMode lets the group in: the kernel tells who they are.
const socketMode = 0o660

// peerUID asks the kernel who is at the other end (SO_PEERCRED).
func peerUID(c *net.UnixConn) (uid int, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || credErr != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
