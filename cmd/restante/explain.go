package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"

	"restante/internal/accept"
	"restante/internal/control"
	"restante/internal/directory"
	"restante/internal/dkim"
	"restante/relay"
)

const explainHelp = `It shows which rules apply, and what becomes of the message: who the client is to
the listener, what it is answered, where addresses lead, how sender and header
change, who signs, which mailboxes get it, which routes it takes, how they are
protected and how long is tried. Nothing is sent and nothing is stored.

Without --client the message comes from an address that nobody trusts; without
--listener it comes to the smtp role, or to submission with --user. The daemon
answers with the configuration it has; if none runs, or with --offline, the
configuration file and the accounts of the state directory do. Rates, limits
and what a filter would say of a message's text are not told.`

func explainCommand() *command {
	cmd := &command{
		name: "explain", args: "--from ADDRESS --to ADDRESS [--to ADDRESS...] [--author ADDRESS] [--header FIELD...] [--client IP] [--user USER] [--tls] [--listener ROLE] [--offline] [--json]",
		short: "tell what would become of a message, and by which rules", long: explainHelp,
	}
	cmd.setup = func(c *call, fs *flag.FlagSet) action {
		var q control.Question
		from := ""
		fs.StringVar(&from, "from", "", "`SENDER` of the envelope; <> is the null sender")
		fs.Func("to", "`RECIPIENT`; can be given several times", func(s string) error {
			q.To = append(q.To, s)
			return nil
		})
		fs.StringVar(&q.Author, "author", "", "`ADDRESS` in the From field, if it is not the sender's")
		fs.StringVar(&q.Client, "client", "", "`IP` address of the client")
		fs.StringVar(&q.User, "user", "", "`NAME` that the client has logged in with")
		fs.Func("header", "`FIELD` of the header, \"Name: value\"; can be given several times", func(s string) error {
			q.Headers = append(q.Headers, s)
			return nil
		})
		fs.BoolVar(&q.TLS, "tls", false, "the connection is encrypted")
		fs.StringVar(&q.Listener, "listener", "", "`ROLE` of the listener: smtp, submission, submissions or lmtp")
		offline := fs.Bool("offline", false, "do not ask the daemon")
		c.jsonFlag(fs)
		return func(ctx context.Context, args []string) error {
			switch {
			case len(args) > 0:
				return usagef("no arguments are expected")
			case from == "":
				return usagef("--from is missing; the null sender is --from '<>'")
			case len(q.To) == 0:
				return usagef("--to is missing")
			}
			q.From = from
			e, err := c.explanation(ctx, q, *offline)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(e)
			}
			return c.showExplanation(e)
		}
	}
	return cmd
}

// explanation asks the daemon, or who would be one.
func (c *call) explanation(ctx context.Context, q control.Question, offline bool) (control.Explanation, error) {
	if !offline {
		client, err := c.client()
		if err != nil {
			return control.Explanation{}, err
		}
		defer client.Close()
		e, err := client.Explain(ctx, q)
		if !errors.Is(err, control.ErrNotRunning) {
			return e, err
		}
	}
	x, err := c.offlineExplainer()
	if err != nil {
		return control.Explanation{}, err
	}
	return x.explain(ctx, q)
}

// offlineExplainer makes an explainer of the configuration file and the
// accounts of the state directory, and changes nothing in either.
func (c *call) offlineExplainer() (*explainer, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	p, err := c.place()
	if err != nil {
		return nil, err
	}
	opt, err := directoryOptions(cfg, p.state, nil)
	if err != nil {
		return nil, err
	}
	accounts, err := directory.Open(opt)
	if err != nil {
		return nil, err
	}
	routes, err := relay.NewRoutes(relayRoutes(cfg))
	if err != nil {
		return nil, err
	}
	sender, err := newRewriting(cfg, func() ([]byte, error) {
		s, err := readSRSSecret(p.state)
		if errors.Is(err, fs.ErrNotExist) {
			// Before the first start any will do: none was given away.
			return []byte(rand.Text()), nil
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	keys, err := dkimKeys(cfg, p.state)
	if err != nil {
		return nil, err
	}
	return &explainer{cfg: cfg, accounts: accounts, routes: routes, acceptor: accept.New(accept.Options{
		Directory: accounts, Route: routes.Destination, Hostname: cfg.ServerName(),
		Times:      queueTimes(cfg.Queue, routes),
		Masquerade: sender.masquerade, SRS: sender.srs,
		Signers: []accept.Signer{dkim.NewSigner(dkim.SignerOptions{Keys: keys})},
	})}, nil
}

// showExplanation prints the facts, those about the same thing together.
func (c *call) showExplanation(e control.Explanation) error {
	tw := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, f := range e.Facts {
		text := f.Text
		if f.About != "" && !strings.Contains(text, f.About) {
			text = f.About + ": " + text
		}
		mark := ""
		if f.Refused {
			mark = "!"
		}
		fmt.Fprintf(tw, "%s%s\t%s\n", f.Kind, mark, visible(text))
	}
	if !e.Accepted {
		fmt.Fprintln(tw, "result!\tnobody gets the message")
	}
	return tw.Flush()
}
