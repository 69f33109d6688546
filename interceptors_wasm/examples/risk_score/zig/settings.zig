//! The configuration, checked and with its defaults. main.zig documents the keys.

const std = @import("std");
const pdp = @import("pdp");
const addresses = @import("addresses.zig");
const words = @import("words.zig");
const Decimal = @import("decimal.zig").Decimal;

/// What can be found in a call. In alphabetical order, because the annotation is sorted.
pub const Signal = enum {
    access_verb,
    amount,
    destructive_verb,
    encoded_blob,
    execution_verb,
    external_recipient,
    external_url,
    force,
    large_payload,
    many_targets,
    outbound_verb,
    payment_verb,
    production,
    secret,
    sensitive_path,
    shell_command,
    shell_syntax,
    wildcard,
};

pub const Signals = std.EnumSet(Signal);

pub const Limit = struct { name: []const u8, above: Decimal };

const Texts = []const []const u8;

pub const Settings = struct {
    weights: std.EnumArray(Signal, u8) = .init(.{
        .access_verb = 30,
        .amount = 40,
        .destructive_verb = 40,
        .encoded_blob = 15,
        .execution_verb = 40,
        .external_recipient = 20,
        .external_url = 15,
        .force = 15,
        .large_payload = 10,
        .many_targets = 20,
        .outbound_verb = 20,
        .payment_verb = 40,
        .production = 25,
        .secret = 40,
        .sensitive_path = 40,
        .shell_command = 30,
        .shell_syntax = 10,
        .wildcard = 25,
    }),
    verbs: std.EnumArray(Signal, Texts) = .initDefault(&.{}, .{
        .access_verb = &.{
            "approve", "assume",      "authorize", "chmod",   "chown",  "elevate",
            "grant",   "impersonate", "invite",    "promote", "revoke", "unlock",
        },
        .destructive_verb = &.{
            "del",    "delete", "destroy", "disable", "drop",      "erase",    "kill",      "overwrite", "purge",
            "remove", "reset",  "rm",      "shred",   "terminate", "truncate", "uninstall", "wipe",
        },
        .execution_verb = &.{
            "bash",  "eval",  "exec", "execute", "powershell", "run",
            "shell", "spawn", "ssh",  "sudo",    "terminal",
        },
        .outbound_verb = &.{ "forward", "post", "publish", "send", "share", "tweet", "upload" },
        .payment_verb = &.{
            "buy",      "charge", "disburse", "pay",  "payout",
            "purchase", "refund", "transfer", "wire", "withdraw",
        },
    }),
    amounts: []const Limit = &.{.{ .name = "amount", .above = Decimal.parse("1000").? }},
    internal_domains: Texts = &.{ "localhost", "127.0.0.1", "[::1]" },
    production_names: Texts = &.{ "prod", "production", "prd" },
    sensitive_paths: Texts = &.{
        "/etc/passwd",       "/etc/shadow",  "/etc/sudoers",   "/etc/kubernetes", "/proc/self",   "/windows/system32",
        ".aws",              ".azure",       ".bash_history",  ".docker/config",  ".env",         ".git-credentials",
        ".gnupg",            ".htpasswd",    ".kube/config",   ".netrc",          ".npmrc",       ".pgpass",
        ".pypirc",           ".ssh",         ".vault-token",   "authorized_keys", "docker.sock",  "id_ecdsa",
        "id_ed25519",        "id_rsa",       "ntds.dit",       "secrets.json",    "secrets.yaml", "secrets.yml",
        "terraform.tfstate", "tfstate.json", "login keychain",
    },
    large_bytes: u32 = 64 * 1024,
    blob_chars: u32 = 256,
    max_targets: u32 = 20,

    pub fn read(config: pdp.Value) pdp.Error!Settings {
        if (config.kind() != .object) return pdp.refuse(&.{"the configuration is not an object"});
        var settings: Settings = .{};
        var members = try config.members();
        while (try members.next()) |member| try settings.set(member.name, member.value);
        return settings;
    }

    fn set(self: *Settings, name: []const u8, value: pdp.Value) pdp.Error!void {
        const key = std.meta.stringToEnum(std.meta.FieldEnum(Settings), name) orelse
            return pdp.refuse(&.{ "`", name, "`: unknown key" });
        switch (key) {
            .weights => try self.setWeights(value),
            .verbs => try self.setVerbs(value),
            .amounts => self.amounts = try readLimits(value),
            .internal_domains => self.internal_domains = try readDomains(name, value),
            .production_names => self.production_names = try readWords(name, value),
            .sensitive_paths => self.sensitive_paths = try readTexts(name, value),
            .large_bytes => self.large_bytes = try readCount(name, value),
            .blob_chars => self.blob_chars = try readCount(name, value),
            .max_targets => self.max_targets = try readCount(name, value),
        }
    }

    fn setWeights(self: *Settings, value: pdp.Value) pdp.Error!void {
        var members = try membersOf("weights", value);
        while (try members.next()) |member| {
            const signal = std.meta.stringToEnum(Signal, member.name) orelse
                return pdp.refuse(&.{ "`weights`: no signal is called `", member.name, "`" });
            const weight = member.value.integer(u8) orelse 101;
            if (weight > 100) return pdp.refuse(&.{ "`weights.", member.name, "`: not a whole number from 0 to 100" });
            self.weights.set(signal, weight);
        }
    }

    fn setVerbs(self: *Settings, value: pdp.Value) pdp.Error!void {
        var members = try membersOf("verbs", value);
        while (try members.next()) |member| {
            const signal = std.meta.stringToEnum(Signal, member.name);
            if (signal == null or self.verbs.get(signal.?).len == 0) {
                return pdp.refuse(&.{ "`verbs`: no group of verbs is called `", member.name, "`" });
            }
            self.verbs.set(signal.?, try readWords("verbs", member.value));
        }
    }
};

fn membersOf(key: []const u8, value: pdp.Value) pdp.Error!pdp.Members {
    if (value.kind() != .object) return pdp.refuse(&.{ "`", key, "`: not an object" });
    return value.members();
}

fn readLimits(value: pdp.Value) pdp.Error![]const Limit {
    var limits: std.ArrayList(Limit) = .empty;
    var members = try membersOf("amounts", value);
    while (try members.next()) |member| {
        const above = if (member.value.kind() == .number) Decimal.parse(member.value.json) else null;
        // Beyond such exponents two numbers could not be told apart.
        if (above == null or member.value.json[0] == '-' or @abs(above.?.magnitude) > 1_000_000) {
            return pdp.refuse(&.{ "`amounts.", member.name, "`: not a number that is 0 or more" });
        }
        const name = try plainName("amounts", member.name);
        try limits.append(pdp.allocator, .{ .name = name, .above = above.? });
    }
    return limits.items;
}

fn readTexts(key: []const u8, value: pdp.Value) pdp.Error![][]const u8 {
    if (value.kind() != .array) return pdp.refuse(&.{ "`", key, "`: not an array of strings" });
    var texts: std.ArrayList([]const u8) = .empty;
    var items = try value.items();
    while (try items.next()) |item| {
        const text = if (item.kind() == .string) std.mem.trim(u8, try item.string(), &std.ascii.whitespace) else "";
        if (text.len == 0) return pdp.refuse(&.{ "`", key, "`: holds something that is not a text" });
        try texts.append(pdp.allocator, text);
    }
    return texts.items;
}

/// Texts that are compared with single words, which have letters only.
fn readWords(key: []const u8, value: pdp.Value) pdp.Error!Texts {
    const texts = try readTexts(key, value);
    for (texts) |*text| {
        for (text.*) |byte| {
            if (std.ascii.isAlphabetic(byte)) continue;
            return pdp.refuse(&.{ "`", key, "`: `", text.*, "` is not one word of letters" });
        }
        text.* = try plainName(key, text.*);
    }
    return texts;
}

fn plainName(key: []const u8, name: []const u8) pdp.Error![]const u8 {
    const plain = words.plain(name, try pdp.allocator.alloc(u8, words.longest)) orelse "";
    if (plain.len > 0) return plain;
    return pdp.refuse(&.{ "`", key, "`: `", name, "` is not a name of 1 to 64 characters" });
}

fn readDomains(key: []const u8, value: pdp.Value) pdp.Error!Texts {
    const texts = try readTexts(key, value);
    for (texts) |text| {
        if (!addresses.isDomain(text)) {
            return pdp.refuse(&.{ "`", key, "`: `", text, "` is not a domain; those below one need no entry" });
        }
    }
    return texts;
}

fn readCount(key: []const u8, value: pdp.Value) pdp.Error!u32 {
    const count = value.integer(u32) orelse 0;
    return if (count > 0) count else pdp.refuse(&.{ "`", key, "`: not a whole number above 0" });
}
