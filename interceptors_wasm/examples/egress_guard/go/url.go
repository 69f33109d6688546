package main

// Schemes of which browsers know that a host follows, however many slashes there are.
var special = []string{"http", "https", "ws", "wss", "ftp", "file"}

// Schemes without slashes that some programs load or run.
var opaque = []string{"data", "javascript", "vbscript", "jar", "view-source", "blob", "filesystem", "netdoc"}

const ambiguous = "the end of the host is ambiguous; write a slash there"

// judgeURL judges a string that has to be a URL, and gives what is wrong with it, or "".
func (g *guard) judgeURL(text string) string {
	for i := 0; i < len(text); i++ {
		// Browsers drop tabs and line breaks wherever they are; other programs send them on.
		if text[i] < ' ' || text[i] == 0x7f {
			return "control characters are not allowed in a URL"
		}
	}
	length := 0
	for length < len(text) && isSchemeByte(text[length]) {
		length++
	}
	if length == 0 || length == len(text) || text[length] != ':' || !isLetter(text[0]) {
		return "a URL with its scheme is wanted, such as `https://example.com/`"
	}
	return g.judgeAfterScheme(lower(text[:length]), text[length+1:])
}

func isSchemeByte(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'
}

// judgeAfterScheme judges what stands behind `https:`.
func (g *guard) judgeAfterScheme(scheme, rest string) string {
	if !contains(g.schemes, scheme) {
		return "the scheme `" + short(scheme) + "` is not allowed"
	}
	// Browsers take `https:/host`, `https:\\host` and `https:///host` for `https://host`; others do not.
	if len(rest) < 2 || rest[:2] != "//" || len(rest) > 2 && isSlash(rest[2]) {
		return "exactly two slashes are wanted behind the scheme"
	}
	rest = rest[2:]
	end := authorityLength(rest)
	if end < len(rest) && isAmbiguous(rest[end:]) {
		return ambiguous
	}
	return g.judgeAuthority(rest[:end], scheme)
}

// authorityLength gives where the host and port end that a text begins with.
func authorityLength(text string) int {
	for i := 0; i < len(text); i++ {
		if isSlash(text[i]) || text[i] == '?' || text[i] == '#' {
			return i
		}
	}
	return len(text)
}

// isAmbiguous tells whether programs disagree on where the host ends. For some the host of `https://a\@b`, `https://a#@b`
// and `https://a?@b` is a, for others b.
func isAmbiguous(afterHost string) bool {
	if afterHost[0] == '\\' {
		return true
	}
	for i := 0; i < len(afterHost) && afterHost[i] != '/' && afterHost[i] != ' '; i++ {
		if afterHost[i] == '@' {
			return true
		}
	}
	return false
}
