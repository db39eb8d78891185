package smtpd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// FuzzInput: an input does what a bufio.Reader of its largest size does,
// whatever is asked of it.
func FuzzInput(f *testing.F) {
	long := strings.Repeat("x", largeBuffer)
	for _, s := range []string{"", "a\r\nb\r\n", "a\nb", long + "\n", long[:smallBuffer] + "\nabc\n", long + long + "\r\nQUIT\r\n"} {
		f.Add(s, []byte("sssss"), uint8(0))
		f.Add(s, []byte("pd1s-p+ds2r3s"), uint8(1))
		f.Add(s, []byte("+s-s+s-ppdss"), uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, ops []byte, how uint8) {
		source := func() io.Reader {
			r := io.Reader(strings.NewReader(text))
			switch how % 4 {
			case 1:
				return iotest.OneByteReader(r)
			case 2:
				return iotest.DataErrReader(r)
			case 3:
				return iotest.HalfReader(r)
			}
			return r
		}
		var pool sync.Pool
		in, model := newInput(source(), &pool), bufio.NewReaderSize(source(), largeBuffer)
		for i, op := range ops {
			var got, want []byte
			var err, wantErr error
			switch op {
			case 's':
				got, err = in.ReadSlice('\n')
				want, wantErr = model.ReadSlice('\n')
			case 'p':
				got, err = in.Peek(1)
				want, wantErr = model.Peek(1)
			case 'd':
				if model.Buffered() == 0 || in.Buffered() == 0 {
					continue
				}
				in.Discard(1)
				model.Discard(1)
			case '+':
				in.grow()
			case '-':
				in.shrink()
			default:
				continue
			}
			if !bytes.Equal(got, want) || !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
				t.Fatalf("%d %c: %d octets, %v; want %d, %v", i, op, len(got), err, len(want), wantErr)
			}
		}
		in.free()
	})
}

// A large buffer is given back when it is not needed, and used again.
func TestInputShrinks(t *testing.T) {
	var pool sync.Pool
	r, w := io.Pipe()
	in := newInput(r, &pool)
	go io.WriteString(w, strings.Repeat("x", 3000)+"\nshort\n")
	if line, err := in.ReadSlice('\n'); len(line) != 3001 || err != nil || len(in.buf) != largeBuffer {
		t.Fatalf("%d octets, %v, in a buffer of %d", len(line), err, len(in.buf))
	}
	if line, err := in.ReadSlice('\n'); string(line) != "short\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	in.shrink()
	if len(in.buf) != smallBuffer || in.borrowed != nil {
		t.Error("the large buffer is kept")
	}
	in.grow()
	in.free()
	if in.buf != nil {
		t.Error("a buffer is kept after the end")
	}
}
