//! Small calls beside large ones.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::SubmitterOptions;
use super::script::Reply::{Created, Overloaded};
use super::script::{ONE_SESSION, Script, pass};

const FULL: usize = 8_189;
const FULL_REQUESTS: SubmitterOptions =
    SubmitterOptions { batch_transfers_max: FULL, queue_transfers_max: 131_072, ..ONE_SESSION };
/// A batch of 256 reserves of 32 limits: the largest that the API takes.
const LARGE: [usize; 256] = [32; 256];

#[tokio::test(start_paused = true)]
async fn a_small_call_leaves_with_the_next_request_however_many_large_ones_wait() {
    let world = Script::default().start(FULL_REQUESTS);
    world.keep_session_busy().await;
    let large: Vec<_> = (1..=12).map(|number| world.submit(number * 1_000, &LARGE)).collect();
    pass(1).await;
    let small = [world.submit(1, &[4]), world.submit(2, &[1; 100])];

    for caller in small {
        caller.answer().await;
    }

    // One request was in flight. The next one holds the small calls.
    assert_eq!(world.now_ms(), 20);
    assert_eq!(world.sizes()[1], 104);
    for (number, caller) in (1..).zip(large) {
        assert_eq!(caller.answer().await[255], Created(number * 1_000 + 255));
    }
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_large_call_has_every_second_request_while_small_calls_never_end() {
    let world = Script::default().start(FULL_REQUESTS);
    world.keep_session_busy().await;
    let mut small = Vec::new();
    let mut flood = |first: u64| small.extend((0..60).map(|number| world.submit(first + number, &[1; 200])));
    flood(10_000);
    let large = world.submit(1, &LARGE);
    for round in 2..=4 {
        pass(10).await;
        flood(round * 10_000);
    }

    // The second request holds the large call alone, and the third the chain that did not fit there.
    large.answer().await;
    assert_eq!(world.now_ms(), 40);
    for caller in small {
        caller.answer().await;
    }
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn large_and_small_calls_share_requests_by_halves() {
    let world = Script::default().start(FULL_REQUESTS);
    world.keep_session_busy().await;
    let large: Vec<_> = (1..=20).map(|number| world.submit(number * 1_000, &[1; 500])).collect();
    let small: Vec<_> = (1..=60).map(|number| world.submit(number * 100_000, &[1; 200])).collect();
    for caller in large.into_iter().chain(small) {
        caller.answer().await;
    }
    assert_eq!(world.sizes()[1..3], [8_000, 8_000]);
    let of_large = |numbers: &[u64]| numbers.iter().filter(|&&number| number < 100_000).count();
    let of_large: Vec<usize> = world.sent()[1..4].iter().map(|sent| of_large(&sent.numbers)).collect();
    assert_eq!(of_large, [4_000, 4_000, 2_000]);
}

#[tokio::test(start_paused = true)]
async fn large_calls_alone_fill_requests() {
    let world = Script::default().start(FULL_REQUESTS);
    world.keep_session_busy().await;
    for caller in (1..=24).map(|number| world.submit(number * 1_000, &[1; 1_000])).collect::<Vec<_>>() {
        caller.answer().await;
    }
    assert_eq!(world.sizes(), [1, 8_000, 8_000, 8_000]);
}

#[tokio::test(start_paused = true)]
async fn large_calls_reach_a_ledger_that_takes_little_at_once() {
    let script = Script { transfers_max: 100, ..Script::default() };
    let world = script.start(FULL_REQUESTS);
    // Learns the maximum.
    world.submit(1, &[50; 4]).answer().await;
    world.keep_session_busy().await;
    let mut small = Vec::new();
    let large = world.submit(1_000_000, &[30; 20]);
    for round in 1..=40 {
        small.extend((0..5).map(|number| world.submit(round * 1_000 + number, &[20])));
        pass(10).await;
    }
    assert!(large.is_answered(), "small calls still wait");
    for caller in small {
        caller.answer().await;
    }
    assert!(world.is_idle());
}

#[tokio::test(start_paused = true)]
async fn large_calls_leave_room_in_the_queue_to_small_ones() {
    let queue_transfers_max = 2 * 8_192;
    let world = Script::default().start(SubmitterOptions { queue_transfers_max, ..FULL_REQUESTS });
    world.keep_session_busy().await;
    let large: Vec<_> = (1..=3).map(|number| world.submit(number * 1_000, &LARGE)).collect();
    pass(1).await;
    let small: Vec<_> = (1..=8).map(|number| world.submit(number * 10_000, &[1; 256])).collect();

    for (number, caller) in (1..).zip(small) {
        assert_eq!(caller.answer().await[0], Created(number * 10_000));
    }
    let mut replies = Vec::new();
    for caller in large {
        replies.extend(caller.answer().await);
    }
    assert!(replies.contains(&Overloaded));
    assert!(world.is_idle());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_chain_of_mixed_calls_is_sent_once_in_the_order_of_its_call(
        calls in vec(vec(1..40_usize, 1..60), 1..12),
        batch_transfers_max in 100..2_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let world = Script::default().start(SubmitterOptions { batch_transfers_max, ..FULL_REQUESTS });
            world.keep_session_busy().await;
            let callers: Vec<_> = (1..).zip(&calls).map(|(first, lengths)| world.submit(first * 10_000, lengths)).collect();
            for (first, caller) in (1..).zip(callers) {
                let replies = caller.answer().await;
                for (number, reply) in (first * 10_000..).zip(replies) {
                    prop_assert_eq!(reply, Created(number));
                }
            }
            let numbers: Vec<u64> = world.sent().into_iter().flat_map(|sent| sent.numbers).collect();
            for (first, lengths) in (1..).zip(&calls) {
                let range = first * 10_000..(first + 1) * 10_000;
                let of_call: Vec<u64> = numbers.iter().copied().filter(|number| range.contains(number)).collect();
                prop_assert!(of_call.iter().copied().eq((first * 10_000..).take(lengths.len())));
            }
            for (index, size) in world.sizes().into_iter().enumerate() {
                prop_assert!(size <= batch_transfers_max, "request {} has {}", index, size);
            }
            prop_assert!(world.is_idle());
            Ok(())
        })?;
    }
}
