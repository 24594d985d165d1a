//! Answers that no cache keeps. A cache may keep an answer that says nothing about it, and then a replica that is
//! not ready looks ready, and an old usage looks current.

use std::convert::Infallible;

use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, any, get};

/// Routes GET to `handler`. Its answers say that no cache may keep them, and that a browser must not guess their type.
pub(super) fn get_uncached<H, T, S>(handler: H) -> MethodRouter<S, Infallible>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(handler).layer(map_response(uncached))
}

/// The same for every method.
pub(super) fn any_uncached<H, T, S>(handler: H) -> MethodRouter<S, Infallible>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    any(handler).layer(map_response(uncached))
}

async fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
