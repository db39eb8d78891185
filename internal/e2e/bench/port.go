package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
)

// firstPort is the lowest port that FreePort gives.
const firstPort = 10_000

// Each process begins elsewhere, and goes on from there.
var (
	begin = rand.Uint32()
	tried atomic.Uint32
)

// FreePort is one that nobody listens on at the moment, and that nobody gets
// before who asked for it: the system chooses others for connections and for
// who listens on port 0, and this process is never given the same one twice.
func FreePort() (int, error) {
	n := dynamic() - firstPort
	for range n {
		port := int(firstPort + (begin+tried.Add(1))%n)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// dynamic is the first port of those that the system chooses from.
func dynamic() uint32 {
	const usual = 32_768
	low := uint32(usual)
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(b), &low) // what cannot be read leaves the usual
	}
	if low <= firstPort || low > usual {
		low = usual
	}
	return low
}
