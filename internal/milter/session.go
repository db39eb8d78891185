package milter

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"restante/internal/mail"
	"restante/internal/screen"
)

// patience bounds how long a filter can take over one message, as often as it
// reports progress and as many steps as there are: so many time-outs.
const patience = 10

// session is a connection that has been negotiated.
type session struct {
	*wire
	timeout time.Duration // of one step
	spent   time.Duration // waiting for the filter so far
	until   time.Time     // when all patience has been spent
	version uint32
	asked   uint32 // what the filter asks of us
	macros  []byte
}

// clock begins a wait for the filter, which the function it returns ends.
func (s *session) clock() (stop func()) {
	begin := time.Now()
	s.until = begin.Add(patience*s.timeout - s.spent)
	return func() { s.spent += time.Since(begin) }
}

// arm gives the filter the time of one step.
func (s *session) arm() error {
	end := time.Now().Add(s.timeout)
	if end.After(s.until) {
		end = s.until
	}
	return s.SetDeadline(end)
}

// negotiate offers everything and takes what the filter makes of it.
func (s *session) negotiate() error {
	var offer [12]byte
	binary.BigEndian.PutUint32(offer[0:], version)
	binary.BigEndian.PutUint32(offer[4:], actions)
	binary.BigEndian.PutUint32(offer[8:], asks)
	defer s.clock()()
	if err := s.arm(); err != nil {
		return err
	}
	s.put(cmdNegotiate, offer[:])
	if err := s.flush(); err != nil {
		return err
	}
	says, data, err := s.get()
	switch {
	case err != nil:
		return err
	case says != cmdNegotiate || len(data) < len(offer):
		return protocolError("%q of %d octets in the place of a negotiation", says, len(data))
	}
	s.version = binary.BigEndian.Uint32(data)
	s.asked = binary.BigEndian.Uint32(data[8:])
	switch {
	case s.version < minVersion || s.version > version:
		return protocolError("version %d", s.version)
	case s.asked&^asks != 0:
		return protocolError("it asks for %#x, which was not offered", s.asked&^asks)
	}
	return nil
}

// step is a command, and by which bits the filter asks to be spared it, or its
// answer.
type step struct {
	cmd      byte
	no, mute uint32
}

// answer is what a filter says to a step.
type answer struct {
	says byte
	data []byte
}

// ask sends a command, with all macros before it unless it is one of many, and
// returns the answer. What the filter does not want to see, or to answer, it
// continues.
func (s *session) ask(st step, data ...[]byte) (answer, error) {
	if s.asked&st.no != 0 {
		return answer{says: saysContinue}, nil
	}
	if st.cmd != cmdHeader && st.cmd != cmdBody {
		s.put(cmdMacros, []byte{st.cmd}, s.macros)
	}
	defer s.clock()()
	s.put(st.cmd, data...)
	if s.asked&st.mute != 0 && len(s.out) < gathered {
		return answer{says: saysContinue}, nil
	}
	if err := s.arm(); err != nil {
		return answer{}, err
	}
	if err := s.flush(); err != nil {
		return answer{}, err
	}
	if s.asked&st.mute != 0 {
		return answer{says: saysContinue}, nil
	}
	return s.await()
}

// answer reads what the filter says next, reports of progress aside.
func (s *session) answer() (answer, error) {
	defer s.clock()()
	if err := s.arm(); err != nil {
		return answer{}, err
	}
	return s.await()
}

// await is answer while the clock runs.
func (s *session) await() (answer, error) {
	for {
		says, data, err := s.get()
		if err != nil || says != saysProgress {
			return answer{says, data}, err
		}
		if err := s.arm(); err != nil {
			return answer{}, err
		}
	}
}

// leave ends the session and the connection in order, as far as that goes
// without waiting.
func (s *session) leave(inMessage bool) {
	s.out = s.out[:0]
	if inMessage {
		s.put(cmdAbort)
	}
	s.put(cmdQuit)
	// What fails here has no consequence.
	if s.SetDeadline(time.Now().Add(time.Second)) == nil {
		_ = s.flush()
	}
	s.Close()
}

// connectData is the client: a name, and its address. The name is not looked
// up; "unknown" is what Postfix says in that case, and what filters know.
func connectData(c mail.Client) []byte {
	data := text(nil, "unknown")
	a := c.Addr.Unmap()
	switch {
	case a.Is4():
		data = append(data, '4', 0, 0)
	case a.Is6():
		data = append(data, '6', 0, 0)
	default:
		return append(data, 'U')
	}
	return text(data, a.WithZone("").String())
}

// mailData is the sender as the MAIL command would have it.
func mailData(e *mail.Envelope) []byte {
	data := text(nil, "<"+e.From.String()+">")
	if e.EightBit {
		data = text(data, "BODY=8BITMIME")
	}
	if e.UTF8 {
		data = text(data, "SMTPUTF8")
	}
	return data
}

// macros are the values that filters ask for by name, those of one recipient
// aside. What is not known of a client is left out.
func macros(m *screen.Message, hostname string) []byte {
	var data []byte
	set := func(name, value string) {
		if value != "" {
			data = text(data, name, value)
		}
	}
	client := m.Envelope.Client
	addr := ""
	if a := client.Addr.Unmap(); a != (netip.Addr{}) {
		addr = a.WithZone("").String()
	}
	set("j", hostname)
	set("v", "restante")
	set("i", m.ID.String())
	set("{daemon_name}", hostname)
	set("{client_name}", "unknown")
	set("{client_addr}", addr)
	if addr != "" {
		set("_", "unknown ["+addr+"]")
	}
	if version, cipher, ok := strings.Cut(m.TLS, " "); ok {
		set("{tls_version}", strings.Replace(version, "TLS", "TLSv", 1)) // as OpenSSL says it
		set("{cipher}", cipher)
	}
	set("{auth_authen}", client.Account)
	if client.Account != "" {
		// The mechanism is not known any more. Filters only look whether there
		// was one.
		set("{auth_type}", "PLAIN")
	}
	from := m.Envelope.From
	// The null sender has a value too, and it is empty.
	data = text(data, "{mail_addr}", from.String())
	set("{mail_host}", from.Domain)
	return data
}
