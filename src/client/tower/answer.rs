//! Answers to requests that do not reach the service.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A problem of RFC 9457, with the member that the draft of the rate limit fields adds.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    violated_policies: Option<[&'a str; 1]>,
}

/// There is no room.
pub(super) fn too_many_requests(policy: &str, retry_after_seconds: u64) -> Response<Full<Bytes>> {
    let problem = Problem {
        kind: "https://iana.org/assignments/http-problem-types#quota-exceeded",
        title: "Too many requests",
        status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
        violated_policies: Some([policy]),
    };
    respond(StatusCode::TOO_MANY_REQUESTS, &problem, Some(retry_after_seconds))
}

/// The limiter does not answer, so it is unknown whether there is room.
pub(super) fn unavailable() -> Response<Full<Bytes>> {
    let problem = Problem {
        kind: "about:blank",
        title: "The rate limiter does not answer",
        status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        violated_policies: None,
    };
    respond(StatusCode::SERVICE_UNAVAILABLE, &problem, Some(1))
}

/// The limit of the request is not defined, or smaller than a request.
pub(super) fn no_limit() -> Response<Full<Bytes>> {
    let problem = Problem {
        kind: "about:blank",
        title: "The limit of this request is not defined",
        status: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
        violated_policies: None,
    };
    respond(StatusCode::INTERNAL_SERVER_ERROR, &problem, None)
}

/// Whole seconds, rounded up so that no client retries too early; at least 1.
pub(super) fn seconds(retry_after: Duration) -> u64 {
    u64::try_from(retry_after.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

fn respond(
    status: StatusCode,
    problem: &Problem<'_>,
    retry_after_seconds: Option<u64>,
) -> Response<Full<Bytes>> {
    // Texts and numbers can always be written as JSON.
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
