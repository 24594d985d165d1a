//! Limits are held against plain models of them, each written from what its kind promises.

mod bucket;
mod forgetting;
mod hints;
mod limit;
mod milliseconds;
mod rates;
mod replicas;
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
use crate::run::{Witness, run};
use service::Service;

const NS_PER_MS: u64 = 1_000_000;

/// The memory ledger, with time to the nanosecond.
struct Exactly(MemoryBackend);

impl Exactly {
    /// One that forgets nothing, as the models do not.
    fn new() -> Self {
        Self(MemoryBackend::remembering(Duration::from_secs(31_622_400)))
    }

    fn now_ms(&self) -> u64 {
        self.0.clock.now_ns() / NS_PER_MS
    }

    /// How long it is to a moment; nothing if it is past.
    fn until(&self, unix_ms: u64) -> Duration {
        Duration::from_nanos((unix_ms * NS_PER_MS).saturating_sub(self.0.clock.now_ns()))
    }

    /// Lets time pass to a moment.
    fn pass_to(&self, unix_ms: u64) {
        self.0.clock.advance(self.until(unix_ms));
    }
}

impl Backend for Exactly {
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

/// Compares what it is told with what the model says.
struct Comparing<'a> {
    backend: &'a Exactly,
    model: Service,
    told: Vec<String>,
}

impl Witness for Comparing<'_> {
    fn told(&mut self, operation: &Operation, answer: String, standing: Vec<String>) {
        self.model.pass_to(self.backend.now_ms());
        self.told.push(format!("{operation:?} -> {answer} {standing:?}"));
        assert_eq!(answer, self.model.apply(operation), "after {:#?}", self.told);
        assert_eq!(standing, self.model.standing(), "after {:#?}", self.told);
        // Nothing happens at the same nanosecond as anything else.
        self.backend.0.clock.advance(Duration::from_micros(1));
    }

    fn until_step(&self, key: usize) -> Duration {
        self.model.next_step_ms(key).map_or(Duration::ZERO, |step_ms| self.backend.until(step_ms))
    }
}

fn compare(limits: &'static [Named], operations: &[Operation]) {
    within(async {
        let backend = Exactly::new();
        let model = Service::new(limits, backend.now_ms());
        let mut comparing = Comparing { backend: &backend, model, told: Vec::new() };
        run(&backend, limits, operations, &mut comparing).await;
    });
}

/// A replica with these limits.
async fn replica(
    backend: &Exactly,
    definitions: impl IntoIterator<Item = Definition>,
) -> Replica<<Exactly as Backend>::Ledger> {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    for definition in definitions {
        replica.put(definition).await;
    }
    replica
}

/// Runs something on a runtime of its own.
fn within<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn the_limiter_does_what_the_model_says(operations in operations(LASTING, 60)) {
        compare(LASTING, &operations);
    }

    #[test]
    fn limits_come_back_in_time_as_the_model_says(operations in operations_in_time(MOVING, 90)) {
        compare(MOVING, &operations);
    }
}
