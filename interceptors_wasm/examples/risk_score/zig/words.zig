//! Names as people write them: `deleteFile`, `delete_file` and `DELETE-FILE` are the same two words.

const std = @import("std");
const ascii = std.ascii;

/// Longer words and names have no meaning here; the configuration cannot have them either.
pub const longest = 64;

/// The words of a name, cut at everything that is not a letter and before the capitals of camel case.
pub const Words = struct {
    text: []const u8,
    at: usize = 0,

    pub fn next(self: *Words) ?[]const u8 {
        while (self.at < self.text.len and !ascii.isAlphabetic(self.text[self.at])) self.at += 1;
        if (self.at == self.text.len) return null;
        const start = self.at;
        self.at += 1;
        while (self.at < self.text.len and ascii.isAlphabetic(self.text[self.at]) and !self.wordBegins()) self.at += 1;
        return self.text[start..self.at];
    }

    /// At the D of `dropDatabase` and of `SQLDrop`.
    fn wordBegins(self: Words) bool {
        if (!ascii.isUpper(self.text[self.at])) return false;
        if (ascii.isLower(self.text[self.at - 1])) return true;
        return self.at + 1 < self.text.len and ascii.isLower(self.text[self.at + 1]);
    }
};

/// The name in lower case, without `_`, `-` and spaces: `totalCents` and `total_cents` are both `totalcents`. Null for
/// a name that is longer than the buffer.
pub fn plain(name: []const u8, buffer: []u8) ?[]const u8 {
    var len: usize = 0;
    for (name) |byte| {
        if (byte == '_' or byte == '-' or byte == ' ') continue;
        if (len == buffer.len) return null;
        buffer[len] = ascii.toLower(byte);
        len += 1;
    }
    return buffer[0..len];
}

pub fn isOneOf(word: []const u8, words: []const []const u8) bool {
    for (words) |candidate| {
        if (std.mem.eql(u8, word, candidate)) return true;
    }
    return false;
}
