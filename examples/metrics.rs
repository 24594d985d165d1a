//! Counts the events of a scheduler, and prints the statistics of two limits.
//!
//! `cargo run --example metrics [-- --target http://HOST:PORT]`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Write, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use ledger_limiter::client::scheduler::{
    Job, Observer, Permit, QueueKey, ScheduleError, Scheduler, SchedulerEvent, SchedulerOptions,
};
use ledger_limiter::client::{Batcher, BatcherOptions, LimitKey, Limiter, LlmCall, Transport};
use target::Target;
use tokio::time::sleep;

mod target;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match target::from_args().await? {
        Target::InProcess(transport) => run(transport, &mut stdout()).await,
        Target::Server(transport) => run(transport, &mut stdout()).await,
    }
}

/// Counts the events by model and name. A real program would use its metrics library here.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

impl Observer for Counts {
    fn observe(&mut self, queue: &QueueKey, event: &SchedulerEvent<'_>) {
        let name = match event {
            SchedulerEvent::Queued { .. } => "queued",
            SchedulerEvent::Attempted { .. } => "attempted",
            SchedulerEvent::Denied { .. } => "denied",
            SchedulerEvent::Unknown => "unknown",
            SchedulerEvent::Started { .. } => "started",
            SchedulerEvent::Failed { .. } => "failed",
            SchedulerEvent::Ended { .. } => "ended",
            SchedulerEvent::Completed => "completed",
            SchedulerEvent::LeftToExpire => "left to expire",
            // Later versions may report more.
            _ => "other",
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(format!("{} {name}", queue.model())).or_default() += 1;
    }
}

/// Runs more jobs than there are slots, and prints the counts.
pub(crate) async fn run<T: Transport>(transport: T, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (transport, counts) = (Arc::new(transport), Counts::default());
    let limiter = Limiter::new(Arc::clone(&transport));
    let batcher = Batcher::new(transport, BatcherOptions::default());
    let scheduler = Scheduler::start(batcher, SchedulerOptions::default(), counts.clone());
    let mut jobs = Vec::new();
    for model in ["gpt-4o", "gpt-4o-mini"] {
        for _ in 0..15 {
            let call = LlmCall::new("openai", model);
            let job = Job { queue: QueueKey::new("openai", model), wants: call.requirements("Hello!", 20)? };
            jobs.push(scheduler.run(job, async move |permit| work(&permit, &call).await));
        }
    }
    let finished: Result<Vec<()>, ScheduleError> = try_join_all(jobs).await;
    finished?;
    scheduler.shutdown().await;
    for (name, count) in counts.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        writeln!(out, "{name}: {count}")?;
    }
    for limit in ["concurrency", "tpm"] {
        let key = LimitKey::parse(&format!("global:llm:openai:gpt-4o:{limit}"))?;
        if let Some(stats) = limiter.stats(&key).await? {
            writeln!(out, "{key}: {} available, {} reserved", stats.available, stats.reserved)?;
        }
    }
    limiter.shutdown().await;
    Ok(())
}

/// Stands for the call to the provider.
async fn work(permit: &Permit, call: &LlmCall) {
    sleep(Duration::from_millis(20)).await;
    for key in call.token_keys().filter_map(|key| LimitKey::parse(key).ok()) {
        // `used` fails only for a key that the job did not reserve.
        permit.used(&key, 12).ok();
    }
}
