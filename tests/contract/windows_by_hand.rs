//! Windows that are refilled by hand: a request ends the present window or segment, and not before its length has passed.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{ReplenishId, Status};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use super::schedules::{SECOND, start};
use crate::fixtures::*;

/// A window that has not lasted its length when a test ends.
const DAY_MS: u64 = 86_400_000;
/// The length of a window that a test waits for, and a wait that is longer.
const SHORT_MS: u64 = 800;

async fn request_as<L: Ledger>(replica: &Replica<L>, name: &str, id: ReplenishId) -> bool {
    replica.admin().replenish(&key(name), id).await.expect("the ledger answers")
}

async fn request<L: Ledger>(replica: &Replica<L>, name: &str) -> bool {
    request_as(replica, name, replenish_id()).await
}

pub async fn a_window_by_hand_ends_on_request_only<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(window_by_hand("calls", 5, SHORT_MS, 0)).await;
    assert!(is_granted(&replica.take(&[("calls", 5)]).await));
    backend.pass(2 * SECOND).await;
    assert_eq!(no_room(&replica.take(&[("calls", 1)]).await), Some("calls"), "time does not refill it");
    assert_eq!(replica.usage("calls").await, Usage { available: 0, reserved: 5, debt: 0 });
    assert!(request(&replica, "calls").await);
    assert_eq!(replica.usage("calls").await, Usage { available: 5, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("calls", 5)]).await));
    assert_eq!(no_room(&replica.take(&[("calls", 1)]).await), Some("calls"));
}

pub async fn a_window_by_hand_lasts_its_length<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(window_by_hand("long", 5, DAY_MS, 0)).await;
    replica.put(window_by_hand("short", 5, SHORT_MS, 0)).await;
    replica.put(fixed_window("timed", 5, 86_400, 0)).await;
    assert!(is_granted(&replica.take(&[("long", 5), ("short", 5), ("timed", 5)]).await));
    backend.pass(SECOND).await;
    assert!(request(&replica, "long").await, "it is refilled by hand, but not yet");
    assert!(request(&replica, "short").await);
    assert!(!request(&replica, "timed").await, "time refills it");
    for (name, available) in [("long", 0), ("short", 5), ("timed", 0)] {
        let usage = Usage { available, reserved: 5 - available, debt: 0 };
        assert_eq!(replica.usage(name).await, usage, "{name}");
    }
}

pub async fn a_request_ends_a_window_once<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(window_by_hand("calls", 5, SHORT_MS, 0)).await;
    backend.pass(SECOND).await;
    let once = replenish_id();
    assert!(request_as(&replica, "calls", once).await);
    assert!(is_granted(&replica.take(&[("calls", 5)]).await));
    backend.pass(SECOND).await;
    assert!(request_as(&other, "calls", once).await, "a repetition is answered as the first");
    assert_eq!(other.usage("calls").await, Usage { available: 0, reserved: 5, debt: 0 });
    assert!(request(&other, "calls").await);
    assert_eq!(replica.usage("calls").await, Usage { available: 5, reserved: 0, debt: 0 });
}

pub async fn concurrent_requests_end_one_segment<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    // Two segments must have ended before anything is refilled.
    let segment = Duration::from_millis(SHORT_MS);
    replica.put(window_by_hand("calls", 5, 2 * SHORT_MS, 2)).await;
    assert!(is_granted(&replica.take(&[("calls", 5)]).await));
    backend.pass(segment + Duration::from_millis(100)).await;
    let both = tokio::join!(request(&replica, "calls"), request(&other, "calls"));
    assert_eq!(both, (true, true));
    assert_eq!(replica.usage("calls").await, Usage { available: 0, reserved: 5, debt: 0 });
}

pub async fn a_sliding_window_by_hand_ends_a_segment_on_request<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(window_by_hand("calls", 10, 20, 2)).await;
    let next_segment = async || {
        backend.pass(Duration::from_millis(20)).await;
        assert!(request(&replica, "calls").await);
    };
    for (takes, left) in [(6, 4), (3, 1)] {
        assert!(is_granted(&replica.take(&[("calls", takes)]).await));
        assert_eq!(replica.usage("calls").await.available, left);
        next_segment().await;
    }
    assert_eq!(
        replica.usage("calls").await,
        Usage { available: 7, reserved: 3, debt: 0 },
        "the first segment has left the window"
    );
    assert!(is_granted(&replica.take(&[("calls", 2)]).await));
    next_segment().await;
    assert_eq!(replica.usage("calls").await, Usage { available: 8, reserved: 2, debt: 0 });
    backend.pass(SECOND).await;
    assert_eq!(replica.usage("calls").await, Usage { available: 8, reserved: 2, debt: 0 });
    next_segment().await;
    assert_eq!(replica.usage("calls").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn a_window_by_hand_releases_the_unused_part<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    for segments in [0, 4] {
        let name = format!("calls:{segments}");
        replica.put(window_by_hand(&name, 10, DAY_MS, segments)).await;
        let (less, more) = (lease(), lease());
        assert!(is_granted(&replica.reserve(less, &[(&name, 6)]).await));
        assert!(is_granted(&replica.reserve(more, &[(&name, 1)]).await));
        other.complete(less, &[(&name, 2)]).await;
        assert_eq!(replica.usage(&name).await, Usage { available: 7, reserved: 3, debt: 0 });
        other.complete(more, &[(&name, 10)]).await;
        assert_eq!(replica.usage(&name).await, Usage { available: 0, reserved: 10, debt: 2 }, "{name}");
    }
}

pub async fn a_complete_releases_nothing_of_the_next_window_by_hand<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    for segments in [0, 1] {
        let name = format!("calls:{segments}");
        replica.put(window_by_hand(&name, 10, SHORT_MS, segments)).await;
        backend.pass(SECOND).await;
        let late = [lease(), lease()];
        for lease in late {
            assert!(is_granted(&replica.reserve(lease, &[(&name, 5)]).await));
        }
        for lease in late {
            assert!(request(&other, &name).await);
            assert!(is_granted(&other.take(&[(&name, 9)]).await), "{name}: a window of its own");
            replica.complete(lease, &[(&name, 0)]).await;
            assert_eq!(
                replica.usage(&name).await,
                Usage { available: 1, reserved: 9, debt: 0 },
                "{name}: the complete released nothing of a later window"
            );
            backend.pass(SECOND).await;
        }
    }
}

pub async fn a_replica_learns_of_a_segment_that_another_ended<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(window_by_hand("calls", 10, SHORT_MS, 2)).await;
    let next_segment = async || {
        backend.pass(SECOND).await;
        assert!(request(&replica, "calls").await);
    };
    assert!(is_granted(&other.take(&[("calls", 10)]).await));
    assert_eq!(no_room(&other.take(&[("calls", 1)]).await), Some("calls"));
    next_segment().await;
    next_segment().await;
    assert!(is_granted(&other.take(&[("calls", 1)]).await), "it reads the clock before it denies");
    next_segment().await;
    // It knows the segment before, which has lasted its length.
    let unused = lease();
    assert!(is_granted(&other.reserve(unused, &[("calls", 9)]).await));
    replica.complete(unused, &[("calls", 7)]).await;
    assert_eq!(other.usage("calls").await, Usage { available: 2, reserved: 8, debt: 0 });
    next_segment().await;
    assert_eq!(
        other.usage("calls").await,
        Usage { available: 3, reserved: 7, debt: 0 },
        "only what it took in the segment before has left the window"
    );
}

pub async fn a_decreasing_window_by_hand_is_refilled<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(window_by_hand("calls", 10, SHORT_MS, 0)).await;
    assert!(is_granted(&replica.take(&[("calls", 10)]).await));
    let to = window_by_hand("calls", 6, SHORT_MS, 0);
    assert!(matches!(replica.put(to).await, Status::Decreasing { .. }));
    backend.pass(SECOND).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert!(matches!(replica.info("calls").await.state().status, Status::Decreasing { .. }));
    assert!(request(&replica, "calls").await);
    let closed = ReserveOutcome::Decreasing { key: key("calls"), retry_after_ms: 10_000 };
    assert_eq!(replica.take(&[("calls", 1)]).await, closed, "the limit stays closed");
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("calls").await, Usage { available: 6, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("calls", 6)]).await));
}

pub async fn a_window_changes_who_refills_it<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    for segments in [0, 3] {
        let name = format!("calls:{segments}");
        let running = lease();
        replica.put(window_of_ms(&name, 10, DAY_MS, segments)).await;
        assert!(is_granted(&replica.reserve(running, &[(&name, 6)]).await));
        replica.put(window_by_hand(&name, 10, DAY_MS, segments)).await;
        assert_eq!(other.usage(&name).await, Usage { available: 4, reserved: 6, debt: 0 }, "{name}");
        let settled = CompleteOutcome::Settled { overages: Vec::new() };
        assert_eq!(other.complete(running, &[(&name, 1)]).await, settled);
        assert_eq!(other.usage(&name).await, Usage { available: 9, reserved: 1, debt: 0 }, "{name}");
        replica.put(window_of_ms(&name, 10, DAY_MS, segments)).await;
        assert_eq!(other.usage(&name).await, Usage { available: 9, reserved: 1, debt: 0 }, "{name}");
        assert!(!request(&other, &name).await, "time refills it again");
    }
}

pub async fn instances_are_refilled_by_hand<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(window_by_hand("user:{user}", 2, SHORT_MS, 0), 5)).await;
    assert!(is_granted(&replica.take(&[("user:ann", 2)]).await));
    assert!(is_granted(&replica.take(&[("user:bob", 2)]).await));
    backend.pass(SECOND).await;
    assert!(request(&replica, "user:ann").await);
    assert!(is_granted(&replica.take(&[("user:ann", 2)]).await));
    assert_eq!(no_room(&replica.take(&[("user:bob", 1)]).await), Some("user:bob"));
}
