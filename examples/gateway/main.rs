//! A gateway in front of a model.
//!
//! It reserves the most tokens that a call can use. It counts the tokens while it streams the answer to the client, and
//! completes with that count, also if the client disconnects early. A tower layer limits the requests of each tenant.
//!
//! `cargo run --example gateway [-- --target http://HOST:PORT]`

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Duration;

use ledger_limiter::client::{LimitKey, Limiter, Transport};
use reqwest::{Client, Response};
use target::Target;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

mod meter;
mod proxy;
#[path = "../target/mod.rs"]
mod target;
mod upstream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match target::from_args().await? {
        Target::InProcess(transport) => run(transport, &mut stdout()).await,
        Target::Server(transport) => run(transport, &mut stdout()).await,
    }
}

/// Starts a model and the gateway in front of it, and makes calls as a client.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limiter = Limiter::new(transport);
    let mut servers = JoinSet::new();
    let model = serve(&mut servers, upstream::router()).await?;
    let gateway = serve(&mut servers, proxy::router(limiter.clone(), model)?).await?;
    let client = Client::new();
    let ask = async |answer_tokens: u64| {
        let body = serde_json::json!({ "prompt": "Tell me a story", "max_tokens": answer_tokens });
        client.post(format!("{gateway}/v1/chat")).header("x-tenant", "acme").json(&body).send().await
    };

    let before = tokens_reserved(&limiter).await?;
    let whole = read(ask(40).await?, usize::MAX).await?;
    wait_until_settled(&limiter).await?;
    let after_whole = tokens_reserved(&limiter).await?;
    writeln!(out, "a whole answer: {whole} chunks, {} tokens", after_whole - before)?;

    let read_chunks = read(ask(2_000).await?, 5).await?;
    wait_until_settled(&limiter).await?;
    let after_part = tokens_reserved(&limiter).await?;
    writeln!(out, "an answer cut off after {read_chunks} chunks: {} tokens", after_part - after_whole)?;

    let too_long = ask(10_000_000).await?;
    writeln!(out, "an answer above the capacity: {}", too_long.status())?;
    let refused = loop {
        let response = ask(1).await?;
        if response.status() != 200 {
            break response;
        }
        read(response, usize::MAX).await?;
    };
    let field =
        |name: &str| refused.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let retry_after = field("retry-after");
    writeln!(out, "{} {}, retry after {retry_after} s", refused.status(), field("ratelimit"))?;
    servers.shutdown().await;
    limiter.shutdown().await;
    Ok(())
}

/// Serves the router on a free port. Returns its URL.
async fn serve(servers: &mut JoinSet<()>, router: axum::Router) -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    servers.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a server of the example failed");
        }
    });
    Ok(url)
}

/// Reads at most `chunks_max` chunks, then disconnects. Returns the number of chunks.
async fn read(mut response: Response, chunks_max: usize) -> Result<usize, reqwest::Error> {
    let mut chunks = 0;
    while chunks < chunks_max && response.chunk().await?.is_some() {
        chunks += 1;
    }
    Ok(chunks)
}

/// Waits until every call is completed. The gateway completes a call in the background, after its stream.
async fn wait_until_settled<T: Transport>(limiter: &Limiter<T>) -> Result<(), Box<dyn Error>> {
    let key = LimitKey::parse("global:llm:openai:gpt-4o:concurrency")?;
    for _ in 0..500 {
        if limiter.stats(&key).await?.is_some_and(|stats| stats.reserved == 0) {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err("a call was not completed within 5 s".into())
}

async fn tokens_reserved<T: Transport>(limiter: &Limiter<T>) -> Result<u128, Box<dyn Error>> {
    let key = LimitKey::parse("global:llm:openai:gpt-4o:tpm")?;
    Ok(limiter.stats(&key).await?.map_or(0, |stats| stats.reserved))
}
