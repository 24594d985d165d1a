//! The memory ledger forgets finished leases and refills, so that its size follows the live load.

use std::ops::RangeInclusive;
use std::time::Duration;

use ledger_limiter::protocol::ReserveOutcome;

use super::{ExactBackend, block_on, replica};
use crate::fixtures::*;
use crate::memory::{MemoryBackend, RETENTION};

const SECOND: Duration = Duration::from_secs(1);

/// The range from the smallest of some counts to the largest.
fn range_of(counts: &[usize]) -> RangeInclusive<usize> {
    let smallest = *counts.iter().min().expect("there are counts");
    let largest = *counts.iter().max().expect("there are counts");
    smallest..=largest
}

#[test]
fn the_ledger_forgets_finished_leases_and_refills() {
    block_on(async {
        let definitions = [
            token_bucket("bucket", 10_000, 3, 4),
            fixed_window("fixed", 1_000_000, 1, 0),
            sliding_window("sliding", 1_000_000, 2, 60),
        ];
        let backend = ExactBackend(MemoryBackend::new());
        let replica = replica(&backend, definitions).await;
        let wants = [("bucket", 10), ("fixed", 10), ("sliding", 10)];
        // The transfers that granted the capacity are forgotten, too.
        backend.pass(RETENTION * 2).await;
        let at_rest = backend.0.ledger.transfers();
        assert_eq!(at_rest, 3, "a part for each definition");
        let (mut leases, mut transfers) = (Vec::new(), Vec::new());
        for second in 0..4 * RETENTION.as_secs() {
            let id = lease();
            assert!(is_granted(&replica.reserve(id, &wants).await));
            if second % 2 == 0 {
                replica.complete(id, &wants.map(|(name, amount)| (name, amount / 2))).await;
            }
            for _ in 0..4 {
                backend.pass(SECOND / 4).await;
                replica.usage("bucket").await;
            }
            leases.push(backend.0.ledger.leases());
            transfers.push(backend.0.ledger.transfers());
        }
        let settled_in = 2 * RETENTION.as_secs() as usize;
        let (leases, transfers) = (range_of(&leases[settled_in..]), range_of(&transfers[settled_in..]));
        assert!(*leases.start() > 0, "leases are kept for the retention");
        assert!(leases.end() - leases.start() < 10, "the number of leases stays: {leases:?}");
        assert!(transfers.end() - transfers.start() < 100, "the number of transfers stays: {transfers:?}");
        // No further calls.
        backend.pass(RETENTION * 10).await;
        // Each look removes a part of them.
        for _ in 0..100 {
            backend.0.ledger.leases();
        }
        assert_eq!(backend.0.ledger.leases(), 0);
        assert_eq!(backend.0.ledger.transfers(), at_rest, "only the log of definitions is left");
    });
}

#[test]
fn a_finished_lease_is_kept_for_the_retention() {
    block_on(async {
        for hours in [1, 24] {
            let backend = ExactBackend(MemoryBackend::new());
            let replica = replica(&backend, [fixed_window("fixed", 10, 86_400, 0)]).await;
            // A window that ends in some hours, at a time that is no multiple of the retention.
            let before_ms = hours * 3_600_000 - 77_777;
            let next_day_ms = (backend.now_ms() / 86_400_000 + 1) * 86_400_000;
            backend.pass_to(next_day_ms - before_ms);
            let id = lease();
            assert!(is_granted(&replica.reserve(id, &[("fixed", 10)]).await));
            let expired = ReserveOutcome::LeaseExpired;
            for after in [Duration::ZERO, SECOND * 2, RETENTION - SECOND] {
                backend.pass_to(next_day_ms + after.as_millis() as u64);
                assert_eq!(backend.0.ledger.leases(), 1, "{after:?} after the window of {hours} h");
                assert_eq!(
                    replica.reserve(id, &[("fixed", 10)]).await,
                    expired,
                    "a repetition after the end of the window"
                );
            }
            backend.pass_to(next_day_ms + 2 * RETENTION.as_millis() as u64);
            assert_eq!(backend.0.ledger.leases(), 0, "it is forgotten after the retention");
        }
    });
}
