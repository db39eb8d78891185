package wire

// quick is how many bits of a code are looked up at once.
const quick = 9

// huffman is a code.
type huffman struct {
	// table has, for the next bits, the symbol and its length, in the form
	// symbol<<4 | length; 0 if the code is longer.
	table [1 << quick]uint16
	// counts are how many codes there are of a length, symbols those by code.
	counts  [16]uint16
	symbols [288]uint16
}

// build makes a code of the lengths of its symbols. It is false if there can be
// none.
func (h *huffman) build(lengths []uint8) bool {
	h.counts = [16]uint16{}
	for _, l := range lengths {
		h.counts[l]++
	}
	h.counts[0] = 0
	var starts, codes [16]uint16
	left := 1
	for l := 1; l < 16; l++ {
		left = left<<1 - int(h.counts[l])
		if left < 0 {
			return false
		}
		starts[l] = starts[l-1] + h.counts[l-1]
		codes[l] = (codes[l-1] + h.counts[l-1]) << 1
	}
	h.table = [1 << quick]uint16{}
	for sym, l := range lengths {
		if l == 0 {
			continue
		}
		h.symbols[starts[l]] = uint16(sym)
		starts[l]++
		code := codes[l]
		codes[l]++
		if l > quick {
			continue
		}
		var back uint16
		for i := range l {
			back |= (code >> i & 1) << (l - 1 - i)
		}
		for i := int(back); i < 1<<quick; i += 1 << l {
			h.table[i] = uint16(sym)<<4 | uint16(l)
		}
	}
	return true
}

// symbol reads one. It never reads an octet more than it takes to know it.
func (z *inflater) symbol(h *huffman) (int, error) {
	for {
		if e := h.table[z.bits&(1<<quick-1)]; e != 0 && uint(e&15) <= z.n {
			z.bits >>= e & 15
			z.n -= uint(e & 15)
			return int(e >> 4), nil
		}
		if sym, n := h.slow(z.bits, z.n); n > 0 {
			z.bits >>= n
			z.n -= n
			return sym, nil
		}
		if z.n > 15 {
			return 0, errDeflate
		}
		if err := z.more(); err != nil {
			return 0, err
		}
	}
}

// slow reads a code bit by bit; n is 0 if there are too few.
func (h *huffman) slow(bits uint32, have uint) (sym int, n uint) {
	code, first, index := 0, 0, 0
	for l := uint(1); l <= min(have, 15); l++ {
		code |= int(bits & 1)
		bits >>= 1
		count := int(h.counts[l])
		if code-first < count {
			return int(h.symbols[index+code-first]), l
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0
}
