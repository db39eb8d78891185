package config

import (
	"strings"
	"testing"
)

func TestCheckExtensions(t *testing.T) {
	for text, want := range map[string]string{
		"[smtp]\nxclient_networks = \"10.0.0.0/8\"\nproxy_networks = [\"192.0.2.1\", \"2001:db8::/32\"]\nrepeat_networks = \"0.0.0.0/0\"": "",
		"[smtp]\nxclient_networks = \"0.0.0.0/0\"":                                            "2: xclient network \"0.0.0.0/0\" is so wide",
		"[smtp]\nproxy_networks = [\"lan\"]":                                                  "2: proxy network \"lan\" must be",
		"[smtp]\nproxy_networks = [\"10.1.0.0/8\"]":                                           "2: proxy network \"10.1.0.0/8\" has bits set",
		"[smtp]\nrepeat_networks = [\"::ffff:0:0/96\"]":                                       "2: repeat network \"::ffff:0:0/96\" is IPv4",
		"[smtp]\nmax_hold = \"0s\"\naccept_once = \"0s\"":                                     "",
		"[smtp]\nmax_hold = \"1ms\"":                                                          "2: max_hold must be at least 1s",
		"[smtp]\nmax_hold = \"400d\"":                                                         "2: max_hold must be at most 366d",
		"[smtp]\naccept_once = \"25h\"":                                                       "2: accept_once must be at most 1d",
		"[[listener]]\nrole = \"lmtp\"\naddress = [\"unix:/run/x/lmtp\", \"127.0.0.1:24\"]":   "",
		"[[listener]]\nrole = \"smtp\"\naddress = \"unix:/run/x/smtp\"":                       `3: address "unix:/run/x/smtp" is a Unix socket, which only the role lmtp`,
		"[[listener]]\nrole = \"lmtp\"\naddress = \"unix:lmtp\"":                              `3: address "unix:lmtp" has no absolute path`,
		"[[listener]]\nrole = \"lmtp\"\naddress = \"unix:/" + strings.Repeat("x", 110) + "\"": "has too long a path",
		"[[listener]]\nrole = \"lmtp\"\naddress = [\"unix:/run/x\", \"unix:/run/x\"]":         "is used by two listeners",
	} {
		c, err := parse("x", text)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\n gives %v, want %s", text, err, want)
		}
	}
}
