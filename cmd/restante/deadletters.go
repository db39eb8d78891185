package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"restante/internal/control"
	"restante/internal/mail"
	"restante/internal/resend"
	"restante/spool"
)

// addressList is the value of a flag: with commas between them, or several flags.
type addressList []mail.Address

func (a *addressList) String() string {
	var list []string
	for _, x := range *a {
		list = append(list, x.String())
	}
	return strings.Join(list, ",")
}

func (a *addressList) Set(text string) error {
	for s := range strings.SplitSeq(text, ",") {
		x, err := mail.ParseAddress(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		*a = append(*a, x)
	}
	return nil
}

func lettersListCommand() *command {
	cmd := &command{
		name: "deadletters list", args: "[--json]",
		short: "show what could neither be delivered nor returned",
		long: `A dead letter is a message in the mailbox "Dead Letters" of the account that
[queue] dead_letters names, with the message that was lost in it.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usagef("no arguments are expected")
			}
			return answer(c, func(client *control.Client) ([]resend.Letter, error) { return client.Letters(ctx) }, c.letterTable)
		}
	}
	return cmd
}

func (c *call) letterTable(list []resend.Letter) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.out, "There are no dead letters.")
		return err
	}
	now := time.Now()
	t := newTable(c.out, "NUMBER", "AGE", "SIZE", "SENDER", "RECIPIENTS", "SENT AGAIN", "REASON")
	for _, l := range list {
		to, reason, sent := "", "", "no"
		if len(l.Recipients) > 0 {
			to, reason = l.Recipients[0].To.String(), l.Recipients[0].Reason
		}
		if more := len(l.Recipients) - 1; more > 0 {
			to += fmt.Sprintf(" +%d", more)
		}
		if l.Resent {
			sent = "yes"
		}
		t.row(strconv.FormatUint(uint64(l.UID), 10), span(now.Sub(l.Filed)), octets(l.Size), sender(l.From), to, sent, reason)
	}
	return t.end()
}

// number reads the number of a dead letter.
func number(s string) (spool.UID, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, usagef("%q is no number of a dead letter; deadletters list shows them", s)
	}
	return spool.UID(n), nil
}

func lettersShowCommand() *command {
	cmd := &command{name: "deadletters show", args: "NUMBER [--json]", short: "show a dead letter, with the header of its message"}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return usagef("one number is expected")
			}
			uid, err := number(args[0])
			if err != nil {
				return err
			}
			return answer(c, func(client *control.Client) (resend.Letter, error) { return client.Letter(ctx, uid) }, c.showLetter)
		}
	}
	return cmd
}

func (c *call) showLetter(l resend.Letter) error {
	fmt.Fprintf(c.out, "dead letter %d, put there %s\n", l.UID, clock(l.Filed))
	fmt.Fprintf(c.out, "message:    %s\n", l.Message)
	from := sender(l.From)
	if l.Unverified {
		from += " (seems to be forged)"
	}
	fmt.Fprintf(c.out, "sender:     %s\n", visible(from))
	if l.Resent {
		fmt.Fprintln(c.out, "sent again: yes")
	}
	for _, r := range l.Recipients {
		fmt.Fprintf(c.out, "%s: %s\n", visible(r.To.String()), visible(r.Reason))
	}
	fmt.Fprintln(c.out)
	for line := range strings.Lines(l.Header) {
		if _, err := fmt.Fprintln(c.out, visible(strings.TrimRight(line, "\r\n"))); err != nil {
			return err
		}
	}
	return nil
}

func lettersResendCommand() *command {
	cmd := &command{
		name: "deadletters resend", args: "NUMBER... [--to ADDRESS] [--again] [--json]",
		short: "send the messages of dead letters again",
		long: `Each goes as it was, from its own sender, to those who did not get it or to
those of --to. The dead letter stays, marked as sent, until it is removed.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var how control.ResendLetter
		fs.Var((*addressList)(&how.To), "to", "send to this `ADDRESS` instead; may be repeated")
		fs.BoolVar(&how.Again, "again", false, "also what has been sent again before")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			return c.eachLetter(args, func(client *control.Client, uid spool.UID) error {
				sent, err := client.ResendLetter(ctx, uid, how)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(sent)
				}
				_, err = fmt.Fprintf(c.out, "%d: sent again to %s, as %s\n", uid, plural(sent.Recipients, "recipient"), sent.ID)
				return err
			})
		}
	}
	return cmd
}

func lettersRemoveCommand() *command {
	cmd := &command{
		name: "deadletters remove", args: "NUMBER... [--json]", short: "remove dead letters for good",
		long: "The log records who removed what.",
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			return c.eachLetter(args, func(client *control.Client, uid spool.UID) error {
				l, err := client.RemoveLetter(ctx, uid)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(l)
				}
				_, err = fmt.Fprintf(c.out, "%d: removed\n", uid)
				return err
			})
		}
	}
	return cmd
}

// eachLetter does something to dead letters, and tells of every one that it
// could not be done to.
func (c *call) eachLetter(args []string, do func(*control.Client, spool.UID) error) error {
	if len(args) == 0 {
		return usagef("give the numbers of dead letters; deadletters list shows them")
	}
	var uids []spool.UID
	for _, s := range args {
		uid, err := number(s)
		if err != nil {
			return err
		}
		uids = append(uids, uid)
	}
	return c.withClient(func(client *control.Client) error {
		failed := false
		for _, uid := range uids {
			err := do(client, uid)
			if errors.Is(err, control.ErrNotRunning) {
				return err
			}
			if err != nil {
				fmt.Fprintf(c.err, "restante: %s\n", visible(err.Error()))
				failed = true
			}
		}
		if failed {
			return errTold
		}
		return nil
	})
}
