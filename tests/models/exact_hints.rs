//! An exact hint is the time at which the amount fits: a caller is denied at every moment before it, and granted at it, whichever
//! replicas hold the limit. Callers that are denied together are told times at which each of them is granted.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{Definition, Period};
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::{CommandOutcome, ReserveOutcome, RetryAfterSource};
use proptest::prelude::*;

use super::{ExactBackend, block_on};
use crate::fixtures::*;

/// What happened before a caller is denied.
#[derive(Debug, Clone)]
struct History {
    definition: Definition,
    /// At which of the two replicas, how many per cent of the capacity, how much of that is used in the end, and the time before.
    reserves: Vec<(usize, u64, u64, u64)>,
    /// The amounts that callers want then, in per cent of the capacity.
    wanted: Vec<u64>,
    /// At these shares of the hint the first caller tries in vain.
    tries: Vec<f64>,
    /// Whether the denial cache is on.
    cache_is_on: bool,
}

fn definitions() -> impl Strategy<Value = Definition> {
    let capacity = || 1..1_000_u64;
    prop_oneof![
        (capacity(), 1..100_u64).prop_map(|(capacity, window)| rolling("limit", capacity, window)),
        (capacity(), 1..1_000_u64, 1..20_000_u64).prop_map(|(capacity, refill, interval_ms)| token_bucket(
            "limit",
            capacity,
            refill,
            interval_ms
        )),
        (capacity(), 1..100_u64, 0.0..1.0).prop_map(|(capacity, window, align)| {
            fixed_window("limit", capacity, window, (window as f64 * align) as u64)
        }),
        (capacity(), 1..100_u64, 1..=60_u64)
            .prop_map(|(capacity, window, segments)| sliding_window("limit", capacity, window, segments)),
        capacity().prop_map(|capacity| calendar("limit", capacity, Period::Day, "Europe/Berlin", 0)),
    ]
}

fn histories() -> impl Strategy<Value = History> {
    let reserve = (0..2_usize, 1..=100_u64, 0..=100_u64, 0..30_000_u64);
    let reserves = proptest::collection::vec(reserve, 1..12);
    let wanted = proptest::collection::vec(1..=100_u64, 1..12);
    let tries = proptest::collection::vec(0.0..1.0, 0..4);
    (definitions(), reserves, wanted, tries, any::<bool>()).prop_map(
        |(definition, reserves, wanted, tries, cache_is_on)| History {
            definition,
            reserves,
            wanted,
            tries,
            cache_is_on,
        },
    )
}

impl History {
    fn units(&self, per_cent: u64) -> u64 {
        (self.definition.capacity.get() * per_cent / 100).max(1)
    }

    /// Carries the history out at both replicas.
    async fn happen<L: Ledger>(&self, backend: &ExactBackend, replicas: [&Replica<L>; 2]) {
        for &(at, per_cent, used, pause_ms) in &self.reserves {
            backend.pass(Duration::from_millis(pause_ms)).await;
            let (id, units) = (lease(), self.units(per_cent));
            if is_granted(&replicas[at].reserve(id, &[("limit", units)]).await) && used < 100 {
                replicas[1 - at].complete(id, &[("limit", units * used / 100)]).await;
            }
        }
    }
}

/// A backend with a limit that two replicas have used, and a third replica, which knows nothing of that.
async fn used(history: &History) -> (ExactBackend, Replica<<ExactBackend as Backend>::Ledger>) {
    let backend = ExactBackend::new();
    let start = async || Replica::start(backend.connect(), backend.ids(), 0).await;
    let (first, second) = (start().await, start().await);
    first.put(history.definition.clone()).await;
    second.registry().refresh().await.expect("the ledger answers");
    history.happen(&backend, [&first, &second]).await;
    let deny_alone_max = if history.cache_is_on { Duration::from_secs(3_600) } else { Duration::ZERO };
    let options = LimiterOptions { deny_alone_max, ..LimiterOptions::default() };
    let asker = Replica::start_with(backend.connect(), backend.ids(), options).await;
    asker.registry().refresh().await.expect("the ledger answers");
    (backend, asker)
}

/// The hint of a denial that must be exact. `None` if there is room.
async fn exact_ms<L: Ledger>(replica: &Replica<L>, units: u64) -> Option<u64> {
    let outcome = replica.take(&[("limit", units)]).await;
    let ReserveOutcome::NoRoom { retry_after_ms, retry_after_source, .. } = outcome else {
        assert!(is_granted(&outcome), "{outcome:?}");
        return None;
    };
    assert_eq!(retry_after_source, RetryAfterSource::Exact);
    Some(retry_after_ms)
}

/// Has the limit read: the first denial starts a reading in the background. False if there is room.
async fn prime<L: Ledger>(replica: &Replica<L>, units: u64) -> bool {
    let command = reserve(lease(), &[("limit", units)]);
    let looked = replica.limiter().look(&command).await.expect("the ledger answers");
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    matches!(looked, CommandOutcome::Looked(_))
}

async fn check_one(history: History) {
    let (backend, asker) = used(&history).await;
    let units = history.units(history.wanted[0]);
    if !prime(&asker, units).await {
        return;
    }
    let hint_ms = exact_ms(&asker, units).await.expect("it has just been denied");
    let begun_ns = backend.now_ns();
    let mut waits_ms: Vec<u64> = history.tries.iter().map(|share| (hint_ms as f64 * share) as u64).collect();
    waits_ms.push(hint_ms - 1);
    waits_ms.sort_unstable();
    for wait_ms in waits_ms {
        let until_ns = begun_ns + wait_ms * 1_000_000;
        backend.pass(Duration::from_nanos(until_ns.saturating_sub(backend.now_ns()))).await;
        let denied = asker.take(&[("limit", units)]).await;
        assert!(no_room(&denied).is_some(), "{wait_ms} of {hint_ms} ms: {denied:?}");
    }
    let until_ns = begun_ns + hint_ms * 1_000_000;
    backend.pass(Duration::from_nanos(until_ns - backend.now_ns())).await;
    let granted = asker.take(&[("limit", units)]).await;
    assert!(is_granted(&granted), "at {hint_ms} ms: {granted:?}");
}

async fn check_many(history: History) {
    let (backend, asker) = used(&history).await;
    if !prime(&asker, history.definition.capacity.get()).await {
        return;
    }
    let mut returns = Vec::new();
    let begun_ns = backend.now_ns();
    for per_cent in &history.wanted {
        let units = history.units(*per_cent);
        // A caller that finds room needs no hint.
        if prime(&asker, units).await {
            returns.push((exact_ms(&asker, units).await.expect("it is denied"), units));
        }
    }
    for (hint_ms, units) in returns {
        let until_ns = begun_ns + hint_ms * 1_000_000;
        backend.pass(Duration::from_nanos(until_ns.saturating_sub(backend.now_ns()))).await;
        let granted = asker.take(&[("limit", units)]).await;
        assert!(is_granted(&granted), "at {hint_ms} ms, {units} units: {granted:?}");
    }
}

#[tokio::test]
async fn a_slot_that_expires_soon_is_told_exactly() {
    let backend = ExactBackend::new();
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(concurrency("limit", 1, 60)).await;
    assert!(is_granted(&replica.take(&[("limit", 1)]).await));
    backend.pass(Duration::from_millis(30_000)).await;
    assert!(prime(&replica, 1).await);
    let ReserveOutcome::NoRoom { retry_after_source, .. } = replica.take(&[("limit", 1)]).await else {
        panic!("it is denied");
    };
    assert_eq!(retry_after_source, RetryAfterSource::Estimate, "somebody may complete long before");
    backend.pass(Duration::from_millis(29_970)).await;
    assert!(prime(&replica, 1).await);
    assert!((29..=31).contains(&exact_ms(&replica, 1).await.expect("it is denied")));
}

#[tokio::test]
async fn a_limit_that_has_changed_is_read_again() {
    let backend = ExactBackend::new();
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("limit", 10, 60)).await;
    assert!(is_granted(&replica.take(&[("limit", 10)]).await));
    backend.pass(Duration::from_millis(10)).await;
    assert!(prime(&replica, 10).await);
    assert!(exact_ms(&replica, 10).await.is_some());
    // A reading asks for the debits of the last window only. One of an earlier, longer window is missing then.
    replica.put(rolling("limit", 10, 5)).await;
    backend.pass(Duration::from_millis(20_000)).await;
    for _ in 0..2 {
        assert!(prime(&replica, 10).await);
        let ReserveOutcome::NoRoom { retry_after_source, .. } = replica.take(&[("limit", 10)]).await else {
            panic!("it is denied");
        };
        assert_eq!(retry_after_source, RetryAfterSource::Estimate);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_caller_is_denied_before_an_exact_hint_and_granted_at_it(history in histories()) {
        block_on(check_one(history));
    }

    #[test]
    fn callers_that_obey_their_hints_are_granted_at_their_first_return(history in histories()) {
        block_on(check_many(history));
    }
}
