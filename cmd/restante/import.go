package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"restante/internal/control"
	"restante/internal/migrate"
)

func importCommand() *command {
	cmd := &command{
		name: "import", args: "imaps://USER@HOST[:PORT] | imap://... | maildir PATH | mbox PATH --account ACCOUNT",
		short: "bring mail over from another server, a Maildir or mbox files",
		long: `Folders, flags and dates come along. Run it again to take what is missing: what was
taken is remembered in a journal, by default in the state directory. It needs a
running daemon, and root or the daemon's own user.

With imap:// STARTTLS is used, with imaps:// TLS from the start. The password is asked for
unless --password-file is given. A USER with an @ is written as it is, or with %40.
docs/import.md says what goes where.`,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var o importFlags
		o.flags(fs)
		return func(ctx context.Context, args []string) error {
			if o.account == "" {
				return usagef("--account is missing")
			}
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			names, err := o.names()
			if err != nil {
				return err
			}
			src, err := o.open(ctx, c, args)
			if err != nil {
				return err
			}
			defer src.Close()
			return o.run(ctx, c, src, names)
		}
	}
	return cmd
}

// importFlags are the flags of import.
type importFlags struct {
	account, passwordFile, ca, journal string
	insecure, plain, dry               bool
	moves, skip, only                  list
}

func (o *importFlags) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.account, "account", "", "`ACCOUNT` that the mail is for")
	fs.StringVar(&o.passwordFile, "password-file", "", "read the password from the first line of `FILE`; - is standard input")
	fs.StringVar(&o.ca, "ca", "", "trust the certificates of `FILE` (PEM) and no others")
	fs.BoolVar(&o.insecure, "insecure", false, "do not check the server's certificate")
	fs.BoolVar(&o.plain, "plaintext", false, "with imap://, send password and mail without TLS")
	fs.StringVar(&o.journal, "journal", "", "remember what was taken in `FILE`")
	fs.BoolVar(&o.dry, "dry-run", false, "say what would be brought over")
	fs.Var(&o.moves, "map", "`FOLDER=MAILBOX`: put a folder, and those below it, somewhere else; may be repeated")
	fs.Var(&o.skip, "skip", "leave `FOLDER` out, and those below it; may be repeated")
	fs.Var(&o.only, "only", "leave all out but `FOLDER` and those below it; may be repeated")
}

func (o *importFlags) names() (migrate.Names, error) {
	n := migrate.Names{Map: make(map[string]string), Skip: o.skip, Only: o.only}
	for _, m := range o.moves {
		from, to, ok := strings.Cut(m, "=")
		if !ok || from == "" || to == "" {
			return n, usagef("--map: FOLDER=MAILBOX is expected, not %q", m)
		}
		n.Map[from] = to
	}
	return n, nil
}

// open finds the source that the arguments mean.
func (o *importFlags) open(ctx context.Context, c *call, args []string) (migrate.Source, error) {
	switch {
	case len(args) == 2 && args[0] == "maildir":
		return migrate.OpenMaildir(args[1])
	case len(args) == 2 && args[0] == "mbox":
		return migrate.OpenMbox(args[1])
	case len(args) != 1:
		return nil, usagef("one source is expected")
	}
	opt, err := imapServer(args[0])
	if err != nil {
		return nil, err
	}
	opt.Plain = o.plain
	if opt.Plain && opt.Implicit {
		return nil, usagef("--plaintext goes with imap:// only")
	}
	if opt.TLS, err = o.tls(); err != nil {
		return nil, err
	}
	if opt.Password == "" {
		if opt.Password, err = o.password(c, opt.User+" at "+opt.Host); err != nil {
			return nil, err
		}
	}
	return migrate.DialIMAP(ctx, opt)
}

// imapServer reads imap://user@host:port. A password has no place in it: others
// see command lines.
func imapServer(s string) (opt migrate.IMAPOptions, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || scheme != "imap" && scheme != "imaps" || at < 1 {
		return opt, usagef("%q is not like imaps://user@host", s)
	}
	if opt.User, err = url.PathUnescape(rest[:at]); err != nil {
		return opt, usagef("%s: %v", s, err)
	}
	u, err := url.Parse(scheme + "://" + rest[at+1:])
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return opt, usagef("%q is not like imaps://user@host", s)
	}
	opt.Host, opt.Port, opt.Implicit = u.Hostname(), u.Port(), scheme == "imaps"
	switch {
	case opt.Port != "":
	case opt.Implicit:
		opt.Port = "993"
	default:
		opt.Port = "143"
	}
	return opt, nil
}

func (o *importFlags) tls() (*tls.Config, error) {
	cfg := &tls.Config{InsecureSkipVerify: o.insecure}
	if o.ca == "" {
		return cfg, nil
	}
	if o.insecure {
		return nil, usagef("--ca and --insecure exclude each other")
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in it", o.ca)
	}
	return cfg, nil
}

func (o *importFlags) password(c *call, who string) (string, error) {
	var in io.Reader
	switch o.passwordFile {
	case "":
		tty, ok := c.in.(*os.File)
		if !ok || !term.IsTerminal(int(tty.Fd())) {
			return "", usagef("there is no terminal to ask for the password: use --password-file")
		}
		return c.ask(tty, "Password of "+who+": ")
	case "-":
		in = c.in
	default:
		f, err := os.Open(o.passwordFile)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (o *importFlags) run(ctx context.Context, c *call, src migrate.Source, names migrate.Names) error {
	p, err := c.place()
	if err != nil {
		return err
	}
	client := control.NewClient(p.socket)
	defer client.Close()
	about := o.account + "\x00" + src.ID()
	path := o.journal
	if path == "" {
		sum := sha256.Sum256([]byte(about))
		path = filepath.Join(p.state, "imports", hex.EncodeToString(sum[:8])+".journal")
	}
	journal, err := migrate.OpenJournal(path, about, o.dry)
	if err != nil {
		return err
	}
	defer journal.Close()
	shown := newProgress(c.err, "import", 0)
	i := &migrate.Import{
		Source: src, Target: client, Account: o.account, Journal: journal, Names: names, DryRun: o.dry,
		Tell: c.teller(shown), Progress: shown.counts,
	}
	n, err := i.Run(ctx)
	shown.end()
	done := "brought over"
	if o.dry {
		done = "would be brought over"
	}
	return c.migrated(ctx, errors.Join(err, journal.Close()), n, done)
}

// teller prints lines of what becomes of folders and messages.
func (c *call) teller(p *progress) func(string) {
	return func(text string) {
		p.end()
		fmt.Fprintln(c.err, visible(text))
	}
}

func (p *progress) counts(n migrate.Counts) {
	p.tell(control.Progress{Done: n.Taken + n.Before, Failed: n.Failed})
}

// migrated says how a run of import or export ended.
func (c *call) migrated(ctx context.Context, err error, n migrate.Counts, done string) error {
	text := plural(n.Taken, "message") + " " + done
	if n.Octets > 0 {
		text = fmt.Sprintf("%s (%s) %s", plural(n.Taken, "message"), octets(n.Octets), done)
	}
	if n.Before > 0 {
		text += fmt.Sprintf(", %d had been before", n.Before)
	}
	if n.Failed > 0 {
		text += fmt.Sprintf(", %d passed over", n.Failed)
	}
	if _, werr := fmt.Fprintln(c.out, text); werr != nil {
		return errors.Join(err, werr)
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted. Run it again to go on")
	case err != nil:
		return fmt.Errorf("%w\nRun it again to go on", err)
	case n.Failed > 0:
		return errTold
	}
	return nil
}
