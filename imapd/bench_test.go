package imapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

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
		benchDeposit(b, store, i)
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
	r := bufio.NewReaderSize(conn, 64<<10)
	do := func(b *testing.B, command string) {
		if _, err := io.WriteString(conn, "t "+command+"\r\n"); err != nil {
			b.Fatal(err)
		}
		for {
			line, err := r.ReadSlice('\n')
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
				r.Discard(size)
			}
		}
	}
	do(b, "LOGIN alice secret")
	do(b, "SELECT INBOX")
	for _, command := range []string{
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
		"STORE 1:* +FLAGS.SILENT (\\Flagged)\r\nSTORE 1:* -FLAGS.SILENT (\\Flagged)",
	} {
		b.Run(strings.ReplaceAll(strings.ReplaceAll(command, "\r\n", ";"), " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				for c := range strings.SplitSeq(command, "\r\n") {
					do(b, c)
				}
			}
		})
	}
}

func benchDeposit(b *testing.B, store spool.Store, i int) {
	staged, err := store.Create()
	if err != nil {
		b.Fatal(err)
	}
	body := benchMessage(i)
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

func benchMessage(i int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <sender%d@example.net>\r\nReceived: from mail.example.net (mail.example.net [192.0.2.%d])\r\n\tby mx.example.org with ESMTPS id %d;\r\n\tMon, 30 Nov 2026 10:00:00 +0000\r\n",
		i%97, i%250, i)
	fmt.Fprintf(&b, "From: Sender Number %d <sender%d@example.net>\r\nTo: Alice Example <alice@example.org>, team@example.org\r\nCc: Bob <bob@example.org>\r\n", i%97, i%97)
	fmt.Fprintf(&b, "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= number %d about topic %d\r\nDate: Mon, 30 Nov 2026 %02d:%02d:00 +0000\r\nMessage-ID: <%d.load@example.net>\r\nMIME-Version: 1.0\r\n",
		i, i%13, i/60%24, i%60, i)
	text := strings.Repeat(fmt.Sprintf("This is line of text in message %d, of words that anybody might write.\r\n", i), 5+i%40)
	switch i % 5 {
	case 0:
		b.WriteString("Content-Type: multipart/alternative; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text +
			"--b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>" + text + "</p>\r\n--b1--\r\n")
	case 1:
		b.WriteString("Content-Type: multipart/mixed; boundary=\"b2\"\r\n\r\n--b2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text +
			"--b2\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\nContent-Disposition: attachment; filename=\"report.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			strings.Repeat("VGhpcyBpcyBub3QgcmVhbGx5IGEgUERGIGZpbGUsIGJ1dCBpdCBsb29rcyBsaWtlIG9uZS4=\r\n", 100) + "--b2--\r\n")
	default:
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\n\r\n" + text)
	}
	return b.Bytes()
}
