//! `GET /ui/`: the web page for operators, and its files. They need no token, because they hold no data: the page asks the
//! API, with a token. The host is checked all the same.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::guard::Addressed;
use super::reject::Reject;
use crate::server::ui::{self, Asset};

/// What is said of every file.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, ui::CONTENT_SECURITY_POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // A browser asks each time, so that an upgrade never mixes files of two versions.
    (CACHE_CONTROL, "no-cache"),
];

/// `GET /ui`: the page is a folder, so that its files are found below any prefix that a proxy adds.
pub(super) async fn folder(_: Addressed) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "ui/")]).into_response()
}

/// `GET /ui/`
pub(super) async fn index(_: Addressed, headers: HeaderMap) -> Result<Response, Reject> {
    answer(ui::INDEX, &headers)
}

/// `GET /ui/{name}`
pub(super) async fn file(
    _: Addressed,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    answer(&name?.0, &headers)
}

fn answer(name: &str, headers: &HeaderMap) -> Result<Response, Reject> {
    let Asset { media_type, body, etag, .. } = ui::asset(name).ok_or(Reject::NoRoute)?;
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let etag = [(ETAG, etag.as_str())];
    Ok(if is_known {
        (StatusCode::NOT_MODIFIED, HEADERS, etag).into_response()
    } else {
        (HEADERS, etag, [(CONTENT_TYPE, *media_type)], *body).into_response()
    })
}
