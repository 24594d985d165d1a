//! From errors to statuses.

use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::json::answer;
use crate::limiter::{LimiterError, ObjectError};
use crate::protocol::{
    BACKEND_ERROR, CompleteAnswer, ErrorBody, INVALID_REQUEST, LEASE_CONFLICT, LEASE_SETTLED, ReserveAnswer,
    TOO_MANY_INSTANCES, UNKNOWN_LIMIT_KEY,
};
use crate::registry::AdminError;
use crate::telemetry::with_sources;

const RETRY_AFTER_SECONDS: &str = "1";

/// Why a request failed. This is the one place that turns errors into statuses.
#[derive(Debug)]
pub(super) enum Reject {
    /// The body is malformed; the message begins with the name of the field.
    Invalid(String),
    TooLarge,
    Unreadable(String),
    NoRoute,
    WrongMethod,
    /// The answer took too long: the outcome is unknown.
    TimedOut,
    /// The limiter has no answer: the outcome is unknown.
    NoAnswer(LimiterError),
    Admin(AdminError),
    /// The operation on an object failed.
    Object(ObjectError),
}

impl Reject {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoRoute
            | Self::Admin(AdminError::UnknownKey(_))
            | Self::Object(ObjectError::UnknownKey(_)) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Admin(
                AdminError::KindChange(_) | AdminError::Contended(_) | AdminError::TooManyInstances(_),
            ) => StatusCode::CONFLICT,
            Self::Object(
                ObjectError::NotABucket { .. }
                | ObjectError::TooManyInstances(_)
                | ObjectError::LeaseConflict(_)
                | ObjectError::LeaseSettled(_),
            ) => StatusCode::CONFLICT,
            Self::TimedOut
            | Self::NoAnswer(_)
            | Self::Object(ObjectError::Limiter(_))
            | Self::Admin(AdminError::Registry(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Unreadable(_) => INVALID_REQUEST,
            Self::TooLarge => "body_too_large",
            Self::NoRoute => "not_found",
            Self::WrongMethod => "method_not_allowed",
            Self::Admin(AdminError::UnknownKey(_)) | Self::Object(ObjectError::UnknownKey(_)) => {
                UNKNOWN_LIMIT_KEY
            }
            Self::Object(ObjectError::NotABucket { .. }) => "not_a_bucket",
            Self::Object(ObjectError::LeaseConflict(_)) => LEASE_CONFLICT,
            Self::Object(ObjectError::LeaseSettled(_)) => LEASE_SETTLED,
            Self::Admin(AdminError::KindChange(_)) => "kind_change",
            Self::Admin(AdminError::Contended(_)) => "contended",
            Self::Admin(AdminError::TooManyInstances(_)) | Self::Object(ObjectError::TooManyInstances(_)) => {
                TOO_MANY_INSTANCES
            }
            Self::TimedOut
            | Self::NoAnswer(_)
            | Self::Object(ObjectError::Limiter(_))
            | Self::Admin(AdminError::Registry(_)) => BACKEND_ERROR,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Invalid(message) | Self::Unreadable(message) => message.clone(),
            Self::TooLarge => format!("the body is larger than {} bytes", super::BODY_BYTES_MAX),
            Self::NoRoute => "no endpoint has this path".to_owned(),
            Self::WrongMethod => "the endpoint does not take this method".to_owned(),
            Self::TimedOut => "the ledger did not answer in time; the outcome is unknown: repeat the request with the same ids".to_owned(),
            Self::NoAnswer(error) => with_sources(error),
            Self::Admin(error) => with_sources(error),
            Self::Object(error) => with_sources(error),
        }
    }

    /// Whether the outcome of the request is unknown.
    fn is_unknown_outcome(&self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    /// The response to a reserve: its unknown outcome has a body of its own.
    pub(super) fn into_reserve_response(self) -> Response {
        if !self.is_unknown_outcome() {
            return self.into_response();
        }
        self.log();
        unavailable(answer(self.status(), ReserveAnswer::failed(BACKEND_ERROR)))
    }

    /// The response to a complete: its unknown outcome has a body of its own.
    pub(super) fn into_complete_response(self) -> Response {
        if !self.is_unknown_outcome() {
            return self.into_response();
        }
        self.log();
        unavailable(answer(self.status(), CompleteAnswer { ok: false, error: BACKEND_ERROR.to_owned() }))
    }

    fn log(&self) {
        tracing::warn!(error = self.message(), "a request has no answer; its outcome is unknown");
    }
}

impl IntoResponse for Reject {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.name().to_owned(), message: self.message() };
        let response = answer(self.status(), body);
        if self.is_unknown_outcome() {
            self.log();
            return unavailable(response);
        }
        response
    }
}

/// Adds `Retry-After`.
pub(super) fn unavailable(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    response
}

impl From<PathRejection> for Reject {
    fn from(rejection: PathRejection) -> Self {
        Self::Unreadable(rejection.body_text())
    }
}

impl From<LimiterError> for Reject {
    fn from(error: LimiterError) -> Self {
        Self::NoAnswer(error)
    }
}

impl From<AdminError> for Reject {
    fn from(error: AdminError) -> Self {
        Self::Admin(error)
    }
}

impl From<ObjectError> for Reject {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}
