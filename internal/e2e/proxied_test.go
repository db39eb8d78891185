package e2e

import (
	"strings"
	"testing"

	"restante/internal/needs"
	"restante/internal/standin"
)

// TestSwaksBehindProxies has another implementation of the PROXY protocol and
// of XCLIENT come in somebody else's name.
func TestSwaksBehindProxies(t *testing.T) {
	t.Parallel()
	needs.Program(t, "swaks")
	proxy := func(version, family, source string) []string {
		return []string{"--proxy-version", version, "--proxy-family", family, "--proxy-protocol", "STREAM", "--proxy-command", "PROXY",
			"--proxy-source", source, "--proxy-source-port", "4711", "--proxy-dest", source, "--proxy-dest-port", "25"}
	}
	for _, c := range []struct {
		name, config string
		args         []string
		want         string
	}{
		{"PROXY 1", `proxy_networks = "127.0.0.1"`, []string{"--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "10.1.2.3", "--proxy-source-port", "4711", "--proxy-dest", "10.1.2.4", "--proxy-dest-port", "25"}, "[10.1.2.3]"},
		{"PROXY 2", `proxy_networks = "127.0.0.1"`, proxy("2", "AF_INET", "10.1.2.3"), "[10.1.2.3]"},
		{"PROXY 2, IPv6", `proxy_networks = "127.0.0.1"`, proxy("2", "AF_INET6", "2001:db8::7"), "[IPv6:2001:db8::7]"},
		{"XCLIENT", `xclient_networks = "127.0.0.1"`, []string{"--xclient-addr", "10.1.2.3", "--xclient-name", "printer.example.net", "--xclient-helo", "printer", "--xclient-proto", "ESMTP"}, "(printer.example.net [10.1.2.3])"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hop := nextHop(t, standin.Options{})
			d := newDaemon(t, "[smtp]\ntrusted_networks = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n"+c.config+"\n", away(hop), quick(""))
			// Only as who it says it is may it relay.
			d.try("", append([]string{"swaks", "--server", "127.0.0.1", "--port", d.port("smtp"), "--timeout", "30", "--helo", "swaks.example.net",
				"--from", "printer@example.net", "--to", "carol@example.net", "--body", "Hello"}, c.args...)...)
			if got := string(reaches(t, hop, 1)[0].Data); !strings.Contains(got, c.want) {
				t.Errorf("the trace is\n%s", got)
			}
		})
	}
}
