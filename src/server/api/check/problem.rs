//! Answers as `application/problem+json` (RFC 9457), with the types of draft-ietf-httpapi-ratelimit-headers-11.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::protocol::ReserveOutcome;
use crate::server::api::reject::Reject;

const MEDIA_TYPE: &str = "application/problem+json";
const QUOTA_EXCEEDED: Type = Type {
    uri: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    title: "Request cannot be satisfied as assigned quota has been exceeded",
};
const TEMPORARY_REDUCED_CAPACITY: Type = Type {
    uri: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    title: "Request cannot be satisfied due to temporary server capacity constraints",
};

/// A type of problems.
#[derive(Clone, Copy)]
struct Type {
    uri: &'static str,
    title: &'static str,
}

/// The body of an answer.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    uri: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated_policies: Option<Vec<String>>,
}

/// Whether the headers `Accept` ask for problems. A wildcard does not: it fits the usual form as well.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let ranges =
        headers.get_all(header::ACCEPT).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    ranges.into_iter().any(asks_for_problems)
}

/// Whether a media range is that of problems, with a weight above 0.
fn asks_for_problems(range: &[u8]) -> bool {
    let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()));
    let weight_of = |part: &[u8]| {
        let (name, weight) = part.split_at_checked(2)?;
        name.eq_ignore_ascii_case(b"q=").then(|| weight.iter().any(|byte| (b'1'..=b'9').contains(byte)))
    };
    is_named && parts.find_map(weight_of).unwrap_or(true)
}

/// The answer to a denial.
pub(super) fn of_denial(outcome: &ReserveOutcome, status: StatusCode) -> Option<Response> {
    let (kind, key, detail) = match outcome {
        ReserveOutcome::NoRoom { key, .. } => (QUOTA_EXCEEDED, key, format!("limit {key} has no room now")),
        ReserveOutcome::ExceedsCapacity { key } => {
            (QUOTA_EXCEEDED, key, format!("the amount is above the capacity of limit {key}"))
        }
        ReserveOutcome::TooManyInstances { key } => {
            (QUOTA_EXCEEDED, key, format!("the template of {key} has made all the limits that it may"))
        }
        ReserveOutcome::Decreasing { key, .. } => {
            (TEMPORARY_REDUCED_CAPACITY, key, format!("the capacity of limit {key} is being lowered"))
        }
        ReserveOutcome::Granted { .. }
        | ReserveOutcome::UnknownKey { .. }
        | ReserveOutcome::LeaseConflict
        | ReserveOutcome::LeaseSettled
        | ReserveOutcome::LeaseExpired => return None,
    };
    let problem = Problem {
        uri: kind.uri,
        title: kind.title,
        status: status.as_u16(),
        detail,
        violated_policies: Some(vec![key.to_string()]),
    };
    Some(written(status.into_response(), &problem))
}

/// The answer to a request that failed.
pub(super) fn of_reject(reject: Reject) -> Response {
    let (status, detail) = (reject.status(), reject.message());
    let is_unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
    let problem = Problem {
        uri: if is_unavailable { TEMPORARY_REDUCED_CAPACITY.uri } else { "about:blank" },
        title: if is_unavailable {
            TEMPORARY_REDUCED_CAPACITY.title
        } else {
            status.canonical_reason().unwrap_or_default()
        },
        status: status.as_u16(),
        detail,
        violated_policies: is_unavailable.then(Vec::new),
    };
    written(reject.into_response(), &problem)
}

/// Replaces the body of an answer.
fn written(mut response: Response, problem: &Problem) -> Response {
    match serde_json::to_vec(problem) {
        Ok(body) => {
            *response.body_mut() = Body::from(body);
            let media_type = HeaderValue::from_static(MEDIA_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, media_type);
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        Err(error) => tracing::error!(%error, "a problem could not be written"),
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_named_media_type_with_a_weight_asks_for_problems() {
        for (accept, expected) in [
            ("application/problem+json", true),
            ("text/html, Application/Problem+JSON;q=0.5", true),
            ("application/problem+json ; charset=utf-8; q=1", true),
            ("application/problem+json;q=0", false),
            ("application/problem+json; Q=0.000", false),
            ("application/problem+json;q=0, application/problem+json", true),
            ("application/json", false),
            ("application/*", false),
            ("*/*", false),
            ("application/problem+jsonx", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::ACCEPT, HeaderValue::from_static("text/plain"));
            headers.append(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(is_accepted(&headers), expected, "{accept:?}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }
}
