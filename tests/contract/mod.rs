//! What must hold over any ledger. Each test is written once and run over every backend; their times are whole seconds
//! and short, because over TigerBeetle they really pass.

pub mod capacity;
pub mod complete;
pub mod crash;
pub mod crash_schedules;
pub mod definitions;
pub mod extend;
pub mod local_denials;
pub mod objects;
pub mod replicas;
pub mod reserve;
pub mod schedule_edges;
pub mod schedules;
pub mod templates;

/// Makes a test of every function of the contract, over the backend that the expression makes.
#[macro_export]
macro_rules! contract_tests {
    ($backend:expr) => {
        $crate::contract_tests!(@module reserve, $backend, [
            grants_until_the_limit_is_full,
            all_or_nothing,
            a_replay_is_granted_once,
            the_order_of_requirements_does_not_matter,
            a_denied_lease_stays_denied,
            a_lease_denied_for_an_unknown_key_stays_denied,
            other_requirements_are_a_conflict,
            a_settled_lease_is_not_granted_again,
            an_expired_lease_is_not_granted_again,
            what_can_never_fit_is_told_apart,
            a_window_slides,
            a_crashed_caller_gives_its_slot_back,
            a_batch_answers_in_order,
            callers_at_once_never_exceed_the_capacity,
            the_largest_amounts_are_exact,
        ]);
        $crate::contract_tests!(@module complete, $backend, [
            the_worked_example,
            slots_come_back_at_once_and_named_or_not,
            a_smaller_actual_keeps_its_expiry,
            an_actual_of_zero_frees,
            a_larger_actual_is_reserved_if_it_fits,
            what_does_not_fit_is_debt,
            what_does_not_fit_is_only_counted_with_deny,
            the_first_complete_wins,
            completes_at_once_settle_once,
            an_unknown_or_expired_lease_changes_nothing,
            a_slot_that_expired_does_not_spoil_the_rest,
            a_foreign_key_is_refused,
            a_lease_without_slots_leaves_a_trace,
            thirty_two_legs_settle,
            a_batch_settles_each_lease_once,
            a_batch_settles_while_decreasing,
        ]);
        $crate::contract_tests!(@module extend, $backend, [
            what_is_granted_on_top_is_settled_with_the_rest,
            what_is_not_told_keeps_its_top_ups,
            the_same_attempt_is_granted_once,
            a_denied_attempt_stays_denied,
            only_a_running_lease_is_extended,
            a_top_up_is_held_for_a_window_of_its_own,
            a_top_up_at_another_replica_is_settled_here,
            a_batch_settles_top_ups_at_another_replica,
            top_ups_and_a_complete_at_once_leave_nothing_behind,
            a_limit_that_decreases_takes_no_top_ups,
            a_lease_can_be_extended_so_often,
            attempts_whose_ids_meet_are_told_apart,
        ]);
        $crate::contract_tests!(@module schedules, $backend, [
            a_bucket_starts_full_and_is_refilled,
            a_bucket_is_never_more_than_full,
            what_a_bucket_did_not_need_is_given_back,
            what_is_used_beyond_is_taken_or_debt,
            a_bucket_by_hand_is_refilled_when_asked,
            all_of_a_window_is_back_at_the_boundary,
            windows_begin_where_they_are_aligned,
            segments_come_back_one_by_one,
            an_unused_part_of_a_window_is_given_back_while_it_lasts,
            any_mix_of_kinds_is_all_or_nothing,
            a_replay_spends_once,
            a_lease_is_settled_once_by_whoever_comes,
            a_running_lease_takes_more,
            replicas_refill_once,
            what_was_held_up_refills_nothing,
            a_decrease_waits_for_what_comes_back,
            a_bucket_is_lowered_at_once,
            a_raised_bucket_has_as_many_tokens_more,
            a_bucket_is_lowered_while_an_earlier_kind_holds_some,
            unused_is_given_back_while_decreasing,
            a_topped_up_lease_settles_while_decreasing,
            a_new_rate_begins_where_the_old_one_ends,
            a_stale_replica_spends_by_the_new_schedule,
            what_is_unused_is_given_back_by_the_new_schedule,
            a_refill_and_a_new_rate_exclude_each_other,
            a_deleted_bucket_can_come_back_as_another_kind,
            a_batch_finds_everything_due,
        ]);
        $crate::contract_tests!(@module definitions, $backend, [
            parts_are_read_by_either_account,
            a_version_is_written_once,
            a_refused_version_leaves_nothing,
        ]);
        $crate::contract_tests!(@module templates, $backend, [
            the_first_reserve_makes_the_limit,
            the_most_specific_definition_is_in_force,
            callers_at_once_at_two_replicas_share_one_limit,
            a_change_of_the_template_changes_its_limits,
            a_lower_capacity_waits_for_each_limit,
            what_was_changed_by_hand_stays_so,
            a_template_makes_so_many_limits_and_no_more,
            a_flood_of_keys_leaves_nothing_behind,
            idle_limits_are_forgotten_and_come_back,
            a_deleted_template_takes_nothing,
            a_deleted_limit_is_not_made_again,
            limits_of_templates_settle_anywhere,
            a_bucket_of_a_template_is_one_bucket,
            a_batch_makes_its_limits,
        ]);
        $crate::contract_tests!(@module schedule_edges, $backend, [
            a_batch_gives_nothing_back_of_a_window_that_is_over,
            what_is_given_back_late_is_not_what_others_spent,
            a_replica_that_knows_a_lower_capacity_refills_all,
            what_was_due_of_a_deleted_limit_is_back,
            a_deleted_bucket_comes_back_smaller_and_without_a_schedule,
        ]);
        $crate::contract_tests!(@module objects, $backend, [
            what_is_there_is_taken_or_not,
            a_reservation_takes_of_the_future_and_tells_when,
            refills_pay_back_first,
            a_fast_object_remembers_what_it_promised,
            callers_at_once_have_a_date_each,
            a_repeated_reservation_has_its_first_date,
            a_cancelled_reservation_is_given_back,
            from_its_date_on_nothing_is_given_back,
            a_cancel_and_a_complete_exclude_each_other,
            what_a_reservation_did_not_need_pays_back,
            a_release_adds_up_to_full_and_once,
            a_new_rate_settles_at_the_old_one_first,
            a_small_burst_keeps_the_rate,
            rates_in_turn_add_up,
            a_reservation_ahead_is_cancelled_after_a_new_rate,
            a_lower_burst_leaves_what_is_owed,
            a_stale_replica_reserves_by_the_new_rate,
            other_kinds_are_no_objects,
            a_bucket_by_hand_lends_nothing,
            what_was_borrowed_does_not_follow_into_another_kind,
            objects_appear_by_their_template,
        ]);
        $crate::contract_tests!(@module capacity, $backend, [
            an_increase_is_there_at_once,
            a_decrease_waits_until_it_fits,
            up_and_down_moves_real_capacity_each_time,
            a_new_target_replaces_the_old_one,
            a_higher_target_cancels_the_decrease,
            times_may_change_and_kinds_may_not,
            the_same_definition_again_changes_nothing,
            a_deleted_limit_takes_nothing_and_can_come_back,
            a_complete_settles_while_decreasing,
            history_tells_every_version,
            a_long_history_is_read_whole,
        ]);
        $crate::contract_tests!(@module local_denials, $backend, [
            a_complete_makes_room_at_once,
            a_smaller_actual_makes_room_at_once,
            an_increase_makes_room_at_once,
            a_return_makes_room_and_is_told_before,
            a_lease_too_old_to_be_denied_here_is_told_what_is_known,
            a_lease_denied_here_stays_denied_here,
            other_denials_stay_what_they_are,
            a_denial_takes_nothing_of_the_other_limits,
            a_lease_granted_elsewhere_is_granted_here,
        ]);
        $crate::contract_tests!(@module crash, $backend, [
            changes_of_a_limit_are_whole,
            a_complete_is_whole,
            a_complete_on_a_closed_limit_is_whole,
            a_top_up_is_whole,
        ]);
        $crate::contract_tests!(@module crash_schedules, $backend, [
            a_refill_is_whole,
            a_refill_of_a_closed_limit_is_whole,
            a_refill_by_hand_is_whole,
            a_change_of_schedule_is_whole,
            a_complete_on_a_bucket_is_whole,
            a_complete_on_a_closed_window_is_whole,
        ]);
        $crate::contract_tests!(@module replicas, $backend, [
            a_replica_with_empty_memory_knows_everything,
            completes_need_no_local_memory,
            a_key_made_at_one_replica_is_usable_at_another,
            a_change_reaches_the_others,
            replicas_that_change_a_limit_at_once_agree,
            a_decrease_is_applied_once_by_whoever_sees_it,
            a_decrease_survives_the_replica_that_began_it,
            a_delete_denies_everywhere,
        ]);
    };
    (@module $module:ident, $backend:expr, [$($name:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::contract::$module::$name($backend).await;
                }
            )*
        }
    };
}
