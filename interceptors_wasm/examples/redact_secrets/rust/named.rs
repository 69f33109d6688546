//! Secrets that one knows by their name: `password=…`, `"api_key": "…"`, `Authorization: …`, `--token …`,
//! `<password>…</password>`, and the password in `scheme://user:password@host`.

use crate::detect::{Found, Kind, Scan};
use crate::formats;
use Kind::*;

/// What a name says about its value.
#[derive(Clone, Copy, PartialEq)]
enum Hint {
    Secret,
    /// A secret that may have spaces.
    Phrase,
    /// A recovery phrase: twelve words or more.
    Words,
    /// Pages and models have tokens too, so the value has to look random.
    Token,
    Authorization,
}

/// How the value stands there.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// As data: the value of a JSON member or of a tag.
    Data,
    /// In quotes, in text that may be code.
    Quoted,
    /// Plain, as in `password: x` or `password = x`, which may be code as well.
    Plain,
    /// As in a file of environment variables: `DB_PASSWORD=x`.
    Environment,
}

/// Names, in the form of `normal`; what only ends with one of them counts too.
#[rustfmt::skip]
const SECRETS: &[&str] = &[
    "password", "passwd", "passcode", "pwd", "dbpass", "secret", "secretkeybase", "apikey", "secretkey", "accesskey",
    "accountkey", "privatekey", "encryptionkey", "signingkey", "masterkey", "subscriptionkey", "authkey",
    "accesstoken", "authtoken", "apitoken", "refreshtoken", "sessiontoken", "bearertoken", "bottoken", "privatetoken",
    "secrettoken", "deploytoken", "githubtoken", "gitlabtoken", "ghtoken", "slacktoken", "npmtoken",
];
const RECOVERY_PHRASES: &[&str] = &["mnemonic", "seedphrase", "recoveryphrase"];

/// Tokens that are none of our business, and that an agent has to hand back.
#[rustfmt::skip]
const HARMLESS_TOKENS: &[&str] = &[
    "pagetoken", "nexttoken", "prevtoken", "previoustoken", "continuationtoken", "synctoken", "progresstoken",
    "cursortoken", "paginationtoken", "resumetoken", "starttoken", "markertoken", "csrftoken",
];

/// Values that stand for a value, or for a type.
#[rustfmt::skip]
const PLACEHOLDERS: &[&str] = &[
    "true", "false", "null", "none", "nil", "undefined", "string", "str", "text", "bytes", "number", "bool", "boolean",
    "required", "optional", "redacted", "hidden", "masked", "omitted", "unknown", "password", "passwd", "pass", "secret",
    "token",
];
const PLACEHOLDER_BEGINNINGS: &[&str] =
    &["your", "xxx", "example", "placeholder", "insert", "&lt;", "http://", "https://"];

const MAX_VALUE: usize = 16384;
const MAX_NAME: usize = 24;

/// Letters in lower case and digits, nothing else: `API-Key` and `apiKey` are the same name.
pub fn normal(name: &str) -> String {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// What stands behind `:`, `=` or `>`, if a name before it says that it is a secret.
pub fn assigned(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if scan.starts(at, b"://") {
        return url_password(scan, at + 3);
    }
    let sign = scan.byte(at);
    // `::`, and the second half of `:=`, `==`, `=>`, `->` and so on, which is read with the first.
    if matches!(scan.before(at), b':' | b'=' | b'!' | b'<' | b'>' | b'-') || (sign == b':' && scan.byte(at + 1) == b':')
    {
        return None;
    }
    let name = Name::before(scan, at)?;
    let hint = name.hint(scan).or_else(|| hint_of_pair(scan, &name))?;
    let behind = at + scan.run(at, |byte| matches!(byte, b':' | b'=' | b'>'));
    let start = behind + scan.run(behind, |byte| matches!(byte, b' ' | b'\t'));
    let style = match sign {
        b'>' => Style::Data,
        b'=' if name.is_upper && start == at + 1 => Style::Environment,
        _ => Style::Plain,
    };
    let found = value(scan, hint, style, start)?;
    // Of tags, only `<password>x</password>`.
    let closes = scan.before(name.start) == b'<' && scan.starts(found.end, b"</");
    (sign != b'>' || closes).then_some(found)
}

/// `--password x`. With `=` in between it is an assignment.
pub fn flag(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if scan.byte(at + 1) != b'-' || formats::word(scan.before(at)) {
        return None;
    }
    let end = at + scan.run(at, formats::word);
    if scan.byte(end) != b' ' {
        return None;
    }
    value(scan, Name::before(scan, end)?.hint(scan)?, Style::Plain, end + 1)
}

/// The whole value of a JSON member.
pub fn member(scan: &Scan<'_>, name: &str) -> Option<Found> {
    let name = normal(name);
    let hint = hint(name.as_bytes(), &scan.detector.names)?;
    found(scan, hint, Style::Data, 0, scan.text.len())
}

/// `user:password@` behind `://`.
fn url_password(scan: &Scan<'_>, at: usize) -> Option<Found> {
    let length = scan.run(at, |byte| byte > b' ' && !matches!(byte, b'/' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\'));
    let authority = &scan.text[at..at + length.min(MAX_VALUE)];
    let colon = authority.iter().position(|byte| *byte == b':')?;
    let sign = authority.iter().rposition(|byte| *byte == b'@').filter(|sign| *sign > colon + 1)?;
    let (start, end) = (at + colon + 1, at + sign);
    if is_placeholder(scan, &scan.text[start..end], Style::Data) {
        return None;
    }
    whole(scan, start, end, UrlPassword)
}

/// The end of a name, in the form of `normal`.
struct Name {
    letters: [u8; MAX_NAME],
    /// They lie at the end of `letters`, from here on.
    from: usize,
    start: usize,
    is_upper: bool,
}

impl Name {
    /// The name that ends at `at`, with quotes and spaces in between.
    fn before(scan: &Scan<'_>, at: usize) -> Option<Name> {
        let mut start = at;
        while start > scan.done
            && at - start < 6
            && matches!(scan.before(start), b' ' | b'"' | b'\'' | b'`' | b'\\' | b']')
        {
            start -= 1;
        }
        if !may_end(scan, start) {
            return None;
        }
        let mut name = Name { letters: [0; MAX_NAME], from: MAX_NAME, start, is_upper: true };
        while name.from > 0 && name.start > scan.done {
            let byte = scan.before(name.start);
            if byte.is_ascii_alphanumeric() {
                name.from -= 1;
                name.letters[name.from] = byte.to_ascii_lowercase();
                name.is_upper &= !byte.is_ascii_lowercase();
            } else if !matches!(byte, b'_' | b'-' | b'.' | b' ') || byte == scan.byte(name.start) {
                break;
            } else if byte == b' ' && name.is_upper && name.start < start {
                break; // `export DB_PASSWORD=`
            }
            name.start -= 1;
        }
        (name.from < MAX_NAME).then_some(name)
    }

    fn hint(&self, scan: &Scan<'_>) -> Option<Hint> {
        hint(&self.letters[self.from..], &scan.detector.names)
    }
}

/// The last two letters of every known name, so that few are looked at in full.
const ENDS: [&[u8; 2]; 11] = [b"rd", b"wd", b"de", b"ss", b"et", b"se", b"ey", b"en", b"on", b"ic", b"ue"];

fn may_end(scan: &Scan<'_>, at: usize) -> bool {
    let end = [scan.before(at.wrapping_sub(1)).to_ascii_lowercase(), scan.before(at).to_ascii_lowercase()];
    ENDS.contains(&&end) || !scan.detector.names.is_empty()
}

/// `- name: DB_PASSWORD`, and in the next line `value: x`, as in the files of Kubernetes.
fn hint_of_pair(scan: &Scan<'_>, value_name: &Name) -> Option<Hint> {
    if !value_name.letters.ends_with(b"value") {
        return None;
    }
    let line_start = scan.text[..value_name.start].iter().rposition(|byte| *byte == b'\n')?;
    let line = scan.text[..line_start].rsplit(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim().trim_start_matches("- ");
    let name = line.strip_prefix("name:")?;
    hint(normal(name).as_bytes(), &scan.detector.names)
}

fn hint(name: &[u8], own: &[String]) -> Option<Hint> {
    let ends = |names: &[&str]| names.iter().any(|known| name.ends_with(known.as_bytes()));
    match name.last()? {
        _ if own.iter().any(|known| name.ends_with(known.as_bytes())) => Some(Hint::Secret),
        b'd' | b'e' | b't' | b'y' | b's' if ends(SECRETS) => Some(Hint::Secret),
        b'e' if ends(&["passphrase"]) => Some(Hint::Phrase),
        b'e' | b'c' if ends(RECOVERY_PHRASES) => Some(Hint::Words),
        b'n' if ends(&["authorization"]) => Some(Hint::Authorization),
        b'n' if ends(SECRETS) => Some(Hint::Secret),
        b'n' if ends(&["token"]) && !ends(HARMLESS_TOKENS) => Some(Hint::Token),
        _ => None,
    }
}

/// The value that begins at `start`, in quotes or without.
fn value(scan: &Scan<'_>, hint: Hint, style: Style, start: usize) -> Option<Found> {
    let escapes = scan.run(start, |byte| byte == b'\\');
    let open = start + escapes;
    let quote = scan.byte(open);
    if matches!(quote, b'"' | b'\'' | b'`') {
        if let Some(end) = closing(scan, open + 1, quote, escapes > 0) {
            return found(scan, hint, Style::Quoted, open + 1, end);
        }
        let was_cut_off = !scan.text[open..].contains(&b'\n');
        let end = plain_end(scan, Style::Plain, open + 1);
        return if was_cut_off { found(scan, hint, Style::Quoted, open + 1, end) } else { None };
    }
    let end = match hint {
        Hint::Authorization => start + scan.run(start, |byte| !matches!(byte, b'\r' | b'\n' | b'"' | b'\'' | b'`')),
        _ => plain_end(scan, style, start),
    };
    found(scan, hint, style, start, end)
}

/// Where the quote closes that was opened before `at`. What is escaped outside ends at an escaped quote.
fn closing(scan: &Scan<'_>, mut at: usize, quote: u8, escaped: bool) -> Option<usize> {
    let limit = scan.text.len().min(at + MAX_VALUE);
    while at < limit {
        match scan.text[at] {
            b'\n' => return None,
            byte if byte == quote => return Some(at),
            b'\\' if escaped && scan.text[at..limit].iter().find(|byte| **byte != b'\\') == Some(&quote) => {
                return Some(at)
            }
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn plain_end(scan: &Scan<'_>, style: Style, start: usize) -> usize {
    let ends: fn(u8) -> bool = match style {
        Style::Environment => |byte| byte > b' ' && !matches!(byte, b'"' | b'\'' | b'`'),
        _ => |byte| {
            byte > b' '
                && !matches!(
                    byte,
                    b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'<' | b'>' | b'|' | b')' | b'}' | b']' | b'\\'
                )
        },
    };
    start + scan.run(start, ends)
}

fn found(scan: &Scan<'_>, hint: Hint, style: Style, start: usize, end: usize) -> Option<Found> {
    let value = scan.text.get(start..end)?;
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    let good = match hint {
        Hint::Authorization => return authorization(scan, style, start, end),
        Hint::Token => value.len() >= 16 && words == 1 && formats::is_random(value),
        Hint::Phrase => value.len() >= 4,
        Hint::Words => words >= 12,
        Hint::Secret => value.len() >= 4 && words == 1,
    };
    if !good || is_placeholder(scan, value, style) || is_code(value, style) {
        return None;
    }
    whole(scan, start, end, NamedSecret)
}

/// `Bearer x`, `Basic x`, `token x`, or x alone.
fn authorization(scan: &Scan<'_>, style: Style, start: usize, end: usize) -> Option<Found> {
    let word = scan.run(start, formats::word);
    let (from, kind) = match formats::scheme(scan, start) {
        Some(scheme) => scheme,
        None if scan.byte(start + word) == b' ' => (start + word + 1, BearerToken),
        None => (start, BearerToken),
    };
    let to = end.min(from + scan.run(from, formats::token68));
    let value = scan.text.get(from..to)?;
    let has_digit = value.iter().any(u8::is_ascii_digit);
    let good = match kind {
        BasicAuth => has_digit || formats::is_user_and_password(value),
        _ => has_digit && (from > start || is_quoted(style) || formats::is_random(value)),
    };
    if value.len() < 8 || !good || is_placeholder(scan, value, Style::Data) {
        return None;
    }
    whole(scan, from, to, kind)
}

/// A token whose kind is known is reported as that.
fn whole(scan: &Scan<'_>, start: usize, end: usize, kind: Kind) -> Option<Found> {
    match formats::token(scan, start) {
        Some(token) => Some(Found { end: end.max(token.end), ..token }),
        None if scan.wants(kind) => Some(Found { start, end, kind }),
        None => None,
    }
}

fn is_quoted(style: Style) -> bool {
    matches!(style, Style::Data | Style::Quoted)
}

/// Code has names where data has values. Unquoted, a word without digits is one; in quotes, only what ends like the name
/// of a secret, as `new_access_token`.
fn is_code(value: &[u8], style: Style) -> bool {
    let is_name = value.iter().all(|byte| formats::word(*byte) || matches!(byte, b'.' | b':'));
    let has_digit = value.iter().any(u8::is_ascii_digit);
    // A call, an index, a number in hex, or a sign that begins something else in YAML, Rust or Python.
    let has_bracket = value.iter().any(|byte| matches!(byte, b'(' | b'[' | b'{'));
    let is_hex_number = value.starts_with(b"0x") && value.len() <= 10;
    let is_syntax = has_bracket || is_hex_number || matches!(value[0], b'!' | b'&' | b'*' | b'@' | b'#');
    match style {
        Style::Data => false,
        Style::Quoted => is_name && !has_digit && is_known_name(value),
        Style::Plain => is_syntax || (is_name && (!has_digit || is_known_name(value))),
        Style::Environment => is_syntax || (is_name && !has_digit && value.contains(&b'.')),
    }
}

/// `config.password2`: the name of a variable.
fn is_known_name(value: &[u8]) -> bool {
    let last = value.rsplit(|byte| *byte == b'.').next().unwrap_or(value);
    let text = std::str::from_utf8(last).map(normal).unwrap_or_default();
    let letters = text.trim_end_matches(|c: char| c.is_ascii_digit());
    hint(letters.as_bytes(), &[]).is_some()
}

fn is_placeholder(scan: &Scan<'_>, value: &[u8], style: Style) -> bool {
    let text = match std::str::from_utf8(value) {
        Ok(text) => text,
        Err(_) => return false,
    };
    let has_dots = value.windows(3).any(|part| matches!(part, b"***" | b"..."));
    if has_dots || value.iter().all(|byte| *byte == value[0]) || scan.detector.marker.is(text) {
        return true;
    }
    let text = text.to_ascii_lowercase();
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    match text.as_bytes()[0] {
        b'<' | b'{' | b'[' | b'(' => true,
        _ if text.contains("%s") => true,
        _ if text.matches('/').count() > 1 && !formats::is_random(value) => true, // The path of a secret.
        b'$' | b'%' if style == Style::Plain => true,
        b'$' | b'%' => is_word(text[1..].trim_end_matches('%')) || text[1..].starts_with(['(', '{']),
        b'/' | b'~' | b'.' => !formats::is_random(value) && (!is_quoted(style) || text.contains('/')),
        _ if text.get(1..3) == Some(":\\") => true,
        _ => {
            PLACEHOLDERS.contains(&text.as_str()) || PLACEHOLDER_BEGINNINGS.iter().any(|begin| text.starts_with(begin))
        }
    }
}
