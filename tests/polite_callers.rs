//! Polite callers on paused time: each comes back when it is told, and not before. Ten times as many units are wanted as there are.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::limit::Definition;
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::{ReserveOutcome, RetryAfterSource};
use ledger_limiter::testing::TokioClock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fixtures::*;
use crate::memory::RETENTION;

const CALLERS: u64 = 500;
/// Units that become free in a second.
const RATE: u64 = 10;
const RUNS: Duration = Duration::from_secs(300);

struct Measured {
    goodput: f64,
    attempts_per_grant: f64,
    exact_share: f64,
}

async fn measure(definition: Definition, deny_alone_max: Duration) -> Measured {
    let memory = Arc::new(MemoryLedger::new(TokioClock::new(), RETENTION));
    let options = LimiterOptions { deny_alone_max, ..LimiterOptions::default() };
    let replica = Replica::start_with(memory, Ids::new(1), options).await;
    replica.put(definition).await;
    let ends = tokio::time::Instant::now() + RUNS;
    // Together they want ten times the rate.
    let think_ms_max = 2 * CALLERS * 1_000 / (10 * RATE);
    let caller = |seed: u64| {
        let replica = &replica;
        async move {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut grants, mut attempts, mut exact) = (0_u64, 0_u64, 0_u64);
            let mut pause_ms = random.random_range(0..=think_ms_max);
            loop {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                if tokio::time::Instant::now() >= ends {
                    return (grants, attempts, exact);
                }
                attempts += 1;
                let outcome = replica.take(&[("limit", 1)]).await;
                if let ReserveOutcome::NoRoom { retry_after_ms, retry_after_source, .. } = outcome {
                    exact += u64::from(retry_after_source == RetryAfterSource::Exact);
                    pause_ms = retry_after_ms;
                } else {
                    assert!(is_granted(&outcome), "{outcome:?}");
                    grants += 1;
                    pause_ms = random.random_range(0..=think_ms_max);
                }
            }
        }
    };
    let (mut grants, mut attempts, mut exact) = (0, 0, 0);
    for (granted, asked, told) in join_all((0..CALLERS).map(caller)).await {
        (grants, attempts, exact) = (grants + granted, attempts + asked, exact + told);
    }
    let possible = RATE * RUNS.as_secs();
    Measured {
        goodput: grants as f64 / possible as f64,
        attempts_per_grant: attempts as f64 / grants as f64,
        exact_share: exact as f64 / (attempts - grants) as f64,
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "the figures are for readers")]
async fn polite_callers_use_all_there_is_and_come_once_or_twice() {
    for definition in [
        rolling("limit", 100, 10),
        token_bucket("limit", 10, 1, 1_000 / RATE),
        fixed_window("limit", 100, 10, 0),
        sliding_window("limit", 100, 10, 10),
    ] {
        for deny_alone_max in [Duration::ZERO, Duration::from_millis(100)] {
            let kind = definition.kind.name();
            let Measured { goodput, attempts_per_grant, exact_share } =
                measure(definition.clone(), deny_alone_max).await;
            println!(
                "{kind:?}, cache {deny_alone_max:?}: goodput {goodput:.3}, {attempts_per_grant:.2} attempts a grant, {exact_share:.3} exact"
            );
            assert!(goodput >= 0.95, "{kind:?}: goodput {goodput}");
            assert!(attempts_per_grant <= 2.5, "{kind:?}: {attempts_per_grant} attempts");
            assert!(exact_share >= 0.9, "{kind:?}: {exact_share} exact");
        }
    }
}
