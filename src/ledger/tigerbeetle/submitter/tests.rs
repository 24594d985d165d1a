//! The submitter over a scripted ledger, on paused time, which advances only while every task waits.

mod lanes;
mod properties;
mod script;
#[cfg(feature = "server")]
mod traces;

use std::time::Duration;

use self::script::Reply::{Created, Overloaded, ShutDown, TooLong, Unreachable};
use self::script::{ONE_SESSION, Script, pass};
use super::SubmitterOptions;

#[tokio::test(start_paused = true)]
async fn an_idle_session_sends_at_once_and_the_next_batch_fills_while_it_is_busy() {
    let world = Script::default().start(ONE_SESSION);
    let first = world.submit(1, &[2]);
    pass(1).await;
    let (second, third) = (world.submit(2, &[1, 3]), world.submit(4, &[2]));
    assert_eq!(first.answer().await, [Created(1)]);
    assert_eq!(second.answer().await, [Created(2), Created(3)]);
    assert_eq!(third.answer().await, [Created(4)]);
    assert_eq!(world.lengths(), [vec![2], vec![1, 3, 2]]);
    assert_eq!(world.times_ms(), [0, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_fit_is_not_split_and_begins_the_next_batch() {
    let world = Script::default().start(ONE_SESSION);
    world.keep_session_busy().await;
    let callers =
        [world.submit(1, &[6]), world.submit(2, &[3, 3]), world.submit(4, &[4]), world.submit(5, &[10])];
    for (caller, numbers) in callers.into_iter().zip([vec![1], vec![2, 3], vec![4], vec![5]]) {
        assert_eq!(caller.answer().await, numbers.into_iter().map(Created).collect::<Vec<_>>());
    }
    assert_eq!(world.lengths(), [vec![1], vec![6], vec![3, 3, 4], vec![10]]);
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_maximum_is_split_and_a_chain_above_it_is_sent_alone() {
    let world = Script::default().start(ONE_SESSION);
    let caller = world.submit(1, &[4, 4, 4, 12, 1, 9, 1]);
    assert_eq!(caller.answer().await, (1..=7).map(Created).collect::<Vec<_>>());
    assert_eq!(world.lengths(), [vec![4, 4], vec![4], vec![12], vec![1, 9], vec![1]]);
}

#[tokio::test(start_paused = true)]
async fn each_session_has_one_request_in_flight_and_a_slow_one_delays_only_its_own_callers() {
    let script = Script { takes_ms: vec![100], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, ..ONE_SESSION });
    let slow = world.submit(1, &[7, 3]);
    pass(1).await;
    let quick = [world.submit(3, &[2, 2]), world.submit(5, &[3])];
    for (caller, numbers) in quick.into_iter().zip([vec![3, 4], vec![5]]) {
        assert_eq!(caller.answer().await, numbers.into_iter().map(Created).collect::<Vec<_>>());
    }
    assert_eq!(world.now_ms(), 11);
    assert_eq!(slow.answer().await, [Created(1), Created(2)]);
    assert_eq!(world.now_ms(), 100);
    assert_ne!(world.sent()[0].session, world.sent()[1].session);
}

#[tokio::test(start_paused = true)]
async fn callers_that_submit_together_share_one_request_on_two_sessions() {
    let script = Script { takes_ms: vec![2; 100], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, batch_transfers_max: 100, ..ONE_SESSION });
    for round in 0..20 {
        let callers: Vec<_> = (1..=20).map(|caller| world.submit(round * 20 + caller, &[1])).collect();
        for caller in callers {
            caller.answer().await;
        }
    }
    assert_eq!(world.sizes(), [20; 20]);
    // A caller that arrives while their request is in flight waits for its end.
    let callers: Vec<_> = (1_001..=1_020).map(|caller| world.submit(caller, &[1])).collect();
    pass(1).await;
    let late = world.submit(1_021, &[1]);
    for caller in callers {
        caller.answer().await;
    }
    late.answer().await;
    assert_eq!(world.sizes()[20..], [20, 1]);
    let last_times_ms = world.times_ms()[20..].to_vec();
    assert!(last_times_ms[1] - last_times_ms[0] >= 2, "{last_times_ms:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_request_does_not_delay_callers_on_another_session() {
    let script = Script { takes_ms: vec![1_000], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, batch_transfers_max: 100, ..ONE_SESSION });
    let _slow: Vec<_> = (1..=20).map(|caller| world.submit(caller, &[1])).collect();
    pass(1).await;
    let behind = world.submit(21, &[1]);
    assert_eq!(behind.answer().await, [Created(21)]);
    assert!(world.now_ms() < 100, "{}", world.now_ms());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_batch_that_becomes_large_is_sent_after_its_flush_interval() {
    let script = Script { takes_ms: vec![1_000], ..Script::default() };
    let flush_interval = Duration::from_millis(5);
    let world = script.start(SubmitterOptions {
        sessions: 2,
        batch_transfers_max: 100,
        flush_interval,
        ..ONE_SESSION
    });
    let _slow: Vec<_> = (1..=20).map(|caller| world.submit(caller, &[1])).collect();
    pass(6).await;
    let first = world.submit(21, &[1]);
    pass(1).await;
    let others = world.submit(22, &[31]);
    assert_eq!(first.answer().await, [Created(21)]);
    assert_eq!(others.answer().await, [Created(22)]);
    assert_eq!(world.times_ms(), [5, 11]);
}

#[tokio::test(start_paused = true)]
async fn callers_get_an_error_when_the_last_worker_panics() {
    let world = Script { panics_at: Some(0), ..Script::default() }.start(ONE_SESSION);
    let callers = [world.submit(1, &[10]), world.submit(2, &[1])];
    for caller in callers {
        assert_eq!(caller.answer().await, [ShutDown]);
    }
    assert_eq!(world.submit(3, &[1]).answer().await, [ShutDown]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_for_the_flush_interval() {
    let options = SubmitterOptions { flush_interval: Duration::from_millis(5), ..ONE_SESSION };
    let world = Script::default().start(options);
    let first = world.submit(1, &[2]);
    pass(3).await;
    // The interval starts with the first message; a later one does not prolong it.
    let second = world.submit(2, &[3]);
    assert_eq!(first.answer().await, [Created(1)]);
    assert_eq!(second.answer().await, [Created(2)]);
    assert_eq!(world.lengths(), [[2, 3]]);
    assert_eq!(world.times_ms(), [5]);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let options = SubmitterOptions { flush_interval: Duration::from_millis(5), ..ONE_SESSION };
    let world = Script::default().start(options);
    world.submit(1, &[10]).answer().await;
    let full_together = [world.submit(2, &[4]), world.submit(3, &[6])];
    for caller in full_together {
        caller.answer().await;
    }
    // A message that does not fit also ends the wait of the batch. The message's own wait ends while that batch is in
    // flight.
    let (fits, left_over) = (world.submit(4, &[4]), world.submit(5, &[7]));
    fits.answer().await;
    left_over.answer().await;
    assert_eq!(world.lengths(), [vec![10], vec![4, 6], vec![4], vec![7]]);
    assert_eq!(world.times_ms(), [0, 10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_counts_transfers_and_refuses_a_message_without_room_at_once() {
    let world = Script::default().start(SubmitterOptions { queue_transfers_max: 5, ..ONE_SESSION });
    world.keep_session_busy().await;
    let (first, second) = (world.submit(1, &[2, 1]), world.submit(3, &[2]));
    assert_eq!(world.submit(4, &[1]).answer().await, [Overloaded]);
    assert_eq!(world.now_ms(), 1);
    assert_eq!(world.submitter.stats().queued_transfers(), 5);
    assert_eq!(first.answer().await, [Created(1), Created(2)]);
    assert_eq!(second.answer().await, [Created(3)]);
    assert_eq!(world.submit(4, &[5]).answer().await, [Created(4)]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn parts_without_room_are_refused_and_the_answers_keep_their_order() {
    let world = Script::default().start(SubmitterOptions { queue_transfers_max: 12, ..ONE_SESSION });
    world.keep_session_busy().await;
    let caller = world.submit(1, &[6, 7, 8, 3]);
    assert_eq!(caller.answer().await, [Created(1), Overloaded, Overloaded, Created(4)]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_caller_is_cancelled_is_not_sent_and_frees_its_room() {
    let world = Script::default().start(SubmitterOptions { queue_transfers_max: 11, ..ONE_SESSION });
    world.keep_session_busy().await;
    let (first, second, third) = (world.submit(1, &[2]), world.submit(2, &[1]), world.submit(3, &[8]));
    pass(1).await;
    first.cancel().await;
    assert_eq!(world.submit(4, &[1]).answer().await, [Overloaded]);
    pass(10).await;
    // The message of the cancelled caller takes no room in the batch.
    assert_eq!(world.lengths(), [vec![1], vec![1, 8]]);
    assert!(world.is_idle());
    let late = world.submit(5, &[10, 1]);
    for caller in [second, third, late] {
        caller.answer().await;
    }
    assert_eq!(world.submitter.stats().abandoned_messages(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_did_not_fit_is_not_sent_after_its_caller_is_cancelled() {
    let world = Script::default().start(ONE_SESSION);
    world.keep_session_busy().await;
    let (_first, left_over, third) = (world.submit(1, &[9]), world.submit(2, &[2]), world.submit(3, &[1]));
    pass(10).await;
    left_over.cancel().await;
    assert_eq!(third.answer().await, [Created(3)]);
    assert_eq!(world.lengths(), [vec![1], vec![9], vec![1]]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_message_in_a_waiting_batch_is_not_sent_after_its_caller_is_cancelled() {
    let options = SubmitterOptions { flush_interval: Duration::from_millis(5), ..ONE_SESSION };
    let world = Script::default().start(options);
    let (first, second) = (world.submit(1, &[2]), world.submit(2, &[3]));
    pass(1).await;
    first.cancel().await;
    assert_eq!(second.answer().await, [Created(2)]);
    let only = world.submit(3, &[1]);
    pass(1).await;
    only.cancel().await;
    pass(10).await;
    assert_eq!(world.lengths(), [vec![3]]);
    assert_eq!(world.submitter.stats().abandoned_messages(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_can_be_cancelled_while_its_request_is_in_flight() {
    let world = Script::default().start(ONE_SESSION);
    world.keep_session_busy().await.cancel().await;
    assert_eq!(world.submit(1, &[1]).answer().await, [Created(1)]);
    assert_eq!(world.lengths(), [[1], [1]]);
    assert_eq!(world.submitter.stats().abandoned_messages(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_fails_only_its_own_callers_and_is_replaced() {
    let script = Script { lost: vec![0], takes_ms: vec![10, 30], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, ..ONE_SESSION });
    let (lost, lost_too) = (world.submit(1, &[1, 1]), world.submit(3, &[8]));
    pass(1).await;
    let other = world.submit(4, &[1]);
    pass(1).await;
    let waiting = world.submit(5, &[1]);
    assert_eq!(lost.answer().await, [Unreachable, Unreachable]);
    assert_eq!(lost_too.answer().await, [Unreachable]);
    assert_eq!(other.answer().await, [Created(4)]);
    assert_eq!(waiting.answer().await, [Created(5)]);
    // Session 2 replaces the lost one of the sessions 0 and 1.
    assert_eq!(world.sent()[2].session, 2);
    assert_eq!(world.times_ms(), [0, 1, 10]);
    assert_eq!(world.submitter.stats().lost_requests(), 1);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_lost_session_are_answered_before_it_is_replaced() {
    let world = Script { lost: vec![0], connect_ms: 1_000, ..Script::default() }.start(ONE_SESSION);
    assert_eq!(world.submit(1, &[1]).answer().await, [Unreachable]);
    assert_eq!(world.now_ms(), 1_010);
    assert_eq!(world.submit(2, &[1]).answer().await, [Created(2)]);
    assert_eq!(world.times_ms(), [1_000, 2_010]);
}

#[tokio::test(start_paused = true)]
async fn the_smaller_limit_of_a_development_replica_is_learned_from_its_refusals() {
    let script = Script { transfers_max: 25, ..Script::default() };
    let world = script.start(SubmitterOptions { batch_transfers_max: 100, ..ONE_SESSION });
    let caller = world.submit(1, &[10; 8]);
    assert_eq!(caller.answer().await, (1..=8).map(Created).collect::<Vec<_>>());
    assert_eq!(world.sizes(), [80, 40, 20, 20, 20, 20]);
    let stats = world.submitter.stats();
    assert_eq!(stats.refused_requests(), 2);
    assert_eq!(stats.requests(), 4);
    assert_eq!(stats.request_transfers_max(), 20);
    world.keep_session_busy().await;
    let callers = [world.submit(11, &[10]), world.submit(12, &[10]), world.submit(13, &[1; 25])];
    for caller in callers {
        caller.answer().await;
    }
    assert_eq!(world.sizes()[7..], [20, 20, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_chain_above_the_maximum_of_the_ledger_fails_alone() {
    let script = Script { transfers_max: 10, ..Script::default() };
    let world = script.start(SubmitterOptions { batch_transfers_max: 100, ..ONE_SESSION });
    // Only single chains were refused, so the submitter knows only that the maximum is below the length of this chain.
    let too_long = [TooLong { transfers: 11, transfers_max: 10 }];
    assert_eq!(world.submit(1, &[11]).answer().await, too_long);
    let replies = world.submit(2, &[4, 4, 12, 4]).answer().await;
    assert_eq!(replies, [Created(2), Created(3), TooLong { transfers: 12, transfers_max: 11 }, Created(5)]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_part_of_a_split_batch_fails_alone() {
    let script = Script { transfers_max: 10, lost: vec![2], ..Script::default() };
    let world = script.start(SubmitterOptions { batch_transfers_max: 30, ..ONE_SESSION });
    assert_eq!(world.submit(1, &[10; 3]).answer().await, [Created(1), Unreachable, Created(3)]);
    assert_eq!(world.sent().iter().map(|sent| sent.session).collect::<Vec<_>>(), [0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_all_waiting_callers_and_refuses_new_ones() {
    for sessions in 1..=3 {
        let world = Script::default().start(SubmitterOptions { sessions, ..ONE_SESSION });
        let callers: Vec<_> = (1..=5).map(|number| world.submit(number, &[8])).collect();
        pass(1).await;
        world.shutdown().await;
        assert_eq!(world.now_ms(), 10 * 5_u128.div_ceil(sessions as u128));
        for (number, caller) in (1..).zip(callers) {
            assert!(caller.is_answered());
            assert_eq!(caller.answer().await, [Created(number)]);
        }
        assert_eq!(world.submit(6, &[1, 1]).answer().await, [ShutDown, ShutDown]);
        assert_eq!(world.lengths().len(), 5);
        assert_eq!(world.submitter.stats().queued_transfers(), 0);
        // A second shutdown has nothing left to do.
        world.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_sends_a_waiting_batch_at_once() {
    let options = SubmitterOptions { sessions: 3, flush_interval: Duration::from_secs(1), ..ONE_SESSION };
    let world = Script::default().start(options);
    let caller = world.submit(1, &[1]);
    pass(3).await;
    world.shutdown().await;
    assert_eq!(caller.answer().await, [Created(1)]);
    assert_eq!(world.times_ms(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_goes_on_after_its_future_is_dropped() {
    let world = Script::default().start(ONE_SESSION);
    let callers = [world.submit(1, &[8]), world.submit(2, &[8])];
    pass(1).await;
    tokio::time::timeout(Duration::from_millis(1), world.submitter.shutdown()).await.unwrap_err();
    assert_eq!(world.submit(3, &[1]).answer().await, [ShutDown]);
    assert_eq!(world.now_ms(), 2);
    for caller in callers {
        caller.answer().await;
    }
    world.shutdown().await;
    assert_eq!(world.lengths().len(), 2);
    assert_eq!(world.now_ms(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_message_for_a_closed_queue_is_refused_and_frees_its_room() {
    let world = Script::default().start(ONE_SESSION);
    let busy = world.keep_session_busy().await;
    // A caller may find room just before a shutdown begins, and reach the queue after the shutdown closed it.
    world.submitter.queue.close();
    let late = world.submit(1, &[3, 3]);
    assert_eq!(late.answer().await, [ShutDown, ShutDown]);
    assert_eq!(busy.answer().await, [Created(1_000)]);
    assert_eq!(world.lengths(), [vec![1]]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_stats_count_each_request_and_message_once() {
    let script = Script { lost: vec![2], takes_ms: vec![10, 20], ..Script::default() };
    let world = script.start(ONE_SESSION);
    let first = world.keep_session_busy().await;
    let (second, cancelled, third) = (world.submit(1, &[2, 3]), world.submit(3, &[4]), world.submit(4, &[7]));
    pass(1).await;
    let stats = world.submitter.stats();
    assert_eq!(stats.queued_transfers(), 16);
    cancelled.cancel().await;
    for caller in [first, second, third] {
        caller.answer().await;
    }
    assert_eq!(stats.requests(), 3);
    assert_eq!(stats.request_transfers(), 13);
    assert_eq!(stats.request_transfers_max(), 7);
    assert_eq!(stats.in_flight_us(), 40_000);
    assert_eq!(stats.lost_requests(), 1);
    assert_eq!(stats.abandoned_messages(), 1);
    assert!(world.is_idle());
}
