package imapd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"restante/internal/corpus"
	"restante/spool"
	"restante/spool/spooltest"
)

func (h *house) client(options *imapclient.Options) *imapclient.Client {
	h.t.Helper()
	c := imapclient.New(h.dial(), options)
	if err := c.Login("alice", "secret").Wait(); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// TestCorpus appends every message and fetches it back, with its structure and
// in pieces.
func TestCorpus(t *testing.T) {
	h := newHouse(t, nil)
	c := h.client(nil)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	messages := corpus.Messages()
	if len(messages) < 40 {
		t.Fatalf("only %d messages", len(messages))
	}
	for _, m := range messages {
		want := m.Bytes()
		if len(want) == 0 {
			continue // which APPEND refuses
		}
		cmd := c.Append("INBOX", int64(len(want)), nil)
		if _, err := cmd.Write(want); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		if err := cmd.Close(); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		data, err := cmd.Wait()
		if err != nil {
			t.Errorf("%s: append: %v", m.Name, err)
			continue
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		header := &imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierHeader}
		text := &imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierText}
		got, err := c.Fetch(imap.UIDSetNum(data.UID), &imap.FetchOptions{
			Envelope: true, RFC822Size: true,
			BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
			BodySection:   []*imap.FetchItemBodySection{whole, header, text},
		}).Collect()
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: fetch: %d messages, %v", m.Name, len(got), err)
		}
		if !bytes.Equal(got[0].FindBodySection(whole), want) {
			t.Errorf("%s: fetched message differs", m.Name)
		}
		if joined := append(bytes.Clone(got[0].FindBodySection(header)), got[0].FindBodySection(text)...); !bytes.Equal(joined, want) {
			t.Errorf("%s: header and text are not the message", m.Name)
		}
		if got[0].RFC822Size != int64(len(want)) {
			t.Errorf("%s: size %d, want %d", m.Name, got[0].RFC822Size, len(want))
		}
		if got[0].BodyStructure == nil || got[0].Envelope == nil {
			t.Errorf("%s: no structure", m.Name)
			continue
		}
		fetchParts(t, c, m.Name, data.UID, got[0].BodyStructure, want)
	}
}

// fetchParts fetches each part that the structure has: its octets must be
// somewhere in the message, and as many as the structure says.
func fetchParts(t *testing.T, c *imapclient.Client, name string, uid imap.UID, bs imap.BodyStructure, whole []byte) {
	t.Helper()
	options := &imap.FetchOptions{}
	sizes := make(map[*imap.FetchItemBodySection]uint32)
	bs.Walk(func(path []int, part imap.BodyStructure) bool {
		if single, ok := part.(*imap.BodyStructureSinglePart); ok {
			item := &imap.FetchItemBodySection{Peek: true, Part: append([]int(nil), path...)}
			options.BodySection = append(options.BodySection, item)
			sizes[item] = single.Size
		}
		return true
	})
	got, err := c.Fetch(imap.UIDSetNum(uid), options).Collect()
	if err != nil || len(got) != 1 {
		t.Fatalf("%s: parts: %d messages, %v", name, len(got), err)
	}
	for item, size := range sizes {
		b := got[0].FindBodySection(item)
		if uint32(len(b)) != size || !bytes.Contains(whole, b) {
			t.Errorf("%s: part %v has %d octets (%v), the structure says %d", name, item.Part, len(b), bytes.Contains(whole, b), size)
		}
	}
}

func TestPrefixIsInFrontOfTheMessage(t *testing.T) {
	h := newHouse(t, nil)
	c := h.client(nil)
	const prefix, body = "Return-Path: <bob@example.org>\r\n", "no header at all\r\n\r\ntext\r\n"
	h.deposit("alice", "INBOX", prefix, body, spool.Flags{}, true)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	items := map[*imap.FetchItemBodySection]string{
		{Peek: true}: prefix + body,
		{Peek: true, Specifier: imap.PartSpecifierHeader}:                              prefix,
		{Peek: true, Specifier: imap.PartSpecifierText}:                                body,
		{Peek: true, Part: []int{1}}:                                                   body,
		{Peek: true, Part: []int{1}, Specifier: imap.PartSpecifierMIME}:                prefix,
		{Peek: true, Partial: &imap.SectionPartial{Offset: 30, Size: 4}}:               "\r\nno",
		{Peek: true, Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"x"}}: "",
	}
	options := &imap.FetchOptions{}
	for item := range items {
		options.BodySection = append(options.BodySection, item)
	}
	got, err := c.Fetch(imap.SeqSetNum(1), options).Collect()
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	for item, want := range items {
		if b := got[0].FindBodySection(item); string(b) != want {
			t.Errorf("%+v: %q, want %q", item, b, want)
		}
	}
}

func TestSectionsOfOneFetchAreLimited(t *testing.T) {
	h := newHouse(t, nil)
	c := h.client(nil)
	h.deposit("alice", "INBOX", "", "\r\n", spool.Flags{}, true)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	options := &imap.FetchOptions{}
	for range maxSections + 1 {
		options.BodySection = append(options.BodySection, &imap.FetchItemBodySection{Peek: true})
	}
	_, err := c.Fetch(imap.SeqSetNum(1), options).Collect()
	var reply *imap.Error
	if !errors.As(err, &reply) || reply.Code != imap.ResponseCodeLimit {
		t.Errorf("got %v", err)
	}
}

func TestNewMailWakesIdle(t *testing.T) {
	for _, implicit := range []bool{true, false} {
		h := newHouse(t, func(o *Options) { o.ImplicitTLS = implicit })
		exists := make(chan uint32, 10)
		options := &imapclient.Options{
			TLSConfig: clientTLS(),
			UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
				if d.NumMessages != nil {
					exists <- *d.NumMessages
				}
			}},
		}
		var c *imapclient.Client
		if implicit {
			c = imapclient.New(h.dial(), options)
		} else {
			var err error
			if c, err = imapclient.NewStartTLS(h.dial(), options); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Login("alice", "secret").Wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		idle, err := c.Idle()
		if err != nil {
			t.Fatal(err)
		}
		for n := uint32(1); n <= 3; n++ {
			h.deposit("alice", "INBOX", "", "\r\n", spool.Flags{}, true)
			for got := uint32(0); got < n; {
				select {
				case got = <-exists:
				case <-time.After(time.Minute):
					t.Fatalf("no word of message %d", n)
				}
			}
		}
		if err := idle.Close(); err != nil {
			t.Error(err)
		}
		if err := idle.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestLimitsOfConnections(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ImplicitTLS, o.MaxPerAddress = false, 2 })
	greeting := func() string {
		line, _ := bufio.NewReader(h.dial()).ReadString('\n')
		return line
	}
	first := h.dial()
	bufio.NewReader(first).ReadString('\n')
	if g := greeting(); !strings.HasPrefix(g, "* OK") {
		t.Errorf("second connection: %q", g)
	}
	if g := greeting(); g != "* BYE Too many connections\r\n" {
		t.Errorf("third connection: %q", g)
	}
	first.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		if strings.HasPrefix(greeting(), "* OK") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place does not become free")
		}
	}
}

func TestLimitOfSessionsOfAnAccount(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ImplicitTLS, o.MaxPerAccount = true, 1 })
	login := func() (*imapclient.Client, error) {
		c := imapclient.New(h.dial(), &imapclient.Options{TLSConfig: clientTLS()})
		t.Cleanup(func() { c.Close() })
		return c, c.Login("alice", "secret").Wait()
	}
	first, err := login()
	if err != nil {
		t.Fatal(err)
	}
	var reply *imap.Error
	if _, err := login(); !errors.As(err, &reply) || reply.Code != imap.ResponseCodeLimit {
		t.Fatalf("second session: %v, want NO [LIMIT]", err)
	}
	if err := first.Logout().Wait(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := login(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a session that has ended still counts")
		}
	}
}

func TestGate(t *testing.T) {
	now := time.Unix(1e9, 0)
	g := newGate(Options{MaxConnections: 3, MaxPerAddress: 2, LoginDelay: time.Second, Now: func() time.Time { return now }})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	v6, v6b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for i, c := range []struct {
		addr netip.Addr
		want bool
	}{{v6, true}, {v6b, true}, {v6, false}, {a, true}, {b, false}} {
		if got := g.enter(c.addr); got != c.want {
			t.Errorf("entry %d: %v, want %v", i, got, c.want)
		}
	}
	g.leave(v6)
	if !g.enter(v6b) {
		t.Error("who leaves makes no room")
	}
	var delays []time.Duration
	for range 6 {
		delays = append(delays, g.failed(a)/time.Second)
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 16} {
		if delays[i] != want {
			t.Errorf("failure %d costs %d s, want %d", i+1, delays[i], want)
		}
	}
	if d := g.failed(b); d != time.Second {
		t.Errorf("another address pays %v", d)
	}
	now = now.Add(forget + time.Second)
	if d := g.failed(a); d != time.Second {
		t.Errorf("after %v it still costs %v", forget, d)
	}
}

func TestLoginThatCannotBeChecked(t *testing.T) {
	h := newHouse(t, nil)
	h.auth.fail = errors.New("directory at /secret/path is broken")
	err := imapclient.New(h.dial(), nil).Login("alice", "secret").Wait()
	var reply *imap.Error
	if !errors.As(err, &reply) || reply.Code != imap.ResponseCodeUnavailable || strings.Contains(reply.Text, "path") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(h.log.String(), "/secret/path") {
		t.Error("the reason was not logged")
	}
}

func TestPanicCostsItsSessionOnly(t *testing.T) {
	h := newHouse(t, nil)
	one, two := h.client(nil), h.client(nil)
	h.store.Hook(func(op spooltest.Op) error {
		if op == spooltest.OpArrange {
			panic("poison")
		}
		return nil
	})
	if err := one.Create("x", nil).Wait(); err == nil {
		t.Error("create succeeded")
	}
	h.store.Hook(nil)
	if err := one.Noop().Wait(); err == nil {
		t.Error("the session goes on")
	}
	if err := two.Noop().Wait(); err != nil {
		t.Errorf("another session: %v", err)
	}
	if err := h.client(nil).Noop().Wait(); err != nil {
		t.Errorf("a new session: %v", err)
	}
	if !strings.Contains(h.log.String(), "poison") {
		t.Error("the panic was not logged")
	}
}

// serveOnce starts a server that the test itself shuts down.
func serveOnce(t *testing.T, store *spooltest.Memory) (srv *Server, addr string, served chan error) {
	t.Helper()
	config, _ := certificate()
	srv = New(Options{Mailboxes: store, Bodies: store, Intake: store, Auth: &accounts{}, TLS: config})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served = make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	return srv, ln.Addr().String(), served
}

func TestShutdown(t *testing.T) {
	before := runtime.NumGoroutine()
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	srv, addr, served := serveOnce(t, store)
	login := func() *imapclient.Client {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: clientTLS()})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Login("alice", "secret").Wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	idle := login()
	if _, err := idle.Idle(); err != nil {
		t.Fatal(err)
	}
	busy := login()
	entered, release := make(chan struct{}), make(chan struct{})
	store.Hook(func(op spooltest.Op) error {
		if op == spooltest.OpArrange {
			close(entered)
			<-release
		}
		return nil
	})
	created := make(chan error, 1)
	go func() { created <- busy.Create("x", nil).Wait() }()
	<-entered
	greeted, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(greeted)
	lines.ReadString('\n')

	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	if line, err := lines.ReadString('\n'); line != "* BYE Server is shutting down\r\n" {
		t.Errorf("an idle connection gets %q, %v", line, err)
	}
	<-idle.Closed()
	select {
	case err := <-done:
		t.Errorf("shutdown did not wait for a command: %v", err)
	default:
	}
	close(release)
	if err := <-created; err != nil {
		t.Errorf("the command in progress failed: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the server still listens")
	}
	<-busy.Closed()
	greeted.Close()
	checkGoroutines(t, before)
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	srv, addr, served := serveOnce(t, spooltest.NewMemory(spooltest.MemoryOptions{}))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	lines.ReadString('\n')
	// A literal of which only the beginning comes.
	io.WriteString(conn, "a LOGIN {10}\r\n")
	lines.ReadString('\n')
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	checkGoroutines(t, before)
}

func checkGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
		}
		runtime.Gosched()
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	store := spooltest.NewMemory(spooltest.MemoryOptions{})
	srv := New(Options{Mailboxes: store, Bodies: store, Intake: store, Auth: &accounts{}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln) }()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := srv.Serve(context.Background(), ln); err != nil {
		t.Error(err)
	}
}

// TestManySessions has several clients change one mailbox at once; each holds
// what it is told against what it knows (the client library checks numbers).
func TestManySessions(t *testing.T) {
	h := newHouse(t, nil)
	for range 20 {
		h.deposit("alice", "INBOX", "", "Subject: x\r\n\r\nbody\r\n", spool.Flags{}, true)
	}
	const sessions = 4
	errs := make(chan error, sessions)
	for i := range sessions {
		c := h.client(nil)
		go func() { errs <- exercise(c, i) }()
	}
	for range sessions {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(h.log.String(), "panic") && !strings.Contains(h.log.String(), "level=ERROR") {
		return
	}
	t.Error("faults were logged")
}

func exercise(c *imapclient.Client, i int) error {
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		return err
	}
	for n := range 20 {
		var err error
		switch all := (imap.UIDSet{{Start: 1}}); (n + i) % 5 {
		case 0:
			cmd := c.Append("INBOX", 12, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDeleted}})
			io.WriteString(cmd, "Subject: x\r\n")
			cmd.Close()
			_, err = cmd.Wait()
		case 1:
			_, err = c.Fetch(all, &imap.FetchOptions{Flags: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{{}}}).Collect()
		case 2:
			err = c.Store(all, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close()
		case 3:
			err = c.Expunge().Close()
		case 4:
			_, err = c.UIDSearch(&imap.SearchCriteria{Text: []string{"subject"}}, nil).Wait()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestLargeRecords: of messages with very much in their headers not all is in memory
// at once, and none is left out.
func TestLargeRecords(t *testing.T) {
	h := newHouse(t, nil)
	const n = 60
	for range n {
		h.deposit("alice", "INBOX", "", "Subject: "+strings.Repeat("s", 60_000)+"\r\n\r\ntext\r\n", spool.Flags{}, true)
	}
	c := h.client(nil)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	all := imap.SeqSet{}
	all.AddRange(1, 0)
	got, err := c.Fetch(all, &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil || len(got) != n {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for i, m := range got {
		if m.SeqNum != uint32(i+1) || len(m.Envelope.Subject) != 60_000 {
			t.Errorf("message %d: number %d, a subject of %d octets", i+1, m.SeqNum, len(m.Envelope.Subject))
		}
	}
	found, err := c.Search(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "sss"}}}, nil).Wait()
	if err != nil || len(found.AllSeqNums()) != n {
		t.Errorf("%d messages are found, %v", len(found.AllSeqNums()), err)
	}
}
