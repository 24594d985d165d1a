//! The most that a limit of each kind can grant within an interval. Callers who take all they can, from every moment
//! on, reach the number in the table of `docs/reference/kinds.md`, and never exceed it.

use std::time::Duration;

use ledger_limiter::ledger::memory::Clock;
use ledger_limiter::limit::Definition;

use super::NS_PER_MS;
use crate::fixtures::*;
use crate::memory::MemoryBackend;

const NAME: &str = "limit";
const CAPACITY: u64 = 10;
const WINDOW_SECONDS: u64 = 4;
const WINDOW_MS: u64 = WINDOW_SECONDS * 1_000;
const SEGMENTS: u64 = 4;
const REFILL_AMOUNT: u64 = 2;
const REFILL_INTERVAL_MS: u64 = 1_000;
/// The moments at which callers may begin and take: the last millisecond before each multiple of this, and the multiple.
const BOUNDARIES_EVERY_MS: u64 = 500;
const WINDOWS: u64 = 4;

/// A row of the table: the most that is granted within any interval of the length.
struct Row {
    definition: Definition,
    interval_ms: u64,
    most: u64,
}

/// What was granted at a moment.
#[derive(Clone, Copy)]
struct Grant {
    at_ms: u64,
    amount: u64,
}

/// The most that was granted within any interval of this length: from a moment on, and before the moment at which it ends.
fn most_within(interval_ms: u64, grants: &[Grant]) -> u64 {
    let granted_from = |from_ms: u64| {
        let within = grants.iter().filter(|grant| (from_ms..from_ms + interval_ms).contains(&grant.at_ms));
        within.map(|grant| grant.amount).sum()
    };
    grants.iter().map(|grant| granted_from(grant.at_ms)).max().unwrap_or(0)
}

/// The moments of callers, in milliseconds after the start.
fn moments() -> impl Iterator<Item = u64> {
    let boundaries = (1..=WINDOWS * WINDOW_MS / BOUNDARIES_EVERY_MS).map(|nth| nth * BOUNDARIES_EVERY_MS);
    boundaries.flat_map(|boundary| [boundary - 1, boundary])
}

/// A caller who takes nothing before a moment, and from then on all that is available at every moment; refilled by hand at each. If
/// `completes`, the caller completes at once each lease that a complete releases.
async fn greedy(definition: &Definition, begins_at_ms: u64, completes: bool) -> Vec<Grant> {
    let backend = MemoryBackend::new();
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let start_ms = backend.clock.now_ns() / NS_PER_MS;
    replica.put(definition.clone()).await;
    let mut grants = Vec::new();
    for at_ms in moments().filter(|&at_ms| at_ms >= begins_at_ms) {
        let now_ms = backend.clock.now_ns() / NS_PER_MS - start_ms;
        backend.clock.advance(Duration::from_millis(at_ms - now_ms));
        // Of a limit that is refilled by hand, every caller asks for the refill. Time refills the others.
        replica.admin().replenish(&key(NAME), replenish_id()).await.expect("the ledger answers");
        let available = u64::try_from(replica.usage(NAME).await.available).expect("at most the capacity");
        let id = lease();
        if available > 0 && is_granted(&replica.reserve(id, &[(NAME, available)]).await) {
            grants.push(Grant { at_ms, amount: available });
            if completes {
                replica.complete(id, &[]).await;
            }
        }
    }
    grants
}

#[tokio::test]
async fn the_most_of_each_kind_is_reached_and_never_exceeded() {
    let sliding = || sliding_window(NAME, CAPACITY, WINDOW_SECONDS, SEGMENTS);
    let sliding_by_hand = || window_by_hand(NAME, CAPACITY, WINDOW_MS, SEGMENTS);
    let bucket = || token_bucket(NAME, CAPACITY, REFILL_AMOUNT, REFILL_INTERVAL_MS);
    let rows = [
        Row { definition: rolling(NAME, CAPACITY, WINDOW_SECONDS), interval_ms: WINDOW_MS, most: CAPACITY },
        Row {
            definition: fixed_window(NAME, CAPACITY, WINDOW_SECONDS, 0),
            interval_ms: WINDOW_MS,
            most: 2 * CAPACITY,
        },
        Row { definition: sliding(), interval_ms: WINDOW_MS, most: 2 * CAPACITY },
        Row { definition: sliding(), interval_ms: WINDOW_MS * (SEGMENTS - 1) / SEGMENTS, most: CAPACITY },
        Row {
            definition: window_of_ms(NAME, CAPACITY, BOUNDARIES_EVERY_MS, 0),
            interval_ms: BOUNDARIES_EVERY_MS,
            most: 2 * CAPACITY,
        },
        Row {
            definition: window_by_hand(NAME, CAPACITY, WINDOW_MS, 0),
            interval_ms: WINDOW_MS,
            most: 2 * CAPACITY,
        },
        Row { definition: sliding_by_hand(), interval_ms: WINDOW_MS, most: 2 * CAPACITY },
        Row {
            definition: sliding_by_hand(),
            interval_ms: WINDOW_MS * (SEGMENTS - 1) / SEGMENTS,
            most: CAPACITY,
        },
        // An interval that ends just before a refill, and one that includes it.
        Row {
            definition: bucket(),
            interval_ms: WINDOW_MS,
            most: CAPACITY + REFILL_AMOUNT * (WINDOW_MS / REFILL_INTERVAL_MS - 1),
        },
        Row {
            definition: bucket(),
            interval_ms: WINDOW_MS + 1,
            most: CAPACITY + REFILL_AMOUNT * WINDOW_MS / REFILL_INTERVAL_MS,
        },
        Row { definition: bucket(), interval_ms: REFILL_INTERVAL_MS, most: CAPACITY },
        Row { definition: bucket(), interval_ms: REFILL_INTERVAL_MS + 1, most: CAPACITY + REFILL_AMOUNT },
    ];
    for Row { definition, interval_ms, most } in rows {
        let mut most_seen = 0;
        for begins_at_ms in moments().take_while(|&at_ms| at_ms <= 2 * WINDOW_MS) {
            let grants = greedy(&definition, begins_at_ms, false).await;
            most_seen = most_seen.max(most_within(interval_ms, &grants));
        }
        assert_eq!(most_seen, most, "{:?} within {interval_ms} ms", definition.kind);
    }
}

#[tokio::test]
async fn slots_are_bounded_at_each_moment_and_not_over_time() {
    let slots = concurrency(NAME, CAPACITY, WINDOW_SECONDS);
    let held = greedy(&slots, 0, false).await;
    assert_eq!(most_within(WINDOW_MS, &held), CAPACITY, "slots that nobody completes");
    let released = greedy(&slots, 0, true).await;
    assert_eq!(most_within(1, &released), CAPACITY);
    assert_eq!(most_within(BOUNDARIES_EVERY_MS + 1, &released), 3 * CAPACITY, "one call after the other");
}
