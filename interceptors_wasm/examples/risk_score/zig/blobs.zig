//! Long runs of base64 or hex.

/// What a byte is, as bits; 0 ends a run. Line ends belong to a run, because encoders break their lines.
const digit = 1;
const hex_letter = 2;
const lower = 4; // beyond f
const upper = 8;
const other = 16;
const line_end = 32;

const classes: [256]u8 = made: {
    var table: [256]u8 = @splat(0);
    for (&table, 0..) |*class, byte| class.* = switch (byte) {
        '0'...'9' => digit,
        'a'...'f', 'A'...'F' => hex_letter,
        'g'...'z' => lower,
        'G'...'Z' => upper,
        '+', '/', '=', '_', '-' => other,
        '\n', '\r' => line_end,
        else => 0,
    };
    break :made table;
};

/// Whether the text has `min` or more such characters in a row. A run that long covers one of the places that are `min`
/// apart, so that only these need a look.
pub fn hasBlob(text: []const u8, min: usize) bool {
    var probe = min - 1;
    while (probe < text.len) : (probe += min) {
        if (classes[text[probe]] == 0) continue;
        var at = probe;
        while (at > 0 and classes[text[at - 1]] != 0) at -= 1;
        var run: Run = .{};
        while (at < text.len and classes[text[at]] != 0) : (at += 1) {
            run.add(classes[text[at]]);
            if (run.isBlob(min)) return true;
        }
        probe = at;
    }
    return false;
}

/// Tells base64 and hex from ruled lines and from lists with a word a line, by their letters and the length of lines.
const Run = struct {
    seen: u8 = 0,
    /// Characters of the lines before this one.
    before: usize = 0,
    line: usize = 0,

    inline fn add(self: *Run, class: u8) void {
        if (class != line_end) {
            self.seen |= class;
            self.line += 1;
            return;
        }
        // An empty line is the second half of a line end.
        self.before = if (self.line == 0 or self.line >= 60) self.before + self.line else 0;
        self.line = 0;
    }

    inline fn isBlob(self: Run, min: usize) bool {
        if (self.before + self.line < min or self.seen & digit == 0) return false;
        const beyond_hex = self.seen & (lower | upper);
        return beyond_hex == (lower | upper) or (beyond_hex == 0 and self.seen & hex_letter != 0);
    }
};
