// Package dsn writes delivery status notifications (RFC 3464, and RFC 6533 for
// what is not ASCII): a bounce, a delay warning, the notice that a message was
// delivered or passed on, or the cover of a dead letter; as one multipart/report
// of three parts: plain words for the reader, the same for programs, and the
// message it is about or its header.
//
// Writing is streamed and takes bounded memory. Whatever a next hop or a
// sender put into a text, an address or a header, no field of the report can
// be ended early or added by it. A message that cannot be read any more costs
// the report its third part and nothing else.
package dsn

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"restante/internal/header"
	"restante/internal/mail"
)

// Action is what became of the recipients (RFC 3464 section 2.3.3).
type Action string

// The actions that restante reports.
const (
	Failed  Action = "failed"
	Delayed Action = "delayed"
	Relayed Action = "relayed"
	// Delivered is for a mailbox of ours, Expanded for an address of ours with
	// several others behind it.
	Delivered Action = "delivered"
	Expanded  Action = "expanded"
)

// maxHeader bounds what is returned of a message's header, in octets.
const maxHeader = header.DefaultLimit

// Report is what to tell a sender about a message.
type Report struct {
	Action Action
	// Hostname is ours: the Reporting-MTA, and the domain of From.
	Hostname string
	// ID names the report, Original the message it is about.
	ID, Original mail.ID
	// Envelope is that of the message; its From is who is told.
	Envelope mail.Envelope
	// Recipients are those whom the report is about; at least one.
	Recipients []Recipient
	// Now is when the report is made.
	Now time.Time
	// RetryUntil is when we stop trying, of a delayed message; zero if never.
	RetryUntil time.Time
	// Message is the message, of Size octets; nil if it cannot be read.
	Message io.ReaderAt
	Size    int64
	// MaxReturn bounds the messages that are returned whole to who asked for
	// that by RET=FULL; of others, and larger ones, the header is returned.
	MaxReturn int64
	// DeadLetter makes it a report, with the whole message, to somebody else:
	// To, who looks after what can neither be delivered nor returned.
	DeadLetter bool
	To         mail.Address
}

// Recipient is one that a report is about.
type Recipient struct {
	mail.Recipient
	// Status is the outcome; Said is what the next hop last said, if that is
	// not the same.
	Status, Said mail.Status
	// Attempted is when delivery was last tried; zero if never.
	Attempted time.Time
}

// UTF8 tells whether the report has to be sent with SMTPUTF8 (RFC 6533).
func (r *Report) UTF8() bool {
	if r.Envelope.UTF8 || !r.Envelope.From.IsASCII() || !r.To.IsASCII() {
		return true
	}
	for _, to := range r.Recipients {
		if !to.To.IsASCII() {
			return true
		}
	}
	return false
}

// Write writes the report, header first, with CRLF line ends. It tells whether
// any octet was not ASCII. An error is w's.
func (r *Report) Write(w io.Writer) (eightBit bool, err error) {
	out := &watcher{w: w}
	p := &printer{
		Report:   r,
		w:        bufio.NewWriter(out),
		utf8:     r.UTF8(),
		boundary: "report-" + randomHex(),
	}
	p.head, p.returned = r.readHeader()
	p.full = p.returned && (r.DeadLetter ||
		r.Envelope.Ret == mail.ReturnFull && r.Action == Failed && r.Size <= r.MaxReturn)
	p.write()
	return out.eightBit, p.w.Flush()
}

// readHeader reads the message's header as far as maxHeader, to the last whole
// line, and tells whether there is a message to read at all.
func (r *Report) readHeader() (*header.Block, bool) {
	if r.Message == nil {
		return header.Parse(nil), false
	}
	buf := make([]byte, min(max(r.Size, 0), maxHeader))
	n, err := io.ReadFull(io.NewSectionReader(r.Message, 0, int64(len(buf))), buf)
	if n == 0 && err != nil {
		return header.Parse(nil), false
	}
	block := header.Parse(buf[:n])
	if !block.Separated() && int64(n) < r.Size {
		return header.Parse(buf[:bytes.LastIndexByte(buf[:n], '\n')+1]), true
	}
	return block, true
}

// watcher notes whether what passes is ASCII.
type watcher struct {
	w        io.Writer
	eightBit bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.eightBit = w.eightBit || !ascii(p)
	return w.w.Write(p)
}

func ascii(p []byte) bool {
	for _, c := range p {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func randomHex() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// printer writes one report. Errors of w stay in w until it is flushed.
type printer struct {
	*Report
	w        *bufio.Writer
	utf8     bool
	boundary string
	head     *header.Block
	returned bool // there is a message to return, or its header
	full     bool // all of it is returned
}

func (p *printer) print(s string)                 { p.w.WriteString(s) }
func (p *printer) printf(format string, a ...any) { fmt.Fprintf(p.w, format, a...) }
func (p *printer) line(format string, a ...any)   { p.printf(format+"\r\n", a...) }

func (p *printer) write() {
	p.fields()
	p.print("This is a report in several parts, for programs that read MIME.\r\n")
	p.part("text/plain; charset=utf-8", "8bit", "Report")
	p.words()
	if p.utf8 {
		p.part("message/global-delivery-status", "8bit", "Report for programs")
	} else {
		p.part("message/delivery-status", "7bit", "Report for programs")
	}
	p.status()
	p.original()
	p.printf("\r\n--%s--\r\n", p.boundary)
}

func (p *printer) part(kind, encoding, description string) {
	p.printf("\r\n--%s\r\n", p.boundary)
	p.line("Content-Description: %s", description)
	p.line("Content-Type: %s", kind)
	p.line("Content-Transfer-Encoding: %s", encoding)
	p.print("\r\n")
}

// fields writes the report's own header.
func (p *printer) fields() {
	host := p.host()
	p.print(header.Compose("From", "Mail Delivery System <MAILER-DAEMON@"+host+">"))
	to := p.Envelope.From
	if p.DeadLetter {
		to = p.To
	}
	p.print(header.Compose("To", "<"+visible(to.String(), p.utf8)+">"))
	p.print(header.Compose("Subject", p.subject()))
	p.print(header.Date(p.Now))
	p.print(header.MessageID(p.ID.String(), host))
	if id, ok := p.head.Get("Message-ID"); ok && isMessageID(id) {
		p.print(header.Compose("In-Reply-To", id))
		p.print(header.Compose("References", id))
	}
	p.print("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n")
	p.line("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"", p.boundary)
	p.print("Content-Transfer-Encoding: 8bit\r\n\r\n")
}

// original writes the third part.
func (p *printer) original() {
	kind := [...]string{"text/rfc822-headers", "message/rfc822"}
	if p.utf8 {
		kind = [...]string{"message/global-headers", "message/global"}
	}
	switch {
	case !p.returned:
	case p.full:
		p.part(kind[1], encodingOf(p.Envelope.EightBit || p.Envelope.UTF8 || !ascii(p.head.Raw())), "The message")
		p.copy()
	default:
		p.part(kind[0], encodingOf(!ascii(p.head.Raw())), "Header of the message")
		for line := range bytes.Lines(p.head.Raw()) {
			line = bytes.TrimRight(line, "\r\n")
			p.w.Write(bytes.ReplaceAll(line, []byte("\r"), []byte(" ")))
			p.print("\r\n")
		}
	}
}

// copy returns the message octet by octet. The boundary is a random number, so
// the message cannot have it in it. A message that turns out to be damaged
// ends where it does.
func (p *printer) copy() {
	io.Copy(p.w, io.NewSectionReader(p.Message, 0, p.Size))
}

func encodingOf(eightBit bool) string {
	if eightBit {
		return "8bit"
	}
	return "7bit"
}

// isMessageID tells whether a Message-ID can be repeated as it is.
func isMessageID(s string) bool {
	if len(s) < 3 || len(s) > 250 || s[0] != '<' || s[len(s)-1] != '>' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return false
		}
	}
	return true
}
