package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"time"

	"restante/internal/accept"
	"restante/internal/directory"
	"restante/internal/header"
	"restante/internal/mail"
	"restante/internal/quota"
	"restante/spool"
)

// Queue is what the API needs of spool.Queue.
type Queue interface {
	Tasks(after spool.TaskID) iter.Seq2[spool.TaskInfo, error]
	TaskCounts(ctx context.Context) ([]spool.DestinationTasks, error)
	MessageTasks(id mail.ID) ([]spool.TaskInfo, error)
	Destinations() iter.Seq2[spool.DestinationInfo, error]
	Hold(id spool.TaskID, story ...spool.Event) error
	Release(id spool.TaskID, story ...spool.Event) error
	Retry(id spool.TaskID, story ...spool.Event) error
	Remove(id spool.TaskID, story ...spool.Event) (spool.TaskInfo, error)
	Reroute(id spool.TaskID, to spool.Destination, story ...spool.Event) error
	Unpin(id spool.TaskID, story ...spool.Event) error
	EndBackoff(d spool.Destination) error
}

// Bodies is what the API needs of spool.Bodies.
type Bodies interface {
	OpenBody(id mail.ID) (spool.Body, error)
	Stat(id mail.ID) (spool.Info, error)
}

// Acceptor takes handed-over mail in; *accept.Acceptor is one.
type Acceptor interface {
	// Check fails with mail.ErrNoSuchUser for a recipient that leads nowhere.
	Check(to mail.Address) error
	Begin(env mail.Envelope, rcpts []mail.Recipient) (*accept.Message, error)
	Submit(s accept.Submission) (*accept.Message, error)
	Readmit(s accept.Submission, tasks []spool.Task, head *header.Block) (*accept.Message, error)
}

// Accounts are the accounts that can log in; *directory.Directory is one.
type Accounts interface {
	List() []Account
	// Lookup returns the full name of the account a user name means.
	Lookup(user string) (string, error)
	Add(name, password string, addresses ...string) error
	AddApplication(name, password string, senders []string, app directory.Application) error
	// AddSecret makes a further password of an account, and returns it.
	AddSecret(user, name string, imap bool) (secret string, err error)
	RevokeSecret(user, name string) error
	SetPassword(name, password string) error
	Remove(name string) error
}

// Mailboxes is what the API needs of spool.Mailboxes.
type Mailboxes interface {
	ListMailboxes(account string) ([]spool.Mailbox, error)
	Mailbox(account, name string) (spool.Mailbox, error)
	CreateMailbox(account, name string, use spool.Use) (spool.Mailbox, error)
	Subscribe(account, name string, on bool) error
	Subscriptions(account string) ([]string, error)
	Entries(id spool.MailboxID, from, to spool.UID) iter.Seq2[spool.Entry, error]
	Entry(id spool.MailboxID, uid spool.UID) (spool.Entry, error)
	DeleteAccount(account string) error
}

// Options is what a Server works with. All fields are required but those that
// say otherwise.
type Options struct {
	Queue     Queue
	Bodies    Bodies
	Stories   Stories
	Mailboxes Mailboxes
	Accept    Acceptor
	Accounts  Accounts
	// Spool is what checks the storage; nil if nothing does.
	Spool Checker
	// Listeners tells what the daemon listens on at the moment.
	Listeners func() []Listener
	// Explain answers what would become of a message; nil if nothing does.
	Explain Explainer
	// Resend sends dead letters and archived mail again; nil if nothing does.
	Resend Resender
	// Backup may be nil; then there are none.
	Backup Backup
	// Intake takes mail that is put into mailboxes as it is; nil if there is no
	// access to mailboxes. Provision makes those of a new account; it may be nil.
	Intake    spool.Intake
	Provision func(account string) error

	Version  string
	StateDir string
	// Started is when the daemon was; zero is now.
	Started time.Time
	// Hostname is what Received fields call us; Origin is the domain of bare
	// local names.
	Hostname, Origin string
	// MaxSize bounds a message, in octets, MaxHeader its header; 0 are 50 MiB
	// and 256 KiB. MaxRecipients is for one message, MaxHops the number of
	// Received fields that makes a loop; 0 are 1000 and 100.
	MaxSize                int64
	MaxHeader              int
	MaxRecipients, MaxHops int
	// Maildrop tells of the maildrop; it may be nil, and return nil.
	Maildrop func() *MaildropStatus
	// Quotas tells of daily quotas; it may be nil.
	Quotas func() []QuotaStatus
	// Usage tells what an account keeps; it may be nil.
	Usage func(account string) (quota.Usage, error)
	// HasRoute tells whether there is a route of a name, for what is to be
	// rerouted; nil is for none.
	HasRoute func(name string) bool
	// Stats tells of the storage; it may be nil.
	Stats func() spool.Stats
	// Stall is how long a request may stand still; 0 is 30 seconds.
	Stall time.Duration

	// Logger may be nil. Now is the clock, nil for time.Now.
	Logger *slog.Logger
	Now    func() time.Time
}

// maxConnections bounds what waits at the socket; more wait in the kernel.
const maxConnections = 256

// maxJSON bounds a request that is not a message, in octets.
const maxJSON = 1 << 20

// Server answers at the control socket.
type Server struct {
	opt  Options
	http *http.Server
}

// New returns a Server; Serve starts it.
func New(opt Options) *Server {
	def := func(n, d int) int {
		if n == 0 {
			return d
		}
		return n
	}
	opt.MaxSize = int64(def(int(opt.MaxSize), 50<<20))
	opt.MaxHeader = def(opt.MaxHeader, 256<<10)
	opt.MaxRecipients = def(opt.MaxRecipients, 1000)
	opt.MaxHops = def(opt.MaxHops, 100)
	if opt.Stall == 0 {
		opt.Stall = 30 * time.Second
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Started.IsZero() {
		opt.Started = opt.Now()
	}
	s := &Server{opt: opt}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: opt.Stall,
		IdleTimeout:       opt.Stall,
		MaxHeaderBytes:    maxJSON,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(opt.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers at l until Shutdown, or until ctx ends, which breaks requests
// off. It closes l and returns nil after either.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { s.http.Close() })
	defer stop()
	err := s.http.Serve(limit(l, maxConnections))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("control socket: %w", err)
}

// Shutdown stops listening and waits for the requests in progress; when ctx
// ends first they are broken off.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}

// handler is a handler that leaves its error to be told by the server.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.open(func(http.ResponseWriter, *http.Request) error {
		return errorf(CodeNotFound, "no such resource")
	}))
	routes := []struct {
		path    string
		methods map[string]http.Handler
	}{
		{"/v1/explain", map[string]http.Handler{"POST": s.admin(s.postExplain)}},
		{"/v1/trace", map[string]http.Handler{"GET": s.admin(s.getTrace)}},
		{"/v1/status", map[string]http.Handler{"GET": s.open(s.getStatus)}},
		{"/v1/queue", map[string]http.Handler{"GET": s.admin(s.getQueue)}},
		{"/v1/queue/{verb}", map[string]http.Handler{"GET": s.admin(s.getCensus), "POST": s.admin(s.postQueue)}},
		{"/v1/messages", map[string]http.Handler{"POST": s.open(s.postMessage)}},
		{"/v1/messages/{id}", map[string]http.Handler{"GET": s.admin(s.getMessage)}},
		{"/v1/parcels", map[string]http.Handler{"POST": s.admin(s.postParcel)}},
		{"/v1/messages/{id}/content", map[string]http.Handler{"GET": s.admin(s.getContent)}},
		{"/v1/accounts", map[string]http.Handler{"GET": s.admin(s.getAccounts), "POST": s.admin(s.postAccount)}},
		{"/v1/accounts/{name}", map[string]http.Handler{"DELETE": s.admin(s.deleteAccount)}},
		{"/v1/deadletters", map[string]http.Handler{"GET": s.admin(s.getLetters)}},
		{"/v1/deadletters/{uid}", map[string]http.Handler{"GET": s.admin(s.getLetter), "DELETE": s.admin(s.deleteLetter)}},
		{"/v1/deadletters/{uid}/resend", map[string]http.Handler{"POST": s.admin(s.postLetter)}},
		{"/v1/replay", map[string]http.Handler{"POST": s.admin(s.postReplay)}},
		{"/v1/spool/check", map[string]http.Handler{"POST": s.admin(s.postCheck)}},
		{"/v1/spool/backup", map[string]http.Handler{"GET": s.admin(s.getBackup)}},
		{"/v1/accounts/{name}/secrets", map[string]http.Handler{"POST": s.admin(s.postSecret)}},
		{"/v1/accounts/{name}/secrets/{secret}", map[string]http.Handler{"DELETE": s.admin(s.deleteSecret)}},
		{"/v1/accounts/{name}/mailboxes", map[string]http.Handler{"GET": s.admin(s.getMailboxes), "POST": s.admin(s.postMailbox)}},
		{"/v1/accounts/{name}/mail", map[string]http.Handler{"GET": s.admin(s.getMail), "POST": s.admin(s.postMail)}},
		{"/v1/accounts/{name}/mail/{uid}", map[string]http.Handler{"GET": s.admin(s.getMailContent)}},
		{"/v1/accounts/{name}/password", map[string]http.Handler{"POST": s.admin(s.postPassword)}},
	}
	for _, route := range routes {
		for method, h := range route.methods {
			mux.Handle(method+" "+route.path, h)
		}
		mux.Handle(route.path, s.open(func(_ http.ResponseWriter, r *http.Request) error {
			return errorf(CodeMethod, "%s does not go with this resource", r.Method)
		}))
	}
	return mux
}

// open lets anybody in whom the socket's mode lets in.
func (s *Server) open(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.prolongWrite(w)
		err := h(w, r)
		if err == nil {
			return
		}
		e := toError(err)
		if e.Code == CodeInternal {
			s.opt.Logger.Error("control request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		s.prolongWrite(w)
		writeError(w, e)
	})
}

// admin lets only those in who may administer.
func (s *Server) admin(h handler) http.Handler {
	return s.open(func(w http.ResponseWriter, r *http.Request) error {
		if p := peerOf(r.Context()); !p.Admin {
			return errorf(CodeForbidden, "%s may only hand over mail: this needs root or the daemon's own user", p.Name)
		}
		return h(w, r)
	})
}

// prolongWrite gives the answer another while to make progress. A connection
// without deadlines (a test's recorder) needs none.
func (s *Server) prolongWrite(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opt.Stall))
}

// patient is a request's body that must not stand still for longer than Stall.
type patient struct {
	r     io.Reader
	rc    *http.ResponseController
	stall time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(p.stall))
	n, err := p.r.Read(b)
	if err != nil {
		// A deadline left standing would end the request's context later.
		_ = p.rc.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errorf(CodeBadRequest, "the request breaks off")
	}
	return n, err
}

// body is the request's body, bounded in size and patience.
func (s *Server) body(w http.ResponseWriter, r *http.Request, limit int64) io.Reader {
	return patient{http.MaxBytesReader(w, r.Body, limit), http.NewResponseController(w), s.opt.Stall}
}

// readJSON reads the request's body as one JSON value, strictly.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := io.ReadAll(s.body(w, r, maxJSON))
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if err := unmarshalStrict(b, v); err != nil {
		return errorf(CodeBadRequest, "request is not the JSON expected: %v", err)
	}
	return nil
}

// unmarshalStrict refuses unknown keys and anything after the value: a typo in
// a filter must not select everything.
func unmarshalStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the value")
	}
	return nil
}

// log is the record of an act, with who did it.
func (s *Server) log(r *http.Request, msg string, args ...any) {
	p := peerOf(r.Context())
	s.opt.Logger.Info(msg, append(args, "by", p.Name, "uid", p.UID)...)
}
