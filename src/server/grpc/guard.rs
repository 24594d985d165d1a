//! Who may call: HTTP/2 only, and for the rate limit services a caller with the scope `reserve`.
//!
//! Unlike the HTTP API, the services take requests under any name: a gateway names its cluster there. The check of names
//! keeps web pages away, and no page can send HTTP/2 without TLS, or has a certificate for its own name.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::Status;

use super::refuse::{forbidden, unauthenticated};
use crate::server::api::{Api, Authorized, Forbidden, ToItsEnd, ToReserve};
use crate::server::auth::{Authenticator, Scope};

/// Refuses HTTP/1, which has no way to end an answer with a gRPC status.
pub(super) async fn http2_only(request: Request, next: Next) -> Response {
    if request.version() != Version::HTTP_2 {
        let message = "this port serves gRPC over HTTP/2; the HTTP API is on server.listen_addr\n";
        return (StatusCode::HTTP_VERSION_NOT_SUPPORTED, message).into_response();
    }
    next.run(request).await
}

/// Lets the caller in, and carries its request out, even if its connection ends.
pub(super) async fn let_in(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match authenticator.authenticate(request.headers(), request.extensions().get()) {
        Ok(caller) if caller.has(Scope::Reserve) => caller,
        Ok(_) => return forbidden(Forbidden::Scope(Scope::Reserve)).into_http(),
        Err(error) => return unauthenticated(error).into_http(),
    };
    request.extensions_mut().insert(caller);
    ToItsEnd::new(Box::pin(next.run(request))).await
}

/// The request of a caller that [`let_in`] let in.
pub(super) fn authorized<L, T>(
    api: &Arc<Api<L>>,
    request: &tonic::Request<T>,
) -> Result<Authorized<L, ToReserve>, Status> {
    // It is missing only if a service was added without the guard.
    let missing = || Status::internal("the caller was not authenticated");
    Ok(Authorized::of(Arc::clone(api), request.extensions().get().cloned().ok_or_else(missing)?))
}
