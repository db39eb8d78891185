package config

import (
	"slices"
	"strings"
	"unicode"

	"restante/internal/mail"
)

// Anyone stands for all accounts in the lists of a Shared.
const Anyone = "anyone"

// Shared is a mailbox that several people work in and that no account owns.
type Shared struct {
	// Name is what it is called among the shared folders.
	Name string `toml:"name"`
	// Addresses are those whose mail is delivered into it.
	Addresses Strings `toml:"addresses"`
	// Readers may read it; Members may work in it and send as its addresses;
	// Managers may say, beside that, who else may do what in it. Each is an
	// account's address, a group's, or Anyone; see People.
	Readers  Strings `toml:"readers"`
	Members  Strings `toml:"members"`
	Managers Strings `toml:"managers"`
	// Quota and QuotaMessages bound what it keeps; 0 are those of IMAP.
	Quota         Size `toml:"quota"`
	QuotaMessages int  `toml:"quota_messages"`
}

// People are the addresses of a list, in lower case, with the members of groups in the
// place of these. Each is there once.
func (c *Config) People(list Strings) (people []string) {
	groups := make(map[string]Strings)
	for _, g := range c.Groups {
		groups[strings.ToLower(g.Name)] = g.Members
	}
	seen := make(map[string]bool)
	var add func(list Strings)
	add = func(list Strings) {
		for _, who := range list {
			who = strings.ToLower(who)
			members, group := groups[who]
			switch {
			case seen[who]:
			case group:
				seen[who] = true
				add(members)
			default:
				seen[who] = true
				people = append(people, who)
			}
		}
	}
	add(list)
	return people
}

// shared checks [[shared]]. claim notes whose an address is.
func (ch *checker) shared(local map[string]bool, claim func(at keyPath, a mail.Address, name string)) {
	seen := make(map[string]bool)
	for i, s := range ch.config.Shared {
		at := top("shared").index(i)
		switch {
		case s.Name == "":
			ch.problem(at, `this shared mailbox has no name; add name = "Support"`)
		case len(s.Name) > 200 || strings.ContainsAny(s.Name, "/*%") || strings.ContainsFunc(s.Name, unicode.IsControl):
			ch.problem(at.key("name"), "shared mailbox %.50q: a name has at most 200 octets, none of / * %% and no control characters", s.Name)
		case seen[strings.ToLower(s.Name)]:
			ch.problem(at.key("name"), "the shared mailbox %q is there twice; remove one", s.Name)
		}
		seen[strings.ToLower(s.Name)] = true
		for j, text := range s.Addresses {
			at := at.key("addresses").index(j)
			a, err := mail.ParseAddress(text)
			switch {
			case err != nil || a.Domain == "":
				ch.problem(at, "address %q of the shared mailbox %q must be a full address such as support@example.org", text, s.Name)
			case !local[a.Domain]:
				ch.problem(at, "address %q of the shared mailbox %q is in no local domain; add a [[domain]] with the name %q", text, s.Name, a.Domain)
			default:
				claim(at, a, "shared mailbox "+s.Name)
			}
		}
		who := map[string]Strings{"readers": s.Readers, "members": s.Members, "managers": s.Managers}
		for _, key := range []string{"readers", "members", "managers"} {
			for j, text := range who[key] {
				if a, err := mail.ParseAddress(text); text != Anyone && (err != nil || a.Domain == "") {
					ch.problem(at.key(key).index(j), `%s of the shared mailbox %q: %q must be the full address of an account or a group, or "anyone"`, key, s.Name, text)
				}
			}
		}
		if len(slices.Concat(s.Readers, s.Members, s.Managers)) == 0 {
			ch.problem(at, "nobody may read the shared mailbox %q; add members", s.Name)
		}
	}
}
