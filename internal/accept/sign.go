package accept

import (
	"context"
	"io"

	"restante/internal/screen"
)

// Signer puts signatures (DKIM, RFC 6376) on messages. It is safe for
// concurrent use.
//
// What is signed is the message as it goes on, so a signature is made last:
// when the screens have had their say and the header has been rewritten. Only
// the body streams by earlier, and is never held:
//
//	job := signer.Begin(m)        // the header has been read
//	job.Write(body…)              // while the body goes into the spool
//	fields, err := job.Sign(ctx, final)
//
// The same is done again for a message whose From a route rewrites, when it is
// sent that way: its former signature would not hold any more.
type Signer interface {
	// Begin starts the signing of one message of our own: mail of other servers
	// is not asked about. A nil job has nothing to do with it. m.Header is the header as it came,
	// of which From and all else may still change: a signer must not settle
	// here in whose name it signs, only whether it could sign at all. Where a
	// screen replaces the body the job is dropped without Sign, and Begin is
	// called anew.
	Begin(m *screen.Message) SignJob
}

// SignJob signs one message. It is not safe for concurrent use, and there is
// nothing to close: a job that is of no more use is dropped.
type SignJob interface {
	// Write is given the body as it is stored, without the empty line before
	// it, in pieces of any size. It never fails and must not keep what it is
	// given: what the job must hold (a hash) is bounded.
	io.Writer
	// Sign is called once, after the whole body. header is the final header:
	// field after field with their line ends, without the empty line after it
	// and without the trace fields that are put in front of it here (Received,
	// Authentication-Results, Return-Path), which are not for signing. It
	// returns whole fields with CRLF line ends, which go in front of
	// everything; nothing where no key is for the header's author. An error
	// refuses the message for now (451).
	Sign(ctx context.Context, header []byte) ([]byte, error)
}
