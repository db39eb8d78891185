package header

// AfterQuoted returns the offset behind the quoted string (RFC 5322 section
// 3.2.4) that begins at i; closed is false if it has no end, and then that is
// the end of s.
func AfterQuoted[T string | []byte](s T, i int) (end int, closed bool) {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return len(s), false
}

// AfterComment does the same for the comment (section 3.2.2) that begins at i;
// comments nest.
func AfterComment[T string | []byte](s T, i int) (end int, closed bool) {
	for depth := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(s), false
}
