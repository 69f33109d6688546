package main

import "strconv"

// host is what stands between the slashes of a URL, read.
type host struct {
	name      string // in lower case, without the dot at the end; "" for an address
	address   address
	isAddress bool
}

// pattern is one host of `allow` or `deny`.
type pattern struct {
	name        string // in lower case, or "" for a network
	self, below bool
	network     network
	port        int // 0: none is named
}

func (p pattern) matches(h host, port int) bool {
	if p.port != 0 && p.port != port {
		return false
	}
	if p.name == "" {
		return h.isAddress && p.network.contains(h.address)
	}
	return p.self && h.name == p.name || p.below && isBelow(h.name, p.name)
}

// isBelow tells whether a name ends in `.suffix`.
func isBelow(name, suffix string) bool {
	cut := len(name) - len(suffix)
	return cut > 0 && name[cut-1] == '.' && name[cut:] == suffix
}

// judgeAuthority gives what is wrong with `host`, `host:port` or `[address]:port`, or "". The scheme tells the port
// where none is written; "" where there is no scheme.
func (g *guard) judgeAuthority(authority, scheme string) string {
	for i := 0; i < len(authority); i++ {
		if authority[i] == '@' {
			return "credentials in front of the host are not allowed"
		}
	}
	h, written, problem := readAuthority(lower(authority))
	if problem != "" {
		return problem
	}
	port, usual := written, defaultPort(scheme)
	if port == 0 {
		port = usual
	}
	if problem := g.judgeHost(h, port, written == 0 || written == usual || containsPort(g.ports, written)); problem != "" {
		return "`" + short(authority) + "` " + problem
	}
	return ""
}

func (g *guard) judgeHost(h host, port int, portPasses bool) string {
	for _, pattern := range g.deny {
		// Where the port is not known, it may be the denied one.
		if pattern.matches(h, port) || port == 0 && pattern.matches(h, pattern.port) {
			return "is on the list of denied hosts"
		}
	}
	if g.hasAllow {
		for _, pattern := range g.allow {
			if pattern.matches(h, port) && (portPasses || pattern.port != 0) {
				return ""
			}
		}
		return "is not on the list of allowed hosts and ports"
	}
	switch {
	case h.isAddress && !h.address.isPublic():
		return "is an internal or reserved address"
	case h.isAddress && !g.publicIPLiterals:
		return "is an address; a name is wanted"
	case !h.isAddress && leadsInside(h.name):
		return "is an internal name"
	case !h.isAddress && !g.punycode && hasPunycode(h.name):
		return "is an internationalised name"
	case !portPasses:
		return "has a port that is not allowed"
	}
	return ""
}

// readAuthority reads a host in lower case and the port behind it, 0 where none is written. What two programs could
// read in two ways is a problem.
func readAuthority(text string) (h host, port int, problem string) {
	end := len(text)
	if text != "" && text[0] == '[' {
		for end = 0; end < len(text) && text[end] != ']'; end++ {
		}
		if end == len(text) {
			return h, 0, "a bracket is missing in the host"
		}
		end++
	} else {
		for end = 0; end < len(text) && text[end] != ':'; end++ {
		}
	}
	if end < len(text) {
		if port, problem = readPort(text[end:]); problem != "" {
			return h, 0, problem
		}
	}
	h, problem = readHost(text[:end])
	return h, port, problem
}

// readPort reads a colon and what is behind it.
func readPort(text string) (port int, problem string) {
	for i := 1; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, "`" + short(text) + "` is no port"
		}
	}
	port, err := strconv.Atoi(text[1:])
	if err != nil || text[0] != ':' || len(text) > 6 || port < 1 || port > 65535 {
		return 0, "`" + short(text) + "` is no port"
	}
	return port, ""
}

func readHost(text string) (h host, problem string) {
	if text == "" {
		return h, "the host is missing"
	}
	if text[0] == '[' {
		h.address, h.isAddress = parseV6(text[1 : len(text)-1])
		if !h.isAddress {
			return h, "`" + short(text) + "` is no IPv6 address, or has a zone"
		}
		return h, ""
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= 0x80:
			return h, "the host has characters that are not ASCII; write it in its `xn--` form"
		case c == '%':
			return h, "the host has percent signs"
		case !isHostByte(c):
			return h, "the host has a character that no name has"
		}
	}
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1] // `example.com.` is `example.com`
	}
	if problem := checkLabels(text); problem != "" {
		return h, problem
	}
	if isNumeric(text) {
		h.address, h.isAddress = parseV4(text)
		if !h.isAddress {
			return h, "`" + short(text) + "` is an address in an unusual notation"
		}
		return h, ""
	}
	h.name = text
	return h, ""
}

func isHostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
}

// checkLabels refuses what is no name for DNS: some programs cut such a name, others complete it.
func checkLabels(name string) string {
	length := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			length++
			continue
		}
		if length == 0 || length > 63 {
			return "the host has an empty or overlong part"
		}
		length = 0
	}
	if len(name) > 253 {
		return "the host is too long"
	}
	return ""
}

func hasPunycode(name string) bool {
	for i := 0; i+4 <= len(name); i++ {
		if name[i:i+4] == "xn--" && (i == 0 || name[i-1] == '.') {
			return true
		}
	}
	return false
}

// Public names whose addresses are internal ones, or whatever address is written in the name.
var publicInside = [...]string{
	"nip.io", "sslip.io", "xip.io", "traefik.me", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com",
	"home.arpa", "metadata.goog",
}

// leadsInside tells whether a name leads to this machine or its network.
func leadsInside(name string) bool {
	last := len(name)
	for last > 0 && name[last-1] != '.' {
		last--
	}
	if last == 0 { // without a dot, `localhost` too
		return true
	}
	switch name[last:] {
	case "localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "svc",
		"test", "invalid", "onion":
		return true
	}
	for _, suffix := range publicInside {
		if name == suffix || isBelow(name, suffix) {
			return true
		}
	}
	return false
}

// defaultPort of a scheme, 0 where it is not known.
func defaultPort(scheme string) int {
	switch scheme {
	case "http", "ws":
		return 80
	case "https", "wss":
		return 443
	case "ftp":
		return 21
	}
	return 0
}

func containsPort(list []int, port int) bool {
	for _, element := range list {
		if element == port {
			return true
		}
	}
	return false
}

// readPattern reads a host of the configuration, in lower case.
func readPattern(text string) (p pattern, problem string) {
	p.self = true
	if len(text) > 2 && text[:2] == "*." {
		p.self, p.below, text = false, true, text[2:]
	} else if len(text) > 1 && text[0] == '.' {
		p.below, text = true, text[1:]
	}
	text, bits, problem := cutPrefix(text)
	if problem != "" {
		return p, problem
	}
	h, port, problem := readAuthority(text)
	if problem != "" {
		return p, "is no host: " + problem
	}
	p.name, p.port = h.name, port
	if !h.isAddress && bits >= 0 || h.isAddress && p.below {
		return p, "is neither a name nor a network"
	}
	if h.isAddress {
		p.network, problem = makeNetwork(h.address, bits)
	}
	return p, problem
}

// cutPrefix takes the `/8` out of `10.0.0.0/8:80` or `[fd00::/8]:80`; -1 where there is none.
func cutPrefix(text string) (rest string, bits int, problem string) {
	for i := 0; i < len(text); i++ {
		if text[i] != '/' {
			continue
		}
		end := i + 1
		for end < len(text) && text[end] >= '0' && text[end] <= '9' {
			end++
		}
		bits, err := strconv.Atoi(text[i+1 : end])
		if err != nil || bits > 128 {
			return "", 0, "is no network"
		}
		return text[:i] + text[end:], bits, ""
	}
	return text, -1, ""
}

func makeNetwork(base address, bits int) (n network, problem string) {
	most := 128
	if base.isV4 {
		most = 32
	}
	if bits < 0 {
		bits = most
	}
	if bits > most {
		return n, "has more bits than the address"
	}
	n = network{base, bits}
	for i := range base.bytes {
		if kept := min(8, max(0, bits-8*i)); base.bytes[i]<<kept != 0 {
			return n, "has bits behind its prefix"
		}
	}
	return n, ""
}

// short cuts a text for a message.
func short(text string) string {
	if len(text) <= 100 {
		return text
	}
	cut := 100
	for text[cut]&0xc0 == 0x80 {
		cut--
	}
	return text[:cut] + "…"
}
