package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestConnections(t *testing.T) {
	route := func(keys string) string {
		return "[[route]]\nname = \"r\"\ndomains = \"*\"\n" + keys
	}
	for text, want := range map[string]string{
		"next_hop = \"unix:/run/dovecot/lmtp\"\nprotocol = \"lmtp\"":                     "",
		"next_hop = [\"unix:/run/smtp\", \"h.org\"]":                                     "",
		"next_hop = \"unix:/run/x\"\nusername = \"u\"\npassword = \"p\"\ntls = \"none\"": "",
		"next_hop = \"unix:lmtp\"":                                                       `4: next_hop "unix:lmtp" of route "r" has no absolute path; write it like`,
		"next_hop = \"unix:/" + strings.Repeat("x", 110) + "\"":                          "has too long a path",
		"next_hop = \"mx\"\nprotocol = \"lmtp\"":                                         `5: route "r": mail exchangers do not speak LMTP; name hosts`,
		"next_hop = \"h.org\"\nprotocol = \"uucp\"":                                      "5: protocol must be one of",
		"next_hop = \"mx\"\nsource_address = [\"192.0.2.1\", \"[2001:db8::1]\"]":         "",
		"next_hop = \"mx\"\nsource_address = \"eth0\"":                                   `5: source_address "eth0" of route "r" must be an IP address of this machine`,
		"next_hop = \"mx\"\nsource_address = \"0.0.0.0\"":                                `5: source_address "0.0.0.0"`,
		"next_hop = \"mx\"\nsource_address = [\"192.0.2.1\", \"192.0.2.2\"]":             `5: source_address "192.0.2.2" of route "r" is of the same family as "192.0.2.1"`,
		"next_hop = \"mx\"\nmax_messages_per_connection = 0":                             "5: max_messages_per_connection of route \"r\" must be 1 or more",
		"next_hop = \"mx\"\nidle_connection = \"6m\"":                                    "5: idle_connection of route \"r\" must be between",
		"next_hop = \"mx\"\nidle_connection = \"0s\"\nchunking = false":                  "",
	} {
		c, err := parse("x", route(text))
		if err != nil {
			t.Fatal(err)
		}
		err = c.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\n gives %v, want %s", text, err, want)
		}
	}
}

func TestNextHopForms(t *testing.T) {
	r := Route{NextHop: Strings{"unix:/run/lmtp", "h.org", "h.org:2424", "::1"}, Protocol: ProtocolLMTP, SourceAddress: Strings{"[::1]", "127.0.0.1"}}
	if got, want := r.Hosts(), []string{"unix:/run/lmtp", "h.org:24", "h.org:2424", "[::1]:24"}; !slices.Equal(got, want) {
		t.Errorf("hosts %v, want %v", got, want)
	}
	if got := fmt.Sprint(r.Sources()); got != "[::1 127.0.0.1]" {
		t.Errorf("sources %s", got)
	}
}
