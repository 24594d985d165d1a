//! Limiters of permits: what users of .NET's `System.Threading.RateLimiting` rely on.
//!
//! Each behaviour is one function, and a test of it runs over a limit of every kind, on paused time.

mod attempt;
mod by_kind;
mod cancel;
mod chained;
mod composition;
mod lease;
pub mod ledger;
mod newest_first;
mod oldest_first;
mod partitioned;
mod shutdown;
mod statistics;
mod time;
mod windows;
mod world;
mod zero;

use std::time::Duration;

use crate::fixtures::{concurrency, fixed_window, manual_bucket, rolling, sliding_window, token_bucket};
use world::{FreedBy, KindFixture};

const TEN_SECONDS: Duration = Duration::from_secs(10);
const AFTER_TEN_SECONDS: FreedBy = FreedBy::Time(TEN_SECONDS);

const ROLLING: KindFixture = KindFixture {
    define: |name, capacity| rolling(name, capacity, 10),
    freed_by: AFTER_TEN_SECONDS,
    freed_without_release: Some(TEN_SECONDS),
};

const CONCURRENCY: KindFixture = KindFixture {
    define: |name, capacity| concurrency(name, capacity, 3_600),
    freed_by: FreedBy::Release,
    freed_without_release: Some(Duration::from_secs(3_600)),
};

const TOKEN_BUCKET: KindFixture = KindFixture {
    define: |name, capacity| token_bucket(name, capacity, capacity, 10_000),
    freed_by: AFTER_TEN_SECONDS,
    freed_without_release: Some(TEN_SECONDS),
};

const MANUAL_BUCKET: KindFixture = KindFixture {
    define: |name, capacity| manual_bucket(name, capacity, capacity),
    freed_by: FreedBy::ManualRefill,
    freed_without_release: None,
};

const FIXED_WINDOW: KindFixture = KindFixture {
    define: |name, capacity| fixed_window(name, capacity, 10, 0),
    freed_by: AFTER_TEN_SECONDS,
    freed_without_release: Some(TEN_SECONDS),
};

const SLIDING_WINDOW: KindFixture = KindFixture {
    define: |name, capacity| sliding_window(name, capacity, 10, 5),
    freed_by: AFTER_TEN_SECONDS,
    freed_without_release: Some(TEN_SECONDS),
};

/// Makes a test of every listed behaviour over a limit of every kind, and one that checks the list.
macro_rules! permit_tests {
    ($($module:ident: $names:tt)*) => {
        permit_tests!(@kind rolling, ROLLING, $($module: $names)*);
        permit_tests!(@kind concurrency, CONCURRENCY, $($module: $names)*);
        permit_tests!(@kind token_bucket, TOKEN_BUCKET, $($module: $names)*);
        permit_tests!(@kind manual_bucket, MANUAL_BUCKET, $($module: $names)*);
        permit_tests!(@kind fixed_window, FIXED_WINDOW, $($module: $names)*);
        permit_tests!(@kind sliding_window, SLIDING_WINDOW, $($module: $names)*);
        permit_tests!(@listed $($module: $names)*);
    };
    (@listed $($module:ident: [$($name:ident),* $(,)?])*) => {
        #[test]
        fn every_behaviour_is_listed() {
            $(check_listed(include_str!(concat!(stringify!($module), ".rs")), &[$(stringify!($name)),*]);)*
        }
    };
    (@kind $kind:ident, $fixture:ident, $($module:ident: [$($name:ident),* $(,)?])*) => {
        mod $kind {
            $(
                mod $module {
                    $(
                        #[tokio::test(start_paused = true)]
                        async fn $name() {
                            super::super::$module::$name(&super::super::$fixture).await;
                        }
                    )*
                }
            )*
        }
    };
}

/// Fails if a behaviour of this source is not listed below.
fn check_listed(source: &str, listed: &[&str]) {
    for function in source.split("pub async fn ").skip(1) {
        let (name, arguments) = function.split_once('(').expect("arguments follow the name");
        if arguments.trim_start().starts_with("kind: ") {
            assert!(listed.contains(&name), "{name} is missing in permit_tests!");
        }
    }
}

permit_tests! {
    attempt: [
        a_fresh_limiter_has_its_whole_capacity_free,
        permits_are_acquired_up_to_the_capacity,
        the_whole_capacity_can_be_acquired_at_once,
        a_failed_attempt_has_a_reason_and_a_retry_after,
        a_failed_attempt_takes_nothing,
        more_than_the_capacity_is_an_error,
        more_than_the_capacity_is_an_error_behind_a_queue_too,
        an_unknown_limit_is_an_error_until_it_is_defined,
        a_deleted_limit_is_unknown,
        a_raised_capacity_counts_at_once,
        freed_permits_are_acquired_again,
        there_is_room_after_retry_after,
        permits_taken_through_another_limiter_are_taken,
        concurrent_attempts_never_exceed_the_capacity,
        a_ledger_that_is_down_is_an_error,
    ]
    zero: [
        zero_permits_are_acquired_when_any_permit_is_free,
        an_attempt_for_zero_permits_fails_when_all_are_taken,
        a_waiter_for_zero_permits_waits_until_any_permit_is_free,
        a_waiter_for_zero_permits_needs_no_room_in_the_queue,
        waiters_for_zero_permits_are_served_together,
        a_waiter_for_zero_permits_delays_no_other_waiter,
        zero_permits_bypass_the_queue,
        a_waiter_for_zero_permits_keeps_its_position,
        a_cancelled_waiter_for_zero_permits_is_not_counted,
    ]
    oldest_first: [
        a_caller_without_room_waits_and_is_served,
        a_caller_with_room_does_not_wait,
        a_caller_without_a_queue_does_not_wait,
        the_queue_is_bounded_in_permits,
        more_permits_than_the_queue_holds_fail_at_once,
        a_full_queue_has_a_retry_after,
        the_oldest_waiter_is_served_first,
        waiters_that_fit_together_are_served_together,
        new_callers_do_not_bypass_the_queue,
        without_a_large_first_waiter_the_others_are_served,
        freed_permits_go_to_the_waiters,
        new_callers_take_free_permits_when_the_queue_is_empty,
        a_served_waiter_frees_its_room_in_the_queue,
        a_waiter_above_a_lowered_capacity_gets_an_error,
        only_the_first_waiter_asks_the_ledger,
    ]
    newest_first: [
        the_newest_waiter_is_served_first,
        new_callers_take_free_permits,
        a_large_newest_waiter_holds_up_older_ones,
        without_a_large_newest_waiter_older_ones_are_served,
        a_full_queue_evicts_its_oldest_waiter,
        only_as_many_waiters_as_needed_are_evicted,
        more_permits_than_the_queue_holds_fail_and_evict_no_waiter,
        a_waiter_that_fills_the_queue_evicts_all_others,
        a_caller_without_a_queue_does_not_wait,
        waiters_that_fit_together_are_served_together,
    ]
    cancel: [
        a_cancelled_waiter_frees_its_room_in_the_queue,
        a_cancelled_waiter_is_not_counted,
        waiters_behind_a_cancelled_one_are_served,
        a_token_cancels_a_waiter,
        a_cancelled_token_takes_nothing_even_with_room,
        a_token_that_is_not_cancelled_changes_nothing,
        a_waiter_cancelled_after_its_reply_frees_all_permits,
        an_undelivered_lease_goes_to_the_next_waiter,
        a_call_cancelled_at_any_poll_leaves_nothing_taken,
        a_waiter_cancelled_while_it_is_served_leaves_nothing_taken,
    ]
    lease: [
        a_dropped_lease_frees_permits_by_its_kind,
        a_released_lease_frees_permits_by_its_kind,
        a_cancelled_lease_frees_all_permits,
        leases_are_released_one_by_one,
        a_failed_lease_releases_nothing,
        an_acquired_lease_has_permits_and_no_failure,
        a_cancelled_lease_serves_a_waiter_at_once,
        a_dropped_lease_serves_a_waiter_by_its_kind,
        a_lease_outlives_the_handles_of_its_limiter,
        a_lease_may_be_dropped_on_any_thread,
        a_lease_that_is_never_released_frees_its_permits_in_time,
        a_release_waits_for_a_ledger_that_is_down,
    ]
    statistics: [
        statistics_are_a_snapshot,
        every_lease_is_counted_once,
        clones_share_their_counters,
        a_fresh_limiter_is_idle_since_it_was_created,
        a_limiter_is_not_idle_while_permits_are_taken,
        a_limiter_is_idle_since_the_last_permit_was_freed,
        a_cancelled_lease_leaves_the_limiter_idle,
        zero_permits_leave_the_limiter_idle,
        a_limiter_is_not_idle_while_others_hold_permits,
    ]
    shutdown: [
        shutdown_fails_all_waiters,
        calls_after_shutdown_are_errors,
        leases_can_be_released_after_shutdown,
        shutdown_waits_for_background_releases,
        a_second_shutdown_is_harmless,
        one_limiter_does_not_shut_down_another,
        shutdown_during_a_grant_leaves_nothing_taken,
    ]
    time: [
        a_waiter_is_served_when_its_permits_are_free,
        room_freed_through_another_limiter_is_found,
        a_long_wait_makes_few_attempts,
        a_clock_that_is_turned_back_frees_nothing,
        permits_are_freed_after_the_clock_was_turned_back,
        only_manual_buckets_are_replenished,
    ]
    chained: [
        a_lease_takes_permits_of_each_link,
        a_failure_leaves_nothing_taken,
        a_failed_chain_releases_in_reverse_order,
        a_lease_is_released_in_reverse_order,
        the_first_failure_ends_the_call,
        an_error_leaves_nothing_taken,
        a_chain_waits_in_the_queues_of_its_links,
        a_call_cancelled_halfway_leaves_nothing_taken,
        a_link_that_is_shut_down_during_a_wait_leaves_nothing_taken,
        statistics_cover_all_links,
        a_chain_is_idle_while_all_its_links_are_idle,
        closing_a_chain_leaves_its_links_open,
        zero_permits_need_a_free_permit_of_each_link,
        a_chain_may_be_a_link,
    ]
    partitioned: [
        partitions_are_independent,
        a_limiter_is_created_once,
        a_slow_creation_delays_no_other_partition,
        a_failed_creation_is_tried_again_and_affects_no_other_partition,
        callers_behind_a_failed_creation_try_themselves,
        a_panic_during_creation_is_survived,
        each_partition_has_its_own_queue,
        an_idle_partition_is_dropped_and_created_again,
        a_partition_with_permits_taken_stays,
        a_partition_in_use_stays,
        a_partition_whose_limit_is_deleted_is_created_again,
        a_failed_creation_leaves_no_partition,
        closing_closes_every_partition,
        a_limiter_created_during_close_is_closed,
    ]
}
