package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"": {}, "300/1m": {300, Minute}, "1/90s": {1, 3 * Minute / 2}, "1000/1d": {1000, Day}, "5/1d12h": {5, Day + 12*Hour},
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%q: %v, %v", text, r, err)
		}
		var again Rate
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r {
			t.Errorf("%q is written %q, which reads %v, %v", text, r, again, err)
		}
	}
	for _, text := range []string{"300", "/1m", "0/1m", "300/", "300/0s", "-1/1m", "1.5/1m", "300/1", "x/1m", "99999999999/1m", "3/1m/1m"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil || r != (Rate{}) {
			t.Errorf("%q reads as %v", text, r)
		}
	}
}

func TestWireSettings(t *testing.T) {
	c, err := parse("x", `[smtp]
trusted_networks = ["192.0.2.0/24", "2001:db8::/32"]
normalize_networks = ["192.0.2.7", "2001:db8:1::/48"]
message_rate = "5/1m"
trusted_recipient_rate = ""
account_message_rate = "1000/1d"
greet_delay = "0s"
refuse_early_talkers = false
min_data_rate = "1KiB"
`)
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := c.SMTP
	if s.MessageRate != (Rate{5, Minute}) || s.AccountMessageRate != (Rate{1000, Day}) || s.TrustedRecipientRate != (Rate{}) ||
		s.GreetDelay != 0 || s.RefuseEarlyTalkers || s.MinDataRate != KiB {
		t.Errorf("%+v", s)
	}
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8:1::/48")}
	if got := s.NormalizePrefixes(); !slices.Equal(got, want) {
		t.Errorf("normalize %v, want %v", got, want)
	}
}

func TestWireProblems(t *testing.T) {
	for text, want := range map[string]string{
		`normalize_networks = ["10.0.0.0/8"]`:  "not within trusted_networks",
		`normalize_networks = ["127.0.0.0/7"]`: "bits set behind",
		`normalize_networks = ["126.0.0.0/7"]`: "not within trusted_networks",
		`normalize_networks = ["printer"]`:     "must be an address or a network",
		`client_network_ipv4 = 33`:             "at most 32",
		`client_network_ipv4 = 0`:              "at least 8",
		`client_network_ipv6 = 129`:            "at most 128",
		`client_network_ipv6 = 8`:              "at least 16",
		`greet_delay = "5m"`:                   "at most 30s",
		`message_rate = "many"`:                "is not a rate",
		`message_rate = 300`:                   "is not a rate",
		`auth_delay = "0s"`:                    "at least 10ms",
		`error_delay = "0s"`:                   "at least 1ms",
		`envelope_timeout = "0s"`:              "at least 1s",
		`transfer_timeout = "1s"`:              "at least 1m",
		`write_timeout = "0s"`:                 "at least 1s",
		`max_refused_recipients = 0`:           "at least 1",
		`refuse_early_talkers = "yes"`:         "true or false",
	} {
		c, err := parse("x", "[smtp]\n"+text)
		if err == nil {
			err = c.Check()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "2") {
			t.Errorf("%s: %v, want %q with its line", text, err, want)
		}
	}
}
