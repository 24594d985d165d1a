//! Where limits with a schedule meet something else: another replica, a change, a deletion, a batch.

use ledger_limiter::limiter::CompleteOutcome;

use super::schedules::{start, window_begins};
use crate::fixtures::*;

pub async fn a_batch_gives_nothing_back_of_a_window_that_is_over<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("fixed", 10, 2, 0)).await;
    replica.put(rolling("tokens", 100, 3_600)).await;
    window_begins(&backend, &replica, 2_000).await;
    let leases = [lease(), lease()];
    for id in leases {
        assert!(is_granted(&replica.reserve(id, &[("fixed", 5), ("tokens", 10)]).await));
    }
    // What the window after the next one spends is kept where theirs was.
    window_begins(&backend, &replica, 2_000).await;
    window_begins(&backend, &replica, 2_000).await;
    assert!(is_granted(&replica.take(&[("fixed", 10)]).await));
    let commands = leases.map(|id| complete(id, &[("fixed", 0), ("tokens", 1)]));
    for settled in replica.limiter.complete_batch(&commands).await {
        assert_eq!(settled.expect("the ledger answers"), CompleteOutcome::Settled { excesses: Vec::new() });
    }
    assert_eq!(replica.usage("tokens").await, (98, 2, 0));
    assert_eq!(replica.usage("fixed").await, (0, 10, 0), "others spent it");
}
