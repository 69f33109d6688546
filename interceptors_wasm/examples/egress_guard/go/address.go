package main

// address is an IP address; an IPv4 address is in the first four bytes.
type address struct {
	bytes [16]byte
	isV4  bool
}

// network is the addresses whose first bits are those of base.
type network struct {
	base address
	bits int
}

func (n network) contains(a address) bool {
	if a.isV4 != n.base.isV4 {
		return false
	}
	for i, left := 0, n.bits; left > 0; i, left = i+1, left-8 {
		shift := max(0, 8-left)
		if a.bytes[i]>>shift != n.base.bytes[i]>>shift {
			return false
		}
	}
	return true
}

// The IPv4 addresses that are not somebody's host in the public network.
var specialV4 = [...]network{
	v4(0, 0, 0, 0, 8),        // this host
	v4(10, 0, 0, 0, 8),       // private
	v4(100, 64, 0, 0, 10),    // carriers; the metadata of one cloud
	v4(127, 0, 0, 0, 8),      // loopback
	v4(168, 63, 129, 16, 32), // a public address, but the host agent of one cloud
	v4(169, 254, 0, 0, 16),   // link-local; the metadata of most clouds
	v4(172, 16, 0, 0, 12),    // private
	v4(192, 0, 0, 0, 24),     // protocols; the metadata of one cloud
	v4(192, 0, 2, 0, 24),     // documentation
	v4(192, 88, 99, 0, 24),   // relays to IPv6
	v4(192, 168, 0, 0, 16),   // private
	v4(198, 18, 0, 0, 15),    // benchmarks
	v4(198, 51, 100, 0, 24),  // documentation
	v4(203, 0, 113, 0, 24),   // documentation
	v4(224, 0, 0, 0, 4),      // multicast
	v4(240, 0, 0, 0, 4),      // reserved, broadcast
}

// The parts of 2000::/3 that are not somebody's host in the public network. Everything outside of 2000::/3 is none:
// loopback, link-local, private, multicast, and the forms that carry an IPv4 address.
var specialV6 = [...]network{
	v6(0x20, 0x01, 0x00, 0x00, 23), // protocols, among them tunnels that carry an IPv4 address
	v6(0x20, 0x01, 0x0d, 0xb8, 32), // documentation
	v6(0x20, 0x02, 0x00, 0x00, 16), // carries an IPv4 address
	v6(0x3f, 0xff, 0x00, 0x00, 20), // documentation
}

func v4(a, b, c, d byte, bits int) network {
	return network{address{[16]byte{a, b, c, d}, true}, bits}
}

func v6(a, b, c, d byte, bits int) network {
	return network{address{[16]byte{a, b, c, d}, false}, bits}
}

func (a address) isPublic() bool {
	special := specialV6[:]
	if a.isV4 {
		special = specialV4[:]
	} else if a.bytes[0]>>5 != 0x20>>5 {
		return false
	}
	for _, network := range special {
		if network.contains(a) {
			return false
		}
	}
	return true
}

// parseV4 reads an IPv4 address in its usual notation: four decimal numbers without leading zeros.
func parseV4(text string) (a address, ok bool) {
	a.isV4 = true
	for part := 0; part < 4; part++ {
		digits, value := 0, 0
		for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' && digits < 4 {
			value = value*10 + int(text[digits]-'0')
			digits++
		}
		if digits == 0 || value > 255 || digits > 1 && text[0] == '0' {
			return a, false
		}
		a.bytes[part] = byte(value)
		text = text[digits:]
		if part < 3 {
			if text == "" || text[0] != '.' {
				return a, false
			}
			text = text[1:]
		}
	}
	return a, text == ""
}

// isNumeric tells whether some programs would read a host as an IPv4 address, in any of the notations: its last part
// is a number, decimal, octal or hexadecimal.
func isNumeric(host string) bool {
	last := host
	for i := 0; i < len(host); i++ {
		if host[i] == '.' {
			last = host[i+1:]
		}
	}
	if len(last) >= 2 && last[0] == '0' && last[1] == 'x' {
		for i := 2; i < len(last); i++ {
			if hexDigit(last[i]) < 0 {
				return false
			}
		}
		return true
	}
	for i := 0; i < len(last); i++ {
		if last[i] < '0' || last[i] > '9' {
			return false
		}
	}
	return last != ""
}

// parseV6 reads an IPv6 address without brackets and without a zone.
func parseV6(text string) (a address, ok bool) {
	at, gap := 0, -1 // at: bytes so far; gap: where `::` stands
	if len(text) >= 2 && text[:2] == "::" {
		gap, text = 0, text[2:]
	}
	for text != "" {
		if at == 16 {
			return a, false
		}
		if tail, isTail := parseV4(text); isTail && at <= 12 {
			copy(a.bytes[at:], tail.bytes[:4])
			at, text = at+4, ""
			break
		}
		digits, value := 0, 0
		for digits < len(text) && hexDigit(text[digits]) >= 0 && digits < 5 {
			value = value<<4 + hexDigit(text[digits])
			digits++
		}
		if digits == 0 || digits > 4 {
			return a, false
		}
		a.bytes[at], a.bytes[at+1] = byte(value>>8), byte(value)
		at, text = at+2, text[digits:]
		switch {
		case text == "":
		case len(text) >= 2 && text[:2] == "::" && gap < 0:
			gap, text = at, text[2:]
		case len(text) >= 2 && text[0] == ':' && text[1] != ':':
			text = text[1:]
		default:
			return a, false
		}
	}
	if gap < 0 {
		return a, at == 16
	}
	if at > 14 { // `::` stands for one group at least
		return a, false
	}
	tail := at - gap
	copy(a.bytes[16-tail:], a.bytes[gap:at])
	clear(a.bytes[gap : 16-tail])
	return a, true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
