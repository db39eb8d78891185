package remote

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"restante/internal/mail"
	"restante/relay"
)

// sink is a next hop that costs as little as it can: what is measured beside
// it is the courier. It has the replies to pipelined commands leave together.
type sink struct {
	listener net.Listener
	ehlo     string
}

func newSink(tb testing.TB, keywords ...string) *sink {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &sink{listener: l, ehlo: "250-sink.test\r\n"}
	for _, k := range keywords {
		s.ehlo += "250-" + k + "\r\n"
	}
	s.ehlo += "250 ENHANCEDSTATUSCODES\r\n"
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	io.WriteString(w, "220 sink.test\r\n")
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case len(line) < 4:
			return
		case string(line[:4]) == "EHLO":
			io.WriteString(w, s.ehlo)
		case string(line[:4]) == "DATA":
			io.WriteString(w, "354 go ahead\r\n")
			w.Flush()
			for string(line) != ".\r\n" {
				if line, err = r.ReadSlice('\n'); err != nil {
					return
				}
			}
			io.WriteString(w, "250 2.0.0 Ok: queued as 4Zx1\r\n")
		case string(line[:4]) == "BDAT":
			n := 0
			fmt.Sscan(string(line[5:]), &n)
			if _, err := r.Discard(n); err != nil {
				return
			}
			io.WriteString(w, "250 2.0.0 Ok: queued as 4Zx1\r\n")
		case string(line[:4]) == "QUIT":
			return
		default:
			io.WriteString(w, "250 2.1.0 Ok\r\n")
		}
	}
}

// BenchmarkDeliver is one message to one recipient by a connection that is
// kept, for as many deliveries at a time as there are processors. A message of
// 4 KiB allocates 3.1 KB in 47 to 51 pieces; before writes were gathered in
// buffers that are shared, and RSET was left out, it was 69 KB in 53. One of
// 256 KiB: 4 KB, before 71 KB. (2026-11-30; the times of that machine, which was
// busy with other things, are not worth noting.)
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{4 << 10, 256 << 10} {
		for _, keywords := range []string{"PIPELINING", "PIPELINING CHUNKING"} {
			b.Run(fmt.Sprintf("%d/%s", size, strings.ReplaceAll(keywords, " ", "+")), func(b *testing.B) {
				s := newSink(b, append(strings.Fields(keywords), "8BITMIME", "SIZE")...)
				c := New(Options{Hostname: "relay.test"})
				defer c.Close()
				route := &relay.Route{
					Name: "r", Domains: []string{"*"}, Kind: relay.Smarthost,
					Hosts: []relay.Host{{Name: "127.0.0.1", Port: s.listener.Addr().(*net.TCPAddr).Port}},
				}
				text := "From: a@example.org\r\nSubject: hello\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72)
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					j := relay.Job{
						Route: route, Body: body(text),
						Envelope:   mail.Envelope{From: mail.MustParseAddress("sender@example.org")},
						Recipients: []mail.Recipient{{To: mail.MustParseAddress("b@example.com")}},
					}
					for pb.Next() {
						if out := c.Deliver(context.Background(), j); out.Results[0].Code != 250 {
							b.Fatalf("outcome %+v", out)
						}
					}
				})
			})
		}
	}
}
