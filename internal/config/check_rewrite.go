package config

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"restante/internal/mail"
)

// groups checks [[group]], and adds them to the graph of aliases.
func (ch *checker) groups(graph map[mail.Address][]mail.Address, names map[mail.Address]string) {
	local := ch.config.localDomains()
	for i, g := range ch.config.Groups {
		at := top("group").index(i)
		if g.Name == "" {
			ch.problem(at, `this group has no name; add name = "team@example.org"`)
			continue
		}
		name, err := mail.ParseAddress(g.Name)
		switch other, taken := names[name.Key()]; {
		case err != nil || name.Domain == "":
			ch.problem(at.key("name"), "group %q must be a full address such as team@example.org", g.Name)
			continue
		case !local[name.Domain]:
			ch.problem(at.key("name"), "group %q is in no local domain; add a [[domain]] with the name %q", g.Name, name.Domain)
		case taken:
			ch.problem(at.key("name"), "group %q is the same address as %q; remove one", g.Name, other)
			continue
		}
		if len(g.Members) == 0 {
			ch.problem(at, "group %q has no members; list at least one address, or remove it", g.Name)
		}
		ch.addresses(at.key("members"), "members", g.Members)
		if g.Owner != "" {
			if why := badAddress(g.Owner); why != "" {
				ch.problem(at.key("owner"), "owner of group %q: %s", g.Name, why)
			}
		}
		names[name.Key()], graph[name.Key()] = g.Name, nil
		for _, s := range g.Members {
			if to, err := mail.ParseAddress(s); err == nil {
				graph[name.Key()] = append(graph[name.Key()], to.Key())
			}
		}
	}
}

// aliasPath is where an alias or group is in the file.
func (ch *checker) aliasPath(name string) keyPath {
	if _, ok := ch.config.Aliases[name]; ok {
		return top("aliases").key(name)
	}
	i := slices.IndexFunc(ch.config.Groups, func(g Group) bool { return g.Name == name })
	return top("group").index(max(i, 0))
}

// rewriting checks what changes senders.
func (ch *checker) rewriting() {
	seen := make(map[string]string)
	for _, pattern := range slices.Sorted(maps.Keys(ch.config.Masquerade)) {
		to, at := ch.config.Masquerade[pattern], top("masquerade").key(pattern)
		name := strings.TrimPrefix(pattern, "*.")
		if why := badHost(name); why != "" {
			ch.problem(at, `masquerade: %q %s; write "host.example.org", or "*.example.org" for all below it`, pattern, why)
			continue
		}
		d, _ := mail.ParseDomain(name)
		key := strings.TrimSuffix(pattern, name) + d
		if other, ok := seen[key]; ok {
			ch.problem(at, "masquerade: %q is the same as %q; remove one", pattern, other)
		}
		seen[key] = pattern
		if len(to) != 1 {
			ch.problem(at, "masquerade: %q needs the one domain that stands for it", pattern)
		} else if why := badHost(to[0]); why != "" {
			ch.problem(at, "masquerade: %q of %q %s", to[0], pattern, why)
		}
	}
	ch.srs()
	for i, r := range ch.config.Routes {
		at := top("route").index(i)
		for key, s := range map[string]string{"rewrite_sender": r.RewriteSender, "rewrite_from": r.RewriteFrom} {
			if s == "" {
				continue
			}
			if a, err := mail.ParseAddress(s); err != nil || a.Domain == "" {
				ch.problem(at.key(key), "%s of route %q must be a full address such as relay@example.org, not %q", key, r.Name, s)
			}
		}
	}
}

func (ch *checker) srs() {
	s, at := ch.config.SRS, top("srs")
	if s.Domain != "" {
		if why := badHost(s.Domain); why != "" {
			ch.problem(at.key("domain"), "domain %q of srs %s", s.Domain, why)
		}
	}
	if s.MaxAge < Day || s.MaxAge > 365*Day {
		ch.problem(at.key("max_age"), `max_age must be from "1d" to "365d"`)
	}
	if _, err := s.Secrets(); s.Enabled && s.SecretFile != "" && err != nil {
		ch.problem(at.key("secret_file"), "secret_file of srs: %s", err)
	}
}

// Secrets reads SecretFile: a secret in each line, the first being the one in
// use. Without a SecretFile there are none.
func (s SRS) Secrets() ([]string, error) {
	if s.SecretFile == "" {
		return nil, nil
	}
	path, err := secretPath(s.SecretFile)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list := strings.Fields(string(b))
	for _, secret := range list {
		if len(secret) < 16 {
			return nil, errors.New("a secret is shorter than 16 characters")
		}
	}
	if len(list) == 0 {
		return nil, errors.New("the file is empty")
	}
	return list, nil
}

// SRSDomain is the domain of rewritten senders; "" if there is none.
func (c *Config) SRSDomain() string {
	switch {
	case !c.SRS.Enabled:
		return ""
	case c.SRS.Domain != "" || len(c.Domains) == 0:
		return c.SRS.Domain
	}
	return c.Domains[0].Name
}
