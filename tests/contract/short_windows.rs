//! Windows whose length is not a whole number of seconds.

use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use super::schedules::{start, wait_for_window};
use crate::fixtures::*;

pub async fn a_fixed_window_below_a_second_is_refilled_at_its_boundary<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(window_of_ms("frames", 5, 900, 0)).await;
    wait_for_window(&backend, &replica, 900).await;
    let unused = lease();
    assert!(is_granted(&replica.take(&[("frames", 3)]).await));
    assert!(is_granted(&replica.reserve(unused, &[("frames", 2)]).await));
    let denied = replica.take(&[("frames", 1)]).await;
    assert_eq!(no_room(&denied), Some("frames"));
    let ReserveOutcome::NoRoom { retry_after_ms, .. } = denied else { panic!("denied") };
    assert!(retry_after_ms <= 950, "the time to the boundary and at most 50 ms of jitter: {retry_after_ms}");
    wait_for_window(&backend, &replica, 900).await;
    assert_eq!(replica.usage("frames").await, Usage { available: 5, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("frames", 5)]).await));
    assert_eq!(replica.complete(unused, &[("frames", 0)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(
        replica.usage("frames").await,
        Usage { available: 0, reserved: 5, debt: 0 },
        "a lease of the window before releases nothing of this one"
    );
}

pub async fn a_sliding_window_below_a_second_is_refilled_segment_by_segment<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(window_of_ms("frames", 10, 900, 2)).await;
    wait_for_window(&backend, &replica, 450).await;
    assert!(is_granted(&replica.take(&[("frames", 6)]).await));
    wait_for_window(&backend, &replica, 450).await;
    assert!(is_granted(&replica.take(&[("frames", 4)]).await));
    assert_eq!(no_room(&replica.take(&[("frames", 1)]).await), Some("frames"));
    wait_for_window(&backend, &replica, 450).await;
    assert_eq!(replica.usage("frames").await, Usage { available: 6, reserved: 4, debt: 0 });
    wait_for_window(&backend, &replica, 450).await;
    assert_eq!(replica.usage("frames").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn a_window_changes_between_seconds_and_milliseconds<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(fixed_window("daily", 10, 86_400, 0)).await;
    let running = lease();
    assert!(is_granted(&replica.reserve(running, &[("daily", 6)]).await));
    replica.put(window_of_ms("daily", 10, 86_400_500, 0)).await;
    assert_eq!(other.usage("daily").await, Usage { available: 4, reserved: 6, debt: 0 });
    other.complete(running, &[("daily", 1)]).await;
    assert_eq!(replica.usage("daily").await, Usage { available: 9, reserved: 1, debt: 0 });
    replica.put(window_of_ms("daily", 10, 86_400_000, 0)).await;
    let shown = other.info("daily").await.state().definition.kind.fields();
    assert_eq!((shown.window_seconds, shown.window_ms), (86_400, 0), "whole seconds are shown as such");
    assert_eq!(other.usage("daily").await, Usage { available: 9, reserved: 1, debt: 0 });
}
