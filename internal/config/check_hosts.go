package config

import "slices"

// smarthosts checks the [[route.host]] sections of a route.
func (ch *checker) smarthosts(route keyPath, r Route) {
	if len(r.NextHop) > 0 {
		ch.problem(route.key("next_hop"), "route %q has next_hop and [[route.host]]; keep one", r.Name)
	}
	for i, h := range r.Smarthosts {
		at := route.key("host").index(i)
		if why := badNextHop(h.Address); why != "" {
			ch.problem(at.key("address"), "address %q of a host of route %q %s", h.Address, r.Name, why)
		}
		tls := h.TLS
		if tls == "" {
			tls = r.TLS
		} else {
			ch.oneOf(at.key("tls"), "tls", string(tls), tlsModes()...)
		}
		if h.Weight > maxWeight {
			ch.problem(at.key("weight"), "weight of host %q of route %q must be at most %d", h.Address, r.Name, maxWeight)
		}
		switch hasPassword := h.Password != "" || h.PasswordFile != ""; {
		case h.Password != "" && h.PasswordFile != "":
			ch.problem(at.key("password_file"), "host %q of route %q has password and password_file; keep one", h.Address, r.Name)
		case h.Username != "" && !hasPassword && !h.OAuth():
			ch.problem(at.key("username"), "host %q of route %q has a username and no password; add password_file", h.Address, r.Name)
		case h.Username == "" && hasPassword:
			ch.problem(at, "host %q of route %q has a password and no username; add username", h.Address, r.Name)
		case h.PasswordFile != "":
			if _, err := h.Secret(); err != nil {
				ch.problem(at.key("password_file"), "password of host %q of route %q: %s", h.Address, r.Name, err)
			}
		}
		ch.oauthOf(at, h.login(r))
		if (h.Username != "" || r.Username != "") && !isLoopback(h.Address) && (tls == TLSNone || tls == TLSOpportunistic) {
			ch.problem(at, `host %q of route %q could be sent the password in the clear; use tls = "required" or "implicit"`, h.Address, r.Name)
		}
	}
}

// spill checks where a route's mail goes when its quota is used up.
func (ch *checker) spill(at keyPath, r Route) {
	if r.SpillTo == "" {
		return
	}
	unbounded := func(h Smarthost) bool { return h.DailyQuota == 0 }
	switch {
	case r.SpillTo == r.Name || !slices.ContainsFunc(ch.config.Routes, func(other Route) bool { return other.Name == r.SpillTo }):
		ch.problem(at.key("spill_to"), "spill_to %q of route %q must be the name of another route", r.SpillTo, r.Name)
	case r.DailyQuota == 0 && (len(r.Smarthosts) == 0 || slices.ContainsFunc(r.Smarthosts, unbounded)):
		ch.problem(at.key("spill_to"), "route %q has a spill_to and no quota that could be used up; add daily_quota, to the route or to all its hosts", r.Name)
	}
}

// spilledTo tells whether a route takes what another has no room for.
func (ch *checker) spilledTo(name string) bool {
	return slices.ContainsFunc(ch.config.Routes, func(r Route) bool { return r.SpillTo == name })
}

// maxWeight bounds the weight of a host.
const maxWeight = 1000

// tlsModes are all there are.
func tlsModes() []string {
	return []string{string(TLSNone), string(TLSOpportunistic), string(TLSRequired), string(TLSVerified), string(TLSImplicit)}
}
