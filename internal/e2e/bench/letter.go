package bench

import (
	"bytes"
	"fmt"
	"strings"
)

// Letter is the message of a number: short ones of text, some with two parts and
// some with an attachment, 4 KB on the average.
func Letter(i int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <sender%d@example.net>\r\nReceived: from mail.example.net (mail.example.net [192.0.2.%d])\r\n\tby mx.example.org with ESMTPS id %d;\r\n\tMon, 30 Nov 2026 10:00:00 +0000\r\n",
		i%97, i%250, i)
	fmt.Fprintf(&b, "From: Sender Number %d <sender%d@example.net>\r\nTo: Alice Example <alice@example.org>, team@example.org\r\nCc: Bob <bob@example.org>\r\n", i%97, i%97)
	fmt.Fprintf(&b, "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= number %d about topic %d\r\nDate: Mon, 30 Nov 2026 %02d:%02d:00 +0000\r\nMessage-ID: <%d.load@example.net>\r\nMIME-Version: 1.0\r\n",
		i, i%13, i/60%24, i%60, i)
	text := strings.Repeat(fmt.Sprintf("This is line of text in message %d, of words that anybody might write.\r\n", i), 5+i%40)
	switch i % 5 {
	case 0:
		b.WriteString("Content-Type: multipart/alternative; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text +
			"--b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>" + text + "</p>\r\n--b1--\r\n")
	case 1:
		b.WriteString("Content-Type: multipart/mixed; boundary=\"b2\"\r\n\r\n--b2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text +
			"--b2\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\nContent-Disposition: attachment; filename=\"report.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			strings.Repeat("VGhpcyBpcyBub3QgcmVhbGx5IGEgUERGIGZpbGUsIGJ1dCBpdCBsb29rcyBsaWtlIG9uZS4=\r\n", 100) + "--b2--\r\n")
	default:
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\n\r\n" + text)
	}
	return b.Bytes()
}
