//! The contract: what the limiter promises over any ledger. Each test is written once and runs over every backend. Its times
//! are short whole seconds, because over TigerBeetle they really pass.

pub mod alerts;
pub mod allotment_edges;
pub mod allotments;
pub mod announcements;
pub mod borrow_bounds;
pub mod buckets;
pub mod calendar;
pub mod cancel_ahead;
pub mod capacity;
pub mod complete;
pub mod crash;
pub mod crash_schedules;
pub mod definitions;
pub mod denial_cache;
pub mod emergency;
pub mod extend;
pub mod force;
pub mod idle_instances;
pub mod lease_status;
pub mod look;
pub mod objects;
pub mod overage;
pub mod pacing;
pub mod paused;
pub mod renew;
pub mod replicas;
pub mod reservations_ahead;
pub mod reserve;
pub mod resets;
pub mod retry_after;
pub mod schedule_edges;
pub mod schedules;
pub mod shadow;
pub mod short_windows;
pub mod templates;
pub mod waiting;
pub mod windows;
pub mod windows_by_hand;

/// Makes a test of every function of the contract, over the backend that the expression creates. `tests/contract_list.rs` fails
/// when a function is missing from these lists. When a test is over, the audit reads its ledger.
#[macro_export]
macro_rules! contract_tests {
    ($backend:expr) => {
        $crate::contract_tests!(@module reserve, $backend, [
            a_limit_grants_until_it_is_full,
            a_denied_reserve_takes_nothing_of_any_limit,
            a_repeated_reserve_is_granted_once,
            the_order_of_requirements_does_not_matter,
            a_denied_lease_stays_denied,
            a_lease_denied_for_an_unknown_key_stays_denied,
            a_granted_lease_with_other_requirements_is_a_conflict,
            a_settled_lease_is_not_granted_again,
            an_expired_lease_is_not_granted_again,
            an_amount_over_the_capacity_has_its_own_denial,
            each_reservation_of_a_rolling_limit_expires_by_itself,
            the_slot_of_a_crashed_caller_expires,
            a_reserve_batch_answers_in_order,
            concurrent_callers_never_exceed_the_capacity,
            the_largest_amounts_are_exact,
        ]);
        $crate::contract_tests!(@module announcements, $backend, [
            replicas_know_each_other_from_the_ledger,
            a_replica_counts_as_living_until_its_announcement_expires,
        ]);
        $crate::contract_tests!(@module look, $backend, [
            a_look_says_what_a_reserve_would_and_takes_nothing,
            a_lease_id_that_was_looked_at_is_unused,
            a_look_counts_refills_that_are_due,
            a_look_at_a_template_makes_no_instance,
            a_look_finds_a_limit_that_is_being_lowered,
            an_amount_of_zero_asks_whether_anything_is_free,
        ]);
        $crate::contract_tests!(@module force, $backend, [
            a_forced_reserve_takes_what_is_free_and_owes_the_rest,
            a_repeated_forced_reserve_takes_once,
            a_complete_settles_a_forced_reserve,
            concurrent_forced_reserves_owe_exactly_the_excess,
            a_forced_reserve_makes_the_instance_of_its_template,
            a_first_forced_reserve_that_is_repeated_takes_once,
            a_forced_reserve_finds_a_limit_that_was_reset,
            a_forced_reserve_is_denied_where_nothing_can_be_taken,
        ]);
        $crate::contract_tests!(@module shadow, $backend, [
            a_limit_in_shadow_mode_grants_everything_and_owes_the_excess,
            limits_beside_a_limit_in_shadow_mode_deny_all_or_nothing,
            a_lease_denied_beside_a_limit_in_shadow_mode_stays_denied,
            a_lease_denied_before_its_limit_in_shadow_mode_is_full_stays_denied,
            a_repeated_reserve_in_shadow_mode_takes_once,
            concurrent_reserves_in_shadow_mode_owe_exactly_the_excess,
            a_batch_decides_each_reserve_in_shadow_mode,
            a_complete_settles_a_reserve_in_shadow_mode,
            switching_shadow_mode_is_a_version_and_keeps_leases,
            a_template_in_shadow_mode_hands_it_on,
            a_limit_in_shadow_mode_grants_while_it_is_lowered,
            an_extend_in_shadow_mode_owes_what_finds_no_room,
            a_look_tells_what_would_deny_in_shadow_mode,
            no_denial_cache_denies_for_a_limit_in_shadow_mode,
            a_lease_granted_in_shadow_mode_is_no_emergency_debt,
        ]);
        $crate::contract_tests!(@module calendar, $backend, [
            a_calendar_window_grants_its_capacity,
            the_ledger_says_when_a_calendar_window_ends,
            a_new_calendar_keeps_what_was_spent,
            a_template_of_calendar_windows_hands_the_calendar_on,
        ]);
        $crate::contract_tests!(@module paused, $backend, [
            a_paused_limit_grants_nothing_until_it_is_raised,
            a_limit_in_use_is_paused_at_once,
            a_paused_template_makes_paused_instances,
        ]);
        $crate::contract_tests!(@module resets, $backend, [
            a_reset_sets_usage_and_debt_to_zero,
            a_lease_that_was_extended_behind_a_reset_is_settled_on_both_accounts,
            a_limit_that_is_reset_often_forgets_its_oldest_accounts,
            a_bucket_is_refilled_as_ever_behind_a_reset,
            a_reset_applies_a_waiting_decrease,
            an_instance_is_reset_and_stays_one,
            nothing_is_reset_that_is_not_there,
            a_purged_limit_begins_anew,
            a_deleted_limit_can_be_purged_and_become_another_kind,
            a_purged_instance_gives_its_place_back,
        ]);
        $crate::contract_tests!(@module complete, $backend, [
            a_complete_settles_each_limit_by_its_kind,
            a_complete_releases_slots_named_or_not,
            a_smaller_actual_keeps_the_expiry_of_its_reservation,
            an_actual_of_zero_releases_the_reservation,
            overage_is_reserved_if_there_is_room,
            overage_without_room_becomes_debt,
            overage_without_room_is_only_counted_with_deny,
            only_the_first_complete_settles,
            concurrent_completes_settle_once,
            completing_an_unknown_or_expired_lease_changes_nothing,
            a_complete_settles_the_rest_after_a_slot_expired,
            a_complete_with_a_key_outside_the_lease_is_refused,
            a_lease_without_slots_stays_settled_at_other_replicas,
            a_lease_of_thirty_two_legs_settles,
            a_complete_batch_settles_each_lease_once,
            a_complete_batch_settles_while_a_limit_is_decreasing,
        ]);
        $crate::contract_tests!(@module overage, $backend, [
            using_one_unit_more_never_leaves_more_available,
            a_counted_overage_is_reserved_as_far_as_it_fits,
            concurrent_overages_fill_the_limit_exactly,
            overage_of_an_expired_lease_is_debt_once,
            a_late_extend_does_not_keep_an_expired_lease_from_settling,
            overage_uses_the_room_that_a_smaller_actual_left,
        ]);
        $crate::contract_tests!(@module lease_status, $backend, [
            a_lease_with_an_expired_part_is_not_granted_again,
            a_refill_does_not_expire_a_lease,
            a_reserve_does_not_grant_a_reservation_ahead,
            a_denial_names_only_keys_of_its_command,
            a_lease_that_another_replica_settled_is_settled_here,
        ]);
        $crate::contract_tests!(@module extend, $backend, [
            a_complete_settles_the_extensions_of_its_lease,
            a_complete_without_actuals_keeps_rolling_extensions,
            a_repeated_extend_is_granted_once,
            a_denied_extend_stays_denied,
            only_a_running_lease_is_extended,
            an_extension_expires_after_its_own_window,
            a_complete_settles_extensions_made_at_another_replica,
            a_complete_batch_settles_extensions_made_at_another_replica,
            a_complete_misses_no_concurrent_extension,
            a_decreasing_limit_denies_extends,
            an_extend_over_the_maximum_of_its_lease_is_refused,
            an_extend_whose_transfer_id_collides_is_denied,
        ]);
        $crate::contract_tests!(@module renew, $backend, [
            a_renewed_slot_is_held_for_its_whole_timeout_again,
            a_renewed_lease_is_granted_as_before,
            a_repeated_renewal_is_made_once,
            only_running_slots_are_renewed,
            a_lease_is_not_renewed_when_one_of_its_slots_has_expired,
            a_complete_at_any_replica_releases_renewed_slots,
            renewals_keep_what_else_a_lease_holds,
            a_slot_of_a_decreasing_limit_is_renewed,
            a_slot_of_a_deleted_limit_is_not_renewed,
            extends_and_renewals_of_a_lease_are_bounded_together,
            renewals_of_many_slots_leave_room_to_read_the_complete,
            completes_and_renewals_that_race_hold_one_slot_or_none,
        ]);
        $crate::contract_tests!(@module schedules, $backend, [
            a_mix_of_kinds_is_reserved_whole_or_not_at_all,
            a_repeated_reserve_spends_once,
            concurrent_completes_release_unused_tokens_once,
            a_repeated_extend_spends_once,
            a_new_rate_begins_where_the_old_one_ends,
            a_stale_replica_spends_by_the_new_schedule,
            unused_units_are_released_into_the_new_schedule,
            a_refill_and_a_new_rate_exclude_each_other,
            a_deleted_bucket_can_be_created_as_another_kind,
            fast_buckets_are_reserved_together,
            overage_finds_the_refills_that_are_due_and_no_more,
        ]);
        $crate::contract_tests!(@module pacing, $backend, [
            a_full_bucket_is_refilled_one_interval_after_it_is_taken_from,
            replicas_share_the_interval_of_a_bucket,
            callers_at_once_begin_one_interval,
            a_bucket_in_use_keeps_its_interval,
            what_is_released_may_fill_the_bucket,
            a_take_that_another_limit_denies_begins_no_lasting_interval,
            a_new_rate_of_a_full_bucket_begins_without_a_fraction,
            the_interval_counts_for_a_reservation_ahead_and_for_the_state,
        ]);
        $crate::contract_tests!(@module buckets, $backend, [
            a_bucket_starts_full_and_is_refilled,
            refills_end_when_a_bucket_is_full,
            a_complete_releases_unused_tokens_into_the_bucket,
            overage_of_a_bucket_is_spent_or_becomes_debt,
            a_manual_refill_adds_tokens_once,
            replicas_make_each_refill_once,
            a_delayed_refill_is_refused,
            a_bucket_is_lowered_at_once,
            a_raised_bucket_gains_the_difference_in_tokens,
            a_lower_bucket_waits_for_reservations_of_an_earlier_kind,
            a_reserve_batch_makes_every_refill_first,
        ]);
        $crate::contract_tests!(@module windows, $backend, [
            a_fixed_window_is_refilled_whole_at_its_end,
            a_fixed_window_begins_at_its_alignment,
            a_sliding_window_is_refilled_segment_by_segment,
            a_complete_releases_the_unused_part_until_the_window_ends,
            a_complete_releases_the_unused_part_while_the_window_is_decreasing,
            a_decrease_of_a_window_waits_for_its_end,
            an_extended_lease_settles_while_the_window_is_decreasing,
        ]);
        $crate::contract_tests!(@module short_windows, $backend, [
            a_fixed_window_below_a_second_is_refilled_at_its_boundary,
            a_sliding_window_below_a_second_is_refilled_segment_by_segment,
            a_window_changes_between_seconds_and_milliseconds,
        ]);
        $crate::contract_tests!(@module windows_by_hand, $backend, [
            a_window_by_hand_ends_on_request_only,
            a_window_by_hand_lasts_its_length,
            a_request_ends_a_window_once,
            concurrent_requests_end_one_segment,
            a_sliding_window_by_hand_ends_a_segment_on_request,
            a_window_by_hand_releases_the_unused_part,
            a_complete_releases_nothing_of_the_next_window_by_hand,
            a_replica_learns_of_a_segment_that_another_ended,
            a_decreasing_window_by_hand_is_refilled,
            a_window_changes_who_refills_it,
            instances_are_refilled_by_hand,
        ]);
        $crate::contract_tests!(@module schedule_edges, $backend, [
            a_complete_batch_releases_nothing_of_an_ended_window,
            a_delayed_complete_releases_nothing_that_others_spent,
            a_stale_replica_refills_up_to_the_raised_capacity,
            a_window_that_ends_while_its_limit_is_deleted_is_refilled,
            a_deleted_bucket_can_be_created_smaller_and_without_a_schedule,
        ]);
        $crate::contract_tests!(@module definitions, $backend, [
            the_parts_of_a_version_are_read_through_either_account,
            a_version_is_written_once,
            a_refused_version_leaves_no_part,
        ]);
        $crate::contract_tests!(@module templates, $backend, [
            the_first_reserve_creates_the_instance,
            the_most_specific_definition_applies,
            a_placeholder_takes_an_escaped_segment_or_the_rest,
            concurrent_callers_at_two_replicas_share_one_instance,
            a_changed_template_changes_its_instances,
            a_decrease_of_a_template_waits_for_each_instance,
            a_lower_template_denies_nothing_that_fits,
            a_template_of_another_kind_changes_its_limits,
            an_instance_that_an_operator_changed_keeps_its_definition,
            a_template_creates_at_most_its_maximum_of_instances,
            denied_keys_leave_no_accounts,
            a_denied_reserve_makes_no_limit,
            a_first_reserve_may_make_several_limits_or_none,
            a_forgotten_instance_is_read_again,
            a_deleted_template_denies_at_its_instances,
            a_deleted_instance_is_not_created_again,
            a_lease_of_an_instance_settles_at_any_replica,
            replicas_share_the_bucket_of_an_instance,
            a_reserve_batch_creates_its_instances,
        ]);
        $crate::contract_tests!(@module objects, $backend, [
            try_reserve_takes_all_its_tokens_or_none,
            a_release_adds_tokens_once_and_up_to_full,
            a_new_rate_first_makes_the_refills_of_the_old_one,
            alternating_rates_add_up,
            a_small_burst_keeps_the_rate,
            a_lower_burst_keeps_what_is_owed,
            a_stale_replica_reserves_by_the_new_rate,
            only_buckets_are_objects,
            a_manually_refilled_bucket_lends_nothing,
            a_rate_of_zero_refills_nothing_and_a_burst_of_zero_holds_nothing,
            a_change_of_kind_drops_borrowed_tokens,
            a_template_creates_objects,
        ]);
        $crate::contract_tests!(@module reservations_ahead, $backend, [
            a_reservation_ahead_borrows_tokens_and_names_its_date,
            refills_repay_borrowed_tokens_first,
            a_fast_bucket_remembers_its_reservations,
            concurrent_reservations_have_distinct_dates,
            a_repeated_reservation_has_its_first_date,
            a_cancel_releases_a_reservation_before_its_date,
            a_cancel_releases_nothing_from_the_date_on,
            a_cancel_and_a_complete_exclude_each_other,
            unused_tokens_repay_borrowed_ones,
        ]);
        $crate::contract_tests!(@module borrow_bounds, $backend, [
            a_reservation_waits_no_longer_than_its_caller_allows,
            a_reservation_waits_no_longer_than_the_definition_allows,
            concurrent_callers_never_owe_more_than_the_bound,
            a_bound_is_changed_without_a_new_schedule,
        ]);
        $crate::contract_tests!(@module cancel_ahead, $backend, [
            what_was_reserved_behind_a_cancelled_reservation_stays_reserved,
            an_unused_part_of_a_reservation_ahead_follows_the_same_rule,
            a_cancel_and_a_reservation_at_once_never_share_tokens,
            a_reservation_ahead_is_cancelled_after_a_new_rate,
        ]);
        $crate::contract_tests!(@module capacity, $backend, [
            an_increase_is_available_at_once,
            a_decrease_waits_until_it_fits,
            each_increase_and_decrease_moves_the_capacity,
            a_new_target_replaces_a_pending_decrease,
            a_higher_target_cancels_the_decrease,
            a_window_may_change_and_a_kind_may_not,
            putting_the_same_definition_again_changes_nothing,
            a_deleted_limit_denies_until_it_is_created_again,
            a_complete_settles_while_a_limit_is_decreasing,
            the_history_has_every_version,
            a_long_history_is_read_whole,
        ]);
        $crate::contract_tests!(@module denial_cache, $backend, [
            a_complete_makes_room_at_once,
            a_smaller_actual_makes_room_at_once,
            an_increase_makes_room_at_once,
            an_expiry_makes_room_at_the_hinted_time,
            an_old_lease_asks_the_ledger_and_gets_the_known_hint,
            a_lease_that_the_cache_denied_stays_denied,
            the_cache_hides_no_other_outcome,
            a_lease_that_another_replica_granted_is_granted_here,
            a_denial_by_the_cache_takes_nothing_of_the_other_limits,
            a_manual_refill_makes_room_at_once,
            a_release_makes_room_at_once,
            a_cancel_makes_room_at_once,
            a_new_rate_makes_room_at_once,
            a_limit_that_is_created_again_has_room_at_once,
            the_end_of_a_decrease_makes_room_at_once,
            a_raised_template_makes_room_at_once,
            a_refill_makes_room_whoever_makes_it,
        ]);
        $crate::contract_tests!(@module allotments, $backend, [
            a_ledger_takes_an_allotment_once_and_replaces_several_by_one,
            a_busy_limit_is_served_from_an_allotment,
            what_no_caller_holds_is_returned_within_two_periods,
            everything_is_available_when_all_holds_have_ended,
            a_crashed_replica_leaves_nothing_reserved_for_long,
            an_allotment_that_may_have_expired_serves_nobody,
            a_slot_serves_the_next_caller_at_its_complete,
            slots_are_held_over_many_periods,
            a_lease_in_allotments_is_granted_and_settled_once,
            an_id_that_the_ledger_answered_is_not_served_again,
            usage_above_the_reservation_is_counted,
            a_lease_may_hold_allotments_and_other_limits,
            a_batch_is_served_from_allotments_and_the_ledger,
            a_forced_reserve_asks_the_ledger,
            an_extend_takes_more_of_an_allotment,
            a_renewed_slot_in_an_allotment_is_held_anew,
            a_slot_of_a_decreasing_limit_in_an_allotment_is_renewed,
            a_decrease_gets_back_what_allotments_do_not_need,
            a_deleted_limit_serves_nobody,
            a_new_version_is_not_served_from_an_old_allotment,
            a_replica_that_stops_returns_what_no_caller_holds,
            another_replica_completes_a_lease_in_allotments_without_effect,
            replicas_together_grant_the_capacity_and_no_more,
            only_rolling_and_concurrency_limits_have_allotments,
            instances_of_a_template_have_allotments,
        ]);
        $crate::contract_tests!(@module allotment_edges, $backend, [
            slots_in_allotments_are_renewed_when_the_other_limits_have_expired,
            no_slots_in_allotments_are_renewed_of_a_lease_settled_elsewhere,
            an_id_ahead_of_the_clock_is_not_served_when_its_limit_is_delegated,
            an_id_far_ahead_of_the_clock_is_not_served_when_its_time_comes,
            denied_extends_do_not_count,
            a_forced_reserve_beside_a_plain_one_that_is_given_up_is_forced,
            an_extend_waits_for_a_complete_that_fails,
            a_renewal_waits_for_a_complete_that_fails,
            the_next_allotment_is_taken_before_the_present_one_ends,
            ids_of_a_clock_that_is_behind_are_served,
        ]);
        $crate::contract_tests!(@module alerts, $backend, [
            each_kind_tells_of_each_threshold_once,
            of_two_replicas_one_tells,
            many_replicas_tell_of_a_rising_usage_once,
            a_threshold_is_armed_when_usage_has_fallen_well_below_it,
            each_window_tells_anew,
            an_expiry_arms_a_threshold,
            an_alert_says_what_was_seen,
            a_limit_in_shadow_mode_tells_although_its_excess_is_debt,
            a_reset_arms_every_threshold,
            templates_hand_their_thresholds_on,
            a_change_of_the_capacity_may_cross_a_threshold,
            overage_and_extends_are_usage,
            limits_without_thresholds_and_replicas_without_observer_write_nothing,
            a_lost_answer_loses_no_event,
            a_limit_that_the_cache_denies_tells_and_a_deleted_one_does_not,
        ]);
        $crate::contract_tests!(@module emergency, $backend, [
            an_emergency_lease_becomes_debt,
            an_emergency_lease_without_a_complete_becomes_debt,
            a_reserve_behind_its_emergency_debt_reserves_nothing,
            an_emergency_lease_that_the_ledger_granted_is_completed_as_recorded,
            an_emergency_lease_that_the_ledger_granted_waits_for_its_complete,
            an_emergency_lease_that_the_ledger_denied_becomes_debt_once,
            replicas_record_an_emergency_lease_once,
            a_lease_of_somebody_else_is_not_completed,
            emergency_debt_is_recorded_on_changed_and_deleted_limits,
            only_known_instances_grant_in_an_emergency,
            an_emergency_lease_of_thirty_two_limits_becomes_debt,
            limits_without_permission_grant_nothing_in_an_emergency,
        ]);
        $crate::contract_tests!(@module retry_after, $backend, [
            an_exact_hint_is_the_time_at_which_the_amount_fits,
            what_a_complete_has_shrunk_is_free_at_its_time,
            denials_over_several_limits_are_estimates,
        ]);
        $crate::contract_tests!(@module waiting, $backend, [
            a_complete_wakes_the_waiter,
            a_lease_that_was_denied_behind_a_waiter_stays_denied_when_it_waits,
            a_smaller_actual_wakes_the_waiter,
            a_raised_capacity_wakes_the_waiter,
            an_expiry_makes_room_for_the_waiter,
            a_refill_makes_room_for_the_waiter,
            a_release_at_another_replica_is_found,
            a_wait_ends_with_a_denial_that_stays,
            waiters_are_served_in_order,
            the_newest_is_served_first_if_the_definition_says_so,
            a_large_head_is_not_overtaken,
            a_waiter_of_several_limits_holds_none_of_them,
            a_lease_that_is_asked_again_here_joins_its_wait,
            a_repetition_that_does_not_wait_ends_the_wait,
            a_lease_denied_at_another_replica_is_denied_here,
            a_waiter_that_was_not_sent_is_told_the_grant_of_another_replica,
            a_waiter_that_leaves_takes_nothing,
            a_full_queue_denies_at_once,
            a_wait_for_a_limit_that_is_deleted_ends,
            what_can_never_be_granted_does_not_wait,
            a_template_makes_the_instance_of_a_waiter,
            a_stop_denies_all_waiters,
            a_batch_waits_for_its_items,
            a_young_lease_behind_a_waiter_is_denied_without_the_ledger,
            an_extend_waits_for_its_turn,
            an_extend_is_denied_at_the_end_of_its_wait,
            a_forced_reserve_of_a_denied_lease_is_told_to_all,
            a_limit_that_goes_into_shadow_mode_grants_its_waiters,
            a_waiter_of_a_limit_in_shadow_mode_waits_for_the_others,
        ]);
        $crate::contract_tests!(@module crash, $backend, [
            changes_of_a_limit_are_whole_after_a_crash,
            a_change_of_kind_is_whole_after_a_crash,
            a_first_reserve_is_whole_after_a_crash,
            a_complete_is_whole_after_a_crash,
            a_complete_on_a_closed_limit_is_whole_after_a_crash,
            an_extend_is_whole_after_a_crash,
            a_renewal_is_whole_after_a_crash,
            a_renewal_on_a_closed_limit_is_whole_after_a_crash,
        ]);
        $crate::contract_tests!(@module crash_schedules, $backend, [
            a_refill_is_whole_after_a_crash,
            a_refill_of_a_closed_limit_is_whole_after_a_crash,
            a_manual_refill_is_whole_after_a_crash,
            a_window_ended_by_hand_is_whole_after_a_crash,
            a_change_of_schedule_is_whole_after_a_crash,
            a_complete_on_a_bucket_is_whole_after_a_crash,
            a_complete_on_a_closed_window_is_whole_after_a_crash,
        ]);
        $crate::contract_tests!(@module replicas, $backend, [
            a_new_replica_reads_every_limit_from_the_ledger,
            a_lease_settles_at_replicas_that_did_not_grant_it,
            a_limit_created_at_one_replica_is_usable_at_another,
            a_change_reaches_the_other_replicas,
            replicas_agree_after_concurrent_changes,
            one_of_two_changes_over_the_same_version_is_made,
            concurrent_replicas_apply_a_decrease_once,
            a_decrease_survives_the_replica_that_began_it,
            a_replica_that_knows_the_old_kind_reserves_nothing,
            a_complete_finds_the_new_account_of_a_limit,
            a_delete_denies_at_every_replica,
        ]);
        $crate::contract_tests!(@module idle_instances, $backend, [
            an_idle_instance_gives_its_place_to_another,
            a_retired_instance_is_made_again_with_its_capacity,
            a_retired_instance_follows_its_template,
            replicas_retire_an_instance_once,
            an_instance_with_a_reservation_is_not_retired,
            the_ledger_refuses_to_retire_what_is_taken_meanwhile,
            a_bucket_that_owes_tokens_is_not_retired,
            a_late_complete_finds_a_retired_instance,
            a_replica_that_remembers_a_retired_instance_denies_once,
            callers_of_a_retired_instance_make_it_once,
            the_template_that_made_an_instance_gets_the_place_back,
            instances_of_a_deleted_template_are_left,
            a_deleted_instance_gives_its_place_back,
            an_operator_defines_a_retired_instance,
            retiring_is_whole_after_a_crash,
            making_a_retired_instance_is_whole_after_a_crash,
        ]);
    };
    (@module $module:ident, $backend:expr, [$($name:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let backend = $backend;
                    let (ledger, number) = $crate::audited::Audited::raw(&backend);
                    $crate::contract::$module::$name(backend).await;
                    $crate::audited::assert_lawful(&*ledger, number, stringify!($module)).await;
                }
            )*
        }
    };
}
