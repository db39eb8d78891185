//go:build linux || darwin || freebsd || netbsd || openbsd

package remote

import (
	"net"
	"syscall"
)

// alive tells whether a connection that waits is as it was left. One that the
// next hop has closed, or said something on, is of no use: a next hop speaks
// without being asked only to say that it goes.
func alive(w *wire) bool {
	if w.br.Buffered() > 0 {
		return false
	}
	conn := w.conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err == nil && quiet
}
