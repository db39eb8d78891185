package remote

import (
	"net"
	"testing"

	"restante/internal/standin"
	"restante/relay"
)

// Of two hosts, one that answers and cannot be used and one where nobody is, the
// former is told of, in whatever order they are tried.
func TestTheTellingFault(t *testing.T) {
	srv := server(t, standin.Options{})
	srv.Always(script(standin.Fault{At: standin.EHLO, Code: 451, Text: "4.7.1 not you"}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	answers, silent := relay.Host{Name: "127.0.0.1", Port: srv.Port()}, relay.Host{Name: "127.0.0.1", Port: port}
	for _, hosts := range [][]relay.Host{{answers, silent}, {silent, answers}} {
		route := to(srv)
		route.Hosts = hosts
		out := deliver(t, courier(t, Options{}), job(route))
		contains(t, "fault", out.Fault.String(), "not you")
	}
}
