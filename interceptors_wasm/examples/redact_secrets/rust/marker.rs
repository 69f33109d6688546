//! What stands in place of a secret.

use crate::detect::Kind;
use crate::pdp_interceptor::Json;

pub struct Marker {
    before: String,
    /// None where the marker does not name the kind.
    after: Option<String>,
}

impl Marker {
    pub fn usual() -> Marker {
        Marker { before: "[redacted:".into(), after: Some("]".into()) }
    }

    pub fn read(value: Json<'_>) -> Result<Marker, String> {
        let text = value.str().filter(|text| text.len() <= 200);
        let text = text.ok_or("`marker` has to be a string of at most 200 bytes")?;
        Ok(match text.split_once("{kind}") {
            Some((before, after)) => Marker { before: before.into(), after: Some(after.into()) },
            None => Marker { before: text.into(), after: None },
        })
    }

    pub fn write(&self, kind: Kind, out: &mut String) {
        *out += &self.before;
        if let Some(after) = &self.after {
            *out += kind.name();
            *out += after;
        }
    }

    /// Is all of a text this marker?
    pub fn is(&self, text: &str) -> bool {
        match (&self.after, text.strip_prefix(self.before.as_str())) {
            (None, Some(rest)) => rest.is_empty(),
            (Some(after), Some(rest)) => rest.strip_suffix(after.as_str()).map_or(false, is_kind),
            _ => false,
        }
    }

    /// Does a text hold this marker? Without a kind in it, a marker cannot be told from other text.
    pub fn stands_in(&self, text: &str) -> bool {
        let after = match &self.after {
            Some(after) if !(self.before.is_empty() && after.is_empty()) => after,
            _ => return false,
        };
        let begins = |rest: &str| Kind::all().any(|kind| begins_with(rest, kind.name(), after));
        text.match_indices(self.before.as_str()).any(|(at, before)| begins(&text[at + before.len()..]))
    }
}

fn is_kind(name: &str) -> bool {
    Kind::all().any(|kind| kind.name() == name)
}

fn begins_with(text: &str, first: &str, then: &str) -> bool {
    text.strip_prefix(first).map_or(false, |rest| rest.starts_with(then))
}
