//! Reads the body of a request as JSON, and writes an answer as JSON.

use std::convert::Infallible;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::BODY_BYTES_MAX;
use super::reject::Reject;
use crate::protocol::BatchBody;

/// The bytes of a body of any content type, or why they cannot be read.
pub(super) struct Body(Result<Bytes, Reject>);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Infallible;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Infallible> {
        let mut body = Limited::new(request.into_body(), BODY_BYTES_MAX);
        Ok(Self(read(&mut body).await))
    }
}

/// Reads the whole body. Nearly every body arrives in one frame, which is not copied.
async fn read(body: &mut Limited<axum::body::Body>) -> Result<Bytes, Reject> {
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
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => Reject::TooLarge,
            false => Reject::Unreadable(format!("the body cannot be read: {error}")),
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
    if bytes.is_empty() { Ok(T::default()) } else { parse_text(&bytes).map_err(Reject::Invalid) }
}

/// Parses a body.
pub(super) fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Reject> {
    parse_text(&body.0?).map_err(Reject::Invalid)
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
    let batch: BatchBody<'_> = parse_text(&body).map_err(Reject::Invalid)?;
    let count = batch.requests.len();
    if !(1..=requests_max).contains(&count) {
        let message = format!("requests must be between 1 and {requests_max} long, not {count}");
        return Err(Reject::Invalid(message));
    }
    Ok(batch.requests.iter().map(|item| parse_text(item.get().as_bytes())).collect())
}

/// Parses JSON. The error begins with the path of the wrong field, if one field is wrong.
fn parse_text<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    // Tracking the path doubles the time of parsing, and only an error needs the path.
    serde_json::from_slice(text).or_else(|_| parse_with_path(text))
}

fn parse_with_path<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        // `.` is the whole body, `?` a position that is not a field.
        let names_no_field = path == "." || path == "?";
        if names_no_field { error.inner().to_string() } else { format!("{path}: {}", error.inner()) }
    })?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// An answer with a JSON body.
pub(super) fn answer<T: Serialize>(status: StatusCode, body: T) -> Response {
    (status, Json(body)).into_response()
}
