//! Moments within a second. Over a real ledger, time passes too unevenly to test them.

use std::time::Duration;

use super::{ExactBackend, block_on, replica};
use crate::fixtures::*;

#[test]
fn a_lease_runs_until_its_bucket_is_full() {
    block_on(async {
        let backend = ExactBackend::new();
        let replica = replica(&backend, [token_bucket("rpm", 5, 5, 400)]).await;
        let id = lease();
        let first = replica.reserve(id, &[("rpm", 5)]).await;
        assert!(is_granted(&first));
        backend.pass(Duration::from_millis(399)).await;
        assert_eq!(
            replica.reserve(id, &[("rpm", 5)]).await,
            first,
            "a repetition, one millisecond before the refill"
        );
        replica.complete(id, &[("rpm", 2)]).await;
        assert_eq!(replica.usage("rpm").await, Usage { available: 3, reserved: 2, debt: 0 });
    });
}

#[test]
fn a_segment_leaves_the_window_to_the_millisecond() {
    block_on(async {
        for (after_ms, available) in [(1_499, 6), (1_500, 10)] {
            let backend = ExactBackend::new();
            let replica = replica(&backend, [sliding_window("rpm", 10, 1, 2)]).await;
            // The clock begins at a whole second. The reservation falls into the second half of it.
            let second_ms = backend.now_ms();
            backend.pass_to(second_ms + 600);
            let id = lease();
            replica.reserve(id, &[("rpm", 10)]).await;
            backend.pass_to(second_ms + after_ms);
            replica.complete(id, &[("rpm", 4)]).await;
            assert_eq!(
                replica.usage("rpm").await,
                Usage { available, reserved: 10 - available, debt: 0 },
                "after {after_ms} ms"
            );
        }
    });
}
