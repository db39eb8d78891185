// Package structure finds the MIME structure of a message while it streams
// by: the envelope, the tree of parts and the byte offsets at which IMAP cuts
// sections out of the stored octets. It is run once, at delivery; what it
// finds is encoded and stored beside the body, so that FETCH ENVELOPE,
// BODYSTRUCTURE and BODY[...] need not parse anything again.
//
// It never refuses a message. What is malformed is read as well as it can be,
// and the offsets are right in any case: a part's octets are exactly those of
// the message. The rules for the malformed:
//
//   - A line ends in LF; a CR before it belongs to the line end. The header
//     ends at the first empty line. A line in it without a colon is passed over.
//   - If the first line of a header is no field, there is no header, and the
//     body begins there. (An mbox "From " line may stand before the first field.)
//   - A delimiter is a whole line: "--", the boundary, "--" if it closes, white
//     space. The innermost open boundary wins. A missing close delimiter is
//     put in by the delimiter of an outer level or by the end of the message.
//   - A multipart in which no delimiter is found has one text/plain part that
//     covers all of it, so that clients show what is there.
//   - Content-Type that cannot be read is text/plain (RFC 2045 section 5.2).
//
// Memory and time are bounded: time is linear in the message's size, and what
// is kept is limited by MaxHeader for each header, by MaxDepth, MaxParts and by
// MaxKept in all. What lies beyond MaxDepth or MaxParts is a leaf of type
// application/octet-stream.
package structure

// Limits of what is kept of one message.
const (
	// MaxHeader bounds the octets kept of one header's fields; only those that
	// IMAP shows are counted. Fields beyond it are missing in the result.
	MaxHeader = 64 << 10
	// MaxKept bounds the octets kept of the headers of all parts and embedded
	// messages together; the top-level header has MaxHeader of its own. A part
	// beyond it has its offsets and its type, and nothing else.
	MaxKept = 256 << 10
	// MaxDepth bounds how deep parts are nested.
	MaxDepth = 100
	// MaxParts bounds the number of parts that are told apart.
	MaxParts = 1000
)
