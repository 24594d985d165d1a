//! With paused time, which moves only while everything waits: no test sleeps.

mod properties;
mod script;

use std::time::Duration;

use self::script::Told::{Created, Overloaded, ShutDown, TooLong, Unreachable};
use self::script::{ONE_SESSION, Script, pass};
use super::SubmitterOptions;

#[tokio::test(start_paused = true)]
async fn an_idle_session_takes_a_chain_at_once_and_while_it_is_busy_the_next_batch_fills() {
    let world = Script::default().start(ONE_SESSION);
    let first = world.ask(1, &[2]);
    pass(1).await;
    let (second, third) = (world.ask(2, &[1, 3]), world.ask(4, &[2]));
    assert_eq!(first.answer().await, [Created(1)]);
    assert_eq!(second.answer().await, [Created(2), Created(3)]);
    assert_eq!(third.answer().await, [Created(4)]);
    assert_eq!(world.lengths(), [vec![2], vec![1, 3, 2]]);
    assert_eq!(world.times_ms(), [0, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_fit_waits_whole_and_leads_the_next_batch() {
    let world = Script::default().start(ONE_SESSION);
    world.keep_busy().await;
    let callers = [world.ask(1, &[6]), world.ask(2, &[3, 3]), world.ask(4, &[4]), world.ask(5, &[10])];
    for (caller, told) in callers.into_iter().zip([vec![1], vec![2, 3], vec![4], vec![5]]) {
        assert_eq!(caller.answer().await, told.into_iter().map(Created).collect::<Vec<_>>());
    }
    assert_eq!(world.lengths(), [vec![1], vec![6], vec![3, 3, 4], vec![10]]);
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_maximum_goes_in_parts_and_a_chain_over_it_goes_alone() {
    let world = Script::default().start(ONE_SESSION);
    let caller = world.ask(1, &[4, 4, 4, 12, 1, 9, 1]);
    assert_eq!(caller.answer().await, (1..=7).map(Created).collect::<Vec<_>>());
    assert_eq!(world.lengths(), [vec![4, 4], vec![4], vec![12], vec![1, 9], vec![1]]);
}

#[tokio::test(start_paused = true)]
async fn each_session_has_one_request_in_flight_and_a_slow_one_holds_up_only_its_own_callers() {
    let script = Script { takes_ms: vec![100], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, ..ONE_SESSION });
    let slow = world.ask(1, &[7, 3]);
    pass(1).await;
    let quick = [world.ask(3, &[2, 2]), world.ask(5, &[3])];
    for (caller, told) in quick.into_iter().zip([vec![3, 4], vec![5]]) {
        assert_eq!(caller.answer().await, told.into_iter().map(Created).collect::<Vec<_>>());
    }
    assert_eq!(world.now_ms(), 11);
    assert_eq!(slow.answer().await, [Created(1), Created(2)]);
    assert_eq!(world.now_ms(), 100);
    assert_ne!(world.sent()[0].session, world.sent()[1].session);
}

#[tokio::test(start_paused = true)]
async fn callers_who_come_back_share_one_request_whatever_the_number_of_sessions() {
    let script = Script { takes_ms: vec![2; 100], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, batch_transfers_max: 100, ..ONE_SESSION });
    for round in 0..20 {
        let callers: Vec<_> = (1..=20).map(|caller| world.ask(round * 20 + caller, &[1])).collect();
        for caller in callers {
            caller.answer().await;
        }
    }
    assert_eq!(world.sizes(), [20; 20]);
    // What comes while their request is under way waits for it.
    let callers: Vec<_> = (1_001..=1_020).map(|caller| world.ask(caller, &[1])).collect();
    pass(1).await;
    let late = world.ask(1_021, &[1]);
    for caller in callers {
        caller.answer().await;
    }
    late.answer().await;
    assert_eq!(world.sizes()[20..], [20, 1]);
    let last_times_ms = world.times_ms()[20..].to_vec();
    assert!(last_times_ms[1] - last_times_ms[0] >= 2, "{last_times_ms:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_holds_nobody_up_where_there_is_another_session() {
    let script = Script { takes_ms: vec![1_000], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, batch_transfers_max: 100, ..ONE_SESSION });
    let _slow: Vec<_> = (1..=20).map(|caller| world.ask(caller, &[1])).collect();
    pass(1).await;
    let behind = world.ask(21, &[1]);
    assert_eq!(behind.answer().await, [Created(21)]);
    assert!(world.now_ms() < 100, "{}", world.now_ms());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_becomes_large_goes_when_it_is_due_then() {
    let script = Script { takes_ms: vec![1_000], ..Script::default() };
    let flush_interval = Duration::from_millis(5);
    let world = script.start(SubmitterOptions {
        sessions: 2,
        batch_transfers_max: 100,
        flush_interval,
        ..ONE_SESSION
    });
    let _slow: Vec<_> = (1..=20).map(|caller| world.ask(caller, &[1])).collect();
    pass(6).await;
    let first = world.ask(21, &[1]);
    pass(1).await;
    let others = world.ask(22, &[31]);
    assert_eq!((first.answer().await, others.answer().await), (vec![Created(21)], vec![Created(22)]));
    assert_eq!(world.times_ms(), [5, 11]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_workers_that_are_gone() {
    let world = Script { panics_at: Some(0), ..Script::default() }.start(ONE_SESSION);
    let callers = [world.ask(1, &[10]), world.ask(2, &[1])];
    for caller in callers {
        assert_eq!(caller.answer().await, [ShutDown]);
    }
    assert_eq!(world.ask(3, &[1]).answer().await, [ShutDown]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_for_more_up_to_the_flush_interval() {
    let options = SubmitterOptions { flush_interval: Duration::from_millis(5), ..ONE_SESSION };
    let world = Script::default().start(options);
    let first = world.ask(1, &[2]);
    pass(3).await;
    // The time runs from the first message on: a later one does not prolong it.
    let second = world.ask(2, &[3]);
    assert_eq!((first.answer().await, second.answer().await), (vec![Created(1)], vec![Created(2)]));
    assert_eq!((world.lengths(), world.times_ms()), (vec![vec![2, 3]], vec![5]));
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let options = SubmitterOptions { flush_interval: Duration::from_millis(5), ..ONE_SESSION };
    let world = Script::default().start(options);
    world.ask(1, &[10]).answer().await;
    let full_together = [world.ask(2, &[4]), world.ask(3, &[6])];
    for caller in full_together {
        caller.answer().await;
    }
    // What does not fit any more ends the wait as well; its own is over when the request before it is answered.
    let (too_much_together, held_back) = (world.ask(4, &[4]), world.ask(5, &[7]));
    too_much_together.answer().await;
    held_back.answer().await;
    assert_eq!(world.lengths(), [vec![10], vec![4, 6], vec![4], vec![7]]);
    assert_eq!(world.times_ms(), [0, 10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_counts_transfers_and_refuses_at_once_what_does_not_fit() {
    let world = Script::default().start(SubmitterOptions { queue_transfers_max: 5, ..ONE_SESSION });
    world.keep_busy().await;
    let (first, second) = (world.ask(1, &[2, 1]), world.ask(3, &[2]));
    assert_eq!(world.ask(4, &[1]).answer().await, [Overloaded]);
    assert_eq!((world.now_ms(), world.submitter.stats().queued_transfers()), (1, 5));
    assert_eq!(first.answer().await, [Created(1), Created(2)]);
    assert_eq!(second.answer().await, [Created(3)]);
    assert_eq!(world.ask(4, &[5]).answer().await, [Created(4)]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_message_that_find_no_room_are_refused_in_their_places() {
    let world = Script::default().start(SubmitterOptions { queue_transfers_max: 12, ..ONE_SESSION });
    world.keep_busy().await;
    let caller = world.ask(1, &[6, 7, 8, 3]);
    assert_eq!(caller.answer().await, [Created(1), Overloaded, Overloaded, Created(4)]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gave_up_is_not_sent_and_its_room_is_free_again() {
    let world = Script::default().start(SubmitterOptions { queue_transfers_max: 11, ..ONE_SESSION });
    world.keep_busy().await;
    let (first, second, third) = (world.ask(1, &[2]), world.ask(2, &[1]), world.ask(3, &[8]));
    pass(1).await;
    first.give_up().await;
    assert_eq!(world.ask(4, &[1]).answer().await, [Overloaded]);
    pass(10).await;
    // Nor does it take the place of others in the batch.
    assert_eq!(world.lengths(), [vec![1], vec![1, 8]]);
    assert!(world.is_idle());
    let late = world.ask(5, &[10, 1]);
    for caller in [second, third, late] {
        caller.answer().await;
    }
    assert_eq!(world.submitter.stats().abandoned_messages(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_while_held_back_is_not_sent() {
    let world = Script::default().start(ONE_SESSION);
    world.keep_busy().await;
    let (_first, held_back, third) = (world.ask(1, &[9]), world.ask(2, &[2]), world.ask(3, &[1]));
    pass(10).await;
    held_back.give_up().await;
    assert_eq!(third.answer().await, [Created(3)]);
    assert_eq!(world.lengths(), [vec![1], vec![9], vec![1]]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_while_its_batch_waits_for_more_is_not_sent() {
    let options = SubmitterOptions { flush_interval: Duration::from_millis(5), ..ONE_SESSION };
    let world = Script::default().start(options);
    let (first, second) = (world.ask(1, &[2]), world.ask(2, &[3]));
    pass(1).await;
    first.give_up().await;
    assert_eq!(second.answer().await, [Created(2)]);
    let only = world.ask(3, &[1]);
    pass(1).await;
    only.give_up().await;
    pass(10).await;
    assert_eq!(world.lengths(), [vec![3]]);
    assert_eq!(world.submitter.stats().abandoned_messages(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_after_its_chain_was_sent_does_no_harm() {
    let world = Script::default().start(ONE_SESSION);
    world.keep_busy().await.give_up().await;
    assert_eq!(world.ask(1, &[1]).answer().await, [Created(1)]);
    assert_eq!((world.lengths(), world.submitter.stats().abandoned_messages()), (vec![vec![1]; 2], 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_fails_only_its_own_callers_and_is_replaced() {
    let script = Script { lost: vec![0], takes_ms: vec![10, 30], ..Script::default() };
    let world = script.start(SubmitterOptions { sessions: 2, ..ONE_SESSION });
    let (lost, lost_too) = (world.ask(1, &[1, 1]), world.ask(3, &[8]));
    pass(1).await;
    let other = world.ask(4, &[1]);
    pass(1).await;
    let waiting = world.ask(5, &[1]);
    assert_eq!(lost.answer().await, [Unreachable, Unreachable]);
    assert_eq!(lost_too.answer().await, [Unreachable]);
    assert_eq!(other.answer().await, [Created(4)]);
    assert_eq!(waiting.answer().await, [Created(5)]);
    // Sessions are numbered from 0: the third is the new one.
    assert_eq!((world.sent()[2].session, world.times_ms()), (2, vec![0, 1, 10]));
    assert_eq!(world.submitter.stats().lost_requests(), 1);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn those_who_lost_their_session_are_told_before_there_is_a_new_one() {
    let world = Script { lost: vec![0], connect_ms: 1_000, ..Script::default() }.start(ONE_SESSION);
    assert_eq!(world.ask(1, &[1]).answer().await, [Unreachable]);
    assert_eq!(world.now_ms(), 1_010);
    assert_eq!(world.ask(2, &[1]).answer().await, [Created(2)]);
    assert_eq!(world.times_ms(), [1_000, 2_010]);
}

#[tokio::test(start_paused = true)]
async fn the_smaller_limit_of_a_development_replica_is_learned_from_its_refusals() {
    let script = Script { transfers_max: 25, ..Script::default() };
    let world = script.start(SubmitterOptions { batch_transfers_max: 100, ..ONE_SESSION });
    let caller = world.ask(1, &[10; 8]);
    assert_eq!(caller.answer().await, (1..=8).map(Created).collect::<Vec<_>>());
    assert_eq!(world.sizes(), [80, 40, 20, 20, 20, 20]);
    let stats = world.submitter.stats();
    assert_eq!((stats.refused_requests(), stats.requests(), stats.request_transfers_max()), (2, 4, 20));
    world.keep_busy().await;
    let callers = [world.ask(11, &[10]), world.ask(12, &[10]), world.ask(13, &[1; 25])];
    for caller in callers {
        caller.answer().await;
    }
    assert_eq!(world.sizes()[7..], [20, 20, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_the_ledger_never_takes_fails_alone() {
    let script = Script { transfers_max: 10, ..Script::default() };
    let world = script.start(SubmitterOptions { batch_transfers_max: 100, ..ONE_SESSION });
    // As long as nothing smaller was refused, all that is known is that the ledger takes less than this chain.
    let too_long = [TooLong { transfers: 11, transfers_max: 10 }];
    assert_eq!(world.ask(1, &[11]).answer().await, too_long);
    let told = world.ask(2, &[4, 4, 12, 4]).answer().await;
    assert_eq!(told, [Created(2), Created(3), TooLong { transfers: 12, transfers_max: 11 }, Created(5)]);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_sent_in_pieces_the_lost_one_fails_alone() {
    let script = Script { transfers_max: 10, lost: vec![2], ..Script::default() };
    let world = script.start(SubmitterOptions { batch_transfers_max: 30, ..ONE_SESSION });
    assert_eq!(world.ask(1, &[10; 3]).answer().await, [Created(1), Unreachable, Created(3)]);
    assert_eq!(world.sent().iter().map(|sent| sent.session).collect::<Vec<_>>(), [0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_everything_that_waits_and_takes_nothing_more() {
    for sessions in 1..=3 {
        let world = Script::default().start(SubmitterOptions { sessions, ..ONE_SESSION });
        let callers: Vec<_> = (1..=5).map(|number| world.ask(number, &[8])).collect();
        pass(1).await;
        world.shutdown().await;
        assert_eq!(world.now_ms(), 10 * 5_u128.div_ceil(sessions as u128));
        for (number, caller) in (1..).zip(callers) {
            assert!(caller.is_answered());
            assert_eq!(caller.answer().await, [Created(number)]);
        }
        assert_eq!(world.ask(6, &[1, 1]).answer().await, [ShutDown, ShutDown]);
        assert_eq!((world.lengths().len(), world.submitter.stats().queued_transfers()), (5, 0));
        // Another one has nothing left to do.
        world.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_wait_for_more() {
    let options = SubmitterOptions { sessions: 3, flush_interval: Duration::from_secs(1), ..ONE_SESSION };
    let world = Script::default().start(options);
    let caller = world.ask(1, &[1]);
    pass(3).await;
    world.shutdown().await;
    assert_eq!((caller.answer().await, world.times_ms()), (vec![Created(1)], vec![3]));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_nobody_waited_for_goes_on() {
    let world = Script::default().start(ONE_SESSION);
    let callers = [world.ask(1, &[8]), world.ask(2, &[8])];
    pass(1).await;
    tokio::time::timeout(Duration::from_millis(1), world.submitter.shutdown()).await.unwrap_err();
    assert_eq!(world.ask(3, &[1]).answer().await, [ShutDown]);
    assert_eq!(world.now_ms(), 2);
    for caller in callers {
        caller.answer().await;
    }
    world.shutdown().await;
    assert_eq!((world.lengths().len(), world.now_ms()), (2, 20));
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_for_a_shutdown_is_told_so_and_counted_out() {
    let world = Script::default().start(ONE_SESSION);
    let busy = world.keep_busy().await;
    // A caller may get its room just before the shutdown, and stand in the queue just behind its end.
    world.submitter.queue.end();
    let late = world.ask(1, &[3, 3]);
    assert_eq!(late.answer().await, [ShutDown, ShutDown]);
    assert_eq!(busy.answer().await, [Created(1_000)]);
    assert_eq!(world.lengths(), [vec![1]]);
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn the_stats_add_up() {
    let script = Script { lost: vec![2], takes_ms: vec![10, 20], ..Script::default() };
    let world = script.start(ONE_SESSION);
    let first = world.keep_busy().await;
    let (second, gives_up, third) = (world.ask(1, &[2, 3]), world.ask(3, &[4]), world.ask(4, &[7]));
    pass(1).await;
    let stats = world.submitter.stats();
    assert_eq!(stats.queued_transfers(), 16);
    gives_up.give_up().await;
    for caller in [first, second, third] {
        caller.answer().await;
    }
    assert_eq!((stats.requests(), stats.request_transfers(), stats.request_transfers_max()), (3, 13, 7));
    assert_eq!((stats.in_flight_us(), stats.lost_requests(), stats.abandoned_messages()), (40_000, 1, 1));
    assert!(world.is_idle());
}
