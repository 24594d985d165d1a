//! Fixed and sliding windows: when they are refilled, what a complete releases into them, and decreases.

use ledger_limiter::limit::Status;
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use super::schedules::{SECOND, start, wait_for_window};
use crate::fixtures::*;

pub async fn a_fixed_window_is_refilled_whole_at_its_end<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("daily", 10, 2, 0)).await;
    wait_for_window(&backend, &replica, 2_000).await;
    assert!(is_granted(&replica.take(&[("daily", 7)]).await));
    backend.pass(SECOND).await;
    assert!(is_granted(&replica.take(&[("daily", 3)]).await));
    assert_eq!(no_room(&replica.take(&[("daily", 1)]).await), Some("daily"));
    wait_for_window(&backend, &replica, 2_000).await;
    assert_eq!(
        replica.usage("daily").await,
        Usage { available: 10, reserved: 0, debt: 0 },
        "all of it, whenever it was reserved"
    );
    assert!(is_granted(&replica.take(&[("daily", 10)]).await));
}

pub async fn a_fixed_window_begins_at_its_alignment<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("local", 1, 4, 2)).await;
    wait_for_window(&backend, &replica, 4_000).await;
    assert!(is_granted(&replica.take(&[("local", 1)]).await));
    backend.pass(SECOND).await;
    assert!(!is_granted(&replica.take(&[("local", 1)]).await));
    backend.pass(SECOND).await;
    assert!(is_granted(&replica.take(&[("local", 1)]).await), "2 seconds after the multiple of 4");
}

pub async fn a_sliding_window_is_refilled_segment_by_segment<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(sliding_window("rpm", 10, 3, 3)).await;
    wait_for_window(&backend, &replica, 1_000).await;
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
    wait_for_window(&backend, &replica, 1_000).await;
    assert!(is_granted(&replica.take(&[("rpm", 3)]).await));
    wait_for_window(&backend, &replica, 1_000).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 2, reserved: 8, debt: 0 });
    wait_for_window(&backend, &replica, 1_000).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 7, reserved: 3, debt: 0 },
        "the first segment has left the window"
    );
    assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    wait_for_window(&backend, &replica, 1_000).await;
    assert_eq!(replica.usage("rpm").await, Usage { available: 9, reserved: 1, debt: 0 });
    backend.pass(SECOND * 7).await;
    assert_eq!(
        replica.usage("rpm").await,
        Usage { available: 10, reserved: 0, debt: 0 },
        "also after segments without a reservation"
    );
}

pub async fn a_complete_releases_the_unused_part_until_the_window_ends<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("daily", 10, 2, 0)).await;
    wait_for_window(&backend, &replica, 2_000).await;
    let [in_time, late] = [lease(), lease()];
    replica.reserve(in_time, &[("daily", 6)]).await;
    replica.reserve(late, &[("daily", 4)]).await;
    replica.complete(in_time, &[("daily", 2)]).await;
    assert_eq!(replica.usage("daily").await, Usage { available: 4, reserved: 6, debt: 0 });
    wait_for_window(&backend, &replica, 2_000).await;
    replica.take(&[("daily", 9)]).await;
    assert_eq!(replica.complete(late, &[("daily", 1)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(
        replica.usage("daily").await,
        Usage { available: 1, reserved: 9, debt: 0 },
        "the complete released nothing of the next window"
    );
}

pub async fn a_complete_releases_the_unused_part_while_the_window_is_decreasing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("daily", 10, 86_400, 0)).await;
    let id = lease();
    replica.reserve(id, &[("daily", 10)]).await;
    replica.put(fixed_window("daily", 4, 86_400, 0)).await;
    replica.complete(id, &[("daily", 1)]).await;
    assert_eq!(replica.usage("daily").await, Usage { available: 9, reserved: 1, debt: 0 });
    assert!(!is_granted(&replica.take(&[("daily", 1)]).await));
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("daily").await, Usage { available: 3, reserved: 1, debt: 0 });
}

pub async fn a_decrease_of_a_window_waits_for_its_end<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("rpm", 10, 2, 0)).await;
    wait_for_window(&backend, &replica, 2_000).await;
    replica.take(&[("rpm", 10)]).await;
    assert!(matches!(replica.put(fixed_window("rpm", 6, 2, 0)).await, Status::Decreasing { .. }));
    let closed = ReserveOutcome::Decreasing { key: key("rpm"), retry_after_ms: 10_000 };
    assert_eq!(replica.take(&[("rpm", 1)]).await, closed);
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert!(matches!(replica.info("rpm").await.state().status, Status::Decreasing { .. }));
    wait_for_window(&backend, &replica, 2_000).await;
    assert_eq!(replica.take(&[("rpm", 1)]).await, closed, "a new window began, and reserves are denied");
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.info("rpm").await.state().status, Status::Active);
    assert_eq!(replica.usage("rpm").await, Usage { available: 6, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("rpm", 6)]).await));
}

pub async fn an_extended_lease_settles_while_the_window_is_decreasing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(fixed_window("window", 20, 86_400, 0)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let id = lease();
    replica.reserve(id, &[("window", 3), ("slots", 1)]).await;
    for amount in [4, 5] {
        replica
            .limiter()
            .extend(&extend(id, extend_id(), "window", amount))
            .await
            .expect("the ledger answers");
    }
    assert_eq!(replica.usage("window").await, Usage { available: 8, reserved: 12, debt: 0 });
    replica.put(fixed_window("window", 5, 86_400, 0)).await;
    let settled = replica.complete(id, &[("window", 1)]).await;
    assert_eq!(settled, CompleteOutcome::Settled { overages: Vec::new() });
    assert_eq!(replica.usage("window").await, Usage { available: 19, reserved: 1, debt: 0 });
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert!(!is_granted(&replica.take(&[("window", 1)]).await), "the complete closed the limit again");
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("window").await, Usage { available: 4, reserved: 1, debt: 0 });
}
