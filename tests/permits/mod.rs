//! Limiters of permits: what users of .NET's `System.Threading.RateLimiting` rely on. Each test is written once and run
//! over a limit of every kind, on paused time.

mod attempt;
mod by_kind;
mod cancel;
mod chained;
mod lease;
mod ledger;
mod newest;
mod nothing;
mod oldest;
mod partitioned;
mod shutdown;
mod statistics;
mod time;
mod world;

use std::time::Duration;

use crate::fixtures::{bucket_by_hand, concurrency, fixed_window, rolling, sliding_window, token_bucket};
use world::{Fixture, Refill};

const TEN_SECONDS: Duration = Duration::from_secs(10);
const AFTER_TEN_SECONDS: Refill = Refill::After(TEN_SECONDS);

const ROLLING: Fixture = Fixture {
    define: |name, capacity| rolling(name, capacity, 10),
    comes_back: AFTER_TEN_SECONDS,
    by_itself: Some(TEN_SECONDS),
};

const CONCURRENCY: Fixture = Fixture {
    define: |name, capacity| concurrency(name, capacity, 3_600),
    comes_back: Refill::OnRelease,
    by_itself: Some(Duration::from_secs(3_600)),
};

const TOKEN_BUCKET: Fixture = Fixture {
    define: |name, capacity| token_bucket(name, capacity, capacity, 10_000),
    comes_back: AFTER_TEN_SECONDS,
    by_itself: Some(TEN_SECONDS),
};

const BUCKET_BY_HAND: Fixture = Fixture {
    define: |name, capacity| bucket_by_hand(name, capacity, capacity),
    comes_back: Refill::ByHand,
    by_itself: None,
};

const FIXED_WINDOW: Fixture = Fixture {
    define: |name, capacity| fixed_window(name, capacity, 10, 0),
    comes_back: AFTER_TEN_SECONDS,
    by_itself: Some(TEN_SECONDS),
};

const SLIDING_WINDOW: Fixture = Fixture {
    define: |name, capacity| sliding_window(name, capacity, 10, 5),
    comes_back: AFTER_TEN_SECONDS,
    by_itself: Some(TEN_SECONDS),
};

/// Makes a test of every behaviour, over a limit of every kind.
macro_rules! permit_tests {
    ($($module:ident: $names:tt)*) => {
        permit_tests!(@kind rolling, ROLLING, $($module: $names)*);
        permit_tests!(@kind concurrency, CONCURRENCY, $($module: $names)*);
        permit_tests!(@kind token_bucket, TOKEN_BUCKET, $($module: $names)*);
        permit_tests!(@kind bucket_by_hand, BUCKET_BY_HAND, $($module: $names)*);
        permit_tests!(@kind fixed_window, FIXED_WINDOW, $($module: $names)*);
        permit_tests!(@kind sliding_window, SLIDING_WINDOW, $($module: $names)*);
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

permit_tests! {
    attempt: [
        a_fresh_limiter_has_its_capacity,
        permits_are_acquired_up_to_the_capacity,
        the_whole_capacity_is_acquired_at_once,
        a_failed_attempt_says_why_and_when_to_come_back,
        a_failed_attempt_takes_nothing,
        more_than_the_capacity_is_an_error,
        more_than_the_capacity_is_an_error_behind_a_queue_too,
        an_unknown_limit_is_an_error_until_it_is_defined,
        a_deleted_limit_is_unknown,
        a_raised_capacity_counts_at_once,
        what_has_come_back_is_acquired_again,
        after_retry_after_there_is_room,
        what_others_take_is_taken,
        many_at_once_never_get_more_than_there_is,
        a_ledger_that_is_away_is_an_error,
    ]
    nothing: [
        nothing_is_acquired_when_anything_is_free,
        an_attempt_for_nothing_fails_when_all_is_taken,
        who_wants_nothing_waits_until_anything_is_free,
        who_wants_nothing_needs_no_place,
        those_who_want_nothing_are_served_together,
        those_who_want_nothing_hold_nobody_up,
        nothing_is_acquired_past_a_queue,
        who_wants_nothing_keeps_its_turn,
        a_cancelled_wait_for_nothing_leaves_no_trace,
    ]
    oldest: [
        who_finds_no_room_waits_and_is_served,
        who_finds_room_does_not_wait,
        without_a_queue_nobody_waits,
        the_queue_is_bounded_in_permits,
        more_than_the_queue_takes_fails_at_once,
        a_full_queue_tells_when_to_come_back,
        the_oldest_is_served_first,
        those_who_fit_together_are_served_together,
        newcomers_may_not_pass_the_queue,
        without_the_large_head_the_others_are_served,
        what_comes_back_goes_to_those_who_wait,
        an_empty_queue_lets_newcomers_in_again,
        a_served_place_is_free_again,
        a_capacity_that_no_longer_suffices_is_told_to_who_waits,
        only_the_first_asks_the_ledger,
    ]
    newest: [
        the_newest_is_served_first,
        newcomers_may_take_what_is_free,
        a_large_newest_holds_up_the_older,
        without_the_large_newest_the_older_are_served,
        a_full_queue_lets_its_oldest_go,
        as_many_have_to_go_as_must,
        more_than_the_queue_takes_fails_and_nobody_has_to_go,
        as_much_as_the_queue_takes_drives_all_out,
        without_a_queue_nobody_waits,
        those_who_fit_together_are_served_together,
    ]
    cancel: [
        a_place_is_given_back,
        who_gives_up_is_not_counted,
        those_behind_are_served_in_its_place,
        a_token_ends_the_waiting,
        a_cancelled_token_takes_nothing_even_where_there_is_room,
        a_token_that_is_not_cancelled_changes_nothing,
        who_was_served_and_has_not_heard_of_it_gives_all_back,
        what_was_not_heard_of_goes_to_the_next,
        nothing_stays_taken_wherever_one_gives_up,
        nothing_stays_taken_of_who_gives_up_while_being_served,
    ]
    lease: [
        a_dropped_lease_gives_back_what_its_kind_does,
        a_released_lease_gives_back_what_its_kind_does,
        a_cancelled_lease_gives_back_everything,
        leases_are_told_apart,
        a_failed_lease_has_nothing_to_give_back,
        an_acquired_lease_says_so,
        a_cancelled_lease_serves_who_waits_at_once,
        a_dropped_lease_serves_who_waits_as_its_kind_does,
        a_lease_outlives_the_handles_of_its_limiter,
        a_lease_may_be_dropped_on_any_thread,
        what_nobody_gives_back_comes_back_by_itself,
        a_ledger_that_was_away_is_told_when_it_is_back,
    ]
    statistics: [
        statistics_are_a_snapshot,
        every_lease_is_counted_once,
        clones_are_one,
        a_fresh_limiter_is_idle_since_it_was_made,
        it_is_not_idle_while_anything_is_taken,
        it_is_idle_since_the_last_came_back,
        who_gives_all_back_leaves_it_idle,
        who_takes_nothing_leaves_it_idle,
        it_is_not_idle_while_others_take,
    ]
    shutdown: [
        those_who_wait_fail,
        later_use_is_an_error,
        leases_can_still_be_released,
        what_was_dropped_is_given_back_when_it_is_done,
        shutting_down_twice_is_fine,
        one_limiter_does_not_shut_down_another,
        nothing_stays_taken_for_those_who_waited,
    ]
    time: [
        who_waits_is_served_the_moment_it_comes_back,
        room_that_others_make_is_found,
        who_waits_for_long_does_not_hammer_the_ledger,
        a_clock_that_goes_back_adds_nothing,
        a_clock_that_went_back_goes_on,
        only_what_is_put_back_by_hand_is_replenished,
    ]
    chained: [
        permits_are_taken_of_each,
        a_failure_leaves_nothing_taken,
        what_was_taken_is_given_back_in_reverse_order,
        a_lease_is_given_back_in_reverse_order,
        the_first_to_fail_ends_it,
        an_error_leaves_nothing_taken,
        it_waits_in_the_queues_of_its_links,
        who_gives_up_on_the_way_leaves_nothing_taken,
        a_link_that_is_shut_down_meanwhile_leaves_nothing_taken,
        statistics_are_of_all,
        it_is_idle_as_long_as_all_of_them,
        closing_it_closes_none_of_its_links,
        nothing_is_acquired_when_each_has_any,
        a_chain_may_be_a_link,
    ]
    partitioned: [
        partitions_are_apart,
        a_partition_is_made_once,
        a_slow_partition_holds_no_other_up,
        a_failing_partition_is_tried_again_and_holds_no_other_up,
        those_behind_a_failure_try_by_themselves,
        a_panic_while_one_is_made_is_no_end,
        those_who_wait_are_of_their_partition,
        an_idle_partition_is_dropped_and_made_again,
        a_partition_of_which_something_is_taken_stays,
        a_partition_in_use_stays,
        a_partition_whose_limit_is_gone_is_made_again,
        one_that_could_not_be_made_leaves_nothing,
        closing_closes_every_partition,
        one_that_is_made_while_it_closes_is_closed,
    ]
}
