package imapd

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"restante/imapd/wire"
	"restante/internal/sasl"
)

// maxResponse bounds a response of a SASL exchange, in octets: tokens are long.
const maxResponse = 64 << 10

func (s *session) parseCapability(*wire.Decoder, call) action {
	return func() error {
		s.out.Raw("* CAPABILITY ").Raw(s.capabilities()).CRLF()
		return nil
	}
}

func (s *session) parseNoop(*wire.Decoder, call) action { return func() error { return nil } }

func (s *session) parseLogout(*wire.Decoder, call) action {
	return func() error {
		s.over = true
		s.out.Raw("* BYE Good-bye").CRLF()
		return nil
	}
}

// parseID takes what a client says of itself (RFC 2971), which is only logged.
func (s *session) parseID(d *wire.Decoder, _ call) action {
	d.Space()
	var words []string
	if d.Peek() == '(' {
		d.List(func() {
			word, _ := d.NString()
			if words = append(words, word); len(words) > 60 {
				d.Fail("Too many fields in ID")
			}
		})
	} else if _, is := d.NString(); is {
		d.Fail("ID takes a list or NIL")
	}
	return func() error {
		s.log.Debug("client", "id", strings.Join(words, " "))
		s.out.Raw(`* ID ("name" "restante")`).CRLF()
		return nil
	}
}

// parseStartTLS answers by itself: the reply is the last that is said in the
// clear.
func (s *session) parseStartTLS(d *wire.Decoder, c call) action {
	if s.channel != nil || s.srv.tls == nil {
		d.Fail("STARTTLS is not possible")
		return nil
	}
	d.End()
	if d.Err() != nil {
		return nil
	}
	return func() error {
		if s.conn.Buffered() > 0 {
			// What came after the command, in the clear, would be taken for what
			// came under TLS.
			s.out.Raw("* BYE Commands may not follow STARTTLS before TLS").CRLF()
			return errBye
		}
		s.out.Raw(c.tag).Raw(" OK Begin TLS negotiation now").CRLF()
		if s.conn.Flush() != nil || !s.handshake() {
			return errBye
		}
		s.enabled = 0
		return errAnswered
	}
}

func (s *session) parseLogin(d *wire.Decoder, _ call) action {
	d.Space()
	user := d.AString()
	d.Space()
	password := d.AString()
	return func() error {
		if s.channel == nil {
			return no(imap.ResponseCodePrivacyRequired, "Begin TLS before you log in")
		}
		account, err := s.srv.opt.Auth.Authenticate(s.ctx, user, password, s.remote)
		if err != nil {
			return s.loginError(user, err)
		}
		if err := s.enter(user, account); err != nil {
			return err
		}
		return ok("CAPABILITY " + s.capabilities())
	}
}

// parseAuthenticate reads AUTHENTICATE with an initial response or without (RFC
// 4959).
func (s *session) parseAuthenticate(d *wire.Decoder, _ call) action {
	d.Space()
	mechanism := d.Word()
	initial, has := "", false
	if d.TrySpace() {
		initial, has = d.Until(""), true
	}
	return func() error {
		if s.channel == nil {
			return no(imap.ResponseCodePrivacyRequired, "Begin TLS before you log in")
		}
		x, err := s.srv.sources().Start(mechanism, sasl.Peer{Addr: s.remote, Channel: s.channel, Offered: s.srv.sources().Offer(s.channel)})
		if err != nil {
			return no(imap.ResponseCodeCannot, "Mechanism is not supported")
		}
		if err := s.exchange(x, initial, has); err != nil {
			return err
		}
		return ok("CAPABILITY " + s.capabilities())
	}
}

// exchange goes through a SASL exchange.
func (s *session) exchange(x *sasl.Exchange, line string, has bool) error {
	var response []byte
	if has && line != "=" {
		var err error
		if response, err = base64.StdEncoding.DecodeString(line); err != nil {
			return bad("Malformed authentication message")
		}
	}
	if has && response == nil {
		response = []byte{}
	}
	for {
		challenge, done, err := x.Next(s.ctx, response)
		if err != nil {
			return s.loginError(x.User, err)
		}
		if done {
			return s.enter(x.User, x.Account)
		}
		s.out.Raw("+ ").Raw(base64.StdEncoding.EncodeToString(challenge)).CRLF()
		if line, err = s.conn.Line(maxResponse); err != nil {
			return err
		}
		if line == "*" {
			return bad("Authentication was given up")
		}
		if response, err = base64.StdEncoding.DecodeString(line); err != nil {
			return bad("Malformed authentication message")
		}
		if response == nil {
			response = []byte{}
		}
	}
}

func (s *session) parseUnauthenticate(*wire.Decoder, call) action { return s.unauthenticate }

// parseEnable turns on what is known (RFC 5161).
func (s *session) parseEnable(d *wire.Decoder, _ call) action {
	var list []string
	for d.Err() == nil && d.TrySpace() {
		list = append(list, strings.ToUpper(d.Until("")))
	}
	if len(list) == 0 {
		d.Fail("A capability is missing")
	}
	return func() error {
		before := s.enabled // QRESYNC turns CONDSTORE on, which is told all the same
		var done []string
		for _, name := range list {
			if f, known := enableable(name); known && before&f != f && !slices.Contains(done, canonical(name)) {
				s.enable(f)
				done = append(done, canonical(name))
			}
		}
		s.out.Raw(strings.TrimRight("* ENABLED "+strings.Join(done, " "), " ")).CRLF()
		return nil
	}
}

func enableable(name string) (features, bool) {
	switch name {
	case "IMAP4REV2":
		return rev2, true
	case "UTF8=ACCEPT":
		return utf8, true
	case "CONDSTORE":
		return condstore, true
	case "QRESYNC":
		return qresync, true
	case "UIDONLY":
		return uidonly, true
	}
	return 0, false
}

func canonical(name string) string {
	if name == "IMAP4REV2" {
		return "IMAP4rev2"
	}
	return name
}

// parseCompress begins compression (RFC 4978).
func (s *session) parseCompress(d *wire.Decoder, c call) action {
	d.Space()
	if method := d.Word(); d.Err() == nil && method != "DEFLATE" {
		d.Fail("Unknown method of compression")
	}
	return func() error {
		if s.conn.Compressed() {
			return no("COMPRESSIONACTIVE", "Compression is active already")
		}
		s.out.Raw(c.tag).Raw(" OK DEFLATE active").CRLF()
		if err := s.conn.Compress(); err != nil {
			return errBye
		}
		return errAnswered
	}
}

// parseNamespace tells where the user's own mailboxes are, and those of others
// (RFC 2342).
func (s *session) parseNamespace(*wire.Decoder, call) action {
	return func() error {
		s.out.Raw(`* NAMESPACE (("" "/")) (("Other Users/" "/")) `)
		if len(s.srv.opt.Shared) > 0 {
			s.out.Raw(`(("Shared Folders/" "/"))`).CRLF()
		} else {
			s.out.Raw("NIL").CRLF()
		}
		return nil
	}
}
