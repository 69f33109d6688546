//! Failures of calls, with the codes that gRPC gives them.

use std::error::Error;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use crate::options::{causes, chain};

const DOMAIN: &str = "pdp.v1";
const DETAILS: &str = "grpc-status-details-bin";
/// How tonic's text for a response over the limit begins; its code is OUT_OF_RANGE.
const TOO_LARGE: &str = "Error, decoded message length too large";
/// Just what tonic decodes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the service says is wrong with a request, for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorInfo {
    /// An upper-case constant such as `MISSING_FIELD`.
    pub reason: String,
    /// The path of the field that is wrong, such as `subject.entity.type`; empty where it is none.
    pub field: String,
}

/// What the service says about a failure in its `google.rpc.ErrorInfo`; nothing where it sent none.
pub fn error_info(status: &Status) -> Option<ErrorInfo> {
    let mut info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    Some(ErrorInfo {
        reason: info.reason,
        field: info.metadata.remove("field").unwrap_or_default(),
    })
}

/// Gives a failure the code that the other gRPC libraries give it.
pub(crate) fn as_grpc_says(status: Status) -> Status {
    let Some(cause) = status.source() else {
        // The service sent it, or tonic could not read what the service sent.
        if status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE) {
            return Status::resource_exhausted(status.message());
        }
        return status;
    };
    // All other failures with a cause are of the connection: not made, or lost.
    let code = causes(cause).find_map(code_of).unwrap_or(Code::Unavailable);
    Status::new(code, chain(cause))
}

fn code_of(error: &(dyn Error + 'static)) -> Option<Code> {
    if error.is::<TimeoutExpired>() {
        return Some(Code::DeadlineExceeded);
    }
    // A stream that the service reset, by gRPC's table of HTTP/2 errors.
    let reset = error
        .downcast_ref::<h2::Error>()
        .filter(|error| error.is_reset() && error.is_remote())?;
    Some(match reset.reason()? {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    })
}

/// Takes status details away that are not base64: tonic panics over them, and the status says enough without.
pub(crate) fn without_broken_details(response: http::Response<Body>) -> http::Response<Body> {
    let (mut parts, body) = response.into_parts();
    remove_broken_details(&mut parts.headers);
    let body = body.map_frame(|mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            remove_broken_details(trailers);
        }
        frame
    });
    http::Response::from_parts(parts, Body::new(body))
}

fn remove_broken_details(headers: &mut http::HeaderMap) {
    if headers.get(DETAILS).is_some_and(|value| BASE64.decode(value).is_err()) {
        headers.remove(DETAILS);
    }
}
