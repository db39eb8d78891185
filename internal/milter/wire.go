package milter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Commands to the filter. Version 6 of the protocol is that of libmilter since
// 2006; it is described in libmilter/mfdef.h alone.
const (
	cmdNegotiate = 'O'
	cmdMacros    = 'D'
	cmdConnect   = 'C'
	cmdHelo      = 'H'
	cmdMail      = 'M'
	cmdRcpt      = 'R'
	cmdData      = 'T'
	cmdHeader    = 'L'
	cmdEndHeader = 'N'
	cmdBody      = 'B'
	cmdEndBody   = 'E'
	cmdAbort     = 'A'
	cmdQuit      = 'Q'
)

// What the filter says.
const (
	saysContinue  = 'c'
	saysAccept    = 'a'
	saysReject    = 'r'
	saysTempfail  = 't'
	saysReply     = 'y' // a reply in full
	saysDiscard   = 'd'
	saysSkip      = 's' // no more of the body
	saysProgress  = 'p' // it still works on it
	saysShutdown  = '4'
	saysConnFail  = 'f'
	saysAddRcpt   = '+'
	saysAddRcptP  = '2' // with parameters
	saysDelRcpt   = '-'
	saysFrom      = 'e'
	saysAddHeader = 'h'
	saysInsHeader = 'i'
	saysChgHeader = 'm'
	saysReplBody  = 'b'
	saysHold      = 'q'
)

// What the filter may do; all of it but asking for macros of its choice, since
// it is given all there are.
const actions = 1<<8 - 1

// What the filter may ask of us.
const (
	noConnect   = 1 << 0
	noHelo      = 1 << 1
	noMail      = 1 << 2
	noRcpt      = 1 << 3
	noBody      = 1 << 4
	noHeader    = 1 << 5
	noEndHeader = 1 << 6
	muteHeader  = 1 << 7
	noUnknown   = 1 << 8
	noData      = 1 << 9
	canSkip     = 1 << 10
	muteConnect = 1 << 12
	muteHelo    = 1 << 13
	muteMail    = 1 << 14
	muteRcpt    = 1 << 15
	muteData    = 1 << 16
	muteUnknown = 1 << 17
	muteEndHead = 1 << 18
	muteBody    = 1 << 19
	leadSpace   = 1 << 20 // field values with the space after the colon

	asks = noConnect | noHelo | noMail | noRcpt | noBody | noHeader | noEndHeader | muteHeader |
		noUnknown | noData | canSkip | muteConnect | muteHelo | muteMail | muteRcpt | muteData |
		muteUnknown | muteEndHead | muteBody | leadSpace
)

const (
	version    = 6
	minVersion = 2
	// maxData is what a command can carry; libmilter takes no more.
	maxData = 65535
	// maxReply is the longest packet that a filter may send. Filters put up to
	// 64 KiB of a new body into one, some a little more.
	maxReply = 1 << 20
	// gathered is how much is written at once.
	gathered = 32 << 10
)

// errProtocol is wrapped by the errors of a filter that does not keep to the
// protocol.
var errProtocol = errors.New("milter protocol error")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

// link is what a wire needs of a net.Conn.
type link interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// wire carries packets: a length of four octets, a letter, and data.
type wire struct {
	link
	in  *bufio.Reader
	out []byte
	buf []byte
}

func newWire(l link) *wire { return &wire{link: l, in: bufio.NewReader(l)} }

// put appends a packet to what the next flush sends. The data is cut at
// maxData.
func (w *wire) put(cmd byte, data ...[]byte) {
	at := len(w.out)
	w.out = append(w.out, 0, 0, 0, 0, cmd)
	for _, d := range data {
		w.out = append(w.out, d...)
	}
	w.out = w.out[:min(len(w.out), at+5+maxData)]
	binary.BigEndian.PutUint32(w.out[at:], uint32(len(w.out)-at-4))
}

func (w *wire) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.Write(w.out)
	w.out = w.out[:0]
	if err != nil {
		return fmt.Errorf("writing to the milter: %w", err)
	}
	return nil
}

// get reads a packet. The data is good until the next get. Memory is taken as
// the octets arrive, not as their number is announced.
func (w *wire) get() (says byte, data []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return 0, nil, fmt.Errorf("reading from the milter: %w", err)
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n < 1 || n > maxReply {
		return 0, nil, protocolError("a packet of %d octets", n)
	}
	w.buf = w.buf[:0]
	for len(w.buf) < int(n) {
		at := len(w.buf)
		w.buf = append(w.buf, make([]byte, min(int(n)-at, gathered))...)
		if _, err := io.ReadFull(w.in, w.buf[at:]); err != nil {
			return 0, nil, fmt.Errorf("reading from the milter: %w", err)
		}
	}
	return w.buf[0], w.buf[1:], nil
}

// text appends strings to data, each ended by a NUL. A NUL in one of them would
// begin another, so it is left out.
func text(data []byte, s ...string) []byte {
	for _, s := range s {
		for i := range len(s) {
			if s[i] != 0 {
				data = append(data, s[i])
			}
		}
		data = append(data, 0)
	}
	return data
}
