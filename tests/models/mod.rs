//! Compares the limiter with plain models of limits, written from the contract of each kind.

mod allotments;
mod bounds;
mod bucket;
mod calendar;
mod exact_hints;
mod extremes;
mod governor;
mod guarantees;
mod hints;
mod limit;
mod milliseconds;
mod rates;
mod replicas;
mod retention;
mod service;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::memory::Clock;
use ledger_limiter::limit::Definition;
use proptest::prelude::*;

use crate::fixtures::{Backend, Replica};
use crate::limits::{LASTING, MOVING, Named};
use crate::memory::MemoryBackend;
use crate::operations::{Operation, operations, operations_in_time};
use crate::run::{Observer, run};
use service::Service;

const NS_PER_MS: u64 = 1_000_000;

/// The memory ledger, on whose clock exactly the given time passes.
struct ExactBackend(MemoryBackend);

impl ExactBackend {
    /// A ledger that forgets no lease, as the models do not.
    fn new() -> Self {
        Self(MemoryBackend::with_retention(Duration::from_secs(31_622_400)))
    }

    fn now_ms(&self) -> u64 {
        self.now_ns() / NS_PER_MS
    }

    fn now_ns(&self) -> u64 {
        self.0.clock.now_ns()
    }

    /// The time until a moment; zero if it is past.
    fn until(&self, unix_ms: u64) -> Duration {
        Duration::from_nanos((unix_ms * NS_PER_MS).saturating_sub(self.0.clock.now_ns()))
    }

    /// Lets time pass to a moment.
    fn pass_to(&self, unix_ms: u64) {
        self.0.clock.advance(self.until(unix_ms));
    }
}

impl Backend for ExactBackend {
    type Ledger = <MemoryBackend as Backend>::Ledger;

    fn connect(&self) -> Arc<Self::Ledger> {
        self.0.connect()
    }

    fn ids(&self) -> Ids {
        self.0.ids()
    }

    async fn pass(&self, time: Duration) {
        self.0.clock.advance(time);
    }
}

/// Compares each observation with the model.
struct Comparing<'a> {
    backend: &'a ExactBackend,
    model: Service,
    observed: Vec<String>,
}

impl Observer for Comparing<'_> {
    fn observe(&mut self, operation: &Operation, answer: String, limits: Vec<String>) {
        self.model.pass_to(self.backend.now_ns());
        self.observed.push(format!("{operation:?} -> {answer} {limits:?}"));
        assert_eq!(answer, self.model.apply(operation), "after {:#?}", self.observed);
        assert_eq!(limits, self.model.rows(), "after {:#?}", self.observed);
        // No two operations happen at the same nanosecond.
        self.backend.0.clock.advance(Duration::from_micros(1));
    }

    fn until_step(&self, key: usize) -> Duration {
        self.model.next_step_ms(key).map_or(Duration::ZERO, |step_ms| self.backend.until(step_ms))
    }
}

fn compare(limits: &'static [Named], operations: &[Operation]) {
    block_on(async {
        let backend = ExactBackend::new();
        let model = Service::new(limits, backend.now_ns());
        let mut comparing = Comparing { backend: &backend, model, observed: Vec::new() };
        run(&backend, limits, operations, &mut comparing).await;
    });
}

/// A replica with these limits.
async fn replica(
    backend: &ExactBackend,
    definitions: impl IntoIterator<Item = Definition>,
) -> Replica<<ExactBackend as Backend>::Ledger> {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    for definition in definitions {
        replica.put(definition).await;
    }
    replica
}

/// Runs a future on a runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn the_limiter_answers_as_the_model_does(operations in operations(LASTING, 60)) {
        compare(LASTING, &operations);
    }

    #[test]
    fn the_limiter_answers_as_the_model_does_while_time_passes(operations in operations_in_time(MOVING, 90)) {
        compare(MOVING, &operations);
    }
}
