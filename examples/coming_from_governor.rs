//! A keyed limiter as of the crate `governor`, and a layer as of `tower_governor`.
//! `docs/coming-from/governor-and-tower-governor.md` shows it.
//!
//! `cargo run --example coming_from_governor --features server,tower-layer`

use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use ledger_limiter::client::tower::RateLimitLayer;
use ledger_limiter::client::{Acquired, InProcess, Limiter, Rate, Requirements};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    check_keys(&mut stdout()).await?;
    serve(&mut stdout()).await
}

/// `RateLimiter::keyed(Quota::per_hour(nonzero!(2u32)))` and `check_key`.
pub(crate) async fn check_keys(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let limits = [Rate::per_hour(2).limit("calls:{user}")];
    let limiter = Limiter::new(InProcess::with_limits(limits).await?);
    for user in ["ann", "ann", "ann", "bob"] {
        let wants = Requirements::new([(format!("calls:{user}"), 1)])?;
        match limiter.try_acquire(&wants).await? {
            Acquired::Granted(_) => writeln!(out, "{user}: granted")?,
            Acquired::Denied(denial) => {
                let in_time = denial.retry_after().is_some_and(|wait| wait < Duration::from_secs(1_801));
                writeln!(out, "{user}: denied, and the next unit comes within half an hour: {in_time}")?;
            }
        }
    }
    limiter.shutdown().await;
    Ok(())
}

/// `GovernorConfigBuilder::default().per_second(60).burst_size(2)`: two at once, then one in 60 seconds, for each address.
pub(crate) async fn serve(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let layer = RateLimitLayer::per_ip(Rate::every(Duration::from_secs(60)).burst(2));
    let router = Router::new().route("/", get(async || "hello")).layer(layer);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    for nth in 1..=3 {
        let response = reqwest::get(&url).await?;
        writeln!(out, "request {nth}: {}", response.status())?;
    }
    server.abort();
    Ok(())
}
