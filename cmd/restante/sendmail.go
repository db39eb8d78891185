package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"restante/internal/control"
)

// Exit codes of sysexits.h, by which callers of sendmail know what to do.
const (
	exUsage    = 64 // the command line
	exDataErr  = 65 // the message
	exNoUser   = 67 // a recipient
	exIOErr    = 74 // standard input
	exTempFail = 75 // try again later
	exNoPerm   = 77
)

const sendmailHelp = `The message is read from standard input up to its end or, without -i, up to a
line with nothing but a dot. Exit code 0 means that it is durably in the spool;
75 that it is not, and may be tried again.

  -t          take the recipients from To, Cc and Bcc as well, and remove Bcc
  -i, -oi     a line with only a dot does not end the message
  -f, -r A    the sender; <> for none. It is you at the first local domain if not given
  -F NAME     the name for a From field, if the message has none
  -N CONDS    report to the sender: never, or some of success,failure,delay
  -R WHAT     a report returns the message: full, or its header: hdrs
  -V ID       an envelope ID for reports
  -bp         show the queue

--state and --config are as for other commands. Other options of the classic
sendmail are accepted and mean nothing.`

// sendmailArgs is a command line of the classic interface.
type sendmailArgs struct {
	control.Submission
	call
	ignoreDots bool
	mode       string // of -b
	help       bool
}

const (
	// sendmailValued are options with a value, attached or as the next
	// argument; sendmailAttached may have one attached to them only.
	sendmailValued   = "ABCDFLNORVXbefhopr"
	sendmailAttached = "qd"
	sendmailPlain    = "GIUacimnstvx"
)

func parseSendmail(args []string) (*sendmailArgs, error) {
	a := &sendmailArgs{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			a.addRecipients(args)
			return a, nil
		case strings.HasPrefix(arg, "--"):
			rest, err := a.long(arg, args)
			if err != nil {
				return nil, err
			}
			args = rest
		case len(arg) > 1 && arg[0] == '-':
			rest, err := a.cluster(arg[1:], args)
			if err != nil {
				return nil, err
			}
			args = rest
		default:
			a.addRecipients([]string{arg})
		}
	}
	return a, nil
}

// addRecipients takes arguments, each of which may be a list with commas.
func (a *sendmailArgs) addRecipients(args []string) {
	for _, arg := range args {
		a.Recipients = append(a.Recipients, control.Addresses(arg)...)
	}
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
	case 'I':
		a.mode = "i"
	}
}

func (a *sendmailArgs) valued(c byte, value string) error {
	switch c {
	case 'f', 'r':
		a.From = value
		if value == "" {
			a.From = "<>"
		}
	case 'F':
		a.Name = value
	case 'N':
		a.Notify = strings.Split(value, ",")
	case 'R':
		a.Ret = value
	case 'V':
		a.EnvID = value
	case 'o':
		a.ignoreDots = a.ignoreDots || value == "i"
	case 'b':
		switch value {
		case "m", "i", "p":
			a.mode = value
		default:
			return usagef("-b%s is not supported", value)
		}
	}
	return nil
}

// sendmail is the classic interface. It returns a code of sysexits.h.
func sendmail(ctx context.Context, std streams, args []string) int {
	fail := func(code int, format string, args ...any) int {
		fmt.Fprintf(std.err, "sendmail: %s\n", fmt.Sprintf(format, args...))
		return code
	}
	a, err := parseSendmail(args)
	if err != nil {
		return fail(exUsage, "%s", err)
	}
	a.streams = std
	switch {
	case a.help:
		cmd, _, _ := find(commands(), []string{"sendmail"})
		cmd.help(std.out)
		return exitOK
	case a.mode == "i":
		return exitOK // the aliases are in the configuration
	case a.mode == "p":
		if err := a.listQueue(ctx); err != nil {
			return fail(submitCode(err), "%s", err)
		}
		return exitOK
	case len(a.Recipients) == 0 && !a.FromHeader:
		return fail(exUsage, "no recipients; use -t to take them from the header")
	}
	client, err := a.client()
	if err != nil {
		return fail(exTempFail, "%s", err)
	}
	defer client.Close()
	// All is read before the daemon hears of it: a slow program in front of
	// the pipe must not keep it waiting, nor half a message be sent.
	text, err := collect(std.in, a.ignoreDots)
	if err != nil {
		return fail(exIOErr, "read message: %s", err)
	}
	defer text.Close()
	if _, err := client.Submit(ctx, a.Submission, text, text.size); err != nil {
		return fail(submitCode(err), "%s", err)
	}
	return exitOK
}

func (a *sendmailArgs) listQueue(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return a.queueTable(ctx, client, control.Filter{})
}

// submitCode turns what the daemon says into what callers of sendmail expect.
// In doubt they shall try again.
func submitCode(err error) int {
	var e *control.Error
	if !errors.As(err, &e) {
		if errors.Is(err, fs.ErrPermission) {
			return exNoPerm
		}
		return exTempFail
	}
	switch e.Code {
	case control.CodeBadRequest:
		return exUsage
	case control.CodeTooLarge, control.CodeUnprocessable:
		return exDataErr
	case control.CodeNoSuchUser:
		return exNoUser
	case control.CodeForbidden:
		return exNoPerm
	}
	return exTempFail
}

// inMemory is how much of a message is kept in memory before it goes to a file.
const inMemory = 1 << 20

// collected is a whole message: what is in memory, then what is in a file.
type collected struct {
	io.Reader
	size int64
	file *os.File // nil if memory was enough
}

// Close gives up the file, which has no name any more.
func (c *collected) Close() {
	if c.file != nil {
		c.file.Close()
	}
}

// collect reads a message to its end.
func collect(r io.Reader, ignoreDots bool) (*collected, error) {
	if !ignoreDots {
		r = &untilDot{r: bufio.NewReaderSize(r, 64<<10), start: true}
	}
	var front bytes.Buffer
	n, err := io.CopyN(&front, r, inMemory)
	if err == io.EOF {
		return &collected{Reader: &front, size: n}, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "restante-sendmail")
	if err != nil {
		return nil, err
	}
	c := &collected{Reader: io.MultiReader(&front, f), file: f}
	err = os.Remove(f.Name())
	if err == nil {
		c.size, err = io.Copy(f, r)
		c.size += n
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// untilDot ends at a line that is nothing but a dot.
type untilDot struct {
	r     *bufio.Reader
	start bool   // at the start of a line
	held  []byte // read, not yet given out
	err   error
}

func (u *untilDot) Read(p []byte) (int, error) {
	if len(u.held) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		u.next()
	}
	n := copy(p, u.held)
	u.held = u.held[n:]
	if n == 0 && u.err != nil {
		return 0, u.err
	}
	return n, nil
}

// next reads a line, or as much of one as the buffer holds. What it holds is
// valid until the next call, when all of it has been given out.
func (u *untilDot) next() {
	line, err := u.r.ReadSlice('\n')
	if u.start && (string(line) == ".\n" || string(line) == ".\r\n" || string(line) == "." && err == io.EOF) {
		u.held, u.err = nil, io.EOF
		return
	}
	u.held, u.start = line, err == nil
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		u.err = err
	}
}
