//! The memory ledger keeps within its bounds, whatever callers do.

use std::time::Duration;

use ledger_limiter::ledger::LedgerError;
use ledger_limiter::ledger::memory::MemoryBounds;
use ledger_limiter::limiter::LimiterError;
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use super::block_on;
use crate::fixtures::*;
use crate::memory::{MemoryBackend, RETENTION};

const SECOND: Duration = Duration::from_secs(1);

/// Bounds of 400 transfers and 50 denied leases.
fn bounds() -> MemoryBounds {
    MemoryBounds::default().with_retention(RETENTION).with_transfers_max(400).with_denied_leases_max(50)
}

#[test]
fn a_flood_of_denials_forgets_the_first_denied_leases_and_no_granted_one() {
    block_on(async {
        let backend = MemoryBackend::with_bounds(bounds());
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        replica.put(concurrency("slots", 1, 60)).await;
        let (granted, settled) = (lease(), lease());
        replica.reserve(settled, &[("slots", 1)]).await;
        replica.complete(settled, &[]).await;
        assert!(is_granted(&replica.reserve(granted, &[("slots", 1)]).await));
        let before = backend.ledger.transfers();
        let denied: Vec<_> = (0..1_000).map(|_| lease()).collect();
        for &id in &denied {
            assert!(!is_granted(&replica.reserve(id, &[("slots", 1)]).await));
            assert!(backend.ledger.transfers() <= before + 51, "{}", backend.ledger.transfers());
        }
        assert!(is_granted(&replica.reserve(granted, &[("slots", 1)]).await), "it is the same lease");
        assert_eq!(replica.reserve(settled, &[("slots", 1)]).await, ReserveOutcome::LeaseSettled);
        replica.complete(granted, &[]).await;
        assert!(!is_granted(&replica.reserve(denied[999], &[("slots", 1)]).await), "it stays denied");
        assert!(is_granted(&replica.reserve(denied[0], &[("slots", 1)]).await), "it is forgotten");
    });
}

#[test]
fn a_full_ledger_forgets_the_leases_that_ended_first() {
    block_on(async {
        let backend = MemoryBackend::with_bounds(bounds());
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        replica.put(concurrency("slots", 10, 60)).await;
        for _ in 0..1_000 {
            let id = lease();
            assert!(is_granted(&replica.reserve(id, &[("slots", 1)]).await));
            assert!(matches!(replica.complete(id, &[]).await, CompleteOutcome::Settled { .. }));
            assert!(backend.ledger.transfers() <= 402, "{}", backend.ledger.transfers());
        }
        assert_eq!(replica.usage("slots").await, Usage { available: 10, reserved: 0, debt: 0 });
    });
}

#[test]
fn a_ledger_full_of_running_leases_refuses_new_ones_and_takes_completes() {
    block_on(async {
        let backend = MemoryBackend::with_bounds(bounds());
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        replica.put(rolling("tokens", 1_000_000, 60)).await;
        let mut running = Vec::new();
        let refused = loop {
            let id = lease();
            match replica.limiter().reserve(&reserve(id, &[("tokens", 1)])).await {
                Ok(outcome) => assert!(is_granted(&outcome)),
                Err(error) => break error,
            }
            running.push(id);
            assert!(running.len() <= 400);
        };
        assert!(matches!(refused, LimiterError::Ledger(LedgerError::Overloaded)), "{refused:?}");
        assert!(running.len() > 390, "{}", running.len());
        replica.put(rolling("more", 1, 60)).await;
        for &id in &running {
            assert_eq!(
                replica.complete(id, &[("tokens", 0)]).await,
                CompleteOutcome::Settled { overages: vec![] }
            );
        }
        assert_eq!(replica.usage("tokens").await.reserved, 0);
        assert!(is_granted(&replica.take(&[("tokens", 1)]).await), "there is room again");
    });
}

#[test]
fn a_flood_is_forgotten_after_half_a_minute_until_little_is_left() {
    block_on(async {
        let backend = MemoryBackend::with_bounds(bounds());
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        replica.put(concurrency("slots", 1, 60)).await;
        // Two transfers for each lease, and a quarter of the bound is 100.
        for (leases, is_known) in [(10, true), (30, true), (90, false), (10, true)] {
            let first = lease();
            for id in [first].into_iter().chain((1..leases).map(|_| lease())) {
                replica.reserve(id, &[("slots", 1)]).await;
                replica.complete(id, &[]).await;
            }
            backend.pass(SECOND * 31).await;
            replica.usage("slots").await;
            let again = replica.reserve(first, &[("slots", 1)]).await;
            assert_eq!(again == ReserveOutcome::LeaseSettled, is_known, "{leases} leases: {again:?}");
            replica.complete(first, &[]).await;
        }
        let is_left = backend.ledger.transfers();
        assert!(is_left < 40, "{is_left}: what came before the flood is forgotten with it");
    });
}
