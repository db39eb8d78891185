package config

import (
	"maps"
	"slices"
	"strings"

	"restante/internal/mail"
)

// localDomains are the configured domains, normalised.
func (c *Config) localDomains() map[string]bool {
	local := make(map[string]bool)
	for _, d := range c.Domains {
		if name, err := mail.ParseDomain(d.Name); err == nil {
			local[name] = true
		}
	}
	return local
}

func (ch *checker) domains() {
	seen := make(map[string]bool)
	for i, d := range ch.config.Domains {
		at := top("domain").index(i)
		name, err := mail.ParseDomain(d.Name)
		switch {
		case d.Name == "":
			ch.problem(at, `this domain has no name; add name = "example.org"`)
		case err != nil:
			ch.problem(at.key("name"), "domain %q is malformed: %s", d.Name, err)
		case seen[name]:
			ch.problem(at.key("name"), "domain %q is there twice; remove one", d.Name)
		}
		seen[name] = true
		ch.addresses(at.key("catch_all"), "catch_all", d.CatchAll)
	}
}

// addresses checks a list of full addresses.
func (ch *checker) addresses(at keyPath, key string, list Strings) {
	for i, s := range list {
		if why := badAddress(s); why != "" {
			ch.problem(at.index(i), "%s has a bad address: %s", key, why)
		}
	}
}

// badAddress says what is wrong with an address, "" if nothing.
func badAddress(s string) string {
	_, err := mail.ParseAddress(s)
	if err != nil {
		return err.Error()
	}
	return ""
}

func (ch *checker) accounts() {
	local := ch.config.localDomains()
	owner := make(map[mail.Address]string)
	// claim notes whose an address is, and reports a second owner.
	claim := func(at keyPath, a mail.Address, name string) {
		if other, ok := owner[a.Key()]; ok {
			ch.problem(at, "the address %s already belongs to the %s; remove one", a, other)
			return
		}
		owner[a.Key()] = name
	}
	for i, acc := range ch.config.Accounts {
		at := top("account").index(i)
		ch.password(at, acc)
		a, err := mail.ParseAddress(acc.Name)
		switch {
		case acc.Name == "":
			ch.problem(at, `this account has no name; add name = "alice@example.org"`)
		case err != nil || a.Domain == "":
			ch.problem(at.key("name"), "account %q must be a full address such as alice@example.org", acc.Name)
		case !local[a.Domain]:
			ch.problem(at.key("name"), "account %q is in no local domain; add a [[domain]] with the name %q", acc.Name, a.Domain)
		default:
			claim(at.key("name"), a, "account "+acc.Name)
		}
		for j, s := range acc.Addresses {
			at := at.key("addresses").index(j)
			if rest, ok := strings.CutPrefix(s, "*@"); ok {
				if why := badHost(rest); why != "" {
					ch.problem(at, "%q: the domain %s", s, why)
				}
			} else if s != "*" {
				if x, err := mail.ParseAddress(s); err != nil {
					ch.problem(at, `addresses: %s; an address, "*@domain" or "*" is expected`, err)
				} else {
					claim(at, x, "account "+acc.Name)
				}
			}
		}
	}
	ch.shared(local, claim)
}

func (ch *checker) password(at keyPath, acc Account) {
	if acc.ScramHash != "" && (!strings.HasPrefix(acc.ScramHash, "SCRAM-SHA-256$") || strings.Count(acc.ScramHash, "$") != 2) {
		ch.problem(at.key("scram_hash"), "scram_hash of account %q must look like SCRAM-SHA-256$...:...$...:...", acc.Name)
	}
	switch {
	case acc.PasswordHash == "" && acc.PasswordFile == "":
		ch.problem(at, "account %q has no password; give password_hash or password_file", acc.Name)
	case acc.PasswordHash != "" && acc.PasswordFile != "":
		ch.problem(at.key("password_file"), "account %q has password_hash and password_file; keep one", acc.Name)
	case acc.PasswordFile != "":
		if _, _, err := acc.Secret(); err != nil {
			ch.problem(at.key("password_file"), "password of account %q: %s", acc.Name, err)
		}
	case !strings.HasPrefix(acc.PasswordHash, hashPrefix) || strings.Count(acc.PasswordHash, "$") != 5:
		// What is inside the hash is for internal/directory to judge.
		ch.problem(at.key("password_hash"), "password_hash of account %q must be an argon2id hash, $argon2id$v=19$...$...$...", acc.Name)
	}
}

func (ch *checker) aliases() {
	local := ch.config.localDomains()
	graph := make(map[mail.Address][]mail.Address)
	names := make(map[mail.Address]string)
	for _, name := range slices.Sorted(maps.Keys(ch.config.Aliases)) {
		list, at := ch.config.Aliases[name], top("aliases").key(name)
		from, err := mail.ParseAddress(name)
		if err != nil {
			ch.problem(at, "alias %q must be a full address: %s", name, err)
			continue
		}
		if from.Domain != "" && !local[from.Domain] {
			ch.problem(at, "alias %q is in no local domain; add a [[domain]] with the name %q", name, from.Domain)
		}
		if other, ok := names[from.Key()]; ok {
			ch.problem(at, "alias %q is the same address as %q; remove one", name, other)
			continue
		}
		if len(list) == 0 {
			ch.problem(at, "alias %q leads nowhere; list at least one address, or remove it", name)
		}
		ch.addresses(at, "alias "+name, list)
		names[from.Key()] = name
		graph[from.Key()] = nil
		for _, s := range list {
			if to, err := mail.ParseAddress(s); err == nil {
				graph[from.Key()] = append(graph[from.Key()], to.Key())
			}
		}
	}
	ch.groups(graph, names)
	ch.loops(graph, names)
}

// loops reports each loop of aliases once. An alias that names itself beside
// others means the account of that name, and is none.
func (ch *checker) loops(graph map[mail.Address][]mail.Address, names map[mail.Address]string) {
	const (
		unseen = iota
		open
		closed
	)
	state := make(map[mail.Address]int)
	var path []mail.Address
	var visit func(a mail.Address)
	visit = func(a mail.Address) {
		state[a] = open
		path = append(path, a)
		for _, to := range graph[a] {
			if _, ok := graph[to]; !ok || to == a && len(graph[a]) > 1 {
				continue
			}
			switch state[to] {
			case unseen:
				visit(to)
			case open:
				loop := path[slices.Index(path, to):]
				var text strings.Builder
				for _, x := range loop {
					text.WriteString(x.String() + " -> ")
				}
				ch.problem(ch.aliasPath(names[a]), "aliases go round in a loop: %s%s; take one of them out", text.String(), to)
			}
		}
		path = path[:len(path)-1]
		state[a] = closed
	}
	for _, a := range slices.SortedFunc(maps.Keys(graph), func(a, b mail.Address) int { return strings.Compare(a.String(), b.String()) }) {
		if state[a] == unseen {
			visit(a)
		}
	}
}
