//! Why a request does not reach the service, and the answer that it gets then.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::client::Denial;

/// Why a request does not reach the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A limit has no room: 429.
    #[error("too many requests: the limit {limit:?} has no room; try again in {} s", whole_seconds(*retry_after))]
    NoRoom {
        /// The limit, by the name that clients see.
        limit: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The limiter does not answer, so it is unknown whether there is room: 503.
    #[error("the rate limiter does not answer")]
    Unavailable,
    /// A limit can grant none of these requests: 500, or 503 if its template has no room for another client.
    #[error("this request can never be let through: {0}")]
    Never(Denial),
    /// The address of the peer is not known: 500.
    #[error(
        "the address of the client is not known: serve the router with \
         `into_make_service_with_connect_info::<SocketAddr>()`, or insert a `PeerAddr` into each request"
    )]
    NoPeerAddress,
}

/// A problem of RFC 9457, with the member that the draft of the rate limit fields adds.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    violated_policies: Option<[&'a str; 1]>,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoRoom { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable | Self::Never(Denial::TooManyInstances { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Never(_) | Self::NoPeerAddress => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The seconds until the client should try again, rounded up so that it is not too early, and at least 1; `None` if
    /// that does not help.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::NoRoom { retry_after, .. } => Some(whole_seconds(*retry_after)),
            Self::Unavailable | Self::Never(Denial::TooManyInstances { .. }) => Some(1),
            Self::Never(_) | Self::NoPeerAddress => None,
        }
    }

    /// The answer, unless the layer has another: a problem of RFC 9457, with `Retry-After` where that helps.
    pub fn answer(&self) -> Response<Full<Bytes>> {
        let (kind, title, policy) = match self {
            Self::NoRoom { limit, .. } => (
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "Too many requests",
                Some([limit.as_str()]),
            ),
            Self::Unavailable => ("about:blank", "The rate limiter does not answer", None),
            Self::Never(_) => ("about:blank", "The limit of this request grants nothing", None),
            Self::NoPeerAddress => ("about:blank", "The client of this request is not known", None),
        };
        let (status, detail) = (self.status(), self.to_string());
        let problem = Problem { kind, title, status: status.as_u16(), detail, violated_policies: policy };
        // Texts and numbers can always be written as JSON.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn whole_seconds(retry_after: Duration) -> u64 {
    u64::try_from(retry_after.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}
