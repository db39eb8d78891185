package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/internal/structure"
	"restante/spool"
)

// Mail is a message in a mailbox.
type Mail struct {
	UID spool.UID `json:"uid"`
	ID  mail.ID   `json:"id"`
	// Flags are as IMAP has them: \Seen, and keywords.
	Flags []string `json:"flags,omitempty"`
	// Date is what IMAP calls INTERNALDATE.
	Date time.Time `json:"date"`
	// Size is in octets.
	Size int64 `json:"size"`
}

// Deposit is what goes with a message that is put into a mailbox.
type Deposit struct {
	// Mailbox is INBOX if it is empty; another must be there.
	Mailbox string
	Flags   []string
	// Date is the INTERNALDATE; zero is now.
	Date time.Time
	// Once, unless it is empty, names the deposit: what comes again under the
	// same name within a day is not taken again. At most 1,024 octets.
	Once string
}

// Deposited is where a message was put. UID and UIDValidity are 0 if it had
// been put there before, under the same name.
type Deposited struct {
	ID          mail.ID   `json:"id"`
	UIDValidity uint32    `json:"uid_validity,omitempty"`
	UID         spool.UID `json:"uid,omitempty"`
	// Before tells of one that had been.
	Before bool `json:"before,omitempty"`
}

// Bounds on the flags of a deposit, as imapd has them.
const (
	maxKeywords = 100
	maxKeyword  = 200
)

// systemFlags are the flags that are not keywords, in the order in which they
// are shown.
var systemFlags = []struct {
	name string
	bit  spool.SystemFlags
}{
	{`\Answered`, spool.Answered},
	{`\Flagged`, spool.Flagged},
	{`\Deleted`, spool.Deleted},
	{`\Seen`, spool.Seen},
	{`\Draft`, spool.Draft},
}

func flagNames(f spool.Flags) []string {
	var list []string
	for _, s := range systemFlags {
		if f.System&s.bit != 0 {
			list = append(list, s.name)
		}
	}
	return append(list, f.Keywords...)
}

func parseFlags(list []string) (f spool.Flags, err error) {
	for _, name := range list {
		bit := spool.SystemFlags(0)
		for _, s := range systemFlags {
			if strings.EqualFold(name, s.name) {
				bit = s.bit
			}
		}
		switch {
		case bit != 0:
			f.System |= bit
		case !IsKeyword(name):
			return f, errorf(CodeBadRequest, "flag: %.100q is none", name)
		default:
			f.Keywords = append(f.Keywords, name)
		}
	}
	slices.Sort(f.Keywords)
	f.Keywords = slices.CompactFunc(f.Keywords, strings.EqualFold)
	if len(f.Keywords) > maxKeywords {
		return f, errorf(CodeBadRequest, "flag: more than %d keywords", maxKeywords)
	}
	return f, nil
}

// IsKeyword tells whether a flag can be a keyword of a deposit: flag-keyword of
// RFC 9051 section 9, of at most 200 octets.
func IsKeyword(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("(){%*\"\\]", c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxKeyword
}

func (d Deposit) query() url.Values {
	q := url.Values{}
	if d.Mailbox != "" {
		q.Set("mailbox", d.Mailbox)
	}
	if len(d.Flags) > 0 {
		q["flag"] = d.Flags
	}
	if !d.Date.IsZero() {
		q.Set("date", d.Date.Format(time.RFC3339))
	}
	if d.Once != "" {
		q.Set("once", d.Once)
	}
	return q
}

// only refuses parameters that are not known or come more than once.
func only(q url.Values, known ...string) error {
	for name, values := range q {
		if !slices.Contains(known, name) {
			return errorf(CodeBadRequest, "unknown parameter %q", name)
		}
		if len(values) > 1 && name != "flag" {
			return errorf(CodeBadRequest, "%s: given more than once", name)
		}
	}
	return nil
}

func depositFromQuery(q url.Values) (spool.Deposit, string, error) {
	d := spool.Deposit{Mailbox: spool.CanonicalName(q.Get("mailbox"))}
	if err := only(q, "mailbox", "flag", "date", "once"); err != nil {
		return d, "", err
	}
	var err error
	if d.Flags, err = parseFlags(q["flag"]); err != nil {
		return d, "", err
	}
	if text := q.Get("date"); text != "" {
		if d.InternalDate, err = time.Parse(time.RFC3339, text); err != nil {
			return d, "", errorf(CodeBadRequest, "date: %q is not like 2006-01-02T15:04:05Z", text)
		}
	}
	once := q.Get("once")
	if len(once) > maxPackedOnce {
		return d, "", errorf(CodeBadRequest, "once: up to %d octets are expected", maxPackedOnce)
	}
	return d, once, nil
}

// postMail puts the message in the body into a mailbox, octet by octet. The
// answer comes when it is durable.
func (s *Server) postMail(w http.ResponseWriter, r *http.Request) error {
	account, err := s.account(r)
	if err != nil {
		return err
	}
	if r.ContentLength > s.opt.MaxSize {
		return errorf(CodeTooLarge, "larger than %d octets", s.opt.MaxSize)
	}
	deposit, once, err := depositFromQuery(r.URL.Query())
	if err != nil {
		return err
	}
	deposit.Account = account
	staged, err := s.opt.Intake.Create()
	if err != nil {
		return err
	}
	defer staged.Abort()
	parser := structure.NewParser()
	in := s.body(w, r, s.opt.MaxSize)
	if _, err := io.CopyBuffer(io.MultiWriter(staged, parser), struct{ io.Reader }{in}, make([]byte, 64<<10)); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if staged.Size() == 0 {
		return errorf(CodeBadRequest, "the message is empty")
	}
	m := spool.Message{
		Envelope:  mail.Envelope{Client: mail.Client{Protocol: "import", Account: account}},
		Structure: parser.Finish().Encode(),
		Deposits:  []spool.Deposit{deposit},
	}
	if once != "" {
		m.Once, m.OnceFor = onceKey("deposit "+account+"\x00"+once), spool.MaxOnce
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), commitPatience)
	defer cancel()
	receipt, err := staged.Commit(ctx, m)
	s.prolongWrite(w)
	var before *spool.DuplicateError
	if errors.As(err, &before) {
		writeJSON(w, http.StatusOK, Deposited{ID: before.ID, Before: true})
		return nil
	}
	if err != nil {
		return err
	}
	put := receipt.Deposited[0]
	s.opt.Logger.Debug("deposited", "id", receipt.ID.String(), "account", account, "mailbox", deposit.Mailbox, "size", staged.Size())
	writeJSON(w, http.StatusCreated, Deposited{ID: receipt.ID, UIDValidity: put.UIDValidity, UID: put.UID})
	return nil
}

// mailbox finds the one that a request names, INBOX if it names none.
func (s *Server) mailbox(r *http.Request, known ...string) (spool.Mailbox, error) {
	account, err := s.account(r)
	if err != nil {
		return spool.Mailbox{}, err
	}
	q := r.URL.Query()
	if err := only(q, append(known, "mailbox")...); err != nil {
		return spool.Mailbox{}, err
	}
	name := q.Get("mailbox")
	if name == "" {
		name = spool.Inbox
	}
	return s.opt.Mailboxes.Mailbox(account, name)
}

// getMail lists what is in a mailbox, one JSON object in each line, by UID. The
// last line is {"end":true}: without it the list broke off.
func (s *Server) getMail(w http.ResponseWriter, r *http.Request) error {
	row, err := s.mailbox(r, "after")
	if err != nil {
		return err
	}
	var after uint64
	if text := r.URL.Query().Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 32); err != nil {
			return errorf(CodeBadRequest, "after: %q is no UID", text)
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	if after < 1<<32-1 {
		for e, err := range s.opt.Mailboxes.Entries(row.ID, spool.UID(after)+1, 0) {
			if err != nil {
				s.opt.Logger.Error("a mailbox cannot be read to its end", "mailbox", row.Name, "error", err)
				panic(http.ErrAbortHandler) // what is missing must not look like an end
			}
			s.prolongWrite(w)
			if enc.Encode(Mail{UID: e.UID, ID: e.Message, Flags: flagNames(e.Flags), Date: e.InternalDate, Size: e.Size}) != nil {
				return nil // the peer has gone
			}
		}
	}
	_ = enc.Encode(struct {
		End bool `json:"end"`
	}{true})
	return nil
}

// getMailContent sends a message as its mailbox shows it.
func (s *Server) getMailContent(w http.ResponseWriter, r *http.Request) error {
	row, err := s.mailbox(r)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(r.PathValue("uid"), 10, 32)
	if err != nil {
		return errorf(CodeBadRequest, "%q is no UID", r.PathValue("uid"))
	}
	e, err := s.opt.Mailboxes.Entry(row.ID, spool.UID(uid))
	if err != nil {
		return err
	}
	body, err := s.opt.Bodies.OpenBody(e.Message)
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Length", strconv.FormatInt(e.Size, 10))
	return s.copyBody(w, prefixed{body, e.Prefix})
}

// prefixed is a body with what stands in front of it in one mailbox.
type prefixed struct {
	spool.Body
	prefix []byte
}

func (p prefixed) Size() int64 { return int64(len(p.prefix)) + p.Body.Size() }

func (p prefixed) ReadAt(b []byte, at int64) (int, error) {
	n := 0
	if at < int64(len(p.prefix)) {
		n = copy(b, p.prefix[at:])
	}
	if n == len(b) {
		return n, nil
	}
	more, err := p.Body.ReadAt(b[n:], at+int64(n)-int64(len(p.prefix)))
	return n + more, err
}

// Deposit puts a message into a mailbox of an account: size octets of body, or
// all there is if size is negative. When it returns without an error, it is
// durable there.
func (c *Client) Deposit(ctx context.Context, account string, d Deposit, body io.Reader, size int64) (Deposited, error) {
	var out Deposited
	resp, err := c.send(ctx, "POST", accountPath(account, "/mail"), d.query(), io.NopCloser(body), func(r *http.Request) {
		r.ContentLength = size
		r.Header.Set("Content-Type", "message/rfc822")
		if size < 0 || size > 1<<20 {
			r.Header.Set("Expect", "100-continue")
		}
	})
	if err != nil {
		return out, err
	}
	return out, decode(resp, &out)
}

// Mail iterates over what is in a mailbox behind a UID. An error ends it.
func (c *Client) Mail(ctx context.Context, account, mailbox string, after spool.UID) iter.Seq2[Mail, error] {
	return func(yield func(Mail, error) bool) {
		q := url.Values{"mailbox": {mailbox}, "after": {strconv.FormatUint(uint64(after), 10)}}
		resp, err := c.send(ctx, "GET", accountPath(account, "/mail"), q, nil, nil)
		if err != nil {
			yield(Mail{}, err)
			return
		}
		defer resp.Body.Close()
		for d := json.NewDecoder(resp.Body); ; {
			var line struct {
				Mail
				End bool `json:"end"`
			}
			if err := d.Decode(&line); err != nil {
				yield(Mail{}, fmt.Errorf("list of %s broke off: %w", mailbox, err))
				return
			}
			if line.End || !yield(line.Mail, nil) {
				return
			}
		}
	}
}

// MailContent returns a message as its mailbox shows it; the caller closes it.
// Its reads fail if it breaks off.
func (c *Client) MailContent(ctx context.Context, account, mailbox string, uid spool.UID) (io.ReadCloser, error) {
	q := url.Values{"mailbox": {mailbox}}
	resp, err := c.send(ctx, "GET", accountPath(account, fmt.Sprintf("/mail/%d", uid)), q, nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
