package control

import (
	"context"
	"net"
	"os"
	"os/user"
	"strconv"
)

// Peer is the local user at the other end of a connection.
type Peer struct {
	UID int
	// Name is the login name, or "uid 1234" if that user has none.
	Name string
	// Admin tells whether they may do more than hand over mail.
	Admin bool
}

type peerKey struct{}

// withPeer finds out who is at the other end, once for each connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p := Peer{UID: -1, Name: "nobody"}
	if l, ok := c.(*limitedConn); ok {
		c = l.Conn
	}
	if u, ok := c.(*net.UnixConn); ok {
		if uid, ok := peerUID(u); ok {
			p = Peer{UID: uid, Name: "uid " + strconv.Itoa(uid), Admin: uid == 0 || uid == os.Geteuid()}
			if who, err := user.LookupId(strconv.Itoa(uid)); err == nil {
				p.Name = who.Username
			}
		}
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(ctx context.Context) Peer {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p
}
