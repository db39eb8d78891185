package imapd

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
)

// maxFaults is how many malformed commands in a row end a connection.
const maxFaults = 10

var (
	errFaults = errors.New("too many malformed commands")
	// errBye ends a connection that has had its last words.
	errBye = errors.New("the session is over")
	// errAnswered tells that a command had its tagged reply.
	errAnswered = errors.New("the command is answered")
)

// state is how far a client has come.
type state uint8

const (
	anonymous state = 1 << iota
	loggedIn
	selected
)

func (s *session) state() state {
	switch {
	case s.account == "":
		return anonymous
	case s.box == nil:
		return loggedIn
	}
	return selected
}

// action does what a command says, once all of it was read. What it returns
// becomes the tagged reply: nil is OK.
type action func() error

// command is one of the protocol's commands.
type command struct {
	// in are the states in which it is allowed.
	in state
	// parse reads its arguments. It reports errors through d, or returns nil if
	// it has said all by itself.
	parse func(s *session, d *wire.Decoder, c call) action
	// byUID tells that it can stand after UID.
	byUID bool
	// numbers tells that it may not be followed by EXPUNGE responses, since its
	// answer, or that of a command that was sent with it, has sequence numbers
	// (RFC 9051 section 7.5.1); not so after UID.
	numbers bool
	// snapshot tells that the answer says how the selected mailbox is. What happens
	// meanwhile comes with the next command: a client that takes up what it knew
	// (RFC 7162 section 3.2.5) must not take it for a part of the answer.
	snapshot bool
}

// call is one use of a command.
type call struct {
	tag, verb string
	uid       bool
}

// name is how the command is called in its reply.
func (c call) name() string {
	if c.uid {
		return "UID " + c.verb
	}
	return c.verb
}

const (
	always  = anonymous | loggedIn | selected
	members = loggedIn | selected
)

// lookup returns the command of a name.
func lookup(verb string) (command, bool) {
	switch verb {
	case "CAPABILITY":
		return command{in: always, parse: (*session).parseCapability}, true
	case "NOOP", "CHECK":
		in := always
		if verb == "CHECK" {
			in = selected
		}
		return command{in: in, parse: (*session).parseNoop}, true
	case "LOGOUT":
		return command{in: always, parse: (*session).parseLogout}, true
	case "ID":
		return command{in: always, parse: (*session).parseID}, true
	case "LANGUAGE":
		return command{in: always, parse: (*session).parseLanguage}, true
	case "STARTTLS":
		return command{in: anonymous, parse: (*session).parseStartTLS}, true
	case "LOGIN":
		return command{in: anonymous, parse: (*session).parseLogin}, true
	case "AUTHENTICATE":
		return command{in: anonymous, parse: (*session).parseAuthenticate}, true
	case "UNAUTHENTICATE":
		return command{in: members, parse: (*session).parseUnauthenticate}, true
	case "ENABLE":
		return command{in: members, parse: (*session).parseEnable}, true
	case "COMPRESS":
		return command{in: members, parse: (*session).parseCompress}, true
	case "NAMESPACE":
		return command{in: members, parse: (*session).parseNamespace}, true
	case "NOTIFY":
		return command{in: members, parse: (*session).parseNotify}, true
	case "IDLE":
		return command{in: members, parse: (*session).parseIdle}, true
	case "SELECT", "EXAMINE":
		return command{in: members, parse: (*session).parseSelect, snapshot: true}, true
	case "CREATE":
		return command{in: members, parse: (*session).parseCreate}, true
	case "DELETE", "SUBSCRIBE", "UNSUBSCRIBE":
		return command{in: members, parse: (*session).parseName}, true
	case "RENAME":
		return command{in: members, parse: (*session).parseRename}, true
	case "LIST", "LSUB":
		return command{in: members, parse: (*session).parseList}, true
	case "STATUS":
		return command{in: members, parse: (*session).parseStatus}, true
	case "APPEND":
		return command{in: members, parse: (*session).parseAppend}, true
	case "GETQUOTA":
		return command{in: members, parse: (*session).parseGetQuota}, true
	case "GETQUOTAROOT":
		return command{in: members, parse: (*session).parseGetQuotaRoot}, true
	case "ESEARCH":
		return command{in: members, parse: (*session).parseESearch}, true
	case "GETMETADATA":
		return command{in: members, parse: (*session).parseGetMetadata}, true
	case "SETMETADATA":
		return command{in: members, parse: (*session).parseSetMetadata}, true
	case "GETACL", "MYRIGHTS":
		return command{in: members, parse: (*session).parseACL}, true
	case "SETACL", "DELETEACL", "LISTRIGHTS":
		return command{in: members, parse: (*session).parseSetACL}, true
	}
	return lookupSelected(verb)
}

// lookupSelected returns the commands that are about the selected mailbox.
func lookupSelected(verb string) (command, bool) {
	switch verb {
	case "REPLACE":
		return command{in: selected, parse: (*session).parseReplace, byUID: true, numbers: true}, true
	case "CLOSE", "UNSELECT":
		return command{in: selected, parse: (*session).parseClose}, true
	case "EXPUNGE":
		return command{in: selected, parse: (*session).parseExpunge, byUID: true}, true
	case "SEARCH":
		return command{in: selected, parse: (*session).parseSearch, byUID: true, numbers: true}, true
	case "SORT":
		return command{in: selected, parse: (*session).parseSort, byUID: true, numbers: true}, true
	case "THREAD":
		return command{in: selected, parse: (*session).parseThread, byUID: true, numbers: true}, true
	case "CANCELUPDATE":
		return command{in: selected, parse: (*session).parseCancelUpdate}, true
	case "FETCH":
		return command{in: selected, parse: (*session).parseFetch, byUID: true, numbers: true}, true
	case "STORE":
		return command{in: selected, parse: (*session).parseStore, byUID: true, numbers: true}, true
	case "COPY":
		// EXPUNGE may follow it, but clients send STORE together with it.
		return command{in: selected, parse: (*session).parseCopy, byUID: true, numbers: true}, true
	case "MOVE":
		return command{in: selected, parse: (*session).parseCopy, byUID: true}, true
	}
	return command{}, false
}

// await waits for a command.
func (s *session) await() error {
	if n := s.notify; n == nil || s.conn.Ready() || n.watch == nil && (s.box == nil || !n.hears()) {
		return s.conn.Wait()
	}
	return s.listen(!s.notify.delayed)
}

// command reads one command and answers it. An error ends the connection.
func (s *session) command() error {
	limit, big := int64(wire.MaxEarly), int64(wire.MaxEarly)
	if s.account != "" {
		limit, big = wire.MaxLiterals, s.srv.opt.MaxAppend
	}
	d := s.conn.Decode(limit, big)
	if d.AtEnd() && d.Err() == nil {
		// An empty line: some clients send one after a literal.
		d.End()
		return s.fault()
	}
	c := call{tag: d.Tag()}
	if d.Err() != nil {
		if err := d.Finish(); err != nil {
			return err
		}
		s.out.Raw("* BAD Malformed tag").CRLF()
		return s.fault()
	}
	run, cmd := s.parse(d, &c)
	err := d.Err()
	if ferr := d.Finish(); ferr != nil {
		return ferr
	}
	if err != nil {
		s.tagged(c.tag, "", s.refusal(err))
		if s.stranger {
			s.out.Raw("* BYE This is an IMAP server").CRLF()
			return errBye
		}
		if refused := (*wire.RefusedError)(nil); errors.As(err, &refused) {
			return nil
		}
		return s.fault()
	}
	s.faults = 0
	s.beginProgress(c.tag)
	err = s.withLimit(run())
	s.copied = nil
	if errors.Is(err, errBye) || s.broken {
		return errBye
	}
	if errors.Is(err, errAnswered) {
		return nil
	}
	if lost(err) {
		return err
	}
	switch {
	case s.over:
	case cmd.snapshot:
		s.pollOthers()
	default:
		s.poll(!cmd.numbers || c.uid)
	}
	s.tagged(c.tag, c.name(), err)
	return nil
}

// parse reads a command's name and arguments.
func (s *session) parse(d *wire.Decoder, c *call) (action, command) {
	if !d.TrySpace() {
		d.Fail("A command is missing")
		return nil, command{}
	}
	c.verb = d.Word()
	if c.verb == "UID" && d.Err() == nil {
		d.Space()
		c.verb, c.uid = d.Word(), true
	}
	cmd, ok := lookup(c.verb)
	s.recheck()
	switch {
	case d.Err() != nil:
		return nil, cmd
	case !ok || c.uid && !cmd.byUID:
		// Who has not logged in and speaks something else is sent away.
		s.stranger = !ok && s.account == ""
		d.Fail("Unknown command")
		return nil, cmd
	case cmd.in&s.state() == 0:
		d.Fail("%s", misplaced(s.state(), cmd))
		return nil, cmd
	case s.has(uidonly) && c.byNumber(cmd):
		return d.Refuse(errUIDRequired), cmd
	}
	run := cmd.parse(s, d, *c)
	d.End()
	return run, cmd
}

// misplaced says why a command is not allowed now.
func misplaced(now state, cmd command) string {
	switch {
	case now == anonymous:
		return "Log in first"
	case cmd.in == selected:
		return "No mailbox is selected"
	}
	return "Not possible after the login"
}

// fault counts a malformed command.
func (s *session) fault() error {
	if s.faults++; s.faults > maxFaults {
		return errFaults
	}
	return nil
}

// refusal is the reply to a command that could not be read.
func (s *session) refusal(err error) error {
	var limit *wire.LimitError
	var reply *imap.Error
	switch {
	case errors.As(err, &reply):
		return reply
	case errors.As(err, &limit):
		return no(codeTooBig, limit.Text)
	}
	return bad(err.Error())
}

// tagged writes the reply to a command.
func (s *session) tagged(tag, name string, err error) {
	var e *imap.Error
	var limit *wire.LimitError
	if errors.As(err, &limit) {
		err = bad(limit.Text)
	}
	s.out.Raw(tag)
	switch {
	case err == nil:
		s.out.Raw(" OK ").Raw(name).Raw(" completed")
	case errors.As(err, &e):
		s.out.Raw(" ").Raw(string(e.Type)).Raw(" ")
		if e.Code != "" {
			s.out.Raw("[").Raw(string(e.Code)).Raw("] ")
		}
		text := e.Text
		if text == "" {
			text = name + " completed"
		}
		s.out.Raw(text)
	default:
		s.log.Error("a command failed", "command", name, "err", err)
		s.out.Raw(" NO [SERVERBUG] Internal error")
	}
	s.out.CRLF()
}

// lost tells whether an error is the connection's end.
func lost(err error) bool {
	var network *net.OpError
	return errors.Is(err, wire.ErrStopped) || errors.Is(err, wire.ErrTimeout) || errors.Is(err, wire.ErrLost) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &network)
}

// ok is a positive reply with a response code.
func ok(code string) error {
	return &imap.Error{Type: imap.StatusResponseTypeOK, Code: imap.ResponseCode(code)}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// numberSet writes UIDs or numbers, which ascend, as a set.
func numberSet[T ~uint32](list []T) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(list[i]), 10))
		if j > i {
			b.WriteByte(':')
			b.WriteString(strconv.FormatUint(uint64(list[j]), 10))
		}
		i = j + 1
	}
	return b.String()
}
