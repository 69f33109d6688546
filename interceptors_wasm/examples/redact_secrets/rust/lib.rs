//! redact_secrets: takes secrets and personal data out of what a tool returns, before the agent sees them.
//!
//! Every string of a result, at any depth and also in JSON that is itself text in a string, is searched, and what is found
//! is replaced by a marker such as `[redacted:github-token]`. Nothing else changes, to the byte. Arguments can be treated
//! in the same way, so that secrets do not leave. It states one fact:
//!
//!     redactions  Long  how many secrets were found, in arguments also where they are passed on
//!
//! It finds what leaks by accident. A tool that wants to smuggle a secret out can encode it in ways without number.
//!
//! Configuration:
//!
//!     results       "redact" (default) or "deny": what happens to a result with secrets
//!     arguments     "pass" (default), "redact" or "deny": what happens to arguments with secrets
//!     kinds         list of kinds to look for, as below; "secrets" stands for all that are no personal data. Default: all
//!                   but email and phone
//!     except        list of kinds to leave out of these. Default none
//!     marker        what stands in place of a secret, at most 200 bytes. Default "[redacted:{kind}]"
//!     names         list of further names of secrets, such as "cookie", in any spelling; see named-secret. Default none
//!     allow         list of texts that are left alone where they are found in exactly this form. Default none
//!     deny_markers  denies arguments that hold a marker: an agent that writes a file back as it saw it would overwrite
//!                   the secret. Only if `marker` has `{kind}`. Default true
//!
//! Kinds:
//!
//!     aws-key, github-token, gitlab-token, slack-token, openai-key, anthropic-key, google-key, stripe-key
//!     service-token    npm, PyPI, Hugging Face, SendGrid, Vault, and more
//!     private-key      PEM blocks
//!     jwt
//!     bearer-token     behind `Authorization:`, and elsewhere if it looks random
//!     basic-auth       the same, if it decodes to a user and a password
//!     url-password     `scheme://user:password@host`
//!     named-secret     `password=x`, `"api_key": "x"`, `--auth-token x`, `<password>x</password>`, and `name` with `value`
//!     card             payment cards of the large networks, with a good checksum
//!     iban             with the length of its country and a good checksum
//!     ssn              US social security numbers, as `ddd-dd-dddd` only
//!     email, phone
//!
//! Code is full of names of secrets, and an agent has to edit code. So `named-secret` leaves alone what is not quoted and
//! has no digit (`password = user_input`), quoted text with spaces (`"password": "must not be empty"`), placeholders,
//! paths, and tokens that turn pages.

mod detect;
mod formats;
mod marker;
mod named;
mod pdp_interceptor;
mod personal;

use std::borrow::Cow;

use detect::{Detector, Kind};
use marker::Marker;
use pdp_interceptor::{quote, Call, Interceptor, Json, Reply, Scalar};

/// JSON in a string in JSON in a string: as deep as this it is read as JSON, and below as text.
const MAX_NESTING: u32 = 4;

struct RedactSecrets {
    detector: Detector,
    arguments: Action,
    results: Action,
    deny_markers: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Pass,
    Redact,
    Deny,
}

impl Action {
    fn read(key: &str, value: Json<'_>) -> Result<Action, String> {
        match () {
            _ if value.is("redact") => Ok(Action::Redact),
            _ if value.is("deny") => Ok(Action::Deny),
            _ => Err(format!("`{key}` does not have one of its values")),
        }
    }
}

impl Interceptor for RedactSecrets {
    fn configure(config: Json<'static>) -> Result<Self, String> {
        let mut own = RedactSecrets {
            detector: Detector::new(),
            arguments: Action::Pass,
            results: Action::Redact,
            deny_markers: true,
        };
        let mut kinds = Kind::usual();
        let mut except = 0;
        for (name, value) in config.members() {
            let name = name.str().unwrap_or_default();
            match &*name {
                "kinds" => kinds = kind_set(&name, value)?,
                "except" => except = kind_set(&name, value)?,
                "arguments" if value.is("pass") => own.arguments = Action::Pass,
                "arguments" => own.arguments = Action::read(&name, value)?,
                "results" => own.results = Action::read(&name, value)?,
                "marker" => own.detector.marker = Marker::read(value)?,
                "names" => own.detector.names = texts(&name, value)?.iter().map(|n| named::normal(n)).collect(),
                "allow" => own.detector.allowed = texts(&name, value)?,
                "deny_markers" => own.deny_markers = value.bool().ok_or("`deny_markers` has to be a boolean")?,
                unknown => return Err(format!("`{unknown}` is not a key of this interceptor")),
            }
        }
        if own.detector.names.iter().any(|name| name.len() < 3) {
            return Err("`names` has a name of fewer than three letters and digits".into());
        }
        own.detector.kinds = kinds & !except;
        if config.get("marker").is_some() {
            own.detector.check_marker()?;
        }
        Ok(own)
    }

    fn on_request(&self, call: &Call<'static>) -> Result<Reply, String> {
        if self.deny_markers && self.holds_marker(call.arguments) {
            return Ok(Reply::deny(
                "the arguments hold a marker that stands for a redacted secret; writing it would \
                 destroy the secret. change only the parts around it, for instance with an edit in place",
            )
            .reason("the arguments hold a marker"));
        }
        let denial = "this call was withheld: its arguments hold";
        Ok(self.judge(call.arguments, self.arguments, denial, Reply::transform_arguments))
    }

    fn on_response(&self, call: &Call<'static>) -> Result<Reply, String> {
        let denial = "the result of this call was withheld: it holds";
        Ok(self.judge(call.result, self.results, denial, Reply::transform_result))
    }
}

interceptor!(RedactSecrets: request, response);

impl RedactSecrets {
    fn judge(&self, payload: Json<'static>, action: Action, denial: &str, transform: fn(&str) -> Reply) -> Reply {
        let mut tally = Tally::default();
        let redacted = self.redact(payload, MAX_NESTING, &mut tally);
        let reply = match (redacted, action) {
            (None, _) => Reply::pass(),
            (Some(_), Action::Pass) => Reply::pass().reason(&tally.counts("found")),
            (Some(text), Action::Redact) => transform(&text).reason(&tally.counts("redacted")),
            (Some(_), Action::Deny) => {
                Reply::deny(&format!("{denial} {}", tally.kinds())).reason(&tally.counts("found"))
            }
        };
        reply.annotation("redactions", &tally.total().to_string())
    }

    /// The payload without what was found, or nothing where nothing was.
    fn redact(&self, json: Json<'_>, nesting: u32, tally: &mut Tally) -> Option<String> {
        let mut pair = None; // `{"name": "DB_PASSWORD", "value": "…"}`, in either order: what the last `name` was.
        json.rewrite(&mut |scalar| {
            let mut name = scalar.member.and_then(Json::str);
            match name.as_deref() {
                Some("name" | "key") => pair = scalar.value.str(),
                Some("value") => name = name_behind(&scalar).or_else(|| pair.take()).or(name),
                _ => {}
            }
            self.redact_scalar(scalar, name.as_deref(), nesting, tally)
        })
    }

    /// `name` says what the value is.
    fn redact_scalar(&self, scalar: Scalar<'_>, name: Option<&str>, nesting: u32, tally: &mut Tally) -> Option<String> {
        let text = match scalar.value.str() {
            Some(text) => text,
            // A number may be a card's, or stand under the name of a secret. `true` and `null` are nothing.
            None if matches!(scalar.value.text().as_bytes()[0], b't' | b'f' | b'n') => return None,
            None => scalar.value.text().into(),
        };
        if nesting > 0 && text.trim_start().starts_with(['{', '[']) {
            if let Some(inner) = Json::parse_sequence(&text) {
                return self.redact(inner, nesting - 1, tally).map(|inner| quote(&inner));
            }
        }
        let found = match self.detector.member_value(name, &text) {
            Some(found) => vec![found],
            None => self.detector.search(&text),
        };
        let (mut out, mut copied) = (String::new(), 0);
        for find in &found {
            tally.add(find.kind);
            out += &text[copied..find.start];
            self.detector.marker.write(find.kind, &mut out);
            copied = find.end;
        }
        if found.is_empty() {
            return None;
        }
        out += &text[copied..];
        if scalar.is_name {
            tally.number_name(&mut out);
        }
        Some(quote(&out))
    }

    fn holds_marker(&self, arguments: Json<'_>) -> bool {
        let mut held = false;
        arguments.rewrite(&mut |scalar| {
            held |= scalar.value.str().map_or(false, |text| self.detector.marker.stands_in(&text));
            None
        });
        held
    }
}

/// How often each kind was found.
#[derive(Default)]
struct Tally {
    counts: [u32; Kind::COUNT],
    names: u32,
}

impl Tally {
    fn add(&mut self, kind: Kind) {
        self.counts[kind as usize] += 1;
    }

    fn total(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// Names of members have to stay different from each other, and two secrets get the same marker.
    fn number_name(&mut self, name: &mut String) {
        self.names += 1;
        if self.names > 1 {
            *name += &format!(" #{}", self.names);
        }
    }

    fn kinds(&self) -> String {
        self.list(|_, kind| kind.name().into())
    }

    fn counts(&self, verb: &str) -> String {
        format!("{verb} {}", self.list(|count, kind| format!("{count} {}", kind.name())))
    }

    fn list(&self, item: fn(u32, Kind) -> String) -> String {
        let found = Kind::all().filter(|kind| self.counts[*kind as usize] > 0);
        found.map(|kind| item(self.counts[kind as usize], kind)).collect::<Vec<_>>().join(", ")
    }
}

/// The value of `name` or `key`, if that is the next member.
fn name_behind<'a>(scalar: &Scalar<'a>) -> Option<Cow<'a, str>> {
    let (name, value) = scalar.next_member()?;
    (name.is("name") || name.is("key")).then(|| value.str())?
}

/// An array of strings of the configuration.
fn texts(key: &str, value: Json<'_>) -> Result<Vec<String>, String> {
    let wrong = || format!("`{key}` has to be an array of strings that are not empty");
    if !value.is_array() {
        return Err(wrong());
    }
    let text = |item: Json<'_>| item.str().filter(|text| !text.is_empty()).map(String::from);
    value.items().map(|item| text(item).ok_or_else(wrong)).collect()
}

fn kind_set(key: &str, value: Json<'_>) -> Result<u32, String> {
    let mut set = 0;
    for name in texts(key, value)? {
        let kind = Kind::all().find(|kind| kind.name() == name);
        set |= match kind {
            Some(kind) => kind.bit(),
            None if name == "secrets" => Kind::secrets(),
            None => return Err(format!("`{key}` names `{name}`, which is not a kind")),
        };
    }
    Ok(set)
}
