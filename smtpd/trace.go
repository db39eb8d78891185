package smtpd

import (
	"crypto/tls"
	"io"
	"mime"
	netmail "net/mail"
	"net/netip"
	"strings"

	"restante/internal/header"
	"restante/internal/mail"
)

// trace is the Received field of the message that is being taken (RFC 5321
// section 4.4). Where clients are hidden, it does not tell where who has logged
// in did so.
func (s *session) trace(id mail.ID) string {
	r := header.Received{
		Helo: s.helo,
		Addr: s.addr,
		By:   s.srv.opt.Hostname,
		TLS:  s.tlsText(),
		With: s.protocol(),
		ID:   id.String(),
		Time: s.srv.opt.Now(),
	}
	if s.srv.opt.HideClients && s.account != "" {
		r.Helo, r.Addr = "", netip.Addr{}
	}
	if len(s.tx.rcpts) == 1 {
		r.For = s.tx.rcpts[0].To
	}
	return r.String()
}

// protocol is the "with" of RFC 3848, and of RFC 6531 section 4.3.
func (s *session) protocol() string {
	p := "SMTP"
	switch {
	case s.srv.opt.Role == LMTP && s.tx.utf8:
		p = "UTF8LMTP"
	case s.srv.opt.Role == LMTP:
		p = "LMTP"
	case s.tx.utf8:
		p = "UTF8SMTP"
	case s.esmtp, s.conn.tls != nil, s.account != "":
		p = "ESMTP"
	}
	if s.conn.tls != nil {
		p += "S"
	}
	if s.account != "" {
		p += "A"
	}
	return p
}

// tlsText is the TLS version and cipher suite, "" without TLS.
func (s *session) tlsText() string {
	st := s.conn.tls
	if st == nil {
		return ""
	}
	version := strings.ReplaceAll(tls.VersionName(st.Version), " ", "")
	return version + " " + tls.CipherSuiteName(st.CipherSuite)
}

var errFrom = reply{550, code{5, 6, 0}, "From field cannot be read"}

// authors are the addresses of all From fields. A field that cannot be read
// is an error, since nobody can tell whose it claims to be.
func authors(block *header.Block) ([]mail.Address, error) {
	parser := netmail.AddressParser{WordDecoder: &mime.WordDecoder{
		// Display names do not matter here, in whatever charset.
		CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
	}}
	var list []mail.Address
	for _, f := range block.Fields() {
		if !strings.EqualFold(f.Name, "From") {
			continue
		}
		parsed, err := parser.ParseList(f.Value())
		if err != nil {
			return nil, errFrom
		}
		for _, p := range parsed {
			// net/mail has taken the quotes off the local part.
			at := strings.LastIndexByte(p.Address, '@')
			domain, err := mail.ParseDomain(p.Address[at+1:])
			if at < 1 || err != nil {
				return nil, errFrom
			}
			list = append(list, mail.Address{Local: p.Address[:at], Domain: domain})
		}
	}
	return list, nil
}
