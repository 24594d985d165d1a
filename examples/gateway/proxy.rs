//! The HTTP API of the gateway: reserves, calls the model, and streams its answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use ledger_limiter::client::tower::{RateLimitLayer, RequestKey};
use ledger_limiter::client::{Acquired, Denial, Limit, Limiter, LlmCall, Transport};

use super::meter::Meter;
use super::upstream::{Question, prompt_tokens};

const TENANT: HeaderName = HeaderName::from_static("x-tenant");

struct Gateway<T> {
    limiter: Limiter<T>,
    client: reqwest::Client,
    model_url: String,
}

/// The gateway's API, in front of the model at `model_url`.
pub(crate) fn router<T: Transport>(limiter: Limiter<T>, model_url: String) -> Result<Router, Box<dyn Error>> {
    let per_tenant = Limit::rolling("http:tenant:{tenant}", 30).per(Duration::from_secs(60));
    let layer = RateLimitLayer::builder(RequestKey::header(TENANT))
        .named_limit("per-tenant", per_tenant)
        .over(limiter.clone())?;
    let gateway = Gateway { limiter, client: reqwest::Client::new(), model_url };
    Ok(Router::new().route("/v1/chat", post(chat::<T>)).layer(layer).with_state(Arc::new(gateway)))
}

async fn chat<T: Transport>(
    State(gateway): State<Arc<Gateway<T>>>,
    headers: HeaderMap,
    Json(question): Json<Question>,
) -> Response {
    let call = LlmCall::new("openai", "gpt-4o");
    let call = match headers.get(TENANT).and_then(|tenant| tenant.to_str().ok()) {
        Some(tenant) => call.with_daily_tokens(tenant),
        None => call,
    };
    let wants = match call.requirements(&question.prompt, question.max_tokens) {
        Ok(wants) => wants,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let lease = match gateway.limiter.try_acquire(&wants).await {
        Ok(Acquired::Granted(lease)) => lease,
        Ok(Acquired::Denied(denial)) => return denied(&denial),
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    };
    let sent = gateway.client.post(format!("{}/v1/chat", gateway.model_url)).json(&question).send().await;
    match sent.and_then(reqwest::Response::error_for_status) {
        Ok(answer) => forward(answer, Meter::new(call, lease, prompt_tokens(&question.prompt))),
        Err(error) => {
            // The model used nothing, so the lease is cancelled.
            let cancelled = lease.cancel().await;
            tracing::warn!(%error, ?cancelled, "the model does not answer");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

/// Forwards each chunk as it arrives. The stream owns the meter, so the meter is dropped with it.
fn forward<T: Transport>(answer: reqwest::Response, meter: Meter<T>) -> Response {
    let chunks = stream::unfold((answer, meter), async |(mut answer, mut meter)| {
        let chunk = answer.chunk().await.transpose()?;
        if let Ok(chunk) = &chunk {
            meter.count(chunk);
        }
        Some((chunk, (answer, meter)))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(chunks)).into_response()
}

fn denied(denial: &Denial) -> Response {
    match denial.retry_after() {
        Some(retry_after) => {
            let seconds = retry_after.as_secs() + 1;
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())], denial.to_string())
                .into_response()
        }
        None => (StatusCode::BAD_REQUEST, denial.to_string()).into_response(),
    }
}
