//! What is added to the generated messages.

use std::fmt;

use crate::v1::{
    subject, AuthorizeResponse, DecideResponse, Decision, EntityUid, InterceptResponse, Subject, ToolCall,
};

impl AuthorizeResponse {
    /// Whether the subject may go on. Only `DECISION_ALLOW` says so.
    pub fn allowed(&self) -> bool {
        self.decision == Decision::Allow as i32
    }
}

impl InterceptResponse {
    /// Whether the payload may go on. Only `DECISION_ALLOW` says so.
    pub fn allowed(&self) -> bool {
        self.decision == Decision::Allow as i32
    }
}

impl DecideResponse {
    /// Whether the tool may be called, with the response's arguments. Only `DECISION_ALLOW` says so.
    pub fn allowed(&self) -> bool {
        self.decision == Decision::Allow as i32
    }
}

impl Subject {
    /// A subject that the caller names, such as `Subject::entity("Agent", "coder")`.
    pub fn entity(r#type: impl Into<String>, id: impl Into<String>) -> Self {
        let uid = EntityUid {
            r#type: r#type.into(),
            id: id.into(),
        };
        Self {
            subject: Some(subject::Subject::Entity(uid)),
            on_behalf_of: None,
        }
    }

    /// A subject that the service reads out of a signed token (JWT).
    pub fn token(token: impl Into<String>) -> Self {
        Self {
            subject: Some(subject::Subject::Token(token.into())),
            on_behalf_of: None,
        }
    }
}

// These two instead of the derived ones, which would print the token.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("subject", &self.subject)
            .field("on_behalf_of", &self.on_behalf_of)
            .finish()
    }
}

impl fmt::Debug for subject::Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entity(uid) => f.debug_tuple("Entity").field(uid).finish(),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

impl ToolCall {
    /// A call of `tool` on `server`. The arguments are a `serde_json::Value`, or the bytes of a JSON text, which go to
    /// the service as they are.
    pub fn new(server: impl Into<String>, tool: impl Into<String>, arguments: impl Into<Arguments>) -> Self {
        let arguments_json = arguments.into().0;
        Self {
            server: server.into(),
            tool: tool.into(),
            arguments_json,
            session_id: String::new(),
        }
    }

    /// The same call, in a session.
    pub fn in_session(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = session_id.into();
        self
    }
}

/// The arguments of a tool call, as JSON text.
pub struct Arguments(Vec<u8>);

impl From<serde_json::Value> for Arguments {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<Vec<u8>> for Arguments {
    fn from(text: Vec<u8>) -> Self {
        Self(text)
    }
}

impl From<&[u8]> for Arguments {
    fn from(text: &[u8]) -> Self {
        Self(text.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all numbers that a decision can have on the wire only that of ALLOW allows.
    #[test]
    fn only_allow_allows() {
        for decision in [i32::MIN, -1, 0, 1, 2, 3, 99, i32::MAX] {
            let expected = decision == 1;
            assert_eq!(
                AuthorizeResponse {
                    decision,
                    ..Default::default()
                }
                .allowed(),
                expected,
                "{decision}"
            );
            assert_eq!(
                InterceptResponse {
                    decision,
                    ..Default::default()
                }
                .allowed(),
                expected,
                "{decision}"
            );
            assert_eq!(
                DecideResponse {
                    decision,
                    ..Default::default()
                }
                .allowed(),
                expected,
                "{decision}"
            );
        }
    }

    /// A token is not printed with the message that it is in.
    #[test]
    fn token_is_not_printed() {
        let text = format!("{:?}", Subject::token("secret"));
        assert!(text.contains("Token(..)") && !text.contains("secret"), "{text}");
    }

    /// Arguments keep 64-bit integers and text of any script, and bytes stay as they are.
    #[test]
    fn arguments() {
        let value = serde_json::json!({"n": 9_223_372_036_854_775_807_i64, "s": "gr\u{fc}\u{df} \u{65e5}\u{672c}"});
        let call = ToolCall::new("s", "t", value).in_session("x");
        assert_eq!(
            call.arguments_json,
            "{\"n\":9223372036854775807,\"s\":\"gr\u{fc}\u{df} \u{65e5}\u{672c}\"}".as_bytes()
        );
        assert_eq!(call.session_id, "x");
        assert_eq!(
            ToolCall::new("s", "t", &b"{ \"a\":1 }"[..]).arguments_json,
            b"{ \"a\":1 }"
        );
    }
}
