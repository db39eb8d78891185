package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"restante/internal/control"
	"restante/internal/mail"
)

// maxCommand bounds a command line of -bs, in octets, maxNonsense how many
// commands in a row may make no sense.
const (
	maxCommand  = 4096
	maxNonsense = 100
)

// dialogue is SMTP with the program that called us, on standard input and
// output (-bs): one client, whom we need not fear more than it fears itself.
// What it sends goes the same way as all that is handed over.
type dialogue struct {
	place
	in  *bufio.Reader
	out *bufio.Writer
	control.Submission
	mailed bool // there is a sender
	// wrong counts the refused commands since the last that was not.
	wrong int
}

// dialogue serves until QUIT or the end of the input. An error is of the pipes.
func (a *sendmailArgs) dialogue(ctx context.Context, p place) error {
	d := &dialogue{place: p, in: bufio.NewReaderSize(a.in, 64<<10), out: bufio.NewWriter(a.out)}
	d.reply("220 %s ESMTP restante, for programs on this machine", p.cfg.ServerName())
	for d.wrong < maxNonsense {
		if d.in.Buffered() == 0 {
			if err := d.out.Flush(); err != nil {
				return err
			}
		}
		line, err := d.line()
		if errors.Is(err, io.EOF) {
			return d.out.Flush()
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			d.reply("500 5.5.6 line too long")
			continue
		}
		if err != nil {
			return err
		}
		if quit, err := d.command(ctx, line); quit || err != nil {
			return errors.Join(err, d.out.Flush())
		}
	}
	d.reply("421 4.7.0 %s too many errors", d.cfg.ServerName())
	return d.out.Flush()
}

// reply writes a reply; Flush tells if that failed.
func (d *dialogue) reply(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text[0] == '5' {
		d.wrong++
	} else {
		d.wrong = 0
	}
	fmt.Fprintf(d.out, "%s\r\n", visible(text))
}

// line reads a command, without its end, CRLF or LF.
func (d *dialogue) line() (string, error) {
	b, err := d.in.ReadSlice('\n')
	long := len(b) > maxCommand
	text := strings.TrimSuffix(strings.TrimSuffix(string(b[:min(len(b), maxCommand)]), "\n"), "\r")
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = d.in.ReadSlice('\n')
	}
	if err == nil && long {
		err = bufio.ErrBufferFull
	}
	if errors.Is(err, io.EOF) && text != "" && !long {
		err = nil // a last command without an end
	}
	return text, err
}

func (d *dialogue) command(ctx context.Context, line string) (quit bool, err error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "HELO":
		d.reset()
		d.reply("250 %s", d.cfg.ServerName())
	case "EHLO":
		d.reset()
		d.reply("250-%s", d.cfg.ServerName())
		d.reply("250-PIPELINING")
		if !d.guessed {
			d.reply("250-SIZE %d", d.maxSize())
		}
		d.reply("250-8BITMIME")
		d.reply("250-SMTPUTF8")
		d.reply("250 ENHANCEDSTATUSCODES")
	case "MAIL":
		d.mail(rest)
	case "RCPT":
		d.rcpt(rest)
	case "DATA":
		return false, d.data(ctx)
	case "RSET":
		d.reset()
		d.reply("250 2.0.0 forgotten")
	case "NOOP":
		d.reply("250 2.0.0 nothing done")
	case "VRFY":
		d.reply("252 2.5.0 send some mail, and see")
	case "HELP":
		d.reply("214 2.0.0 see docs/sendmail.md")
	case "QUIT":
		d.reply("221 2.0.0 %s out", d.cfg.ServerName())
		return true, nil
	case "AUTH", "STARTTLS", "BDAT", "ETRN", "EXPN":
		d.reply("502 5.5.1 %s is not for programs on this machine", strings.ToUpper(verb))
	default:
		d.reply("500 5.5.2 unknown command")
	}
	return false, nil
}

func (d *dialogue) reset() { d.Submission, d.mailed = control.Submission{}, false }

// path reads "FROM:<address> parameters" or "TO:<…>".
func path(text, keyword string) (address, params string, ok bool) {
	if len(text) < len(keyword) || !strings.EqualFold(text[:len(keyword)], keyword) {
		return "", "", false
	}
	text = strings.TrimLeft(text[len(keyword):], " ")
	if !strings.HasPrefix(text, "<") {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return text[1:i], strings.TrimSpace(text[i+1:]), true
		}
	}
	return "", "", false
}

func (d *dialogue) mail(rest string) {
	address, params, ok := path(rest, "FROM:")
	switch {
	case d.mailed:
		d.reply("503 5.5.1 there is a sender already")
		return
	case !ok:
		d.reply("501 5.5.4 MAIL FROM:<address> is expected")
		return
	case address != "" && !d.knows(address):
		d.reply("553 5.1.7 malformed address")
		return
	}
	for _, p := range strings.Fields(params) {
		key, value, _ := strings.Cut(strings.ToUpper(p), "=")
		size, err := strconv.ParseInt(value, 10, 64)
		switch {
		case key == "SIZE" && err == nil && size > d.maxSize():
			d.reply("552 5.3.4 message too large")
			return
		case key == "SIZE" && err == nil, key == "SMTPUTF8" && value == "", key == "BODY" && (value == "7BIT" || value == "8BITMIME"):
		default:
			d.reply("555 5.5.4 parameter %s is not supported", key)
			return
		}
	}
	d.mailed, d.From = true, "<"+address+">"
	d.reply("250 2.1.0 sender is known")
}

// knows tells whether an address is one, maybe a local user's bare name.
func (d *dialogue) knows(address string) bool {
	if !strings.Contains(address, "@") {
		address += "@localhost"
	}
	_, err := mail.ParseAddress(address)
	return err == nil
}

func (d *dialogue) rcpt(rest string) {
	address, params, ok := path(rest, "TO:")
	switch {
	case !d.mailed:
		d.reply("503 5.5.1 MAIL comes first")
	case !ok || address == "":
		d.reply("501 5.5.4 RCPT TO:<address> is expected")
	case !d.knows(address):
		d.reply("553 5.1.3 malformed address")
	case params != "":
		d.reply("555 5.5.4 no parameter is supported")
	case len(d.Recipients) >= d.cfg.SMTP.MaxRecipients:
		d.reply("452 4.5.3 too many recipients")
	default:
		d.Recipients = append(d.Recipients, address)
		d.reply("250 2.1.5 recipient is known")
	}
}

// data takes the message. An error is of the pipes: then nothing is sent.
func (d *dialogue) data(ctx context.Context) error {
	if len(d.Recipients) == 0 {
		d.reply("503 5.5.1 there are no recipients")
		return nil
	}
	d.reply("354 go on, and end with a dot")
	if err := d.out.Flush(); err != nil {
		return err
	}
	body := &stuffed{r: d.in, start: true}
	text, err := collect(body, d.maxSize())
	defer d.reset()
	if errors.Is(err, errTooLong) {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		d.reply("552 5.3.4 %s", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	defer text.Close()
	said, code, err := d.handOver(ctx, d.Submission, text)
	if err == nil {
		d.reply("250 2.0.0 %s", said)
		return nil
	}
	replies := map[int]string{
		exUsage: "554 5.5.4", exDataErr: "554 5.6.0", exNoUser: "550 5.1.1", exNoPerm: "550 5.7.1",
	}
	reply, ok := replies[code]
	if !ok {
		reply = "451 4.3.0"
	}
	d.reply("%s %s", reply, strings.ReplaceAll(err.Error(), "\n", " "))
	return nil
}

// stuffed reads a message that ends with a line of a dot, and takes off the
// dot of lines that begin with one (RFC 5321 section 4.5.2). If it ends in
// another way the message is not whole, and the error io.ErrUnexpectedEOF.
type stuffed struct {
	r     *bufio.Reader
	start bool
	held  []byte
	err   error
}

func (s *stuffed) Read(p []byte) (int, error) {
	for len(s.held) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.next()
	}
	n := copy(p, s.held)
	s.held = s.held[n:]
	return n, nil
}

func (s *stuffed) next() {
	line, err := s.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		s.err = err
		if errors.Is(err, io.EOF) {
			s.err = io.ErrUnexpectedEOF
		}
		return
	}
	if s.start && line[0] == '.' {
		if line = line[1:]; string(line) == "\n" || string(line) == "\r\n" {
			s.err = io.EOF
			return
		}
	}
	s.held, s.start = line, err == nil
}
