package relay

import (
	"errors"
	"fmt"
	"net/url"
)

// HookFormat is what a webhook is sent.
type HookFormat uint8

// The formats. HookRaw is the zero value.
const (
	// HookRaw is the message as it is, with the envelope in a field.
	HookRaw HookFormat = iota
	// HookJSON is the message in its parts, with the envelope.
	HookJSON
)

// Hook is where a route of kind HTTP posts its mail, and how.
type Hook struct {
	// URLs are tried in order, the next where one cannot be reached. They are
	// https, or http for a way that needs no protection.
	URLs   []string
	Format HookFormat
	// Secret signs what is posted; nil signs nothing. Token is sent as a bearer
	// token (RFC 6750); nil sends none. Both are asked at each attempt, so that
	// a changed one is used at once.
	Secret func() (string, error)
	Token  func() (string, error)
}

// checkHook is check for a route of kind HTTP.
func (r *Route) checkHook() error {
	switch {
	case r.Hook == nil || len(r.Hook.URLs) == 0:
		return errors.New("a webhook needs a URL")
	case len(r.Hosts) > 0 || r.LMTP || r.Username != "":
		return errors.New("a webhook has neither hosts nor a login")
	case r.Hook.Format > HookJSON:
		return errors.New("unknown format of a webhook")
	case r.MaxConnections < 0:
		return errors.New("connections out of range")
	}
	for _, s := range r.Hook.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("bad URL %q of a webhook", s)
		}
	}
	return nil
}
