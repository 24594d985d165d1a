//! Retry-after: an exact hint is the time at which the amount fits, wherever the reservations were made.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::Definition;
use ledger_limiter::protocol::{CommandOutcome, ReserveOutcome, RetryAfterSource};

use crate::fixtures::*;

const SOON: Duration = Duration::from_secs(10);

/// Waits until the replica has read the limit. A look promises nothing to anybody.
async fn until_read<L: Ledger>(replica: &Replica<L>, name: &str, units: u64) {
    let is_exact = || async {
        let command = reserve(lease(), &[(name, units)]);
        let looked = replica.limiter().look(&command).await.expect("the ledger answers");
        let CommandOutcome::Looked(ReserveOutcome::NoRoom { retry_after_source, .. }) = looked else {
            panic!("there is no room: {looked:?}");
        };
        retry_after_source == RetryAfterSource::Exact
    };
    eventually("the limit is read", SOON, is_exact).await;
}

async fn exact_ms<L: Ledger>(replica: &Replica<L>, name: &str, units: u64) -> u64 {
    let outcome = replica.take(&[(name, units)]).await;
    let ReserveOutcome::NoRoom { retry_after_ms, retry_after_source, .. } = outcome else {
        panic!("there is no room: {outcome:?}");
    };
    assert_eq!(retry_after_source, RetryAfterSource::Exact, "{name}");
    retry_after_ms
}

fn limits() -> [Definition; 4] {
    [
        rolling("rolling", 10, 3),
        token_bucket("bucket", 10, 1, 400),
        fixed_window("fixed", 10, 3, 0),
        sliding_window("sliding", 10, 3, 3),
    ]
}

pub async fn an_exact_hint_is_the_time_at_which_the_amount_fits<B: Backend>(backend: B) {
    for definition in limits() {
        let name = definition.key.to_string();
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        let another = Replica::start(backend.connect(), backend.ids(), 0).await;
        another.put(definition).await;
        replica.registry().refresh().await.expect("the ledger answers");
        assert!(is_granted(&another.take(&[(&name, 4)]).await));
        backend.pass(Duration::from_millis(200)).await;
        assert!(is_granted(&another.take(&[(&name, 6)]).await));
        until_read(&replica, &name, 9).await;
        let hint_ms = exact_ms(&replica, &name, 9).await;
        backend.pass(Duration::from_millis(hint_ms)).await;
        let granted = replica.take(&[(&name, 9)]).await;
        assert!(is_granted(&granted), "{name}, at {hint_ms} ms: {granted:?}");
    }
}

pub async fn what_a_complete_has_shrunk_is_free_at_its_time<B: Backend>(backend: B) {
    let (replica, another) = (
        Replica::start(backend.connect(), backend.ids(), 0).await,
        Replica::start(backend.connect(), backend.ids(), 0).await,
    );
    another.put(rolling("tpm", 10, 4)).await;
    replica.registry().refresh().await.expect("the ledger answers");
    let (shrunk, freed) = (lease(), lease());
    assert!(is_granted(&another.reserve(shrunk, &[("tpm", 7)]).await));
    assert!(is_granted(&another.reserve(freed, &[("tpm", 3)]).await));
    another.complete(shrunk, &[("tpm", 5)]).await;
    another.complete(freed, &[("tpm", 0)]).await;
    until_read(&replica, "tpm", 6).await;
    let hint_ms = exact_ms(&replica, "tpm", 6).await;
    assert!((1..=5_100).contains(&hint_ms), "{hint_ms}");
    backend.pass(Duration::from_millis(hint_ms)).await;
    assert!(is_granted(&replica.take(&[("tpm", 6)]).await));
}

pub async fn denials_over_several_limits_are_estimates<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("a", 1, 60)).await;
    replica.put(rolling("b", 9, 60)).await;
    assert!(is_granted(&replica.take(&[("a", 1)]).await));
    until_read(&replica, "a", 1).await;
    let outcome = replica.take(&[("a", 1), ("b", 1)]).await;
    let ReserveOutcome::NoRoom { retry_after_source, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(retry_after_source, RetryAfterSource::Estimate, "the other limit may deny then");
}
