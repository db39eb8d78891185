//go:build !linux

package control

import (
	"net"
	"os"
)

// socketMode keeps everybody but the owner (and root) out, since there is no
// asking who they are.
const socketMode = 0o600

// peerUID takes everybody for the owner: nobody else can open the socket.
func peerUID(*net.UnixConn) (uid int, ok bool) { return os.Getuid(), true }
