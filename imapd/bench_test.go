package imapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"restante/internal/e2e/bench"
	"restante/internal/structure"
	"restante/spool"
	"restante/spool/badger"
)

// BenchmarkCommands shows what commands cost on a mailbox of 10,000 messages, in
// an engine as it is in use.
//
//	go test ./imapd -run '^$' -bench Commands -benchtime 20x
func BenchmarkCommands(b *testing.B) {
	const messages = 10_000
	store, err := badger.Open(badger.Options{Dir: b.TempDir() + "/spool"})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for i := range messages {
		benchDeposit(b, store, bench.Letter(i))
	}
	config, _ := certificate()
	srv := New(Options{
		Mailboxes: store, Bodies: store, Intake: store,
		Auth: &accounts{}, TLS: config, ImplicitTLS: true,
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		<-served
	}()
	conn, err := tls.Dial("tcp", ln.Addr().String(), clientTLS())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	c := &benchClient{conn, bufio.NewReaderSize(conn, 64<<10)}
	c.do(b, "LOGIN alice secret")
	c.do(b, "SELECT INBOX")
	for _, commands := range []string{
		"SELECT INBOX",
		"STATUS INBOX (MESSAGES UIDNEXT UNSEEN)",
		"FETCH 1:* (FLAGS)",
		"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
		"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])",
		"FETCH 1:* (BODY.PEEK[])",
		`SEARCH SUBJECT "topic 7"`,
		`SEARCH FROM "sender42@"`,
		`SEARCH HEADER X-Priority 1`,
		"SEARCH SINCE 1-Jan-2020 UNSEEN",
		"SEARCH SENTSINCE 1-Jan-2030",
		`SEARCH BODY "not to be found anywhere"`,
		`STORE 77 FLAGS (\Answered);STORE 77 FLAGS ()`,
		`STORE 1:* +FLAGS.SILENT (\Flagged);STORE 1:* -FLAGS.SILENT (\Flagged)`,
	} {
		b.Run(strings.ReplaceAll(commands, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				for command := range strings.SplitSeq(commands, ";") {
					c.do(b, command)
				}
			}
		})
	}
}

func benchDeposit(b *testing.B, store spool.Store, body []byte) {
	staged, err := store.Create()
	if err != nil {
		b.Fatal(err)
	}
	staged.Write(body)
	p := structure.NewParser()
	p.Write(body)
	if _, err := staged.Commit(context.Background(), spool.Message{
		Structure: p.Finish().Encode(),
		Deposits:  []spool.Deposit{{Account: "alice"}},
	}); err != nil {
		b.Fatal(err)
	}
}

type benchClient struct {
	w io.Writer
	r *bufio.Reader
}

// do says a command and reads up to its reply, which must be OK.
func (c *benchClient) do(b *testing.B, command string) {
	if _, err := io.WriteString(c.w, "t "+command+"\r\n"); err != nil {
		b.Fatal(err)
	}
	for {
		line, err := c.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			b.Fatal(err)
		case bytes.HasPrefix(line, []byte("t OK")):
			return
		case bytes.HasPrefix(line, []byte("t ")):
			b.Fatalf("%s: %s", command, line)
		case !bytes.HasSuffix(line, []byte("}\r\n")):
			continue
		}
		open := bytes.LastIndexByte(line, '{')
		if size, err := strconv.Atoi(string(line[open+1 : len(line)-3])); open >= 0 && err == nil {
			c.r.Discard(size)
		}
	}
}
