//! Reads answers of the service, and says what kind of failure an error of the service is.

use std::time::Duration;

use hyper::StatusCode;
use serde::de::DeserializeOwned;

use crate::client::{CallError, DefinitionError, ErrorKind};
use crate::protocol::{
    AnswerError, ErrorBody, FORBIDDEN, INVALID_REQUEST, LEASE_CONFLICT, LEASE_EXPIRED, LEASE_SETTLED,
    TOO_MANY_INSTANCES, UNAUTHORIZED, UNKNOWN_LIMIT_KEY, VERSION_CONFLICT,
};

// Further names of errors, which `src/server/api/reject.rs` defines.
const BODY_TOO_LARGE: &str = "body_too_large";
const HOST_NOT_ALLOWED: &str = "host_not_allowed";
const ORIGIN_NOT_ALLOWED: &str = "origin_not_allowed";
const NOT_A_BUCKET: &str = "not_a_bucket";
const KIND_CHANGE: &str = "kind_change";
const CONTENDED: &str = "contended";

/// Client errors after which a repetition may succeed.
const TRANSIENT: [StatusCode; 3] =
    [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];

/// Why the outcome of an attempt is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the request could not be sent, or its answer not received")]
    Exchange(#[source] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is not JSON of this API")]
    Json(#[from] serde_json::Error),
    #[error("the service answered with status {0}")]
    Status(StatusCode),
    #[error("a batch of {sent} items has {answered} answers")]
    Count { sent: usize, answered: usize },
    #[error("{0}")]
    Contended(String),
    #[error("the service answered with a definition that this client does not know")]
    Definition(#[source] DefinitionError),
    #[error("the client is shut down")]
    ShutDown,
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl AttemptError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TimedOut(_) => ErrorKind::Timeout,
            Self::Status(StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT) => ErrorKind::Timeout,
            Self::Status(status) if status.is_server_error() || TRANSIENT.contains(status) => {
                ErrorKind::Unavailable
            }
            Self::Exchange(_)
            | Self::Body(_)
            | Self::Definition(_)
            | Self::ShutDown
            | Self::Answer(AnswerError::Unknown | AnswerError::Invalid(_) | AnswerError::Forbidden(_)) => {
                ErrorKind::Unavailable
            }
            Self::Contended(_) => ErrorKind::Contended,
            Self::Status(_)
            | Self::Json(_)
            | Self::Count { .. }
            | Self::Answer(AnswerError::Unreadable(_)) => ErrorKind::UnexpectedAnswer,
        }
    }
}

impl From<AttemptError> for CallError {
    fn from(error: AttemptError) -> Self {
        Self::unknown_of_kind(error.kind(), error)
    }
}

#[doc(hidden)]
impl From<AnswerError> for CallError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Invalid(message) => Self::invalid(message),
            AnswerError::Forbidden(message) => Self::refused(ErrorKind::Forbidden, message),
            AnswerError::Unknown | AnswerError::Unreadable(_) => AttemptError::from(error).into(),
        }
    }
}

/// Reads the answer to a reserve, extend or complete. A conflict is an answer too: it is about the lease.
pub(super) fn read<A: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<A, CallError> {
    let status = if status == StatusCode::CONFLICT { StatusCode::OK } else { status };
    read_success(status, answer)
}

/// Reads an answer. A request that the service refused would be refused again. After any other failure the outcome is
/// unknown.
pub(super) fn read_success<A: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<A, CallError> {
    if status.is_success() {
        return serde_json::from_slice(answer).map_err(|error| AttemptError::from(error).into());
    }
    if !status.is_client_error() || TRANSIENT.contains(&status) {
        return Err(AttemptError::Status(status).into());
    }
    let Ok(ErrorBody { error, message }) = serde_json::from_slice(answer) else {
        let message = format!("the service answered with status {status}; check its address");
        return Err(CallError::refused(ErrorKind::Other, message));
    };
    match error.as_str() {
        CONTENDED => Err(AttemptError::Contended(message).into()),
        name => Err(CallError::refused(kind_of(name), message)),
    }
}

/// The kind of an error of this name. Newer services may have names that this client does not know.
fn kind_of(name: &str) -> ErrorKind {
    match name {
        INVALID_REQUEST | BODY_TOO_LARGE => ErrorKind::InvalidRequest,
        UNAUTHORIZED => ErrorKind::Unauthorized,
        FORBIDDEN | HOST_NOT_ALLOWED | ORIGIN_NOT_ALLOWED => ErrorKind::Forbidden,
        UNKNOWN_LIMIT_KEY => ErrorKind::UnknownKey,
        TOO_MANY_INSTANCES => ErrorKind::TooManyInstances,
        LEASE_CONFLICT => ErrorKind::LeaseConflict,
        LEASE_SETTLED => ErrorKind::LeaseSettled,
        LEASE_EXPIRED => ErrorKind::LeaseExpired,
        NOT_A_BUCKET => ErrorKind::NotABucket,
        KIND_CHANGE => ErrorKind::KindChange,
        VERSION_CONFLICT => ErrorKind::VersionConflict,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::LimitsAnswer;

    fn error(status: StatusCode, answer: &str) -> CallError {
        read_success::<LimitsAnswer>(status, answer.as_bytes()).expect_err("it is an error")
    }

    #[test]
    fn the_name_of_an_error_tells_its_kind() {
        for (status, name, kind) in [
            (StatusCode::BAD_REQUEST, "invalid_request", ErrorKind::InvalidRequest),
            (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", ErrorKind::InvalidRequest),
            (StatusCode::UNAUTHORIZED, "unauthorized", ErrorKind::Unauthorized),
            (StatusCode::FORBIDDEN, "forbidden", ErrorKind::Forbidden),
            (StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", ErrorKind::Forbidden),
            (StatusCode::NOT_FOUND, "unknown_limit_key", ErrorKind::UnknownKey),
            (StatusCode::NOT_FOUND, "not_found", ErrorKind::Other),
            (StatusCode::CONFLICT, "too_many_instances", ErrorKind::TooManyInstances),
            (StatusCode::CONFLICT, "lease_conflict", ErrorKind::LeaseConflict),
            (StatusCode::CONFLICT, "lease_settled", ErrorKind::LeaseSettled),
            (StatusCode::CONFLICT, "lease_expired", ErrorKind::LeaseExpired),
            (StatusCode::CONFLICT, "not_a_bucket", ErrorKind::NotABucket),
            (StatusCode::CONFLICT, "kind_change", ErrorKind::KindChange),
            (StatusCode::CONFLICT, "version_conflict", ErrorKind::VersionConflict),
            (StatusCode::CONFLICT, "novel", ErrorKind::Other),
        ] {
            let error = error(status, &format!(r#"{{"error":"{name}","message":"why"}}"#));
            assert_eq!((error.kind(), error.is_unknown()), (kind, false), "{name}");
            assert_eq!(error.to_string(), "the call was refused: why");
        }
        assert_eq!(error(StatusCode::NOT_FOUND, "<html>").kind(), ErrorKind::Other);
    }

    #[test]
    fn an_outcome_is_unknown_where_a_repetition_may_succeed() {
        let contended = r#"{"error":"contended","message":"why"}"#;
        for (status, answer, kind) in [
            (StatusCode::SERVICE_UNAVAILABLE, "", ErrorKind::Unavailable),
            (StatusCode::TOO_MANY_REQUESTS, "", ErrorKind::Unavailable),
            (StatusCode::REQUEST_TIMEOUT, "", ErrorKind::Timeout),
            (StatusCode::GATEWAY_TIMEOUT, "", ErrorKind::Timeout),
            (StatusCode::FOUND, "", ErrorKind::UnexpectedAnswer),
            (StatusCode::OK, "<html>", ErrorKind::UnexpectedAnswer),
            (StatusCode::CONFLICT, contended, ErrorKind::Contended),
        ] {
            let error = error(status, answer);
            assert_eq!((error.kind(), error.is_unknown()), (kind, true), "{status} {answer}");
        }
    }

    #[test]
    fn an_answer_tells_whether_the_outcome_is_known() {
        let kind = |error: AnswerError| {
            let error = CallError::from(error);
            (error.kind(), error.is_unknown())
        };
        assert_eq!(kind(AnswerError::Invalid("no".to_owned())), (ErrorKind::InvalidRequest, false));
        assert_eq!(kind(AnswerError::Unknown), (ErrorKind::Unavailable, true));
        assert_eq!(kind(AnswerError::Unreadable("novel".to_owned())), (ErrorKind::UnexpectedAnswer, true));
    }
}
