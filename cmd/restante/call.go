package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"restante/internal/config"
	"restante/internal/control"
)

// Where the service of systemd/ keeps its state, and answers.
const (
	systemState     = "/var/lib/restante"
	serviceSocket   = "/run/restante/control.sock"
	serviceMaildrop = "/var/spool/restante"
)

// call is one command being executed.
type call struct {
	streams
	state, config string
	json          bool
}

// flags declares what every command takes.
func (c *call) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.state, "state", "", "state directory `DIR`")
	fs.StringVar(&c.config, "config", "", "configuration `FILE`")
}

func (c *call) jsonFlag(fs *flag.FlagSet) {
	fs.BoolVar(&c.json, "json", false, "print JSON")
}

// configPath returns the file to read, "" if there is none.
func (c *call) configPath() string {
	if c.config != "" {
		return c.config
	}
	candidates := []string{"/etc/restante/config.toml"}
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append([]string{filepath.Join(dir, "restante", "config.toml")}, candidates...)
	}
	for _, path := range candidates {
		// One that is there but must not be looked at is not passed over:
		// the daemon would run with another configuration than it was given.
		if _, err := os.Stat(path); err == nil || errors.Is(err, fs.ErrPermission) {
			return path
		}
	}
	return ""
}

// load reads the configuration. What is wrong with it is the error.
func (c *call) load() (*config.Config, error) {
	path := c.configPath()
	if path == "" {
		return config.Default(), nil
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// place is where a daemon lives, as a command that is none itself sees it.
type place struct {
	cfg           *config.Config
	state, socket string
	maildrop      string
	// guessed: the configuration may not be read.
	guessed bool
}

// place finds the daemon. The configuration is only needed for the names of
// directories, so that one that was not asked for and cannot be read, or is
// wrong in other things, is no hindrance.
func (c *call) place() (place, error) {
	cfg, guessed := config.Default(), false
	if path := c.configPath(); path != "" {
		loaded, err := config.Load(path)
		switch {
		case loaded != nil:
			cfg = loaded
		case c.config != "" || !errors.Is(err, fs.ErrPermission):
			return place{}, err
		default:
			// Whoever may not read the service's configuration may still
			// hand it mail.
			cfg.ControlSocket = existing(serviceSocket)
			cfg.Maildrop = existing(serviceMaildrop)
			guessed = true
		}
	}
	state := c.state
	if state == "" {
		var err error
		if state, err = cfg.StatePath(); err != nil {
			state = systemState // nobody without a home has a daemon of their own
		}
		if cfg.StateDirectory == "" && os.Getenv("STATE_DIRECTORY") == "" {
			state = liveliest(state, systemState)
		}
	}
	state, err := filepath.Abs(state)
	if err != nil {
		return place{}, err
	}
	return place{cfg: cfg, state: state, socket: cfg.ControlPath(state), maildrop: cfg.MaildropPath(state), guessed: guessed}, nil
}

// existing returns path if something is there, else "".
func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// liveliest returns the first directory with a control socket, or the first
// that is there at all, or the first.
func liveliest(dirs ...string) string {
	for _, name := range []string{control.SocketName, "."} {
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return dir
			}
		}
	}
	return dirs[0]
}

// client returns a client of the daemon, which may not be running.
func (c *call) client() (*control.Client, error) {
	p, err := c.place()
	if err != nil {
		return nil, err
	}
	return control.NewClient(p.socket), nil
}

// withClient has a client of the daemon for as long as f takes.
func (c *call) withClient(f func(*control.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return f(client)
}

// interruptible is withClient for what may take long: Ctrl-C ends the context of
// f, and a second one the process.
func (c *call) interruptible(ctx context.Context, f func(context.Context, *control.Client) error) error {
	return c.withClient(func(client *control.Client) error {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		return f(ctx, client)
	})
}

// answer asks the daemon something, and prints what it says: as JSON if that is
// wanted, or as show does.
func answer[T any](c *call, ask func(*control.Client) (T, error), show func(T) error) error {
	return c.withClient(func(client *control.Client) error {
		v, err := ask(client)
		switch {
		case err != nil:
			return err
		case c.json:
			return c.printJSON(v)
		}
		return show(v)
	})
}

// printJSON prints a value for other programs.
func (c *call) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
