package main

import (
	"restante/internal/accept"
	"restante/internal/archive"
	"restante/internal/config"
	"restante/internal/mail"
	"restante/internal/resend"
)

// archiveRules are those of the configuration, which has been checked.
func archiveRules(cfg *config.Config) []archive.Rule {
	directions := map[string]archive.Direction{"in": archive.In, "out": archive.Out, "local": archive.Local}
	var rules []archive.Rule
	for _, a := range cfg.Archives {
		rule := archive.Rule{
			Name: a.Name, Monthly: a.Monthly,
			Senders: archivePatterns(a.Senders), Recipients: archivePatterns(a.Recipients),
		}
		for _, d := range a.Directions {
			rule.Directions |= directions[d]
		}
		rule.Header, rule.Value = a.Field()
		if account, mailbox, ok := a.Target(); ok {
			rule.Account, rule.Mailbox = account, mailbox
		} else if to, err := mail.ParseAddress(a.Address); err == nil {
			rule.To = to
		}
		rules = append(rules, rule)
	}
	return rules
}

// resender sends dead letters and archived mail again.
func (d *daemon) resender(cfg *config.Config, acceptor *accept.Acceptor) *resend.Sender {
	return resend.New(resend.Options{
		Mailboxes: d.spool, Bodies: d.spool, Accept: acceptor, DeadLetters: cfg.Queue.Dead(), Logger: d.log,
	})
}

// archivePatterns writes addresses and domains as they are compared, with
// international domains in their ASCII form.
func archivePatterns(list config.Strings) []archive.Pattern {
	var patterns []archive.Pattern
	for _, s := range list {
		patterns = append(patterns, onePattern(s))
	}
	return patterns
}

func onePattern(s string) archive.Pattern {
	if a, err := mail.ParseAddress(s); err == nil {
		s = a.Key().String()
	} else if d, err := mail.ParseDomain(s); err == nil {
		s = d
	}
	return archive.Pattern(s)
}
