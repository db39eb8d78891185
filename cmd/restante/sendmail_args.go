package main

import (
	"fmt"
	"slices"
	"strings"

	"restante/internal/control"
)

// The modes of -b and -q; "" is a message on standard input.
const (
	modeAliases = "i"
	modeList    = "p"
	modeSMTP    = "s"
	modeFlush   = "q"
	modeNothing = "h" // what we have none of, and others accept
)

// sendmailArgs is a command line of the classic interface.
type sendmailArgs struct {
	control.Submission
	call
	ignoreDots bool
	mode       string
	// flush is what of the queue modeFlush is for; all of it if it is zero.
	flush control.Selection
	// idle: without a message there is nothing to do, which is no error.
	idle     bool
	verbose  bool
	help     bool
	warnings []string
}

const (
	// sendmailValued are options with a value, attached or as the next
	// argument; sendmailAttached may have one attached to them only. They are
	// those of Postfix's sendmail, and some that only the original has.
	sendmailValued   = "ABCDFLNORVXbefhopr"
	sendmailAttached = "qd"
	sendmailPlain    = "GIUacimstvx"
)

// parseSendmail reads a command line. All that follows the first recipient is
// recipients, whatever it begins with: they may be anybody's words.
func parseSendmail(args []string) (*sendmailArgs, error) {
	a := &sendmailArgs{}
	for len(args) > 0 {
		arg := args[0]
		if len(arg) < 2 || arg[0] != '-' {
			break
		}
		args = args[1:]
		if arg == "--" {
			break
		}
		var err error
		if strings.HasPrefix(arg, "--") {
			args, err = a.long(arg, args)
		} else {
			args, err = a.cluster(arg[1:], args)
		}
		if err != nil {
			return nil, err
		}
	}
	if i := slices.Index(args, "--"); i >= 0 {
		args = slices.Concat(args[:i], args[i+1:])
	}
	// Each may be a list with commas.
	for _, arg := range args {
		a.Recipients = append(a.Recipients, control.Addresses(arg)...)
	}
	if a.FromHeader && a.mode != "" {
		return nil, usagef("-t goes with a message")
	}
	return a, nil
}

// long takes one of our own options.
func (a *sendmailArgs) long(arg string, rest []string) ([]string, error) {
	name, value, attached := strings.Cut(arg[2:], "=")
	var target *string
	switch name {
	case "help":
		a.help = true
		return rest, nil
	case "state":
		target = &a.state
	case "config":
		target = &a.call.config
	default:
		return nil, usagef("unknown option %s", arg)
	}
	if !attached {
		if len(rest) == 0 {
			return nil, usagef("%s needs a value", arg)
		}
		value, rest = rest[0], rest[1:]
	}
	*target = value
	return rest, nil
}

// cluster takes options of one letter, of which the last may have a value.
func (a *sendmailArgs) cluster(letters string, rest []string) ([]string, error) {
	for i := range len(letters) {
		c := letters[i]
		value := letters[i+1:]
		switch {
		case strings.IndexByte(sendmailPlain, c) >= 0:
			a.plain(c)
			continue
		case c == 'q':
			return rest, a.queue(value)
		case strings.IndexByte(sendmailAttached, c) >= 0:
			return rest, nil
		case strings.IndexByte(sendmailValued, c) < 0:
			return nil, usagef("unknown option -%c", c)
		}
		if value == "" {
			if len(rest) == 0 {
				return nil, usagef("-%c needs a value", c)
			}
			value, rest = rest[0], rest[1:]
		}
		return rest, a.valued(c, value)
	}
	return rest, nil
}

func (a *sendmailArgs) plain(c byte) {
	switch c {
	case 't':
		a.FromHeader = true
	case 'i':
		a.ignoreDots = true
	case 'v':
		a.verbose = true
	case 'I':
		a.mode = modeAliases
	}
}

func (a *sendmailArgs) valued(c byte, value string) error {
	switch c {
	case 'f', 'r':
		a.From = value
		switch list := control.Addresses(value); len(list) {
		case 0:
			a.From = "<>"
		case 1:
			a.From = list[0] // "Alice <alice@example.org>" too
		}
	case 'F':
		a.Name = value
	case 'N':
		if !goodNotify(value) {
			a.warn("-N %s makes no sense, ignored", value)
			return nil
		}
		a.Notify = strings.Split(value, ",")
	case 'R':
		if value != "full" && value != "hdrs" {
			a.warn("-R %s is neither full nor hdrs, ignored", value)
			return nil
		}
		a.Ret = value
	case 'V':
		if len(value) > 100 || !printable(value) {
			a.warn("-V has more than 100 characters, or strange ones; ignored")
			return nil
		}
		a.EnvID = value
	case 'X':
		if value[0] == 'V' {
			return usagef("-XV (a sender of its own for each recipient) is not supported")
		}
	case 'o':
		a.ignoreDots = a.ignoreDots || value == "i"
	case 'b':
		return a.become(value)
	}
	return nil
}

func (a *sendmailArgs) warn(format string, args ...any) {
	a.warnings = append(a.warnings, fmt.Sprintf(format, args...))
}

// become is -b.
func (a *sendmailArgs) become(mode string) error {
	switch mode {
	case "m":
		a.mode = ""
	case modeAliases, modeList, modeSMTP:
		a.mode = mode
	case "h", "H":
		a.mode = modeNothing
	case "d", "l", "D":
		return usagef("-b%s: the daemon is restante serve", mode)
	default:
		return usagef("-b%s is not supported", mode)
	}
	return nil
}

// queue is -q: what of the queue to try now. With a length of time it is for
// daemons, and nothing for us.
func (a *sendmailArgs) queue(value string) error {
	sel := control.Selection{All: true}
	switch {
	case value == "":
	case '0' <= value[0] && value[0] <= '9':
		a.idle = true
		return nil
	case len(value) == 1:
		return usagef("-q%s needs a value", value)
	case value[0] == 'I':
		sel = control.Selection{IDs: []string{value[1:]}}
	case value[0] == 'R':
		sel.Filter.Recipient = value[1:]
	case value[0] == 'S':
		sel.Filter.Sender = value[1:]
	default:
		return usagef("-q%s is not supported", value)
	}
	a.mode, a.flush = modeFlush, sel
	return nil
}

func goodNotify(value string) bool {
	list := strings.Split(value, ",")
	for _, n := range list {
		switch strings.ToLower(n) {
		case "success", "failure", "delay":
		case "never":
			if len(list) > 1 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
