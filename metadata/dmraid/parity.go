package dmraid

import "github.com/klauspost/reedsolomon"

// gf works on slices in GF(2^8) with the polynomial 0x11d and the generator 2, which is
// the field of lib/raid6 too.
var gf reedsolomon.LowLevel

// power holds the powers of the generator, and of each number but 0 the exponent.
var power, exponent = func() (p [255]byte, e [256]int) {
	x := 1
	for i := range p {
		p[i], e[x] = byte(x), i
		if x <<= 1; x > 255 {
			x ^= 0x11d
		}
	}
	return
}()

func multiply(a, b byte) byte {
	if a == 0 || b == 0 {
		return 0
	}
	return power[(exponent[a]+exponent[b])%255]
}

func (r Row) weight(device int) byte { return power[r.Exponent(device)%255] }

// isData tells whether a device holds data in this row.
func (r Row) isData(device int) bool { return device != r.P && device != r.Q }

// CanRebuild tells whether a row survives the loss of so many devices.
func (l Layout) CanRebuild(lost int) bool { return lost <= l.Parity() }

// Rebuild computes the data that the device want has in this row into dst from the others.
// chunks holds, by device, the same range of bytes of each chunk in this row; those for
// which lost is true are not looked at. want must be lost, with no more than
// [Layout.CanRebuild] allows.
func (r Row) Rebuild(dst []byte, chunks [][]byte, lost []bool, want int) {
	first := true
	for device, c := range r.recipe(lost, want) {
		switch {
		case c == 0:
		case first:
			gf.GalMulSlice(c, chunks[device][:len(dst)], dst)
			first = false
		default:
			gf.GalMulSliceXor(c, chunks[device][:len(dst)], dst)
		}
	}
}

// recipe gives the factor of each device's chunk in the sum that makes want's data.
func (r Row) recipe(lost []bool, want int) []byte {
	factor := make([]byte, len(lost))
	other := -1 // a second data device that is lost
	for d := range lost {
		if lost[d] && d != want && r.isData(d) {
			other = d
		}
	}
	a := byte(0)
	if r.Q >= 0 {
		a = r.weight(want)
	}
	for d := range lost {
		switch {
		case lost[d]:
		case other >= 0: // want = (b·(P+P') + Q+Q') / (a+b)
			b := r.weight(other)
			inverse := reedsolomon.Inv(a ^ b)
			switch d {
			case r.P:
				factor[d] = multiply(b, inverse)
			case r.Q:
				factor[d] = inverse
			default:
				factor[d] = multiply(b^r.weight(d), inverse)
			}
		case !lost[r.P]: // want = P+P'
			if d != r.Q {
				factor[d] = 1
			}
		case d == r.Q: // want = (Q+Q') / a
			factor[d] = reedsolomon.Inv(a)
		default:
			factor[d] = multiply(r.weight(d), reedsolomon.Inv(a))
		}
	}
	return factor
}

// SyndromeP adds up data and P of a row into dst: zeros where they agree. chunks is as in
// Rebuild, of all devices.
func (r Row) SyndromeP(dst []byte, chunks [][]byte) {
	clear(dst)
	for d, c := range chunks {
		if d != r.Q {
			gf.GalMulSliceXor(1, c[:len(dst)], dst)
		}
	}
}

// SyndromeQ adds up weighted data and Q of a row of raid6 into dst: zeros where they agree.
func (r Row) SyndromeQ(dst []byte, chunks [][]byte) {
	clear(dst)
	for d, c := range chunks {
		switch d {
		case r.P:
		case r.Q:
			gf.GalMulSliceXor(1, c[:len(dst)], dst)
		default:
			gf.GalMulSliceXor(r.weight(d), c[:len(dst)], dst)
		}
	}
}

// Liar tells which device of a row of raid6 alone can be wrong, given both syndromes; -1
// when more than one is, or none. Source: the mathematics of lib/raid6.
func (r Row) Liar(p, q []byte) int {
	liar, found := -1, false
	for i := range p {
		if p[i] == 0 && q[i] == 0 {
			continue
		}
		device := r.suspect(p[i], q[i])
		if device < 0 || found && device != liar {
			return -1
		}
		liar, found = device, true
	}
	return liar
}

// suspect is the one device whose error gives these syndromes of a byte.
func (r Row) suspect(p, q byte) int {
	switch {
	case q == 0:
		return r.P
	case p == 0:
		return r.Q
	}
	want := (exponent[q] - exponent[p] + 255) % 255
	for d := range r.l.Devices {
		if r.isData(d) && r.Exponent(d) == want {
			return d
		}
	}
	return -1
}
