package corpus

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
)

// Attachment returns a message with an attachment of the given number of
// octets before base64, the same each time. It serves wherever a message of
// some size is wanted.
func Attachment(size int) []byte {
	const (
		perLine = 57 // octets in a base64 line of 76
		top     = "From: Ann Weaver <ann@example.org>\r\n" +
			"To: Ben Carter <ben@example.com>\r\n" +
			"Subject: Something big\r\n" +
			"Date: Mon, 1 Apr 2024 09:00:00 +0200\r\n" +
			"Message-ID: <big@example.org>\r\n" +
			"MIME-Version: 1.0\r\n" +
			"Content-Type: multipart/mixed; boundary=\"big-boundary\"\r\n" +
			"\r\n" +
			"--big-boundary\r\n" +
			"Content-Type: text/plain; charset=us-ascii\r\n" +
			"\r\n" +
			"The disk image is attached.\r\n" +
			"--big-boundary\r\n" +
			"Content-Type: application/octet-stream; name=disk.img\r\n" +
			"Content-Transfer-Encoding: base64\r\n" +
			"Content-Disposition: attachment; filename=disk.img\r\n" +
			"\r\n"
		end = "--big-boundary--\r\n"
	)
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	var b bytes.Buffer
	b.Grow(len(top) + len(end) + (size/perLine+1)*78)
	b.WriteString(top)
	for len(data) > 0 {
		n := min(perLine, len(data))
		b.Write(base64.StdEncoding.AppendEncode(b.AvailableBuffer(), data[:n]))
		b.WriteString("\r\n")
		data = data[n:]
	}
	b.WriteString(end)
	return b.Bytes()
}
