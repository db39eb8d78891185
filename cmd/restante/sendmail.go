package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/user"
	"time"

	"restante/internal/control"
	"restante/internal/mail"
	"restante/internal/maildrop"
)

// Exit codes of sysexits.h, by which callers of sendmail know what to do.
const (
	exUsage       = 64 // the command line
	exDataErr     = 65 // the message
	exNoUser      = 67 // a recipient
	exUnavailable = 69 // what was asked for is not to be had now
	exIOErr       = 74 // standard input
	exTempFail    = 75 // try again later
	exNoPerm      = 77
)

const sendmailHelp = `The message is read from standard input up to its end or, without -i, up to a
line with nothing but a dot. Exit code 0 means that it is safely on the disk: in
the spool or, while the daemon does not run, in the maildrop, from which the
daemon takes it. 75 means that it is not, and may be tried again.

  -t          take the recipients from To, Cc and Bcc as well
  -i, -oi     a line with only a dot does not end the message
  -f, -r A    the sender; <> for none. It is you at the first local domain if not given
  -F NAME     the name for a From field, if the message has none
  -N CONDS    report to the sender: never, or some of success,failure,delay
  -R WHAT     a report returns the message: full, or its header: hdrs
  -V ID       an envelope ID for reports
  -v          say what became of it
  -bs         speak SMTP on standard input and output
  -bp         show the queue, as mailq does
  -q          try what is in the queue now; -qIID, -qRRECIPIENT, -qSSENDER some of it

--state and --config are as for other commands. Other options of the classic
sendmail are accepted and mean nothing; see docs/sendmail.md. What follows the
first recipient is recipients.`

// submitPatience bounds the wait for the daemon; after it the maildrop has the
// message, and the daemon knows it if it took it all the same.
const submitPatience = 3 * time.Minute

// classicName gives the mode of the names under which the classic interface is
// called besides sendmail.
func classicName(program string) (mode string, ok bool) {
	switch program {
	case "sendmail":
		return "", true
	case "mailq":
		return modeList, true
	case "newaliases":
		return modeAliases, true
	}
	return "", false
}

// sendmail is the classic interface under its first name.
func sendmail(ctx context.Context, std streams, args []string) int {
	return classic(ctx, std, "", args)
}

// classic is the classic interface. It returns a code of sysexits.h.
func classic(ctx context.Context, std streams, mode string, args []string) int {
	fail := func(code int, format string, args ...any) int {
		fmt.Fprintf(std.err, "sendmail: %s\n", fmt.Sprintf(format, args...))
		return code
	}
	a, err := parseSendmail(args)
	if err != nil {
		return fail(exUsage, "%s", err)
	}
	a.streams = std
	if a.mode == "" {
		a.mode = mode
	}
	for _, w := range a.warnings {
		fmt.Fprintf(std.err, "sendmail: warning: %s\n", w)
	}
	switch {
	case a.help:
		cmd, _, _ := find(commands(), []string{"sendmail"})
		cmd.help(std.out)
		return exitOK
	case a.mode == modeAliases, a.mode == modeNothing:
		return exitOK // the aliases are in the configuration
	case a.mode == modeList:
		if code, err := a.listQueue(ctx); err != nil {
			return fail(code, "%s", err)
		}
		return exitOK
	case a.mode == modeFlush:
		if err := a.flushQueue(ctx); err != nil {
			return fail(listCode(err), "%s", err)
		}
		return exitOK
	}
	p, err := a.place()
	if err != nil {
		return fail(exTempFail, "%s", err)
	}
	if a.mode == modeSMTP {
		if err := a.dialogue(ctx, p); err != nil {
			return fail(exIOErr, "%s", err)
		}
		return exitOK
	}
	said, code, err := a.send(ctx, p)
	if err != nil {
		return fail(code, "%s", err)
	}
	if a.verbose {
		fmt.Fprintf(std.err, "sendmail: %s\n", said)
	}
	return exitOK
}

// send hands over the message on standard input. It says what became of it, or
// fails with a code of sysexits.h.
func (a *sendmailArgs) send(ctx context.Context, p place) (said string, code int, err error) {
	if len(a.Recipients) == 0 && !a.FromHeader {
		if a.idle {
			return "nothing to do", exitOK, nil
		}
		return "", exUsage, errors.New("no recipients; use -t to take them from the header")
	}
	// All is read before the daemon hears of it: a slow program in front of
	// the pipe must not keep it waiting, nor half a message be sent.
	in := a.in
	if !a.ignoreDots {
		in = &untilDot{r: bufio.NewReaderSize(in, 64<<10), start: true}
	}
	text, err := collect(in, p.maxSize())
	if errors.Is(err, errTooLong) {
		return "", exDataErr, err
	}
	if err != nil {
		return "", exIOErr, fmt.Errorf("read message: %w", err)
	}
	defer text.Close()
	return p.handOver(ctx, a.Submission, text)
}

// maxSize bounds a message, so far as we know the daemon's configuration.
func (p place) maxSize() int64 {
	if p.guessed {
		return math.MaxInt64 - 1
	}
	return int64(p.cfg.SMTP.MaxMessageSize)
}

// handOver gives a message to the daemon or, if that cannot take it now, to the
// maildrop. It says what became of it, or fails with a code of sysexits.h.
func (p place) handOver(ctx context.Context, sub control.Submission, text *collected) (said string, code int, err error) {
	me, err := user.Current()
	if err != nil {
		me = &user.User{}
	}
	if sub.From == "" && me.Username != "" {
		// The daemon may see us as nobody, from a user namespace of its own.
		if _, err := mail.ParseAddress(me.Username + "@localhost"); err == nil {
			sub.From = me.Username
		}
	}
	if sub.Name == "" {
		sub.Name = firstOf(os.Getenv("NAME"), me.Name)
	}
	var once [16]byte
	rand.Read(once[:])
	sub.Once = hex.EncodeToString(once[:])

	client := control.NewClient(p.socket)
	defer client.Close()
	wait, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	done, err := client.Submit(wait, sub, text.reader(), text.size)
	if err == nil {
		return "accepted as " + done.ID.String(), exitOK, nil
	}
	var refused *control.Error
	if code := submitCode(err); errors.As(err, &refused) && code != exTempFail {
		return "", code, err
	}
	name, dropErr := p.drop(sub, me.Username, text)
	if dropErr == nil {
		return "waits in the maildrop as " + name, exitOK, nil
	}
	if errors.As(dropErr, &refused) {
		return "", submitCode(dropErr), dropErr
	}
	if errors.Is(dropErr, fs.ErrNotExist) || errors.Is(dropErr, fs.ErrPermission) {
		return "", submitCode(err), fmt.Errorf("%w, and there is no maildrop for you at %s", err, p.maildrop)
	}
	return "", exTempFail, fmt.Errorf("%w, and %w", err, dropErr)
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// dropped is the envelope of a message in the maildrop.
type dropped struct {
	// User is who put it there, where the owner of the file does not tell.
	User       string             `json:"user,omitempty"`
	Submission control.Submission `json:"submission"`
}

// drop puts a message into the maildrop, unless the daemon would refuse it.
func (p place) drop(sub control.Submission, me string, text *collected) (name string, err error) {
	if !maildrop.Exists(p.maildrop) {
		return "", fs.ErrNotExist
	}
	limits := control.Options{
		Hostname: p.cfg.ServerName(), Origin: origin(p.cfg),
		MaxHeader: int(p.cfg.SMTP.MaxHeaderSize), MaxHops: p.cfg.SMTP.MaxHops, MaxRecipients: p.cfg.SMTP.MaxRecipients,
	}
	if err := control.Vet(limits, sub, text.reader()); err != nil {
		return "", err
	}
	envelope, err := json.Marshal(dropped{User: me, Submission: sub})
	if err != nil {
		return "", err
	}
	opt := maildrop.PutOptions{Dir: p.maildrop, MinFree: int64(p.cfg.Spool.MinFree), Size: text.size}
	return maildrop.Put(opt, envelope, text.reader())
}

// listQueue is -bp. Without a daemon only the maildrop can be told of.
func (a *sendmailArgs) listQueue(ctx context.Context) (code int, err error) {
	p, err := a.place()
	if err != nil {
		return exUnavailable, err
	}
	client := control.NewClient(p.socket)
	defer client.Close()
	err = a.queueTable(ctx, client, control.Listing{})
	if errors.Is(err, control.ErrNotRunning) {
		if n, countErr := maildrop.Count(p.maildrop); countErr == nil {
			err = fmt.Errorf("%w; %s in the maildrop", err, plural(n, "message"))
		}
	}
	return listCode(err), err
}

func (a *sendmailArgs) flushQueue(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	out, err := client.Do(ctx, control.VerbRetry, a.flush, nil)
	for _, f := range out.Failures {
		if err == nil && f.Code != control.CodeLeased {
			err = &control.Error{Code: f.Code, Message: f.ID + ": " + f.Message}
		}
	}
	return err
}

// listCode is submitCode for what is not about a message.
func listCode(err error) int {
	if code := submitCode(err); code != exTempFail {
		return code
	}
	return exUnavailable
}

// submitCode turns what the daemon says into what callers of sendmail expect.
// In doubt they shall try again.
func submitCode(err error) int {
	var e *control.Error
	if !errors.As(err, &e) {
		switch {
		case errors.Is(err, fs.ErrPermission):
			return exNoPerm
		case errors.Is(err, mail.ErrAddress):
			return exUsage
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
