package control

import (
	"net"

	"golang.org/x/sys/unix"
)

// socketMode lets everybody in whom the directory lets: cron jobs of any user
// hand over their mail here. The kernel tells who they are, and only root and
// our own user may do more.
const socketMode = 0o666

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
