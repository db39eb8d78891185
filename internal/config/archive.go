package config

import (
	"slices"
	"strings"
	"unicode"

	"restante/internal/mail"
)

// Archive is a rule by which copies of mail are kept.
type Archive struct {
	Name string `toml:"name"`
	// Senders and Recipients are addresses, domains, "*.suffix", or "<>".
	Senders    Strings `toml:"senders"`
	Recipients Strings `toml:"recipients"`
	// Directions are of "in", "out" and "local"; none is all.
	Directions Strings `toml:"directions"`
	// Header is "Name" or "Name: value".
	Header string `toml:"header"`
	// Mailbox is "account@domain/name"; see Target. With Monthly there is one
	// below it for each month.
	Mailbox string `toml:"mailbox"`
	Monthly bool   `toml:"monthly"`
	// Address is where copies are sent to instead.
	Address string `toml:"address"`
}

// Target takes Mailbox apart. It is not ok if that is no address and name.
func (a Archive) Target() (account mail.Address, mailbox string, ok bool) {
	at := strings.IndexByte(a.Mailbox, '@')
	slash := strings.IndexByte(a.Mailbox[max(at, 0):], '/')
	if at < 0 || slash < 0 {
		return mail.Address{}, "", false
	}
	owner, mailbox := a.Mailbox[:at+slash], a.Mailbox[at+slash+1:]
	account, err := mail.ParseAddress(owner)
	return account, mailbox, err == nil && mailbox != ""
}

// Field takes Header apart.
func (a Archive) Field() (name, value string) {
	name, value, _ = strings.Cut(a.Header, ":")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}

// Dead is the address of DeadLetters; null if there is none. It has been
// checked.
func (q Queue) Dead() mail.Address {
	a, err := mail.ParseAddress(q.DeadLetters)
	if err != nil {
		return mail.Address{}
	}
	return a
}

func (ch *checker) deadLetters() {
	at, s := top("queue").key("dead_letters"), ch.config.Queue.DeadLetters
	if s == "" {
		return
	}
	a, err := mail.ParseAddress(s)
	switch {
	case err != nil:
		ch.problem(at, `dead_letters must be an address here, "postmaster", or empty: %s`, err)
	case a.Domain != "" && !ch.config.localDomains()[a.Domain]:
		ch.problem(at, "dead_letters %q is in no local domain; name an address whose mail is delivered here", s)
	}
}

func (ch *checker) archives() {
	seen := make(map[string]bool)
	for i, a := range ch.config.Archives {
		at := top("archive").index(i)
		switch {
		case a.Name == "":
			ch.problem(at, `this archive has no name; add name = "journal"`)
		case strings.ContainsFunc(a.Name, unicode.IsControl) || len(a.Name) > 100:
			ch.problem(at.key("name"), "the name of archive %q is too long or has control characters", a.Name)
		case seen[a.Name]:
			ch.problem(at.key("name"), "archive %q is there twice; give each its own name", a.Name)
		}
		seen[a.Name] = true
		ch.patterns(at.key("senders"), a.Senders)
		ch.patterns(at.key("recipients"), a.Recipients)
		for j, d := range a.Directions {
			ch.oneOf(at.key("directions").index(j), "directions", d, "in", "out", "local")
		}
		if name, _ := a.Field(); a.Header != "" && (name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f })) {
			ch.problem(at.key("header"), `header of archive %q must be a field's name, or name and value: "X-Project: Apollo"`, a.Name)
		}
		ch.archiveTarget(at, a)
	}
}

func (ch *checker) archiveTarget(at keyPath, a Archive) {
	switch {
	case (a.Mailbox == "") == (a.Address == ""):
		ch.problem(at, `archive %q must have either a mailbox, "archive@example.org/Journal", or an address`, a.Name)
	case a.Address != "":
		if why := badAddress(a.Address); why != "" {
			ch.problem(at.key("address"), "address of archive %q: %s", a.Name, why)
		}
		if a.Monthly {
			ch.problem(at.key("monthly"), "archive %q: monthly goes with a mailbox, not with an address", a.Name)
		}
	default:
		account, mailbox, ok := a.Target()
		levels := strings.Split(mailbox, "/")
		switch {
		case !ok:
			ch.problem(at.key("mailbox"), `mailbox of archive %q must be an account and a mailbox: "archive@example.org/Journal"`, a.Name)
		case !ch.config.localDomains()[account.Domain]:
			ch.problem(at.key("mailbox"), "mailbox of archive %q: %s is in no local domain; name an account here", a.Name, account)
		case slices.Contains(levels, "") || strings.ContainsFunc(mailbox, unicode.IsControl) || len(mailbox) > 200:
			ch.problem(at.key("mailbox"), "mailbox of archive %q: %q cannot be a mailbox's name", a.Name, mailbox)
		case strings.EqualFold(mailbox, "inbox") && !a.Monthly:
			ch.problem(at.key("mailbox"), "mailbox of archive %q is the INBOX; name one that is for the archive alone", a.Name)
		}
	}
}

// patterns checks what selects addresses.
func (ch *checker) patterns(at keyPath, list Strings) {
	for i, s := range list {
		domain := strings.TrimPrefix(strings.TrimPrefix(s, "*"), ".")
		switch {
		case s == "<>" || s == "*":
		case strings.Contains(s, "@"):
			if why := badAddress(s); why != "" {
				ch.problem(at.index(i), "%q: %s", s, why)
			}
		case badHost(domain) != "" || strings.HasPrefix(s, "*") && !strings.HasPrefix(s, "*."):
			ch.problem(at.index(i), `%q is no address, no domain, and not like "*.example.org"`, s)
		}
	}
}
