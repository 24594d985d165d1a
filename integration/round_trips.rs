//! TigerBeetle a round trip of some milliseconds away.

use std::time::Duration;

use ledger_limiter::ledger::tigerbeetle::TigerBeetleLedger;
use ledger_limiter::limit::{BucketRate, RateChange};

use crate::distant::Distant;
use crate::fixtures::*;
use crate::support::TigerBeetleBackend;

const ROUND_TRIP: Duration = Duration::from_millis(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fast_buckets_are_reserved_together_from_afar() {
    let backend = TigerBeetleBackend::new().await;
    let ledger = Distant::new(backend.connect(), ROUND_TRIP);
    let replica: Replica<Distant<TigerBeetleLedger>> = Replica::start(ledger, backend.ids(), 0).await;
    let rate = BucketRate::per_second(1_000.0).expect("a rate");
    for name in ["a", "b"] {
        replica
            .admin()
            .set_rate(&key(name), RateChange::both(rate, capacity(100_000)))
            .await
            .expect("the ledger answers");
        replica.put(token_bucket(&format!("{name}-each-ms"), 100_000, 1, 1)).await;
    }
    for _ in 0..10 {
        assert!(is_granted(&replica.take(&[("a", 1), ("b", 1)]).await));
        assert!(is_granted(&replica.take(&[("a-each-ms", 1), ("b-each-ms", 1)]).await));
    }
}
