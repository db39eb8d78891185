package e2e

import (
	"context"
	"fmt"
	"testing"

	"restante/internal/standin"
)

// away sends everything that is not local to a stand-in.
func away(s *standin.Server) string { return toward(s.Addr()) }

// toward sends everything that is not local to an address.
func toward(addr string) string {
	return fmt.Sprintf(`
[[route]]
name = "away"
domains = ["*"]
next_hop = ["%s"]
tls = "none"
`, addr)
}

// quick is a schedule for the impatient, with more keys of [queue].
func quick(more string) string {
	return `
[queue]
retry_min = "1s"
retry_max = "1s"
retry_jitter = 0
` + more
}

// slow is a schedule by which nothing is tried again during a test.
const slow = `
[queue]
retry_min = "1h"
`

// nextHop starts a stand-in for the length of the test.
func nextHop(t testing.TB, opt standin.Options) *standin.Server {
	t.Helper()
	s, err := standin.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// reaches waits until the stand-in has n messages and returns them. More than
// n are an error.
func reaches(t testing.TB, s *standin.Server, n int) []standin.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := s.Wait(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != n {
		t.Fatalf("%d messages reached the next hop, want %d", len(got), n)
	}
	return got
}

// later is the answer of a next hop that is not ready for the message.
var later = standin.Script{{At: standin.Rcpt, Code: 451, Text: "4.7.1 come again later"}}
