//! The echo: a bare axum server that parses the body of a reserve and always answers with a grant. It is the upper
//! bound of an HTTP service with these bodies on this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::routing::post;
use axum::{Json, Router};
use ledger_limiter::protocol::{ReserveAnswer, ReserveBody};
use tokio::net::TcpListener;

use crate::failure::Failure;

/// Serves until the process is ended.
pub(crate) fn serve(address: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Failure::file("the runtime cannot be started"))?.block_on(async {
        let listening = TcpListener::bind(address).await;
        let listener = listening.map_err(Failure::file("the echo cannot listen"))?;
        let router = Router::new().route("/v1/reserve", post(grant));
        axum::serve(listener, router).await.map_err(Failure::file("the echo failed"))
    })
}

async fn grant(Json(body): Json<ReserveBody>) -> Json<ReserveAnswer> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Json(ReserveAnswer {
        allowed: !body.requirements.is_empty(),
        retry_after_ms: 0,
        retry_after_source: None,
        reserved_at_unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        error: String::new(),
        limiting_key: None,
        emergency: false,
        limits: None,
        served_by: None,
        would_deny: Vec::new(),
    })
}
