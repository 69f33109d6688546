//! The search: one pass over the text, which looks closer only where something may begin.

use crate::marker::Marker;
use crate::{formats, named, personal};

/// What was found, and where: bytes `start` up to `end` of the text.
pub struct Found {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
}

/// The kinds, with the secrets before the personal data.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Kind {
    AwsKey,
    GithubToken,
    GitlabToken,
    SlackToken,
    OpenaiKey,
    AnthropicKey,
    GoogleKey,
    StripeKey,
    ServiceToken,
    PrivateKey,
    Jwt,
    BearerToken,
    BasicAuth,
    UrlPassword,
    NamedSecret,
    Card,
    Iban,
    Ssn,
    Email,
    Phone,
}

use Kind::*;

#[rustfmt::skip]
const KINDS: [(Kind, &str); Kind::COUNT] = [
    (AwsKey, "aws-key"), (GithubToken, "github-token"), (GitlabToken, "gitlab-token"), (SlackToken, "slack-token"),
    (OpenaiKey, "openai-key"), (AnthropicKey, "anthropic-key"), (GoogleKey, "google-key"), (StripeKey, "stripe-key"),
    (ServiceToken, "service-token"), (PrivateKey, "private-key"), (Jwt, "jwt"), (BearerToken, "bearer-token"),
    (BasicAuth, "basic-auth"), (UrlPassword, "url-password"), (NamedSecret, "named-secret"),
    (Card, "card"), (Iban, "iban"), (Ssn, "ssn"), (Email, "email"), (Phone, "phone"),
];

impl Kind {
    pub const COUNT: usize = 20;

    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|(kind, _)| *kind)
    }

    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    pub fn bit(self) -> u32 {
        1 << self as u32
    }

    pub fn secrets() -> u32 {
        Card.bit() - 1
    }

    pub fn usual() -> u32 {
        Email.bit() - 1
    }
}

pub struct Detector {
    /// The bits of the kinds to look for.
    pub kinds: u32,
    /// Texts that are no secrets, whatever they look like.
    pub allowed: Vec<String>,
    /// Further names of secrets, in the form of `named::normal`.
    pub names: Vec<String>,
    /// A value that is a marker was redacted before.
    pub marker: Marker,
}

impl Detector {
    pub fn new() -> Detector {
        Detector { kinds: Kind::usual(), allowed: Vec::new(), names: Vec::new(), marker: Marker::usual() }
    }

    /// All finds in `text`, in order and apart from each other.
    pub fn search(&self, text: &str) -> Vec<Found> {
        let mut scan = Scan::new(text, self);
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(byte) = scan.text.get(at) {
            let find = match CLASSES[usize::from(*byte)] {
                NOTHING => None,
                SIGN => scan.look_at_sign(at),
                _ => {
                    let find = if formats::may_begin(*byte, scan.byte(at + 1)) { scan.look_at_word(at) } else { None };
                    if find.is_none() {
                        at += scan.run(at + 1, |byte| CLASSES[usize::from(byte)] == WORD);
                    }
                    find
                }
            };
            at += 1;
            let aws_key_end = find.as_ref().filter(|find| find.kind == AwsKey).map(|find| find.end);
            let aws_secret = aws_key_end.and_then(|end| formats::aws_secret(&scan, end));
            for find in find.into_iter().chain(aws_secret) {
                at = find.end;
                scan.done = at;
                found.push(find);
            }
        }
        found.retain(|find| !self.is_allowed(&text[find.start..find.end]));
        found
    }

    /// The value of a JSON member whose name says that it is a secret.
    pub fn member_value(&self, member: Option<&str>, value: &str) -> Option<Found> {
        let found = named::member(&Scan::new(value, self), member?)?;
        (!self.is_allowed(&value[found.start..found.end])).then_some(found)
    }

    /// A marker that is itself taken for a secret would be redacted again and again.
    pub fn check_marker(&self) -> Result<(), String> {
        for kind in Kind::all() {
            let mut text = String::new();
            self.marker.write(kind, &mut text);
            if !self.search(&text).is_empty() {
                return Err(format!("`marker` gives `{text}`, which would be taken for a secret itself"));
            }
        }
        Ok(())
    }

    fn is_allowed(&self, text: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == text)
    }
}

/// One search on its way. Offsets are bytes of `text`.
pub struct Scan<'a> {
    pub text: &'a [u8],
    pub detector: &'a Detector,
    /// Where the last find ended.
    pub done: usize,
    /// It is known that no private key ends further on, so that nobody looks for that again and again.
    pub no_key_end: bool,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, detector: &'a Detector) -> Scan<'a> {
        Scan { text: text.as_bytes(), detector, done: 0, no_key_end: false }
    }

    pub fn wants(&self, kind: Kind) -> bool {
        self.detector.kinds & kind.bit() != 0
    }

    /// The byte at `at`, or 0 behind the end.
    pub fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// The byte before `at`, or 0 before the beginning.
    pub fn before(&self, at: usize) -> u8 {
        self.byte(at.wrapping_sub(1))
    }

    pub fn starts(&self, at: usize, with: &[u8]) -> bool {
        self.text.get(at..).map_or(false, |rest| rest.starts_with(with))
    }

    /// How many bytes from `at` on are of a set.
    pub fn run(&self, at: usize, of: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(at..).unwrap_or(&[]);
        rest.iter().position(|byte| !of(*byte)).unwrap_or(rest.len())
    }

    fn look_at_sign(&mut self, at: usize) -> Option<Found> {
        match self.text[at] {
            b':' | b'=' | b'>' => named::assigned(self, at),
            b'-' => formats::private_key(self, at).or_else(|| named::flag(self, at)),
            b'@' => personal::email(self, at),
            // Behind an escape that was left in the text a word begins too.
            b'\\' if matches!(self.byte(at + 1), b'n' | b'r' | b't') => self.look_at_word(at + 2),
            b'%' if self.run(at + 1, |byte| byte.is_ascii_hexdigit()) >= 2 => self.look_at_word(at + 3),
            b'+' | b'(' => personal::phone(self, at),
            _ => None,
        }
    }

    fn look_at_word(&self, at: usize) -> Option<Found> {
        let found = formats::credentials(self, at).or_else(|| formats::token(self, at));
        match self.byte(at) {
            _ if found.is_some() => found,
            b'0'..=b'9' => {
                let found = personal::card(self, at).or_else(|| personal::ssn(self, at));
                found.or_else(|| personal::phone(self, at))
            }
            b'A'..=b'Z' => personal::iban(self, at),
            _ => None,
        }
    }
}

const NOTHING: u8 = 0;
const SIGN: u8 = 1;
const WORD: u8 = 2;

/// What a byte is to the search.
const CLASSES: [u8; 256] = {
    let mut classes = [NOTHING; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b':' | b'=' | b'>' | b'-' | b'@' | b'+' | b'(' | b'\\' | b'%' => SIGN,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => WORD,
            _ => NOTHING,
        };
        byte += 1;
    }
    classes
};
