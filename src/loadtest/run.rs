//! A run: makes the limits, connects the callers, and offers load for the warm-up and the measured time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use crate::caller::{Caller, Shared};
use crate::measure::Measurements;
use crate::pace::{OpenLoop, Pace, Window};
use crate::progress;
use crate::report::Report;
use crate::schedule::Schedule;
use crate::server_metrics::watch;
use crate::settings::Settings;
use crate::target::{SetupError, Target};
use crate::workload::Workload;

/// How many limits are made concurrently.
const SETUP_CALLS: usize = 32;
/// How long calls may go on after the measured time. A call without an answer by then is not counted.
const DRAIN: Duration = Duration::from_secs(10);

/// Offers load to `target`.
pub(crate) async fn run<T: Target>(target: T, settings: &Settings) -> Result<Report<'_>, SetupError> {
    let workload = Arc::new(Workload::new(&settings.workload)?);
    if settings.setup {
        set_up(&target, &workload).await?;
    }
    let mut connections = Vec::with_capacity(settings.concurrency);
    for _ in 0..settings.concurrency {
        connections.push(target.connect(Arc::clone(&workload)).await?);
    }
    let watcher = target.connect(Arc::clone(&workload)).await?;

    let started = Instant::now();
    let begin = started + settings.warmup;
    let window = Window { begin, end: begin + settings.duration };
    let pace = match &settings.profile {
        None => Pace::Closed(window),
        Some(profile) => {
            let schedule = Schedule::new(profile, settings.warmup, settings.duration, settings.batch);
            Pace::Open(OpenLoop::start(schedule, started, settings.concurrency))
        }
    };
    let shared = Arc::new(Shared {
        pace,
        window,
        workload,
        measured: Measurements::new()?,
        batch: settings.batch,
        complete: settings.workload.complete,
        retry: settings.retry,
    });
    let mut callers = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        callers.spawn(Caller::new(number, connection, Arc::clone(&shared)).run());
    }
    let finish = async {
        sleep_until(window.end.into()).await;
        let all = async { while callers.join_next().await.is_some() {} };
        // After the drain, `shutdown` below cancels the callers that still wait.
        timeout_at((window.end + DRAIN).into(), all).await.ok();
    };
    let (server, (), ()) = tokio::join!(
        watch(&target, watcher, window),
        progress::show(started, window, &shared.measured),
        finish
    );
    callers.shutdown().await;
    Ok(Report::new(settings, window, shared.measured.total(), server, shared.pace.not_started()))
}

/// Makes every limit, over a few concurrent connections.
async fn set_up<T: Target>(target: &T, workload: &Arc<Workload>) -> Result<(), SetupError> {
    let part = workload.limits().len().div_ceil(SETUP_CALLS).max(1);
    let make = |limits| async move {
        let mut connection = target.connect(Arc::clone(workload)).await?;
        for limit in limits {
            target.put(&mut connection, limit).await?;
        }
        Ok::<_, SetupError>(())
    };
    try_join_all(workload.limits().chunks(part).map(make)).await?;
    Ok(())
}
