//! What an interceptor in Zig needs, so that its own source has no pointers and no exports. ABI.md, two directories up,
//! is the contract.
//!
//! An interceptor is a `main.zig` with one or more of these public functions; `sdk/zig/build` compiles it:
//!
//!     const pdp = @import("pdp");
//!     pub fn configure(config: pdp.Value) pdp.Error!void           // check the binding's configuration
//!     pub fn onRequest(request: pdp.Request) pdp.Error!pdp.Reply   // a tool call
//!     pub fn onResponse(request: pdp.Request) pdp.Error!pdp.Reply  // the result of one
//!
//! JSON is read in place: a `Value` is a piece of the request's own text, so that what is only passed on keeps every
//! byte, numbers too. Nothing recurses, and nothing is ever freed: each call has an instance of its own.

const std = @import("std");
const interceptor = @import("interceptor");

/// Why a hook could not do its work. Each becomes `{"error": …}`, and the binding's `on_error` decides.
pub const Error = error{
    /// `refuse` has the reason.
    Refused,
    /// The request is not what the ABI promises.
    Malformed,
    OutOfMemory,
};

// --- what the host calls -----------------------------------------------------------------------------------------

/// A failed safety check ends the call as `trap`; the texts of panics would only make the module larger.
pub const panic = std.debug.no_panic;

comptime {
    @export(&abiMarker, .{ .name = "pdp_abi_v1" });
    @export(&hostAlloc, .{ .name = "pdp_alloc" });
    if (@hasDecl(interceptor, "configure")) @export(&configureHook, .{ .name = "pdp_configure" });
    if (@hasDecl(interceptor, "onRequest")) @export(&requestHook, .{ .name = "pdp_on_request" });
    if (@hasDecl(interceptor, "onResponse")) @export(&responseHook, .{ .name = "pdp_on_response" });
}

fn abiMarker() callconv(.c) void {}

fn hostAlloc(len: usize) callconv(.c) ?[*]u8 {
    return bump(@max(len, 1), .@"1");
}

fn configureHook(ptr: [*]const u8, len: usize) callconv(.c) u64 {
    const config = Value.parse(ptr[0..len]) catch |err| return failure(err);
    interceptor.configure(config) catch |err| return failure(err);
    return located(
        \\{"ok":true}
    );
}

fn requestHook(ptr: [*]const u8, len: usize) callconv(.c) u64 {
    const reply = runHook(interceptor.onRequest, ptr[0..len]) catch |err| return failure(err);
    return located(reply.json);
}

fn responseHook(ptr: [*]const u8, len: usize) callconv(.c) u64 {
    const reply = runHook(interceptor.onResponse, ptr[0..len]) catch |err| return failure(err);
    return located(reply.json);
}

fn runHook(hook: fn (Request) Error!Reply, json: []const u8) Error!Reply {
    return hook(try Request.parse(json));
}

/// Where a text lies and how long it is, as the ABI packs them.
fn located(text: []const u8) u64 {
    return @as(u64, @intFromPtr(text.ptr)) << 32 | text.len;
}

fn failure(err: Error) u64 {
    const reason = switch (err) {
        error.Refused => refusal,
        error.Malformed => "the request is not well-formed",
        error.OutOfMemory => "out of memory",
    };
    var reply: Json = .{};
    reply.raw("{\"error\":") catch return 0;
    reply.string(reason) catch return 0;
    reply.raw("}") catch return 0;
    return located(reply.text());
}

var refusal: []const u8 = "";

/// An error whose text is `parts` in a row: `return pdp.refuse(&.{ "`", key, "`: not a number" });`
pub fn refuse(parts: []const []const u8) Error {
    refusal = std.mem.concat(allocator, u8, parts) catch return error.OutOfMemory;
    return error.Refused;
}

// --- the request and the reply -----------------------------------------------------------------------------------

/// One tool call, or its result. `document` has the members that are not here.
pub const Request = struct {
    document: Value,
    server: []const u8,
    tool: []const u8,
    arguments: Value,
    config: Value,
    /// Only `onResponse` has one.
    result: ?Value,
    result_is_error: bool,
    /// Whether the binding allows `transformArguments` and `transformResult`.
    may_transform: bool,

    fn parse(json: []const u8) Error!Request {
        const document = try Value.parse(json);
        const Part = enum { tool_call, config, result, result_is_error, may_transform };
        var found: std.EnumArray(Part, ?Value) = .initFill(null);
        var members = try document.members();
        while (try members.next()) |member| {
            const name = std.meta.stringToEnum(Part, member.name) orelse continue;
            found.set(name, member.value);
        }
        const call = found.get(.tool_call) orelse return error.Malformed;
        const server = try call.member("server") orelse return error.Malformed;
        const tool = try call.member("tool") orelse return error.Malformed;
        return .{
            .document = document,
            .server = try server.string(),
            .tool = try tool.string(),
            .arguments = try call.member("arguments") orelse return error.Malformed,
            .config = found.get(.config) orelse return error.Malformed,
            .result = found.get(.result),
            .result_is_error = isTrue(found.get(.result_is_error)),
            .may_transform = isTrue(found.get(.may_transform)),
        };
    }
};

fn isTrue(value: ?Value) bool {
    return if (value) |given| given.kind() == .true else false;
}

pub const Reply = struct { json: []const u8 };

pub fn pass() Reply {
    return .{ .json =
    \\{"verdict":"pass"}
    };
}

/// Passes, and states facts for Cedar policies: the JSON text of one object.
pub fn passWith(annotations: []const u8) Error!Reply {
    return assembled("{\"verdict\":\"pass\",\"annotations\":", annotations);
}

/// `message` may be shown to the agent; `reason` is for the operator.
pub fn deny(message: []const u8, reason: []const u8) Error!Reply {
    var reply: Json = .{};
    try reply.raw("{\"verdict\":\"deny\",\"message\":");
    try reply.string(message);
    try reply.raw(",\"reason\":");
    try reply.string(reason);
    try reply.raw("}");
    return .{ .json = reply.text() };
}

/// The call goes on with these arguments: the JSON text of one object.
pub fn transformArguments(arguments: []const u8) Error!Reply {
    return assembled("{\"verdict\":\"transform\",\"arguments\":", arguments);
}

/// The agent gets this result: any JSON text.
pub fn transformResult(result: []const u8) Error!Reply {
    return assembled("{\"verdict\":\"transform\",\"result\":", result);
}

fn assembled(head: []const u8, json: []const u8) Error!Reply {
    return .{ .json = try std.mem.concat(allocator, u8, &.{ head, json, "}" }) };
}

// --- reading JSON ------------------------------------------------------------------------------------------------

pub const Kind = enum { object, array, string, number, true, false, null, object_end, array_end, name };

/// One JSON value as it stands in the request.
pub const Value = struct {
    json: []const u8,

    /// The one value that `json` holds, without the white space around it. The host has checked that it is one.
    pub fn parse(json: []const u8) Error!Value {
        const trimmed = std.mem.trim(u8, json, &std.ascii.whitespace);
        if (trimmed.len == 0) return error.Malformed;
        _ = try kindOf(trimmed[0]);
        return .{ .json = trimmed };
    }

    pub fn kind(self: Value) Kind {
        return kindOf(self.json[0]) catch unreachable; // `Tokens` made it, and has looked already
    }

    /// The text of a string, with its escapes decoded; `Malformed` for anything else.
    pub fn string(self: Value) Error![]const u8 {
        return if (self.kind() == .string) decoded(self.json) else error.Malformed;
    }

    /// A whole number written without point and exponent; null for anything else.
    pub fn integer(self: Value, T: type) ?T {
        return if (self.kind() == .number) std.fmt.parseInt(T, self.json, 10) catch null else null;
    }

    /// The member of an object with this name, or null. `Malformed` where this is not an object.
    pub fn member(self: Value, name: []const u8) Error!?Value {
        var all = try self.members();
        while (try all.next()) |found| {
            if (std.mem.eql(u8, found.name, name)) return found.value;
        }
        return null;
    }

    pub fn members(self: Value) Error!Members {
        return .{ .tokens = try self.inside(.object) };
    }

    pub fn items(self: Value) Error!Items {
        return .{ .tokens = try self.inside(.array) };
    }

    /// Everything in this value, one token after the other: for a walk through all levels in one pass.
    pub fn walk(self: Value) Tokens {
        return .{ .json = self.json };
    }

    fn inside(self: Value, container: Kind) Error!Tokens {
        if (self.kind() != container or self.json.len < 2) return error.Malformed;
        return .{ .json = self.json[0 .. self.json.len - 1], .at = 1 };
    }
};

pub const Member = struct { name: []const u8, value: Value };

pub const Members = struct {
    tokens: Tokens,

    pub fn next(self: *Members) Error!?Member {
        const name = try self.tokens.next() orelse return null;
        return .{ .name = try name.string(), .value = try self.tokens.value() };
    }
};

pub const Items = struct {
    tokens: Tokens,

    pub fn next(self: *Items) Error!?Value {
        return if (try self.tokens.atEnd()) null else try self.tokens.value();
    }
};

/// A piece of a walk. `json` is the whole text of a name or a scalar, and the bracket of an object or an array.
pub const Token = struct {
    kind: Kind,
    json: []const u8,

    /// The text of a string or a name, with its escapes decoded.
    pub fn string(self: Token) Error![]const u8 {
        return if (self.kind == .string or self.kind == .name) decoded(self.json) else error.Malformed;
    }
};

/// Cuts JSON text into tokens. The host has checked the text, so this only has to find where things begin and end, and
/// never to look beyond the end of text that is cut off.
pub const Tokens = struct {
    json: []const u8,
    at: usize = 0,

    pub fn next(self: *Tokens) Error!?Token {
        if (try self.atEnd()) return null;
        const start = self.at;
        var kind = try kindOf(self.json[start]);
        self.at = switch (kind) {
            .string => try stringEnd(self.json, start),
            .object, .array, .object_end, .array_end => start + 1,
            else => scalarEnd(self.json, start),
        };
        const json = self.json[start..self.at];
        if (kind == .string and self.follows(':')) kind = .name;
        return .{ .kind = kind, .json = json };
    }

    /// The whole value that comes next, whatever is in it.
    pub fn value(self: *Tokens) Error!Value {
        const token = try self.next() orelse return error.Malformed;
        switch (token.kind) {
            .object, .array => {
                self.at = try containerEnd(self.json, self.at);
                const start = @intFromPtr(token.json.ptr) - @intFromPtr(self.json.ptr);
                return .{ .json = self.json[start..self.at] };
            },
            .object_end, .array_end, .name => return error.Malformed,
            else => return .{ .json = token.json },
        }
    }

    fn atEnd(self: *Tokens) Error!bool {
        while (self.at < self.json.len) : (self.at += 1) {
            switch (self.json[self.at]) {
                ' ', '\t', '\n', '\r', ',' => {},
                else => return false,
            }
        }
        return true;
    }

    fn follows(self: *Tokens, byte: u8) bool {
        var at = self.at;
        while (at < self.json.len and std.ascii.isWhitespace(self.json[at])) at += 1;
        if (at == self.json.len or self.json[at] != byte) return false;
        self.at = at + 1;
        return true;
    }
};

fn kindOf(first: u8) Error!Kind {
    return switch (first) {
        '{' => .object,
        '[' => .array,
        '"' => .string,
        '-', '0'...'9' => .number,
        't' => .true,
        'f' => .false,
        'n' => .null,
        '}' => .object_end,
        ']' => .array_end,
        else => error.Malformed,
    };
}

/// Where the object or array ends whose first byte is before `start`.
fn containerEnd(json: []const u8, start: usize) Error!usize {
    var depth: usize = 1;
    var in_string = false;
    var places: Places("\"\\[]{}") = .{ .text = json, .base = start };
    while (places.next()) |at| {
        switch (json[at]) {
            '"' => in_string = !in_string,
            '\\' => places.skip(at + 1),
            '[', '{' => depth += @intFromBool(!in_string),
            else => depth -= @intFromBool(!in_string),
        }
        if (depth == 0) return at + 1;
    }
    return error.Malformed;
}

fn scalarEnd(json: []const u8, start: usize) usize {
    var at = start;
    while (at < json.len) : (at += 1) {
        switch (json[at]) {
            '0'...'9', 'a'...'z', 'E', '+', '-', '.' => {},
            else => break,
        }
    }
    return at;
}

fn stringEnd(json: []const u8, start: usize) Error!usize {
    var at = start + 1;
    while (true) {
        at = findFirst(json, at, "\"\\");
        if (at >= json.len) return error.Malformed;
        if (json[at] == '"') return at + 1;
        at += 2;
    }
}

/// The place of the first of these bytes from `start` on, or the length.
pub fn findFirst(text: []const u8, start: usize, comptime wanted: []const u8) usize {
    var places: Places(wanted) = .{ .text = text, .base = start };
    return places.next() orelse text.len;
}

/// The places of some bytes in a text from `base` on, one after the other. Looks at sixteen bytes at a time.
fn Places(comptime wanted: []const u8) type {
    return struct {
        text: []const u8,
        base: usize,
        found: u16 = 0,
        /// Whether the sixteen bytes at `base` have been looked at.
        looked: bool = false,

        const Self = @This();

        inline fn next(self: *Self) ?usize {
            while (self.found == 0) {
                if (self.looked) self.base += 16;
                if (self.base >= self.text.len) return null;
                self.found = placesIn(chunkAt(self.text, self.base), wanted);
                self.looked = true;
            }
            defer self.found &= self.found - 1;
            return self.base + @ctz(self.found);
        }

        /// Goes on behind `at`.
        inline fn skip(self: *Self, at: usize) void {
            self.* = .{ .text = self.text, .base = at + 1 };
        }
    };
}

pub const Chunk = @Vector(16, u8);

/// The sixteen bytes from `base` on, with zeros behind the end of the text.
pub inline fn chunkAt(text: []const u8, base: usize) Chunk {
    if (text.len - base >= 16) return text[base..][0..16].*;
    var padded: [16]u8 = @splat(0);
    for (padded[0 .. text.len - base], text[base..]) |*byte, own| byte.* = own;
    return padded;
}

/// Which of the sixteen bytes are among the wanted, as bits.
pub inline fn placesIn(chunk: Chunk, comptime wanted: []const u8) u16 {
    var found: u16 = 0;
    inline for (wanted) |byte| found |= @bitCast(chunk == @as(Chunk, @splat(byte)));
    return found;
}

/// The text between the quotes: the request's own bytes where nothing is escaped.
fn decoded(json: []const u8) Error![]const u8 {
    const inner = json[1 .. json.len - 1];
    var at = findFirst(inner, 0, "\"\\");
    if (at == inner.len) return inner;
    const out = try allocator.alloc(u8, inner.len); // an escape is never shorter than what it stands for
    var from: usize = 0;
    var len: usize = 0;
    while (true) {
        @memcpy(out[len..][0 .. at - from], inner[from..at]);
        len += at - from;
        if (at == inner.len) return out[0..len];
        from = at;
        len += try decodeEscape(inner, &from, out[len..]);
        at = findFirst(inner, from, "\"\\");
    }
}

/// Decodes the escape at `at`, moves `at` behind it, and tells how many bytes it wrote.
fn decodeEscape(text: []const u8, at: *usize, out: []u8) Error!usize {
    if (at.* + 1 >= text.len) return error.Malformed;
    const letter = text[at.* + 1];
    if (letter == 'u') {
        var code: u21 = try hexUnit(text, at);
        if (std.unicode.utf16IsHighSurrogate(@intCast(code))) {
            const low = try hexUnit(text, at);
            code = std.unicode.utf16DecodeSurrogatePair(&.{ @intCast(code), low }) catch return error.Malformed;
        }
        return std.unicode.utf8Encode(code, out) catch error.Malformed;
    }
    at.* += 2;
    out[0] = switch (letter) {
        '"', '\\', '/' => letter,
        'b' => 8,
        'f' => 12,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        else => return error.Malformed,
    };
    return 1;
}

/// The number in `\uXXXX` at `at`, which moves behind it.
fn hexUnit(text: []const u8, at: *usize) Error!u16 {
    const escape = text[at.*..];
    if (escape.len < 6 or escape[0] != '\\' or escape[1] != 'u') return error.Malformed;
    at.* += 6;
    var unit: u16 = 0;
    for (escape[2..6]) |digit| {
        unit = unit << 4 | (std.fmt.charToDigit(digit, 16) catch return error.Malformed);
    }
    return unit;
}

// --- writing JSON ------------------------------------------------------------------------------------------------

/// JSON text that grows.
pub const Json = struct {
    bytes: std.ArrayList(u8) = .empty,

    pub fn text(self: *const Json) []const u8 {
        return self.bytes.items;
    }

    /// Text that is JSON already: brackets, commas, a number or a `Value`'s `json`.
    pub fn raw(self: *Json, json: []const u8) Error!void {
        try self.bytes.appendSlice(allocator, json);
    }

    pub fn integer(self: *Json, number: i64) Error!void {
        var digits: [20]u8 = undefined;
        var at = digits.len;
        var rest = @abs(number);
        while (at == digits.len or rest > 0) : (rest /= 10) {
            at -= 1;
            digits[at] = '0' + @as(u8, @intCast(rest % 10));
        }
        if (number < 0) try self.raw("-");
        try self.raw(digits[at..]);
    }

    pub fn string(self: *Json, content: []const u8) Error!void {
        try self.raw("\"");
        for (content) |byte| {
            const hex = "0123456789abcdef";
            if (byte < ' ') {
                try self.raw(&.{ '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] });
            } else {
                if (byte == '"' or byte == '\\') try self.raw("\\");
                try self.raw(&.{byte});
            }
        }
        try self.raw("\"");
    }
};

/// Copies a document and changes some of its values; every other byte stays as it is.
pub const Rewrite = struct {
    rest: []const u8,
    out: Json = .{},

    pub fn of(document: Value) Rewrite {
        return .{ .rest = document.json };
    }

    /// Puts `json` in the place of `part`, a value of the document. In the order in which they stand there.
    pub fn replace(self: *Rewrite, part: Value, json: []const u8) Error!void {
        const skipped = @intFromPtr(part.json.ptr) - @intFromPtr(self.rest.ptr);
        try self.out.raw(self.rest[0..skipped]);
        try self.out.raw(json);
        self.rest = self.rest[skipped + part.json.len ..];
    }

    pub fn finish(self: *Rewrite) Error![]const u8 {
        try self.out.raw(self.rest);
        return self.out.text();
    }
};

// --- what the host grants ----------------------------------------------------------------------------------------

pub const Level = enum(i32) { debug, info, warning, err };

const host = struct {
    extern "pdp" fn log(level: i32, ptr: [*]const u8, len: usize) void;
    extern "pdp" fn now_ms() i64;
    extern "pdp" fn random(ptr: [*]u8, len: usize) i32;
};

/// Writes to the service's log. Needs the grant `log`, as every function here needs its own.
pub fn log(level: Level, text: []const u8) void {
    host.log(@intFromEnum(level), text.ptr, text.len);
}

/// Unix time in milliseconds.
pub fn nowMs() i64 {
    return host.now_ms();
}

/// Fills `bytes`, 64 KiB at most.
pub fn random(bytes: []u8) Error!void {
    if (host.random(bytes.ptr, bytes.len) != 0) return refuse(&.{"more random bytes than the host gives at once"});
}

// --- memory ------------------------------------------------------------------------------------------------------

/// Memory that is handed out once and never taken back; the standard library can work with it too.
pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &.{
    .alloc = allocatorAlloc,
    .resize = allocatorResize,
    .remap = allocatorRemap,
    .free = std.mem.Allocator.noFree,
} };

const page = 64 * 1024;
extern var __heap_base: u8; // the linker puts it where static data and stack end
var heap_end: usize = 0;

/// The next `len` bytes, or null where the host gives no more memory.
fn bump(len: usize, alignment: std.mem.Alignment) ?[*]u8 {
    if (heap_end == 0) heap_end = @intFromPtr(&__heap_base);
    const start = alignment.forward(heap_end);
    if (!reach(start, len)) return null;
    return @ptrFromInt(start);
}

/// Moves the end of the heap to `start + len`, with more pages if that takes some.
fn reach(start: usize, len: usize) bool {
    const end, const overflowed = @addWithOverflow(start, len);
    if (overflowed != 0) return false;
    const size = @wasmMemorySize(0) * page;
    if (end > size and @wasmMemoryGrow(0, (end - size + page - 1) / page) < 0) return false;
    heap_end = end;
    return true;
}

fn allocatorAlloc(_: *anyopaque, len: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
    return bump(len, alignment);
}

/// The last piece that was handed out can grow where it is.
fn allocatorResize(_: *anyopaque, memory: []u8, _: std.mem.Alignment, new_len: usize, _: usize) bool {
    const start = @intFromPtr(memory.ptr);
    if (start + memory.len != heap_end) return new_len <= memory.len;
    return reach(start, new_len);
}

fn allocatorRemap(context: *anyopaque, memory: []u8, alignment: std.mem.Alignment, len: usize, address: usize) ?[*]u8 {
    return if (allocatorResize(context, memory, alignment, len, address)) memory.ptr else null;
}
