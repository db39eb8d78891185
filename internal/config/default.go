package config

import "time"

// Default returns the configuration that holds without a file: everything on
// loopback, the domain localhost, mail for elsewhere straight to its MX.
func Default() *Config {
	return &Config{
		Listeners: defaultListeners(),
		SMTP: SMTP{
			TrustedNetworks:          Strings{"127.0.0.0/8", "::1/128"},
			NormalizeNetworks:        Strings{},
			MaxMessageSize:           50 * MiB,
			MaxHeaderSize:            64 * KiB,
			MaxRecipients:            1000,
			MaxHops:                  50,
			MaxConnections:           1000,
			MaxConnectionsPerAddress: 100,
			ClientNetworkIPv4:        32,
			ClientNetworkIPv6:        64,
			MessageRate:              Rate{300, Minute},
			RecipientRate:            Rate{3000, Minute},
			MaxErrors:                20,
			MaxRefusedRecipients:     100,
			MaxAuthFailures:          3,
			AuthDelay:                Duration(time.Second),
			ErrorDelay:               Duration(time.Second),
			GreetDelay:               Duration(250 * time.Millisecond),
			RefuseEarlyTalkers:       true,
			CommandTimeout:           5 * Minute,
			DataTimeout:              3 * Minute,
			EnvelopeTimeout:          30 * Minute,
			TransferTimeout:          Day,
			WriteTimeout:             1 * Minute,
			MinDataRate:              100,
			DSNForStrangers:          true,
			MaxHold:                  7 * Day,
			AcceptOnce:               1 * Hour,
			XClientNetworks:          Strings{},
			ProxyNetworks:            Strings{},
			RepeatNetworks:           Strings{},
		},
		IMAP: IMAP{
			MaxConnections:           1000,
			MaxConnectionsPerAddress: 100,
			MaxConnectionsPerAccount: 50,
			MaxMessageSize:           50 * MiB,
			IdleTimeout:              30 * Minute,
		},
		TLS: TLS{
			ACMEDirectory:   "https://acme-v02.api.letsencrypt.org/directory",
			ACMEDomains:     Strings{},
			ACMEHTTPAddress: ":80",
		},
		Domains: []Domain{{Name: "localhost"}},
		OAuth:   OAuth{Claim: "email"},
		Queue: Queue{
			RetryMin:    1 * Minute,
			RetryMax:    4 * Hour,
			RetryFactor: 2,
			RetryJitter: 0.1,
			WarnAfter:   4 * Hour,
			ExpireAfter: 5 * Day,
			Retry:       Strings{},

			Concurrency: 200, SlowConcurrency: 1000, PerDestination: 20,
			DeadLetters: "postmaster",
		},
		SRS:     SRS{Enabled: true, MaxAge: 21 * Day},
		Spool:   Spool{MinFree: 128 * MiB},
		History: History{Keep: 30 * Day},
		DKIM:    DKIM{Sign: true},
		Authentication: Authentication{
			Evaluate: true, DMARC: "quarantine", SPF: "none", OnFailure: AuthenticationAccept, Timeout: Duration(10 * time.Second),
		},
		Log: Log{Level: "info", Format: "text"},
	}
}

func defaultListeners() []Listener {
	return []Listener{
		{RoleSMTP, Strings{"127.0.0.1:2525"}},
		{RoleSubmission, Strings{"127.0.0.1:2587"}},
		{RoleSubmissions, Strings{"127.0.0.1:2465"}},
		{RoleIMAP, Strings{"127.0.0.1:2143"}},
		{RoleIMAPS, Strings{"127.0.0.1:2993"}},
	}
}
