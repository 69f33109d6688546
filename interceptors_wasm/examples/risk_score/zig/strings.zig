//! What a string, or the name of a member, gives away.

const std = @import("std");
const ascii = std.ascii;
const pdp = @import("pdp");
const addresses = @import("addresses.zig");
const blobs = @import("blobs.zig");
const Settings = @import("settings.zig").Settings;
const Signal = @import("settings.zig").Signal;
const Signals = @import("settings.zig").Signals;

/// Text to look for, in lower case. A space stands for any white space. Where it begins or ends with a letter, the text
/// around it must not go on with one, and none may stand before a dot: `.env` is neither in `process.env` nor in
/// `.environment`.
const Pattern = struct {
    signal: Signal,
    text: []const u8,
    /// That many characters of a random token have to follow.
    token: u8 = 0,
    /// `bitsOf` the byte that comes second: most words can be left there.
    second: u32 = 0,
    /// The next pattern that begins with the same byte, counted from 1.
    next: u16 = 0,
};

fn patterns(comptime signal: Signal, comptime token: u8, comptime texts: []const []const u8) [texts.len]Pattern {
    var list: [texts.len]Pattern = undefined;
    for (&list, texts) |*pattern, text| pattern.* = .{ .signal = signal, .text = text, .token = token };
    return list;
}

const fixed = patterns(.shell_command, 0, &.{
    "/bin/bash", "/bin/sh",    "/dev/tcp/",         ":(){",    "aws s3 ",    "base64 -d", "bash -c",    "bash -i",
    "chmod +s",  "chmod 777",  "chown -",           "cmd /c",  "cmd.exe",    "crontab -", "curl -",     "curl http",
    "dd if=",    "docker run", "invoke-expression", "kill -9", "kubectl ",   "mkfs",      "nc -",       "ncat ",
    "node -e",   "os.system",  "perl -e",           "pkill ",  "powershell", "python -c", "python3 -c", "rm -",
    "ruby -e",   "scp ",       "sh -c",             "ssh -",   "sudo ",      "wget -",    "wget http",  "xp_cmdshell",
    "| bash",    "| sh",       "|bash",             "|sh",
}) ++ patterns(.shell_syntax, 0, &.{ "$(", "${", "&&", "<(", ">/", "> /", ">>", "`", "||" }) ++
    patterns(.secret, 0, &.{ "private key-----", "xoxb-", "xoxp-" }) ++
    patterns(.secret, 16, &.{ "akia", "asia", "glpat-", "rk_live_", "sk_live_" }) ++
    patterns(.secret, 20, &.{ "aiza", "eyj", "gho_", "ghp_", "ghs_", "ghu_", "github_pat_", "hf_", "sk-" });

/// Patterns, and for each byte that a text can have the first of those that begin with it, counted from 1.
const Table = struct {
    const anything = ~@as(u32, 0);

    patterns: []const Pattern,
    first: [256]u16 = @splat(0),
    /// The same, without regard to how the byte is written: what may come second. 0 where no pattern begins.
    second: [256]u32 = @splat(0),

    fn of(list: []Pattern) Table {
        var table: Table = .{ .patterns = list };
        table.second['%'] = anything;
        for (list, 1..) |*pattern, number| {
            const byte = pattern.text[0];
            const repeats = byte == '/' or byte == ' ';
            pattern.second = if (repeats or pattern.text.len == 1) anything else bitsOf(pattern.text[1]);
            pattern.next = table.first[byte];
            table.first[byte] = @intCast(number);
            for (&table.second, seen_as) |*second, seen| {
                if (seen == byte) second.* |= pattern.second;
            }
        }
        return table;
    }

    /// Whether a pattern may begin at `at`. Never wrong when it says no.
    inline fn mayBegin(self: *const Table, text: []const u8, at: usize) bool {
        if (at >= text.len) return false;
        const second = self.second[text[at]];
        return second != 0 and second & nextBit(text, at + 1) != 0;
    }

    /// Made while compiling, because most calls need no other.
    const default = made: {
        @setEvalBranchQuota(200_000);
        const settings: Settings = .{};
        const paths = patterns(.sensitive_path, 0, settings.sensitive_paths);
        var list = fixed ++ paths ++ patterns(.production, 0, settings.production_names);
        const indexed = Table.of(&list);
        const final = list;
        break :made Table{ .patterns = &final, .first = indexed.first, .second = indexed.second };
    };

    /// With the lists of the configuration.
    fn configured(settings: *const Settings) pdp.Error!Table {
        const paths = settings.sensitive_paths;
        const names = settings.production_names;
        if (paths.len > 1000 or names.len > 1000) return pdp.refuse(&.{"a list of more than 1000 texts"});
        const list = try pdp.allocator.alloc(Pattern, fixed.len + paths.len + names.len);
        @memcpy(list[0..fixed.len], &fixed);
        const own = list[fixed.len..];
        for (own[0..paths.len], paths) |*entry, path| entry.* = .{ .signal = .sensitive_path, .text = try canonical(path) };
        for (own[paths.len..], names) |*entry, name| entry.* = .{ .signal = .production, .text = name };
        return .of(list);
    }
};

pub const Scanner = struct {
    settings: *const Settings,
    table: *const Table,

    pub fn init(settings: *const Settings) pdp.Error!Scanner {
        const defaults: Settings = .{};
        if (settings.sensitive_paths.ptr == defaults.sensitive_paths.ptr and
            settings.production_names.ptr == defaults.production_names.ptr)
        {
            return .{ .settings = settings, .table = &Table.default };
        }
        const own = try pdp.allocator.create(Table);
        own.* = try .configured(settings);
        return .{ .settings = settings, .table = own };
    }

    /// Looks for a pattern at every byte but white space and letters that follow a letter: sixteen at a time, because
    /// most bytes are such. The other searches only run where there is something for them.
    pub fn scan(self: Scanner, text: []const u8, found: *Signals) void {
        var marks: u16 = 0;
        var stars: u16 = 0;
        var after_letter: u16 = 0;
        var base: usize = 0;
        while (base < text.len) : (base += 16) {
            const chunk = pdp.chunkAt(text, base);
            marks |= pdp.placesIn(chunk, ":@");
            stars |= pdp.placesIn(chunk, "*%");
            const letters = lettersIn(chunk);
            const blanks: u16 = @bitCast(chunk <= @as(pdp.Chunk, @splat(' ')));
            self.tryPlaces(text, base, ~(blanks | (letters & (letters << 1 | after_letter))), found);
            after_letter = letters >> 15;
        }
        if (marks != 0) self.findAddresses(text, found);
        if (stars != 0 and isWildcard(text)) found.insert(.wildcard);
        if (blobs.hasBlob(text, self.settings.blob_chars)) found.insert(.encoded_blob);
    }

    inline fn tryPlaces(self: Scanner, text: []const u8, base: usize, places: u16, found: *Signals) void {
        var rest = places;
        while (rest != 0) : (rest &= rest - 1) {
            const at = base + @ctz(rest);
            if (self.table.mayBegin(text, at)) self.tryPatterns(text, at, found);
            // The letter behind `%2f` follows a slash.
            if (text[at] == '%' and self.table.mayBegin(text, at + 3)) self.tryPatterns(text, at + 3, found);
        }
    }

    fn tryPatterns(self: Scanner, text: []const u8, start: usize, found: *Signals) void {
        var behind = start;
        const byte = readByte(text, &behind);
        if (continues(text, start, byte)) return;
        const second = nextBit(text, behind);
        var number = self.table.first[byte];
        while (number > 0) {
            const pattern = &self.table.patterns[number - 1];
            if (pattern.second & second != 0 and matches(text[start..], pattern)) found.insert(pattern.signal);
            number = pattern.next;
        }
    }

    /// URLs and mail addresses of others. The `user@` of a URL makes no mail address.
    fn findAddresses(self: Scanner, text: []const u8, found: *Signals) void {
        var at: usize = 0;
        while (true) {
            const mark = pdp.findFirst(text, at, ":@");
            if (mark == text.len) return;
            at = mark + 1;
            if (addresses.authorityAt(text, mark)) |authority| {
                at = mark + 3 + authority.len;
                self.judgeUrl(text[0..mark], authority, found);
            } else if (addresses.mailDomainAt(text, mark)) |domain| {
                if (!addresses.isWithin(domain, self.settings.internal_domains)) found.insert(.external_recipient);
            }
        }
    }

    fn judgeUrl(self: Scanner, before: []const u8, authority: []const u8, found: *Signals) void {
        if (addresses.hasPassword(authority)) found.insert(.secret);
        const is_file = authority.len == 0 and ascii.endsWithIgnoreCase(before, "file");
        const host = addresses.hostOf(authority);
        if (!is_file and !addresses.isWithin(host, self.settings.internal_domains)) found.insert(.external_url);
    }
};

inline fn lettersIn(chunk: pdp.Chunk) u16 {
    const from_a = (chunk | @as(pdp.Chunk, @splat(0x20))) -% @as(pdp.Chunk, @splat('a'));
    return @bitCast(from_a < @as(pdp.Chunk, @splat(26)));
}

/// What a byte is for the one who reads a path or a command: lower case, `\` a slash, all white space a space.
const seen_as: [256]u8 = made: {
    var table: [256]u8 = undefined;
    for (&table, 0..) |*entry, byte| entry.* = switch (byte) {
        'A'...'Z' => byte | 0x20,
        '\\' => '/',
        '\t', '\n', '\r', 11, 12 => ' ',
        else => byte,
    };
    break :made table;
};

/// A bit for the byte at `at`; all of them for `%`, which can stand for any byte, and at the end. For a quick look
/// before a close one.
inline fn nextBit(text: []const u8, at: usize) u32 {
    const byte = if (at < text.len) text[at] else '%';
    return if (byte == '%') ~@as(u32, 0) else @as(u32, 1) << @truncate(byte);
}

/// The bits of all bytes that are seen as this one.
fn bitsOf(byte: u8) u32 {
    var bits: u32 = 0;
    for (seen_as, 0..) |seen, raw| {
        if (seen == byte) bits |= @as(u32, 1) << @truncate(raw);
    }
    return bits;
}

/// The byte at `at` as it is seen, with `%2f` decoded. Moves `at` behind it.
inline fn readByte(text: []const u8, at: *usize) u8 {
    const byte = text[at.*];
    if (byte == '%' and text.len - at.* > 2) {
        const high = std.fmt.charToDigit(text[at.* + 1], 16) catch 16;
        const low = std.fmt.charToDigit(text[at.* + 2], 16) catch 16;
        if (high < 16 and low < 16) {
            at.* += 3;
            return seen_as[high * 16 + low];
        }
    }
    at.* += 1;
    return seen_as[byte];
}

/// Whether the byte at `start` only goes on with what a pattern would have begun before: a dot after a letter, or a
/// slash in the run `//./`.
fn continues(text: []const u8, start: usize, byte: u8) bool {
    if (start == 0) return false;
    const before = seen_as[text[start - 1]];
    if (byte == '.') return ascii.isAlphabetic(before) and !(start > 2 and text[start - 3] == '%');
    if (byte != '/') return false;
    return before == '/' or (before == '.' and start > 1 and seen_as[text[start - 2]] == '/');
}

/// `text` as `matches` sees it.
fn canonical(text: []const u8) pdp.Error![]const u8 {
    var out: std.ArrayList(u8) = .empty;
    var at: usize = 0;
    while (at < text.len) {
        const byte = readByte(text, &at);
        try out.append(pdp.allocator, byte);
        skipRepeats(text, &at, byte);
    }
    return out.items;
}

fn matches(text: []const u8, pattern: *const Pattern) bool {
    var at: usize = 0;
    for (pattern.text) |expected| {
        if (at == text.len or readByte(text, &at) != expected) return false;
        skipRepeats(text, &at, expected);
    }
    if (pattern.token > 0) return hasToken(text[at..], pattern.token);
    const last = pattern.text[pattern.text.len - 1];
    return at == text.len or !ascii.isAlphabetic(last) or !ascii.isAlphabetic(readByte(text, &at));
}

/// `/etc//./passwd` is `/etc/passwd`, and two spaces are one.
inline fn skipRepeats(text: []const u8, at: *usize, byte: u8) void {
    if (byte != '/' and byte != ' ') return;
    while (at.* < text.len) {
        var next = at.*;
        var follower = readByte(text, &next);
        if (byte == '/' and follower == '.' and next < text.len) follower = readByte(text, &next);
        if (follower != byte) return;
        at.* = next;
    }
}

/// Whether random characters follow: letters and digits, with a capital and a digit among them.
fn hasToken(text: []const u8, len: u8) bool {
    if (text.len < len or !ascii.isAlphanumeric(text[0])) return false;
    var digits: usize = 0;
    var capitals: usize = 0;
    for (text[0..len]) |byte| {
        digits += @intFromBool(ascii.isDigit(byte));
        capitals += @intFromBool(ascii.isUpper(byte));
        if (!ascii.isAlphanumeric(byte) and byte != '_' and byte != '-') return false;
    }
    return digits > 0 and capitals > 0;
}

/// Nothing but stars, percent signs and the punctuation of paths: `*`, `**/*`, `*.*`, `%`.
fn isWildcard(text: []const u8) bool {
    const trimmed = std.mem.trim(u8, text, &ascii.whitespace);
    if (std.mem.findNone(u8, trimmed, "*%/\\.") != null) return false;
    return std.mem.findAny(u8, trimmed, "*%") != null;
}
