package milter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"restante/internal/screen"
)

// Senders is a set of kinds of client, by how they came.
type Senders uint8

// The kinds. A client that has logged in is Authenticated, from wherever.
const (
	// Outside are those who are neither of the others.
	Outside Senders = 1 << iota
	// Trusted come from a trusted network.
	Trusted
	// Authenticated have logged in.
	Authenticated
)

// has tells whether a message came from one of the set.
func (s Senders) has(m *screen.Message) bool {
	switch {
	case m.Envelope.Client.Account != "":
		return s&Authenticated != 0
	case m.Trusted:
		return s&Trusted != 0
	}
	return s&Outside != 0
}

// Failure is what becomes of a message when the filter fails.
type Failure uint8

const (
	// Tempfail refuses it for now (451).
	Tempfail Failure = iota
	// Accept lets it go on as if the filter were not there.
	Accept
)

// Options is what a Client works with. Network, Address and Dir are required.
type Options struct {
	// Name is what logs call the filter.
	Name string
	// Network is "tcp" or "unix", Address "host:port" or a path.
	Network, Address string
	// Hostname is our name, for the macros j and {daemon_name}.
	Hostname string
	// Timeout is the longest wait for a connection and for the answer to each
	// step; 1 minute if 0. A filter that reports progress has it anew for each
	// report. All waiting for one message is at most ten times as long.
	Timeout time.Duration
	// OnFailure is what becomes of a message when the filter fails.
	OnFailure Failure
	// For restricts the filter to some clients; 0 is all.
	For Senders
	// Dir is where a body in the place of the old one is kept, in a file
	// without a name, unless it is small.
	Dir string
	// MaxBody is the largest such body, in octets; 50 MiB if 0.
	MaxBody int64
	// Logger gets a warning for each failure; nil is none.
	Logger *slog.Logger
}

// Client is one filter. It is safe for concurrent use.
type Client struct {
	opt Options
	log *slog.Logger
}

var _ screen.Screen = (*Client)(nil)

// New returns a Client. It does not connect.
func New(opt Options) *Client {
	if opt.Timeout <= 0 {
		opt.Timeout = time.Minute
	}
	if opt.For == 0 {
		opt.For = Outside | Trusted | Authenticated
	}
	if opt.MaxBody <= 0 {
		opt.MaxBody = 50 << 20
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{opt: opt, log: opt.Logger.With("milter", opt.Name)}
}

// Begin connects to the filter and tells it all about the message but the body.
// It has nothing to do with messages of clients it is not for. When the filter
// fails the error is returned, or logged, as Options.OnFailure wants it.
func (c *Client) Begin(ctx context.Context, m *screen.Message) (screen.Judge, error) {
	if !c.opt.For.has(m) {
		return nil, nil
	}
	j := &judge{client: c, id: m.ID.String()}
	if j.err = j.begin(ctx, m); j.err != nil {
		j.Close()
		return nil, j.failed(ctx, j.err)
	}
	return j, nil
}

// dial connects and negotiates. It gives up the connection if that fails.
func (c *Client) dial(ctx context.Context) (*session, error) {
	dialer := net.Dialer{Timeout: c.opt.Timeout}
	conn, err := dialer.DialContext(ctx, c.opt.Network, c.opt.Address)
	if err != nil {
		return nil, err // it names the address
	}
	s := &session{wire: newWire(conn), timeout: c.opt.Timeout}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := s.negotiate(); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// failed decides what a failure comes to: an error, or nil. Where the caller
// has given up, or where it was not the filter that failed, it is an error.
func (j *judge) failed(ctx context.Context, err error) error {
	c := j.client
	err = fmt.Errorf("milter %s: %w", c.opt.Name, err)
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, errStore), c.opt.OnFailure == Tempfail:
		c.log.Warn("milter failed, the message is refused for now", "id", j.id, "error", err)
		return err
	}
	c.log.Warn("milter failed, the message goes on without it", "id", j.id, "error", err)
	return nil
}
