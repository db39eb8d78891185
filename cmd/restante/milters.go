package main

import (
	"restante/internal/config"
	"restante/internal/milter"
	"restante/internal/screen"
)

// milters are the mail filters of the configuration, in its order.
func (d *daemon) milters(cfg *config.Config) []screen.Screen {
	var list []screen.Screen
	for _, m := range cfg.Milters {
		network, address := m.Dial()
		opt := milter.Options{
			Name: m.Name, Network: network, Address: address, Hostname: cfg.ServerName(),
			Timeout: m.Timeout.Std(), Dir: d.state, MaxBody: int64(cfg.SMTP.MaxMessageSize), Logger: d.log,
		}
		if m.OnFailure == config.MilterAccept {
			opt.OnFailure = milter.Accept
		}
		kinds := map[string]milter.Senders{
			config.ForOutside: milter.Outside, config.ForTrusted: milter.Trusted, config.ForAuthenticated: milter.Authenticated,
		}
		for _, kind := range m.For {
			opt.For |= kinds[kind]
		}
		list = append(list, milter.New(opt))
	}
	return list
}
