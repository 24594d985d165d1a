//! Failed requests: the one place that turns errors into statuses.

use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::answer::answer;
use super::refusal::{Forbidden, Refusal};
use crate::json::JsonError;
use crate::limiter::{LimiterError, ObjectError};
use crate::protocol::{
    BACKEND_ERROR, ErrorBody, FORBIDDEN, INVALID_REQUEST, LEASE_CONFLICT, LEASE_SETTLED, TOO_MANY_INSTANCES,
    UNAUTHORIZED, UNKNOWN_LIMIT_KEY, VERSION_CONFLICT,
};
use crate::registry::AdminError;
use crate::server::HostError;
use crate::server::auth::{AuthError, Scope};
use crate::server::body::{BODY_BYTES_MAX, BodyError};
use crate::telemetry::{Occurrences, with_sources};

/// When a request whose outcome is unknown should be repeated: the `Retry-After` of every 503.
const RETRY_AFTER_SECONDS: u64 = 1;
/// The same in an item of a batch.
pub(super) const RETRY_AFTER_MS: u64 = RETRY_AFTER_SECONDS * 1_000;

static UNKNOWN_OUTCOMES: Occurrences = Occurrences::new();
static UNSAVED_CHANGES: Occurrences = Occurrences::new();

/// Why a request failed.
#[derive(Debug)]
pub(in crate::server) enum Reject {
    /// A field is missing, malformed or out of range; the message begins with its name.
    Invalid(String),
    /// The body is longer than [`BODY_BYTES_MAX`].
    TooLarge,
    /// The body is compressed.
    Encoded,
    /// The body has another content type than JSON, or none.
    NotJson,
    /// The connection or the encoding of the path failed before a field could be read.
    Unreadable(String),
    /// The body took longer than `connections.body_timeout_ms`, which is this long.
    BodyTimedOut(u64),
    /// The request has more headers than `connections.headers_max`.
    TooManyHeaders,
    /// Clients hold too much; nothing was done.
    Busy(&'static str),
    /// No endpoint has the path.
    NoRoute,
    /// The endpoint does not take the method. The router itself knows the methods of a path, but not those of the actions
    /// that a path ends in.
    WrongMethod { allow: Option<&'static str> },
    /// The circuit is open: the ledger has not answered lately, and nothing was sent.
    LedgerAway,
    /// The request took longer than the request timeout; the outcome is unknown.
    TimedOut,
    /// Another replica does not answer, which serves the lease or may serve it; the outcome is unknown.
    PeerAway,
    /// A peer asks whether this replica serves a lease, and it does not; nothing was done.
    NotServedHere,
    /// The caller hung up while it waited for room; nobody reads the answer.
    HungUp,
    /// The request is not let in, or its caller may not do what it asks for.
    Refused(Refusal),
    /// The ledger gave no answer; the outcome is unknown.
    NoAnswer(LimiterError),
    /// An admin request failed.
    Admin(AdminError),
    /// A request to `/v1/objects` failed.
    Object(ObjectError),
}

impl Reject {
    /// The status of the answer, and the name in its `error` field. A 503 means that the outcome is unknown, except
    /// `not_saved` and `overloaded`: nothing was changed.
    fn status_and_name(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid(_) | Self::Unreadable(_) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::Encoded | Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::Refused(refusal) => refused_status_and_name(refusal),
            Self::BodyTimedOut(_) => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::TooManyHeaders => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers"),
            Self::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "not_found"),
            Self::NotServedHere => (StatusCode::NOT_FOUND, "not_served_here"),
            Self::WrongMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Admin(AdminError::UnknownKey(_) | AdminError::Deleted(_))
            | Self::Object(ObjectError::UnknownKey(_)) => (StatusCode::NOT_FOUND, UNKNOWN_LIMIT_KEY),
            Self::Admin(AdminError::KindChange(_)) => (StatusCode::CONFLICT, "kind_change"),
            Self::Admin(AdminError::IsTemplate(_)) => (StatusCode::CONFLICT, "is_template"),
            Self::Admin(AdminError::VersionConflict { .. }) => (StatusCode::CONFLICT, VERSION_CONFLICT),
            Self::Admin(AdminError::Contended(_)) => (StatusCode::CONFLICT, "contended"),
            Self::Admin(AdminError::TooManyInstances(_)) | Self::Object(ObjectError::TooManyInstances(_)) => {
                (StatusCode::CONFLICT, TOO_MANY_INSTANCES)
            }
            Self::Object(ObjectError::NotABucket { .. }) => (StatusCode::CONFLICT, "not_a_bucket"),
            Self::Object(ObjectError::LeaseConflict(_)) => (StatusCode::CONFLICT, LEASE_CONFLICT),
            Self::Object(ObjectError::LeaseSettled(_)) => (StatusCode::CONFLICT, LEASE_SETTLED),
            Self::LedgerAway
            | Self::TimedOut
            | Self::PeerAway
            | Self::HungUp
            | Self::NoAnswer(_)
            | Self::Object(ObjectError::Limiter(_))
            | Self::Admin(AdminError::Registry(_)) => (StatusCode::SERVICE_UNAVAILABLE, BACKEND_ERROR),
            Self::Admin(AdminError::NotSaved(_)) => (StatusCode::SERVICE_UNAVAILABLE, "not_saved"),
        }
    }

    /// The status of the answer.
    pub(in crate::server) fn status(&self) -> StatusCode {
        self.status_and_name().0
    }

    /// The name in the `error` field.
    pub(super) fn name(&self) -> &'static str {
        self.status_and_name().1
    }

    pub(in crate::server) fn message(&self) -> String {
        match self {
            Self::Invalid(message) | Self::Unreadable(message) => message.clone(),
            Self::TooLarge => format!("the body must be at most {BODY_BYTES_MAX} bytes long"),
            Self::Encoded => "content-encoding is not supported; send the body uncompressed".to_owned(),
            Self::NotJson => "content-type must be application/json".to_owned(),
            Self::BodyTimedOut(timeout_ms) => format!("the body did not arrive within {timeout_ms} ms"),
            Self::TooManyHeaders => "the request has too many headers".to_owned(),
            Self::Busy(message) => (*message).to_owned(),
            Self::NoRoute => "no endpoint has this path".to_owned(),
            Self::WrongMethod { .. } => "this path does not take this method".to_owned(),
            Self::LedgerAway => "the ledger does not answer at present; nothing was sent to it".to_owned(),
            Self::HungUp => "the caller hung up; the outcome is unknown".to_owned(),
            Self::TimedOut => "the ledger did not answer in time; the outcome is unknown".to_owned(),
            Self::PeerAway => {
                "the replica that serves the lease does not answer; the outcome is unknown".to_owned()
            }
            Self::NotServedHere => "this replica does not serve the lease".to_owned(),
            Self::Refused(refusal) => refusal.to_string(),
            Self::NoAnswer(error) => with_sources(error),
            Self::Admin(error) => with_sources(error),
            Self::Object(error) => with_sources(error),
        }
    }

    /// The answer; its body is `unknown` if the outcome is unknown.
    pub(super) fn into_response_or(self, unknown: impl Serialize) -> Response {
        if !self.is_unknown_outcome() {
            return self.into_response();
        }
        self.log();
        unavailable(answer(StatusCode::SERVICE_UNAVAILABLE, unknown))
    }

    /// Whether a limit may grant without the ledger now: the ledger gave no answer, or the call was not even sent.
    pub(super) fn is_emergency(&self) -> bool {
        self.is_without_ledger() || matches!(self, Self::LedgerAway)
    }

    /// Whether the ledger gave no answer at all.
    pub(super) fn is_without_ledger(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::NoAnswer(error) | Self::Object(ObjectError::Limiter(error)) => error.is_unreachable(),
            Self::Admin(AdminError::Registry(error)) => error.is_unreachable(),
            Self::LedgerAway
            | Self::PeerAway
            | Self::NotServedHere
            | Self::HungUp
            | Self::Invalid(_)
            | Self::TooLarge
            | Self::Encoded
            | Self::NotJson
            | Self::Unreadable(_)
            | Self::NoRoute
            | Self::WrongMethod { .. }
            | Self::BodyTimedOut(_)
            | Self::TooManyHeaders
            | Self::Busy(_)
            | Self::Refused(_)
            | Self::Admin(_)
            | Self::Object(_) => false,
        }
    }

    fn is_unavailable(&self) -> bool {
        self.status_and_name().0 == StatusCode::SERVICE_UNAVAILABLE
    }

    fn is_unknown_outcome(&self) -> bool {
        self.is_unavailable() && !matches!(self, Self::Busy(_) | Self::Admin(AdminError::NotSaved(_)))
    }

    /// Logs that an outcome is unknown, or that a change could not be saved.
    pub(in crate::server) fn log(&self) {
        if matches!(self, Self::Busy(_) | Self::HungUp | Self::PeerAway) {
            // Where clients strike a bound, the log counts. Who hung up is no fault of the ledger, nor is a peer, which has lines of
            // its own.
            return;
        }
        if self.is_unknown_outcome() {
            if let Some(times) = UNKNOWN_OUTCOMES.count() {
                let error = self.message();
                tracing::warn!(
                    times,
                    error,
                    "no answer from the ledger, so an outcome is unknown; the last of so many times"
                );
            }
        } else if let Some(times) = UNSAVED_CHANGES.count() {
            tracing::warn!(
                times,
                error = self.message(),
                "a change of a limit could not be saved; the last of so many times"
            );
        }
    }
}

impl IntoResponse for Reject {
    fn into_response(self) -> Response {
        let (status, name) = self.status_and_name();
        let response = answer(status, ErrorBody { error: name.to_owned(), message: self.message() });
        if self.is_unavailable() {
            self.log();
            return unavailable(response);
        }
        match self {
            Self::Refused(refusal) => challenge(response, &refusal),
            Self::WrongMethod { allow: Some(methods) } => allowing(response, methods),
            Self::Invalid(_)
            | Self::TooLarge
            | Self::Encoded
            | Self::NotJson
            | Self::Unreadable(_)
            | Self::BodyTimedOut(_)
            | Self::TooManyHeaders
            | Self::Busy(_)
            | Self::NoRoute
            | Self::WrongMethod { allow: None }
            | Self::LedgerAway
            | Self::TimedOut
            | Self::PeerAway
            | Self::NotServedHere
            | Self::HungUp
            | Self::NoAnswer(_)
            | Self::Admin(_)
            | Self::Object(_) => response,
        }
    }
}

fn refused_status_and_name(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::Host(HostError::Malformed) | Refusal::Auth(AuthError::Doubled) => {
            (StatusCode::BAD_REQUEST, INVALID_REQUEST)
        }
        Refusal::Host(HostError::NotAllowed) => (StatusCode::MISDIRECTED_REQUEST, "host_not_allowed"),
        Refusal::Host(HostError::ForeignOrigin | HostError::UnknownPage) => {
            (StatusCode::FORBIDDEN, "origin_not_allowed")
        }
        Refusal::Auth(AuthError::Missing | AuthError::Invalid | AuthError::Expired) => {
            (StatusCode::UNAUTHORIZED, UNAUTHORIZED)
        }
        Refusal::Forbidden(_) => (StatusCode::FORBIDDEN, FORBIDDEN),
    }
}

/// Adds the header that names the methods of a path.
fn allowing(mut response: Response, methods: &'static str) -> Response {
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

/// Adds the header that tells the caller which token it needs, as RFC 6750 says.
fn challenge(mut response: Response, refusal: &Refusal) -> Response {
    let challenge = match refusal {
        Refusal::Host(_) | Refusal::Forbidden(Forbidden::Key(_) | Forbidden::Lease) => return response,
        Refusal::Auth(AuthError::Missing) => "Bearer",
        Refusal::Auth(AuthError::Doubled) => "Bearer error=\"invalid_request\"",
        Refusal::Auth(AuthError::Invalid) => "Bearer error=\"invalid_token\"",
        Refusal::Auth(AuthError::Expired) => {
            "Bearer error=\"invalid_token\", error_description=\"the token has expired\""
        }
        Refusal::Forbidden(Forbidden::Scope(scope)) => match scope {
            Scope::Reserve => "Bearer error=\"insufficient_scope\", scope=\"reserve\"",
            Scope::Read => "Bearer error=\"insufficient_scope\", scope=\"read\"",
            Scope::Admin => "Bearer error=\"insufficient_scope\", scope=\"admin\"",
            Scope::Metrics => "Bearer error=\"insufficient_scope\", scope=\"metrics\"",
        },
    };
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

impl From<Refusal> for Reject {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Forbidden> for Reject {
    fn from(forbidden: Forbidden) -> Self {
        Self::Refused(forbidden.into())
    }
}

/// Adds the `Retry-After` header of an answer in which an outcome is unknown.
pub(super) fn unavailable(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    response
}

/// The answer to a request with too many headers.
pub(in crate::server) fn too_many_headers() -> Response {
    Reject::TooManyHeaders.into_response()
}

/// Takes the place of an answer for which there is no room. The outcome of the request is unknown to its client.
pub(in crate::server) fn too_much_unread() -> Response {
    Reject::Busy("clients have too many answers to read; repeat the request").into_response()
}

impl From<&BodyError> for Reject {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooLong => Self::TooLarge,
            BodyError::TimedOut { timeout_ms } => Self::BodyTimedOut(*timeout_ms),
            BodyError::Busy => Self::Busy("too many bodies are under way; send the request again"),
            BodyError::Cut => Self::Unreadable(error.to_string()),
            BodyError::Connection(_) => Self::Unreadable(with_sources(error)),
        }
    }
}

impl From<PathRejection> for Reject {
    fn from(rejection: PathRejection) -> Self {
        Self::Unreadable(rejection.body_text())
    }
}

impl From<JsonError> for Reject {
    fn from(error: JsonError) -> Self {
        Self::Invalid(error.to_string())
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
