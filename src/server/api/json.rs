//! Reads the body of a request as JSON, and writes an answer as JSON.

use std::convert::Infallible;
use std::error::Error;

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::reject::Reject;
use crate::json;
use crate::protocol::BatchBody;
use crate::server::body::{BODY_BYTES_MAX, BodyError};

/// The bytes of a body of JSON, or why they cannot be read.
pub(super) struct Body(Result<Bytes, Reject>);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Infallible;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Infallible> {
        let media_type = check_media_type(request.headers());
        let mut body = Limited::new(request.into_body(), BODY_BYTES_MAX);
        // A refusal of the content type before the body is read could reach a client that still writes it as a lost
        // connection.
        let bytes = read(&mut body).await;
        Ok(Self(
            bytes.and_then(|bytes| if bytes.is_empty() { Ok(bytes) } else { media_type.map(|()| bytes) }),
        ))
    }
}

/// Checks that a body is JSON, as it is.
///
/// The type is required: a page in a browser can send a body of another type, or of none, to any service.
fn check_media_type(headers: &HeaderMap) -> Result<(), Reject> {
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().trim_ascii());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Reject::Encoded);
    }
    let media_type =
        headers.get(CONTENT_TYPE).and_then(|media_type| media_type.as_bytes().split(|b| *b == b';').next());
    match media_type {
        Some(name) if name.trim_ascii().eq_ignore_ascii_case(b"application/json") => Ok(()),
        Some(_) | None => Err(Reject::NotJson),
    }
}

/// Reads the whole body.
async fn read(body: &mut Limited<axum::body::Body>) -> Result<Bytes, Reject> {
    let announced = body.size_hint().lower();
    let bytes = read_frames(body).await?;
    // A body ends without an error if this process closes its connection. What was not sent is not carried out.
    if (bytes.len() as u64) < announced {
        return Err(Reject::Unreadable("the connection ended before the whole body was read".to_owned()));
    }
    Ok(bytes)
}

/// Reads all frames of a body. Nearly every body arrives in one frame, which is not copied.
async fn read_frames(body: &mut Limited<axum::body::Body>) -> Result<Bytes, Reject> {
    let Some(first) = next_frame(body).await? else { return Ok(Bytes::new()) };
    let Some(second) = next_frame(body).await? else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second);
    while let Some(frame) = next_frame(body).await? {
        whole.extend_from_slice(&frame);
    }
    Ok(whole.freeze())
}

/// The next frame of data; trailers are skipped.
async fn next_frame(body: &mut Limited<axum::body::Body>) -> Result<Option<Bytes>, Reject> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return Reject::TooLarge;
            }
            let cause = error.downcast_ref::<axum::Error>().and_then(Error::source);
            match cause.and_then(|cause| cause.downcast_ref::<BodyError>()) {
                Some(error) => error.into(),
                None => Reject::Unreadable(format!("the body cannot be read: {error}")),
            }
        })?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Parses a body. An empty body is the default value.
pub(super) fn parse_or_default<T: DeserializeOwned + Default>(body: Body) -> Result<T, Reject> {
    let bytes = body.0?;
    if bytes.is_empty() { Ok(T::default()) } else { Ok(json::read(&bytes)?) }
}

/// Parses a body.
pub(super) fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Reject> {
    Ok(json::read(&body.0?)?)
}

/// Parses a batch, and each of its items by itself: a malformed item is an error in its position.
///
/// # Errors
///
/// The body is not a batch, or has no items, or more than `requests_max`.
pub(super) fn parse_batch<T: DeserializeOwned>(
    body: Body,
    requests_max: usize,
) -> Result<Vec<Result<T, String>>, Reject> {
    let body = body.0?;
    let batch: BatchBody<'_> = json::read(&body)?;
    let count = batch.requests.len();
    if !(1..=requests_max).contains(&count) {
        let message = format!("requests must be between 1 and {requests_max} long, not {count}");
        return Err(Reject::Invalid(message));
    }
    let parse_item = |item: &&RawValue| json::read(item.get().as_bytes()).map_err(|error| error.to_string());
    Ok(batch.requests.iter().map(parse_item).collect())
}
