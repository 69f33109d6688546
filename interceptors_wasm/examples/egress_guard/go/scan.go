package main

import "pdp"

// judgeText looks for URLs in a string that may be any text, and gives what is wrong with one of them, or "". It reads
// the string in two ways: as one URL, the way a browser reads what is typed into it, and as text with URLs in it.
func (g *guard) judgeText(text string) string {
	if problem := g.judgeTyped(trimSpace(text)); problem != "" {
		return problem
	}
	for i := pdp.IndexByte(text, ':', 0); i+1 < len(text); i = pdp.IndexByte(text, ':', i+1) {
		if isSlash(text[i+1]) {
			if problem := g.judgeFound(text, i); problem != "" {
				return problem
			}
		}
	}
	return ""
}

// --- the string as one URL ---------------------------------------------------------------------------------------

// judgeTyped judges a string that as a whole is a URL, or may be taken for one.
func (g *guard) judgeTyped(text string) string {
	if len(text) < 2 {
		return ""
	}
	if isSlash(text[0]) && isSlash(text[1]) {
		return g.judgeNetworkPath(text)
	}
	reader := typed{text, 0}
	scheme, c := reader.until(func(c int) bool { return !isSchemeByte(byte(c)) }, 30)
	if scheme = lower(scheme); c == ':' && len(scheme) > 1 && isLetter(scheme[0]) {
		if problem := g.judgeTypedURL(scheme, reader); problem != "" {
			return problem
		}
	}
	return g.judgeBareAddress(text)
}

// typed reads a string as a browser does: without the tabs and line breaks in it.
type typed struct {
	text string
	at   int
}

// until gives the bytes before the one that ends them, and that one, which is read as well; -1 at the end of the text
// and behind `most` bytes.
func (t *typed) until(ends func(c int) bool, most int) (before string, c int) {
	var out []byte
	for t.at < len(t.text) && len(out) < most {
		c = int(t.text[t.at])
		t.at++
		if c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		if ends(c) {
			return string(out), c
		}
		out = append(out, byte(c))
	}
	return string(out), -1
}

// judgeTypedURL judges what the reader has behind `scheme:`.
func (g *guard) judgeTypedURL(scheme string, reader typed) string {
	slashes, c := reader.until(func(c int) bool { return !isSlash(byte(c)) }, len(reader.text))
	if c >= 0 {
		reader.at--
	}
	authority, c := reader.until(endsAuthority, len(reader.text))
	isText := hasByteOf(authority, " ") // no host has a space, so no program takes the whole string for a URL
	isSpecial := contains(special, scheme)
	switch {
	case slashes == "" && (isText || authority == ""):
		return "" // `http: the protocol`, `data:`
	case isSpecial && slashes != "//", slashes == "" && contains(opaque, scheme):
		return g.judgeAfterScheme(scheme, slashes+authority)
	case slashes != "//" && slashes != "///":
		return "" // `key:value`, `note:/x`
	case isText && hasByteOf(authority, "@"):
		// What is in front of a host may have a space in it, so that what looks like text is a URL.
		return g.judgeAuthority(authority, scheme)
	case isText, authority == "" && c < 0:
		return ""
	case c >= 0 && isAmbiguous(reader.text[reader.at-1:]):
		return ambiguous
	}
	return g.judgeAfterScheme(scheme, "//"+authority)
}

func endsAuthority(c int) bool { return isSlash(byte(c)) || c == '?' || c == '#' }

// judgeNetworkPath judges `//host/path`, which takes its scheme from where it stands, and `\\host\share`. What has no
// dot in the place of the host is more often a path, or an XPath.
func (g *guard) judgeNetworkPath(text string) string {
	authority := text[2 : 2+authorityLength(text[2:])]
	if hasByteOf(text, " \t\n\r") || authority == "" {
		return ""
	}
	name := lower(authority)
	for i := 0; i < len(name); i++ {
		if name[i] < 0x80 && !isHostByte(name[i]) && !hasByteOf(name[i:i+1], ":[]@%") {
			return "" // `//div[contains(@class,"a.b")]`
		}
	}
	if text[:2] == `\\` && len(text) > 2+len(authority) {
		return "network paths are not allowed"
	}
	for i := 0; i < len(name) && name[0] != '['; i++ {
		if name[i] == ':' {
			name = name[:i]
		}
	}
	if name == "localhost" || isNumeric(name) || hasByteOf(name, "[") || hasByteOf(name, ".") && hasLetter(name) {
		return g.judgeAuthority(authority, "https")
	}
	return ""
}

// judgeBareAddress judges a string that begins with an internal address or its name, without a scheme. Other hosts
// without a scheme cannot be told from other text.
func (g *guard) judgeBareAddress(text string) string {
	authority := text[:min(len(text), 64)]
	authority = lower(authority[:authorityLength(authority)])
	h, _, problem := readAuthority(authority)
	if problem == "" && (h.isAddress && !h.address.isPublic() || h.name == "localhost" || h.name == "metadata.google.internal") {
		return g.judgeAuthority(authority, "")
	}
	return ""
}

// --- URLs in a text ----------------------------------------------------------------------------------------------

// judgeFound judges the URL around a colon with slashes behind it.
func (g *guard) judgeFound(text string, colon int) string {
	scheme := schemeBefore(text, colon)
	at := colon + 1
	for at < len(text) && isSlash(text[at]) {
		at++
	}
	if len(scheme) < 2 || at == len(text) || text[at] <= ' ' {
		return "" // `C:\`, `://`, `https://` and nothing behind it
	}
	slashes := text[colon+1 : at]
	escaped := slashes == `\/\/` // JSON in a string is often written so
	switch {
	case slashes == "//", escaped:
	case contains(special, scheme), slashes == "///":
		return g.judgeAfterScheme(scheme, slashes)
	default:
		return "" // `key:/x`, `key:\n`
	}
	end := at
	for end < len(text) && !endsRun(text[end]) {
		end++
	}
	authority := cutText(text[at:end])
	switch {
	case hasByteOf(text[at:end], "@"):
		return g.judgeAuthority(text[at:end], scheme)
	case authority == "":
		return "" // `https://…`, `https://{host}/`: a pattern, no URL
	case end < len(text) && !(escaped && text[end] == '\\') && hasAtInWord(text[end:]):
		return ambiguous
	}
	return g.judgeAfterScheme(scheme, "//"+authority)
}

// endsRun tells whether a byte ends the host in a running text, whatever it is.
func endsRun(c byte) bool {
	switch c {
	case '/', '\\', '?', '#', '"', '<', '>', '`', '{', '}', '|', '^', 0x7f:
		return true
	}
	return c <= ' '
}

func schemeBefore(text string, colon int) string {
	begin := colon
	for begin > 0 && colon-begin < 30 && isSchemeByte(text[begin-1]) {
		begin--
	}
	for begin < colon && !isLetter(text[begin]) {
		begin++
	}
	return lower(text[begin:colon])
}

// hasAtInWord is isAmbiguous for a text in which a backslash often is no part of the URL: `"https://a\n"`.
func hasAtInWord(afterHost string) bool {
	if !endsAuthority(int(afterHost[0])) || afterHost[0] == '/' {
		return false
	}
	for i := 1; i < len(afterHost) && afterHost[i] != '/' && afterHost[i] > ' ' && afterHost[i] != '"'; i++ {
		if afterHost[i] == '@' {
			return true
		}
	}
	return false
}

// cutText cuts off what follows a host in running text: punctuation, brackets, quotes, in other scripts too.
func cutText(run string) string {
	end, inBrackets := 0, false
	for end < len(run) {
		c := run[end]
		switch {
		case c == '[' && end == 0:
			inBrackets = true
		case c == ']' && inBrackets:
			inBrackets = false
		case c == ':', isHostByte(c), isLetter(c):
		case c == '%' && len(run) > end+2 && hexDigit(run[end+1]) >= 0 && hexDigit(run[end+2]) >= 0:
		case c >= 0x80 && !isClosing(run[end:]):
		default:
			return trimPunctuation(run[:end])
		}
		end++
	}
	return trimPunctuation(run)
}

func trimPunctuation(host string) string {
	for host != "" && hasByteOf(host[len(host)-1:], ".:_-") {
		host = host[:len(host)-1]
	}
	return host
}

// isClosing tells whether a text is only quotes, brackets and stops, and so nothing that could be the rest of a name.
func isClosing(text string) bool {
	for _, r := range text {
		switch r {
		case '’', '”', '»', '›', '」', '』', '）', '】', '》', '。', '，', '、', '；', '：', '！', '？', '…':
		case '.', ',', ';', ':', ')', '!', '*', '\'':
		default:
			return false
		}
	}
	return true
}

// --- bytes -------------------------------------------------------------------------------------------------------

func trimSpace(text string) string {
	for text != "" && text[0] <= ' ' {
		text = text[1:]
	}
	for text != "" && text[len(text)-1] <= ' ' {
		text = text[:len(text)-1]
	}
	return text
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func hasLetter(text string) bool {
	for i := 0; i < len(text); i++ {
		if isLetter(text[i]) {
			return true
		}
	}
	return false
}

func hasByteOf(text, bytes string) bool {
	for i := 0; i < len(text); i++ {
		for j := 0; j < len(bytes); j++ {
			if text[i] == bytes[j] {
				return true
			}
		}
	}
	return false
}
