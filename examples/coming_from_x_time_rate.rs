//! The calls of a `Limiter` of Go's `golang.org/x/time/rate`. `docs/coming-from/x-time-rate.md` shows it.
//!
//! `cargo run --example coming_from_x_time_rate`

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::client::{BucketObject, InProcess, Rate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(&mut stdout()).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    // rate.NewLimiter(rate.Every(10*time.Second), 3), and one for each user. `Http::new(url)?` in this place asks a service.
    let rate = Rate::every(Duration::from_secs(10)).burst(3);
    let limits = Arc::new(InProcess::with_limits([rate.limit("calls:{user}")]).await?);
    let bucket = BucketObject::new(limits, "calls:ann")?;

    // AllowN, Allow
    writeln!(out, "allowed: {}, then {}", bucket.allow_n(3).await?, bucket.allow().await?)?;

    // ReserveN, Delay, Cancel
    let reservation = bucket.reserve(2).await?;
    let seconds = reservation.delay().as_secs_f64().round();
    writeln!(out, "reserved: {}, to act in {seconds} s", reservation.ok())?;
    writeln!(out, "cancelled: {}", reservation.cancel().await?)?;

    // WaitN with a deadline, which it cannot meet
    let second = Duration::from_secs(1);
    writeln!(out, "waited: {}", bucket.wait_max(1, second).await?)?;

    // SetLimit, WaitN
    bucket.set_limit(20.0).await?;
    writeln!(out, "waited at 20 per second: {}", bucket.wait(2).await?)?;

    // Limit, Burst
    let state = bucket.state().await?;
    writeln!(out, "limit {} per second, burst {}", state.limit, state.burst)?;
    Ok(())
}
