package migrate

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"restante/spool"
)

// IMAPOptions say where an IMAP server is, and who asks.
type IMAPOptions struct {
	Host, Port     string
	User, Password string
	// Implicit has TLS from the start; otherwise STARTTLS is used, and a server
	// without it is refused unless Plain is set.
	Implicit, Plain bool
	// TLS checks the certificate; nil is by the system's authorities.
	TLS *tls.Config
	// Stall is how long the server may say nothing; 0 is 2 minutes.
	Stall time.Duration
}

// imapSource is an IMAP server.
type imapSource struct {
	opt IMAPOptions
	c   *imapclient.Client
	// stop ends the watch of the context.
	stop func() bool
	// broken: answers have not been read to their end.
	broken bool
}

// DialIMAP connects and logs in. When ctx ends the connection is closed.
func DialIMAP(ctx context.Context, opt IMAPOptions) (Source, error) {
	if opt.Stall == 0 {
		opt.Stall = 2 * time.Minute
	}
	s := &imapSource{opt: opt}
	if err := s.dial(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *imapSource) dial(ctx context.Context) error {
	opt := s.opt
	config := &tls.Config{}
	if opt.TLS != nil {
		config = opt.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = opt.Host
	}
	address := net.JoinHostPort(opt.Host, opt.Port)
	raw, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	conn := net.Conn(patient{raw, opt.Stall})
	s.stop = context.AfterFunc(ctx, func() { raw.Close() })
	fail := func(err error) error {
		s.stop()
		raw.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("%s: %w", address, err)
	}
	switch {
	case opt.Implicit:
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return fail(err)
		}
		s.c = imapclient.New(secure, nil)
	case opt.Plain:
		s.c = imapclient.New(conn, nil)
	default:
		if s.c, err = imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: config}); err != nil {
			return fail(fmt.Errorf("STARTTLS: %w", err))
		}
	}
	if err := s.c.WaitGreeting(); err != nil {
		return fail(err)
	}
	if err := s.c.Login(opt.User, opt.Password).Wait(); err != nil {
		return fail(fmt.Errorf("log in as %s: %w", opt.User, err))
	}
	return nil
}

// patient is a connection whose peer may be silent for a while, whatever
// deadlines the library sets: it counts the time in which nobody reads what has
// come, too.
type patient struct {
	net.Conn
	stall time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	_ = p.Conn.SetReadDeadline(time.Now().Add(p.stall))
	return p.Conn.Read(b)
}

func (p patient) SetReadDeadline(time.Time) error { return nil }

func (p patient) SetDeadline(t time.Time) error { return p.Conn.SetWriteDeadline(t) }

// ID has no port if it is one of the usual: behind both is the same mail.
func (s *imapSource) ID() string {
	port := s.opt.Port
	if port == "143" || port == "993" {
		port = ""
	}
	return "imap " + s.opt.User + " " + strings.ToLower(s.opt.Host) + " " + port
}

// Close logs out, if there is somebody to listen; whether that is answered does
// not matter.
func (s *imapSource) Close() error {
	if !s.broken {
		_ = s.c.Logout().Wait()
	}
	s.stop()
	_ = s.c.Close()
	return nil
}

// Folders lists what is the user's own.
func (s *imapSource) Folders(context.Context) ([]Folder, error) {
	caps := s.c.Caps()
	var spaces imap.NamespaceData
	if caps.Has(imap.CapNamespace) {
		data, err := s.c.Namespace().Wait()
		if err != nil {
			return nil, fmt.Errorf("NAMESPACE: %w", err)
		}
		spaces = *data
	}
	var opt *imap.ListOptions
	if caps.Has(imap.CapListExtended) {
		opt = &imap.ListOptions{ReturnSubscribed: true, ReturnSpecialUse: caps.Has(imap.CapSpecialUse)}
	}
	rows, err := s.c.List("", "*", opt).Collect()
	if err != nil {
		return nil, fmt.Errorf("LIST: %w", err)
	}
	subscribed := make(map[string]bool)
	if opt == nil {
		list, err := s.c.List("", "*", &imap.ListOptions{SelectSubscribed: true}).Collect()
		if err != nil {
			return nil, fmt.Errorf("LSUB: %w", err)
		}
		for _, row := range list {
			subscribed[row.Mailbox] = true
		}
	}
	var folders []Folder
	for _, row := range rows {
		if f, ok := folderOf(row, spaces); ok {
			f.Subscribed = f.Subscribed || subscribed[row.Mailbox]
			folders = append(folders, f)
		}
	}
	guessUses(folders)
	sortFolders(folders)
	return folders, nil
}

// folderOf reads a line of LIST; levels that are no mailbox are none.
func folderOf(row *imap.ListData, spaces imap.NamespaceData) (f Folder, ok bool) {
	f.place = row.Mailbox
	name := row.Mailbox
	for _, space := range spaces.Personal {
		// Courier and Cyrus have everything below INBOX.
		if rest, ok := strings.CutPrefix(name, space.Prefix); ok && space.Prefix != "" && rest != "" {
			name = rest
			break
		}
	}
	if row.Delim != 0 && row.Delim != '/' {
		name = strings.ReplaceAll(name, "/", "_")
		name = strings.ReplaceAll(name, string(row.Delim), spool.Separator)
	}
	f.Name = spool.CanonicalName(name)
	for _, space := range append(spaces.Other[:len(spaces.Other):len(spaces.Other)], spaces.Shared...) {
		if space.Prefix != "" && strings.HasPrefix(row.Mailbox, space.Prefix) {
			f.LeftOut = "it is not the user's own"
		}
	}
	for _, attr := range row.Attrs {
		switch {
		case is(attr, imap.MailboxAttrNoSelect), is(attr, imap.MailboxAttrNonExistent):
			return f, false
		case is(attr, imap.MailboxAttrSubscribed):
			f.Subscribed = true
		case is(attr, imap.MailboxAttrAll), is(attr, imap.MailboxAttrFlagged), is(attr, imap.MailboxAttrImportant):
			f.LeftOut = "it shows what lies in other folders (" + string(attr) + ")"
		case is(attr, imap.MailboxAttrSent):
			f.Use = spool.UseSent
		case is(attr, imap.MailboxAttrDrafts):
			f.Use = spool.UseDrafts
		case is(attr, imap.MailboxAttrTrash):
			f.Use = spool.UseTrash
		case is(attr, imap.MailboxAttrJunk):
			f.Use = spool.UseJunk
		case is(attr, imap.MailboxAttrArchive):
			f.Use = spool.UseArchive
		}
	}
	return f, true
}

func is(a, b imap.MailboxAttr) bool { return strings.EqualFold(string(a), string(b)) }
