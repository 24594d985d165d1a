//! Stands for the provider. It answers with a stream of server-sent events, one for each token, and reports the number
//! of tokens at the end.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// The body of a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) prompt: String,
    /// The most tokens of the answer. This model always uses all of them.
    pub(crate) max_tokens: u64,
}

/// One event of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// A piece of the answer, one token long.
    Token(String),
    /// The last event: the number of tokens of prompt and answer together.
    TokensTotal(u64),
}

/// The model's API.
pub(crate) fn router() -> Router {
    Router::new().route("/v1/chat", post(answer))
}

/// The tokens of a prompt, as this model counts them.
pub(crate) fn prompt_tokens(prompt: &str) -> u64 {
    prompt.split_whitespace().count() as u64
}

async fn answer(Json(question): Json<Question>) -> Response {
    let tokens = stream::iter(0..question.max_tokens).then(async |number| {
        sleep(Duration::from_millis(2)).await;
        Event::Token(format!("word{number} "))
    });
    let end = Event::TokensTotal(prompt_tokens(&question.prompt) + question.max_tokens);
    let events = tokens.chain(stream::iter([end]));
    let chunks = events.map(|event| Ok::<_, Infallible>(line(&event)));
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(chunks)).into_response()
}

fn line(event: &Event) -> Bytes {
    let json = serde_json::to_string(event).unwrap_or_default();
    Bytes::from(format!("data: {json}\n\n"))
}
