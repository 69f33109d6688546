//! risk_score: how much harm could this tool call do, from 0 to 100? It never denies. It states two facts, and Cedar
//! policies decide what they mean:
//!
//!     risk     Long         the sum of the weights of the signals that were found, 100 at most
//!     signals  Set<String>  their names, sorted
//!
//! Each signal counts once, however often it is there, and none lowers the sum. A call that shows nothing scores 0.
//!
//! Configuration; a list that is given takes the place of the default list. Names of members are compared without
//! regard to case, `_`, `-` and spaces.
//!
//!     weights           object: signal -> 0..100, in place of its default below. With 0 it is still listed
//!     verbs             object: signal -> list of words, letters only; for the five signals that end in `_verb`
//!     amounts           object: name of a member -> the largest number that is no signal. Default {"amount": 1000}
//!     internal_domains  list of domains that are ours with all below them, without port.
//!                       Default localhost, 127.0.0.1, [::1]
//!     production_names  list of words, letters only. Default prod, production, prd
//!     sensitive_paths   list of parts of paths; settings.zig has the default
//!     large_bytes       arguments of more bytes of JSON are large. Default 65536
//!     blob_chars        that many characters of base64 or hex in a row are a blob. Default 256
//!     max_targets       an array with more items has many targets. Default 20
//!
//! Signals, where they are looked for, and their weights:
//!
//!     access_verb         30  a word of the tool's name: grant, invite, revoke, …
//!     destructive_verb    40  … delete, drop, purge, …
//!     execution_verb      40  … exec, run, shell, …
//!     outbound_verb       20  … send, post, upload, …
//!     payment_verb        40  … pay, transfer, refund, …
//!     amount              40  a member of `amounts` is larger than its limit, by its magnitude, or is not a number
//!                             that can be judged. Numbers in strings count, and all numbers below such a member
//!     encoded_blob        15  a long run of base64 or hex
//!     external_recipient  20  a mail address whose domain is not internal
//!     external_url        15  a URL whose host is not internal
//!     force               15  a member such as `force`, `cascade` or `skip_confirmation` that is switched on
//!     large_payload       10  more than `large_bytes`
//!     many_targets        20  an array with more than `max_targets` items
//!     production          25  a word of the server's or the tool's name, or a word in a string
//!     secret              40  a key, a token, a private key, a URL with a password, a member such as `password`
//!     sensitive_path      40  `.ssh`, `.env`, `/etc/shadow`, …
//!     shell_command       30  `rm -`, `curl http`, `| sh`, …
//!     shell_syntax        10  `$(`, `&&`, a backtick, …; turn it down for servers whose arguments are source code
//!     wildcard            25  a string such as `*` or `**/*`, or a member such as `all` that is switched on
//!
//! Strings are read with escapes decoded, without regard to case, with `%2f` and `\` as `/`. It recognises what is
//! written plainly; an agent that means to hide (`r""m`, `$IFS`, two encodings) can. It is one input to a policy, and
//! no guard by itself. Arguments that nest deeper than 64 levels are an error. A byte of text costs about 60 units of
//! fuel, a byte of many small members 160: for arguments of more than 300 KiB, give the binding more than the default.

const std = @import("std");
const pdp = @import("pdp");
const Decimal = @import("decimal.zig").Decimal;
const Scanner = @import("strings.zig").Scanner;
const Settings = @import("settings.zig").Settings;
const Signal = @import("settings.zig").Signal;
const Signals = @import("settings.zig").Signals;
const words = @import("words.zig");

/// Names of members that say something, as `words.plain` writes them.
const Meaning = enum { everything, forced, secret };
const meanings = std.StaticStringMap(Meaning).initComptime(.{
    .{ "all", .everything },        .{ "allaccounts", .everything },  .{ "allfiles", .everything },
    .{ "allrecords", .everything }, .{ "allusers", .everything },     .{ "deleteall", .everything },
    .{ "everything", .everything }, .{ "selectall", .everything },    .{ "assumeyes", .forced },
    .{ "bypass", .forced },         .{ "cascade", .forced },          .{ "force", .forced },
    .{ "noconfirm", .forced },      .{ "overwrite", .forced },        .{ "permanent", .forced },
    .{ "recursive", .forced },      .{ "skipconfirmation", .forced }, .{ "accesskey", .secret },
    .{ "accesstoken", .secret },    .{ "apikey", .secret },           .{ "authtoken", .secret },
    .{ "authorization", .secret },  .{ "bearertoken", .secret },      .{ "clientsecret", .secret },
    .{ "credentials", .secret },    .{ "passphrase", .secret },       .{ "passwd", .secret },
    .{ "password", .secret },       .{ "privatekey", .secret },       .{ "refreshtoken", .secret },
    .{ "secret", .secret },         .{ "secretkey", .secret },        .{ "secretaccesskey", .secret },
});

var settings: Settings = .{};

pub fn configure(config: pdp.Value) pdp.Error!void {
    settings = try Settings.read(config);
}

pub fn onRequest(request: pdp.Request) pdp.Error!pdp.Reply {
    var call: Call = .{ .scanner = try Scanner.init(&settings) };
    call.judgeNames(request.server, request.tool);
    if (request.arguments.json.len > settings.large_bytes) call.found.insert(.large_payload);
    try call.judgeArguments(request.arguments);
    return annotated(call.found);
}

fn annotated(found: Signals) pdp.Error!pdp.Reply {
    var risk: u32 = 0;
    var names: pdp.Json = .{};
    var signals = found.iterator();
    while (signals.next()) |signal| {
        risk += settings.weights.get(signal);
        if (names.text().len > 0) try names.raw(",");
        try names.string(@tagName(signal));
    }
    var facts: pdp.Json = .{};
    try facts.raw("{\"risk\":");
    try facts.integer(@min(risk, 100));
    try facts.raw(",\"signals\":[");
    try facts.raw(names.text());
    try facts.raw("]}");
    return pdp.passWith(facts.text());
}

/// What was found so far in one call.
const Call = struct {
    scanner: Scanner,
    found: Signals = .empty,

    fn judgeNames(self: *Call, server: []const u8, tool: []const u8) void {
        var server_words: words.Words = .{ .text = server };
        while (server_words.next()) |word| self.judgeWord(word, false);
        var tool_words: words.Words = .{ .text = tool };
        while (tool_words.next()) |word| self.judgeWord(word, true);
    }

    fn judgeWord(self: *Call, word: []const u8, of_tool: bool) void {
        var buffer: [words.longest]u8 = undefined;
        const plain = words.plain(word, &buffer) orelse return;
        if (words.isOneOf(plain, settings.production_names)) self.found.insert(.production);
        if (!of_tool) return;
        for (std.enums.values(Signal)) |signal| {
            if (words.isOneOf(plain, settings.verbs.get(signal))) self.found.insert(signal);
        }
    }

    /// One walk through everything, whatever the nesting.
    fn judgeArguments(self: *Call, arguments: pdp.Value) pdp.Error!void {
        const Level = struct { in_array: bool = false, items: u32 = 0, limit: ?*const Decimal = null };
        var levels: [65]Level = undefined;
        levels[0] = .{};
        var depth: usize = 0;
        var name: Name = .none;
        var tokens = arguments.walk();
        while (try tokens.next()) |token| {
            switch (token.kind) {
                .name => {
                    name = .of(try token.string());
                    self.judgeName(try token.string());
                    continue;
                },
                .object_end, .array_end => {
                    depth -= 1;
                    continue;
                },
                else => {},
            }
            const outer = &levels[depth];
            outer.items += 1;
            if (outer.in_array and outer.items > settings.max_targets) self.found.insert(.many_targets);
            if (token.kind == .object or token.kind == .array) {
                depth += 1;
                if (depth == levels.len) return pdp.refuse(&.{"the arguments nest deeper than 64 levels"});
                levels[depth] = .{ .in_array = token.kind == .array, .limit = name.limit orelse outer.limit };
            } else {
                try self.judgeScalar(name, token, outer.limit);
            }
            name = .none;
        }
    }

    /// A name is looked at as a string is, for what an agent might hide there; but `production: false` is no signal.
    fn judgeName(self: *Call, name: []const u8) void {
        var found: Signals = .empty;
        self.scanner.scan(name, &found);
        found.remove(.production);
        self.found.setUnion(found);
    }

    fn judgeScalar(self: *Call, name: Name, token: pdp.Token, outer_limit: ?*const Decimal) pdp.Error!void {
        const text = if (token.kind == .string) try token.string() else token.json;
        if (name.limit orelse outer_limit) |limit| self.judgeAmount(token.kind, text, limit.*, name.limit != null);
        if (name.meaning) |meaning| switch (meaning) {
            .everything => if (isOn(token.kind, text)) self.found.insert(.wildcard),
            .forced => if (isOn(token.kind, text)) self.found.insert(.force),
            .secret => if (token.kind == .string and text.len > 0) self.found.insert(.secret),
        };
        if (token.kind == .string) self.scanner.scan(text, &self.found);
    }

    /// `named`: the value itself has the name of an amount. Such a text that is no number cannot be judged, and counts;
    /// below such a member it may be a currency.
    fn judgeAmount(self: *Call, kind: pdp.Kind, text: []const u8, limit: Decimal, named: bool) void {
        const trimmed = std.mem.trim(u8, text, &std.ascii.whitespace);
        if (trimmed.len == 0 or (kind != .number and kind != .string)) return;
        const too_much = if (Decimal.parse(trimmed)) |number| number.exceeds(limit) else named;
        if (too_much) self.found.insert(.amount);
    }
};

/// What the name of a member tells about its value.
const Name = struct {
    meaning: ?Meaning,
    limit: ?*const Decimal,

    const none: Name = .{ .meaning = null, .limit = null };

    fn of(name: []const u8) Name {
        var buffer: [words.longest]u8 = undefined;
        const plain = words.plain(name, &buffer) orelse return .none;
        const limit = for (settings.amounts) |*limit| {
            if (std.mem.eql(u8, plain, limit.name)) break &limit.above;
        } else null;
        return .{ .meaning = meanings.get(plain), .limit = limit };
    }
};

/// Whether a tool may take this for true: anything but the usual ways to say no.
fn isOn(kind: pdp.Kind, text: []const u8) bool {
    const no = [_][]const u8{ "", "0", "f", "false", "n", "no", "none", "null", "off" };
    var buffer: [5]u8 = undefined;
    return switch (kind) {
        .true => true,
        .number => !std.mem.eql(u8, text, "0"),
        .string => !words.isOneOf(words.plain(text, &buffer) orelse return true, &no),
        else => false,
    };
}
