//! URLs and mail addresses in a text, and whose they are. Where readers of a URL could disagree about its host
//! (`https://ours.example\@theirs.example`), it is nobody's that is known.

const std = @import("std");
const ascii = std.ascii;

/// What stands behind the `://` at `mark`, if that is one: user, host and port.
pub fn authorityAt(text: []const u8, mark: usize) ?[]const u8 {
    if (text[mark] != ':' or mark == 0 or !ascii.isAlphanumeric(text[mark - 1]) or text.len < mark + 3) return null;
    for (text[mark + 1 ..][0..2]) |byte| if (byte != '/' and byte != '\\') return null;
    const rest = text[mark + 3 ..];
    return rest[0 .. std.mem.findAny(u8, rest, "/?#" ++ ascii.whitespace) orelse rest.len];
}

pub fn hasPassword(authority: []const u8) bool {
    const end = std.mem.findScalarLast(u8, authority, '@') orelse return false;
    const colon = std.mem.findScalar(u8, authority[0..end], ':') orelse return false;
    return colon + 1 < end;
}

/// The host without user and port, and without the punctuation of the text around the URL.
pub fn hostOf(authority: []const u8) []const u8 {
    const start = if (std.mem.findScalarLast(u8, authority, '@')) |mark| mark + 1 else 0;
    if (std.mem.findScalar(u8, authority[0..start], '\\') != null) return authority;
    const end = std.mem.findAnyPos(u8, authority, start, "\"'<>`(){},;|") orelse authority.len;
    const host = authority[start..end];
    const colon = std.mem.findScalarLast(u8, host, ':') orelse return host;
    return if (std.mem.findNone(u8, host[colon + 1 ..], "0123456789") == null) host[0..colon] else host;
}

/// The domain of the mail address whose `@` is at `mark`, if that is one.
pub fn mailDomainAt(text: []const u8, mark: usize) ?[]const u8 {
    if (text[mark] != '@' or mark == 0 or !isMailboxByte(text[mark - 1])) return null;
    const rest = text[mark + 1 ..];
    if (rest.len > 0 and rest[0] == '[') return "["; // the address of a machine, and no domain of ours
    const domain = std.mem.trimEnd(u8, rest[0..hostLength(rest)], ".");
    const dot = std.mem.findScalarLast(u8, domain, '.') orelse return null;
    return if (ascii.isDigit(domain[dot + 1])) null else domain; // `package@1.2.3`
}

/// Whether a host is one of these domains or below one.
pub fn isWithin(host: []const u8, domains: []const []const u8) bool {
    const name = if (std.mem.endsWith(u8, host, ".")) host[0 .. host.len - 1] else host;
    for (domains) |domain| {
        if (!ascii.endsWithIgnoreCase(name, domain)) continue;
        const below = name[0 .. name.len - domain.len];
        if (below.len == 0) return true;
        if (below[below.len - 1] == '.' and hostLength(below) == below.len) return true;
    }
    return false;
}

/// A name without port, without a dot at its ends, or an IPv6 address in its brackets.
pub fn isDomain(text: []const u8) bool {
    if (text[0] == '[') return text[text.len - 1] == ']';
    return hostLength(text) == text.len and text[0] != '.' and text[text.len - 1] != '.';
}

fn isMailboxByte(byte: u8) bool {
    return byte >= 0x80 or ascii.isAlphanumeric(byte) or std.mem.findScalar(u8, "!#$%&'*+-/=?^_`{|}~.\"", byte) != null;
}

fn hostLength(text: []const u8) usize {
    var len: usize = 0;
    while (len < text.len and (text[len] >= 0x80 or ascii.isAlphanumeric(text[len]) or
        std.mem.findScalar(u8, ".-_", text[len]) != null)) len += 1;
    return len;
}
