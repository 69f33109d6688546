//! Decimal numbers as JSON writes them, compared exactly: `0.1`, `1e400` and thirty digits never become floats.

const std = @import("std");

pub const Decimal = struct {
    /// From the first digit that is not 0; may have a point in it. Empty for zero.
    digits: []const u8,
    /// The number is 0.ddd × 10^magnitude.
    magnitude: i64,

    /// Text that is one number and nothing else, without its sign; null for any other text. More liberal than JSON
    /// (`+5`, `.5`, `05`), because a tool may be as well.
    pub fn parse(text: []const u8) ?Decimal {
        var at: usize = if (text.len > 0 and (text[0] == '-' or text[0] == '+')) 1 else 0;
        const whole = skipDigits(text, at);
        var end = whole;
        if (end < text.len and text[end] == '.') end = skipDigits(text, end + 1);
        if (end - at < 1 or (end - at == 1 and text[at] == '.')) return null;
        const exponent = if (end == text.len) 0 else parseExponent(text[end..]) orelse return null;

        const mantissa = text[at..end];
        const zeros = std.mem.findNone(u8, mantissa, "0.") orelse return .{ .digits = "", .magnitude = 0 };
        at += zeros;
        // A first digit behind the point stands one place further left than the point counts.
        const places = @as(i64, @intCast(whole)) - @as(i64, @intCast(at)) + @intFromBool(at > whole);
        return .{ .digits = mantissa[zeros..], .magnitude = exponent +| places };
    }

    /// Whether this is further from zero than `limit`.
    pub fn exceeds(self: Decimal, limit: Decimal) bool {
        if (self.digits.len == 0 or limit.digits.len == 0) return self.digits.len > 0;
        if (self.magnitude != limit.magnitude) return self.magnitude > limit.magnitude;
        var mine: Digits = .{ .text = self.digits };
        var theirs: Digits = .{ .text = limit.digits };
        while (true) {
            const digit = mine.next();
            const other = theirs.next();
            if (digit == null and other == null) return false;
            if ((digit orelse '0') != (other orelse '0')) return (digit orelse '0') > (other orelse '0');
        }
    }
};

const Digits = struct {
    text: []const u8,
    at: usize = 0,

    fn next(self: *Digits) ?u8 {
        if (self.at < self.text.len and self.text[self.at] == '.') self.at += 1;
        if (self.at == self.text.len) return null;
        defer self.at += 1;
        return self.text[self.at];
    }
};

fn skipDigits(text: []const u8, start: usize) usize {
    var at = start;
    while (at < text.len and std.ascii.isDigit(text[at])) at += 1;
    return at;
}

/// `e5`, `E-7`: saturates at a size that no sum of digits comes near.
fn parseExponent(text: []const u8) ?i64 {
    if (text[0] != 'e' and text[0] != 'E') return null;
    const signed = text.len > 1 and (text[1] == '-' or text[1] == '+');
    const digits = text[if (signed) 2 else 1..];
    if (digits.len == 0 or skipDigits(digits, 0) != digits.len) return null;
    var exponent: i64 = 0;
    for (digits) |digit| exponent = @min(exponent * 10 + (digit - '0'), 1 << 50);
    return if (text[1] == '-') -exponent else exponent;
}
