//! Secrets that one knows by their form.

use crate::detect::{Found, Kind, Scan};
use Kind::*;

/// A token: a prefix, then between `min` and `max` bytes of a set and nothing more of it.
struct Format {
    prefix: &'static [u8],
    kind: Kind,
    set: fn(u8) -> bool,
    min: usize,
    max: usize,
    /// Short prefixes are words too: the rest has to look as if nobody had written it.
    random: bool,
}

const MANY: usize = usize::MAX;

const fn format(prefix: &'static str, kind: Kind, set: fn(u8) -> bool, min: usize, max: usize) -> Format {
    Format { prefix: prefix.as_bytes(), kind, set, min, max, random: false }
}

const fn random(prefix: &'static str, kind: Kind, set: fn(u8) -> bool, min: usize) -> Format {
    Format { prefix: prefix.as_bytes(), kind, set, min, max: MANY, random: true }
}

/// A longer prefix stands before a shorter one with the same beginning.
#[rustfmt::skip]
const FORMATS: &[Format] = &[
    format("AKIA", AwsKey, upper, 16, 16),
    format("ASIA", AwsKey, upper, 16, 16),
    format("ABIA", AwsKey, upper, 16, 16),
    format("ACCA", AwsKey, upper, 16, 16),
    format("github_pat_", GithubToken, word, 36, MANY),
    format("ghp_", GithubToken, dotted, 30, MANY),
    format("gho_", GithubToken, dotted, 30, MANY),
    format("ghu_", GithubToken, dotted, 30, MANY),
    format("ghs_", GithubToken, dotted, 30, MANY),
    format("ghr_", GithubToken, dotted, 30, MANY),
    format("glpat-", GitlabToken, dotted, 20, MANY),
    format("glptt-", GitlabToken, dotted, 20, MANY),
    format("gldt-", GitlabToken, dotted, 20, MANY),
    format("glrt-", GitlabToken, dotted, 20, MANY),
    format("glcbt-", GitlabToken, dotted, 20, MANY),
    format("glsoat-", GitlabToken, dotted, 20, MANY),
    format("glimt-", GitlabToken, dotted, 20, MANY),
    format("glagent-", GitlabToken, dotted, 20, MANY),
    format("gloas-", GitlabToken, dotted, 20, MANY),
    format("GR1348941", GitlabToken, word, 20, MANY),
    format("xoxb-", SlackToken, word, 20, MANY),
    format("xoxp-", SlackToken, word, 20, MANY),
    format("xoxa-", SlackToken, word, 20, MANY),
    format("xoxr-", SlackToken, word, 20, MANY),
    format("xoxs-", SlackToken, word, 20, MANY),
    format("xoxc-", SlackToken, word, 20, MANY),
    format("xoxd-", SlackToken, percent, 20, MANY),
    format("xoxe-", SlackToken, word, 20, MANY),
    format("xoxe.xox", SlackToken, word, 20, MANY),
    format("xapp-", SlackToken, word, 20, MANY),
    format("hooks.slack.com/services/", SlackToken, path, 20, MANY),
    format("hooks.slack.com/workflows/", SlackToken, path, 20, MANY),
    format("sk-ant-", AnthropicKey, word, 20, MANY),
    random("sk-", OpenaiKey, word, 20),
    format("AIza", GoogleKey, word, 35, 35),
    format("ya29.", GoogleKey, dotted, 20, MANY),
    format("GOCSPX-", GoogleKey, word, 20, MANY),
    format("1//0", GoogleKey, word, 30, MANY),
    format("sk_live_", StripeKey, word, 16, MANY),
    format("sk_test_", StripeKey, word, 16, MANY),
    format("rk_live_", StripeKey, word, 16, MANY),
    format("rk_test_", StripeKey, word, 16, MANY),
    format("whsec_", StripeKey, base64, 24, MANY),
    format("npm_", ServiceToken, alnum, 36, 36),
    format("pypi-AgE", ServiceToken, word, 50, MANY),
    format("rubygems_", ServiceToken, alnum, 48, 48),
    random("hf_", ServiceToken, alnum, 30),
    random("SG.", ServiceToken, dotted, 60),
    format("dop_v1_", ServiceToken, alnum, 64, 64),
    format("shpat_", ServiceToken, alnum, 32, 32),
    format("hvs.", ServiceToken, word, 24, MANY),
    format("hvb.", ServiceToken, word, 24, MANY),
    random("dapi", ServiceToken, alnum, 32),
    format("glsa_", ServiceToken, word, 32, MANY),
    random("gsk_", ServiceToken, alnum, 40),
    random("xai-", ServiceToken, alnum, 40),
    random("pplx-", ServiceToken, alnum, 32),
    format("lin_api_", ServiceToken, alnum, 32, MANY),
    random("ntn_", ServiceToken, alnum, 40),
    format("ATATT3", ServiceToken, key64, 100, MANY),
    format("PMAK-", ServiceToken, word, 50, MANY),
    format("NRAK-", ServiceToken, alnum, 27, 27),
    format("AGE-SECRET-KEY-1", ServiceToken, alnum, 40, MANY),
];

/// What may begin at a word: for each first byte, bits that stand for the low six bits of the second. Nearly all words of a
/// text are done with after this look.
const BEGINNINGS: [u64; 256] = {
    let mut seconds = [0; 256];
    let mut at = 0;
    while at < FORMATS.len() {
        let prefix = FORMATS[at].prefix;
        seconds[prefix[0] as usize] |= bit(prefix[1]);
        at += 1;
    }
    seconds[b'e' as usize] |= bit(b'y'); // A JWT.
    seconds[b'b' as usize] |= bit(b'e') | bit(b'a'); // `bearer` and `basic`.
    seconds[b'B' as usize] |= bit(b'e') | bit(b'a') | bit(b'E') | bit(b'A');
    let mut byte = 0;
    while byte < 26 {
        seconds[byte + b'A' as usize] |= 0x7FFFFFE; // Two capital letters: an IBAN.
        byte += 1;
    }
    byte = 0;
    while byte < 10 {
        seconds[byte + b'0' as usize] |= 0x3FF << 48; // Two digits: a card, an SSN, a phone number.
        byte += 1;
    }
    seconds
};

const fn bit(byte: u8) -> u64 {
    1 << (byte & 63)
}

pub fn may_begin(first: u8, second: u8) -> bool {
    BEGINNINGS[usize::from(first)] & bit(second) != 0
}

/// A token that begins here, or a JWT.
pub fn token(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if scan.starts(at, b"eyJ") {
        return jwt(scan, at);
    }
    let first = usize::from(scan.byte(at));
    for index in &BY_FIRST.0[usize::from(BY_FIRST.1[first])..usize::from(BY_FIRST.1[first + 1])] {
        let format = &FORMATS[usize::from(*index)];
        if scan.starts(at, format.prefix) && scan.wants(format.kind) {
            if let Some(end) = format.end(scan, at + format.prefix.len()) {
                return Some(Found { start: at, end, kind: format.kind });
            }
        }
    }
    None
}

/// The formats ordered by the first byte of their prefix, and for each byte where its formats begin in there.
const BY_FIRST: ([u8; FORMATS.len()], [u8; 257]) = {
    let (mut order, mut starts) = ([0; FORMATS.len()], [0; 257]);
    let (mut byte, mut count) = (0, 0);
    while byte < 256 {
        let mut at = 0;
        while at < FORMATS.len() {
            if FORMATS[at].prefix[0] as usize == byte {
                order[count] = at as u8;
                count += 1;
            }
            at += 1;
        }
        byte += 1;
        starts[byte] = count as u8;
    }
    (order, starts)
};

impl Format {
    /// Where the token ends whose prefix ends at `from`.
    fn end(&self, scan: &Scan<'_>, from: usize) -> Option<usize> {
        let mut length = scan.run(from, self.set);
        while length > 0 && scan.text[from + length - 1] == b'.' {
            length -= 1; // The end of a sentence.
        }
        let fits = length >= self.min && length <= self.max;
        (fits && (!self.random || is_random(&scan.text[from..from + length]))).then(|| from + length)
    }
}

/// The secret part right behind an AWS key id, as in the files that the console offers: 40 bytes of base64.
pub fn aws_secret(scan: &Scan<'_>, key_end: usize) -> Option<Found> {
    let start = key_end + scan.run(key_end, |byte| matches!(byte, b',' | b';' | b':' | b'|' | b' ' | b'\t' | b'"'));
    let end = start + scan.run(start, base64);
    let has = |of: fn(&u8) -> bool| scan.text[start..end].iter().any(of);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    (start > key_end && end - start == 40 && mixed).then_some(Found { start, end, kind: AwsKey })
}

/// `eyJ…` (that is, `{"` in base64), then at least two more parts.
fn jwt(scan: &Scan<'_>, at: usize) -> Option<Found> {
    let header = scan.run(at, word);
    let mut end = at + header;
    let mut parts = 1;
    while parts < 5 && scan.byte(end) == b'.' {
        end += 1 + scan.run(end + 1, word);
        parts += 1;
    }
    let long = header >= 12 && parts >= 3 && end - at - header >= 16;
    let end = end - usize::from(scan.before(end) == b'.' && parts > 3); // The end of a sentence.
    (long && scan.wants(Jwt)).then_some(Found { start: at, end, kind: Jwt })
}

/// `Bearer …` and `Basic …`, wherever they stand. Without `Authorization:` before them they are also English.
pub fn credentials(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if !matches!(scan.byte(at), b'b' | b'B') {
        return None;
    }
    let (start, kind) = scheme(scan, at)?;
    let end = start + scan.run(start, token68);
    let value = &scan.text[start..end];
    let convincing = match kind {
        BearerToken => value.len() >= 20 && is_random(value),
        _ => value.len() >= 8 && is_user_and_password(value),
    };
    if !convincing || !scan.wants(kind) {
        return None;
    }
    // A token whose kind is known is reported as that.
    token(scan, start).or(Some(Found { start, end, kind }))
}

/// Where the credentials begin behind `Bearer ` or `Basic `, and which of the two it is.
pub fn scheme(scan: &Scan<'_>, at: usize) -> Option<(usize, Kind)> {
    let is = |name: &[u8]| scan.text.get(at..at + name.len()).map_or(false, |text| text.eq_ignore_ascii_case(name));
    let (length, kind) = match () {
        _ if is(b"bearer") => (6, BearerToken),
        _ if is(b"basic") => (5, BasicAuth),
        _ => return None,
    };
    let gap = match scan.run(at + length, |byte| byte == b' ') {
        0 if scan.starts(at + length, b"%20") => 3,
        0 => return None,
        gap => gap,
    };
    Some((at + length + gap, kind))
}

/// A PEM block. Where its end is missing, because the text was cut off, it goes on to the end of the text.
pub fn private_key(scan: &mut Scan<'_>, at: usize) -> Option<Found> {
    if !scan.starts(at, b"-----BEGIN ") || !scan.wants(PrivateKey) {
        return None;
    }
    let label = at + 11;
    let label_end = label + scan.run(label, |byte| upper(byte) || byte == b' ');
    let name = &scan.text[label..label_end];
    if !(name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK")) || !scan.starts(label_end, b"-----") {
        return None;
    }
    let body = label_end + 5;
    if !scan.no_key_end {
        let end_line = [b"-----END ", name, b"-----"].concat();
        let end = scan.text[body..].windows(end_line.len()).position(|text| text == end_line);
        if let Some(end) = end {
            return Some(Found { start: at, end: body + end + end_line.len(), kind: PrivateKey });
        }
        scan.no_key_end = true;
    }
    // Prose about such keys is not followed by one.
    let near = &scan.text[body..scan.text.len().min(body + 256)];
    let has_key = near.split(|byte| !base64(*byte)).any(|line| line.len() >= 24);
    has_key.then_some(Found { start: at, end: scan.text.len(), kind: PrivateKey })
}

/// Does it look as if a machine had made it? It has a digit and a letter in one long run.
pub fn is_random(text: &[u8]) -> bool {
    text.split(|byte| !alnum(*byte))
        .any(|run| run.len() >= 12 && run.iter().any(u8::is_ascii_digit) && run.iter().any(u8::is_ascii_alphabetic))
}

/// Base64 of printable text with a colon in it.
pub fn is_user_and_password(text: &[u8]) -> bool {
    let (mut bits, mut count, mut colon) = (0_u32, 0, false);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            let decoded = (bits >> count) as u8;
            if decoded < 0x20 || decoded == 0x7F {
                return false;
            }
            colon |= decoded == b':';
        }
    }
    colon
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

pub fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

pub fn word(byte: u8) -> bool {
    alnum(byte) || matches!(byte, b'_' | b'-')
}

fn dotted(byte: u8) -> bool {
    word(byte) || byte == b'.'
}

fn percent(byte: u8) -> bool {
    base64(byte) || matches!(byte, b'%' | b'-' | b'_')
}

fn path(byte: u8) -> bool {
    word(byte) || byte == b'/'
}

fn base64(byte: u8) -> bool {
    alnum(byte) || matches!(byte, b'+' | b'/' | b'=')
}

fn key64(byte: u8) -> bool {
    word(byte) || byte == b'='
}

pub fn token68(byte: u8) -> bool {
    base64(byte) || matches!(byte, b'-' | b'_' | b'.' | b'~')
}
