// Package bench is what the programs that compare restante with others have in
// common: it builds the binary, starts servers of Debian's packages in folders of
// their own, and measures. All of it stays on the loopback interface.
package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TempDir makes a folder that the users of other servers may go through.
func TempDir() (string, error) {
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// Subdir is TempDir below another.
func Subdir(top string) (string, error) {
	dir, err := os.MkdirTemp(top, "run")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// Text is a message of a size, of random text in lines of 76.
func Text(size int) []byte {
	b := []byte("From: from@example.net\nTo: to@example.com\nSubject: load\nDate: Mon, 02 Mar 2026 10:00:00 +0000\nMessage-ID: <load@example.net>\n\n")
	random := make([]byte, size)
	rand.Read(random)
	line := base64.StdEncoding.EncodeToString(random)
	// On the wire each line end has one octet more.
	for octets := len(b) + bytes.Count(b, []byte("\n")); octets < size; {
		n := max(1, min(76, size-octets-2))
		b = append(append(b, line[:n]...), '\n')
		line, octets = line[n:], octets+n+2
	}
	return b
}

// Answers waits for a greeting.
func Answers(ctx context.Context, addr string) error {
	var dialer net.Dialer
	for end := time.Now().Add(30 * time.Second); ; {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			greeting := make([]byte, 3)
			_, err = conn.Read(greeting)
			conn.Close()
			if err == nil && string(greeting) == "220" {
				return nil
			}
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("nobody answers at %s: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Numbers reads numbers above 0 with commas between them.
func Numbers(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of numbers", s)
		}
		out = append(out, n)
	}
	return out, nil
}

// Durations reads durations with commas between them.
func Durations(s string) ([]time.Duration, error) {
	var out []time.Duration
	for part := range strings.SplitSeq(s, ",") {
		d, err := time.ParseDuration(part)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("%q is not a list of durations", s)
		}
		out = append(out, d)
	}
	return out, nil
}

// Median is the value in the middle, or between the two there.
func Median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
