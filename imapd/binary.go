package imapd

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"

	"restante/internal/sevenbit"
)

// maxBinary bounds the messages with octets of value 0 that are taken, in octets:
// they are in memory as a whole.
const maxBinary = 4 << 20

var (
	errNUL     = no(imap.ResponseCodeUnknownCTE, "There are octets of value 0 where they cannot be encoded")
	errLongNUL = no(imap.ResponseCodeUnknownCTE, fmt.Sprintf("Messages of more than %d octets are taken without octets of value 0", maxBinary))
)

// binary takes a message that is sent as literal8. Only BINARY may be answered with
// octets of value 0; else they must be encoded before they are sent (RFC 9051 section
// 4.3.1). So the parts that have some are stored in base64: what BODY[] sends is still
// what is stored.
func (in *incoming) binary(m *taken, r io.Reader, size int64) error {
	if size > maxBinary {
		return in.copy(m, withoutNUL{r}, size)
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, r)
	switch {
	case err != nil:
		return in.s.failure(in.op, err)
	case n < size || bytes.IndexByte(b.Bytes(), 0) < 0:
		return in.copy(m, &b, size)
	}
	text, err := sevenbit.WithoutNUL(bytes.NewReader(b.Bytes()), size)
	if errors.Is(err, sevenbit.ErrCannot) {
		return errNUL
	}
	if err == nil {
		n, err = text.WriteTo(io.Discard)
	}
	if err == nil {
		err = in.fits(0, n, len(in.list))
	}
	if err == nil {
		_, err = text.WriteTo(m)
	}
	if err != nil {
		return in.s.failure(in.op, err)
	}
	in.size += n
	return nil
}

// withoutNUL is a reader that fails at an octet of value 0.
type withoutNUL struct{ io.Reader }

func (r withoutNUL) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if bytes.IndexByte(p[:n], 0) >= 0 {
		return 0, errLongNUL
	}
	return n, err
}
