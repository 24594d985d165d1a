//! Properties of the submitter for random callers, options and scripts.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tokio::time::{Instant, sleep_until};

use super::super::{SubmitterOptions, batch};
use super::script::{Caller, Reply, Response, Script, Sent, chain, pass};
use crate::ledger::Chain;

/// A caller that submits chains of these lengths, and may be cancelled some time later.
#[derive(Debug, Clone)]
struct CallerPlan {
    at_ms: u64,
    lengths: Vec<usize>,
    cancelled_after_ms: Option<u64>,
}

fn chains() -> impl Strategy<Value = Vec<Chain>> {
    let numbered = |lengths: Vec<usize>| (1..).zip(lengths).map(|(number, len)| chain(number, len)).collect();
    vec(1..40_usize, 0..30).prop_map(numbered)
}

fn caller_plans() -> impl Strategy<Value = Vec<CallerPlan>> {
    let plan = (0..60_u64, vec(1..9_usize, 0..6), option::weighted(0.3, 0..30_u64))
        .prop_map(|(at_ms, lengths, cancelled_after_ms)| CallerPlan { at_ms, lengths, cancelled_after_ms });
    vec(plan, 1..25).prop_map(|mut plans| {
        plans.sort_by_key(|plan| plan.at_ms);
        plans
    })
}

fn options() -> impl Strategy<Value = SubmitterOptions> {
    (1..4_usize, 1..30_usize, 9..80_usize, 0..4_u64).prop_map(|(sessions, batch, queue, flush_ms)| {
        SubmitterOptions {
            sessions,
            batch_transfers_max: batch,
            queue_transfers_max: queue,
            flush_interval: Duration::from_millis(flush_ms),
        }
    })
}

fn lengths(chains: &[Chain]) -> Vec<usize> {
    chains.iter().map(|chain| chain.transfers().len()).collect()
}

/// The ledger's last response to the chain with this number; `None` if it never received the chain.
fn response_to(number: u64, sent: &[Sent]) -> Option<Response> {
    sent.iter().rfind(|sent| sent.numbers.contains(&number)).map(|sent| sent.response)
}

/// Whether a caller's reply follows from what the ledger received.
fn agree(reply: Reply, number: u64, sent: &[Sent]) -> bool {
    match response_to(number, sent) {
        Some(Response::Created) => reply == Reply::Created(number),
        Some(Response::Lost) => reply == Reply::Unreachable,
        Some(Response::TooMuchData) => matches!(reply, Reply::TooLong { .. }),
        None => reply == Reply::Overloaded,
    }
}

proptest! {
    #[test]
    fn a_split_keeps_all_chains_in_order_and_no_part_exceeds_the_maximum(
        chains in chains(),
        transfers_max in 1..60_usize,
    ) {
        let parts = batch::split(chains.clone(), transfers_max);
        prop_assert_eq!(parts.concat(), chains);
        for part in &parts {
            prop_assert!(part.len() == 1 || batch::count_transfers(part) <= transfers_max, "{:?}", lengths(part));
        }
        // No part has room for the first chain of the next part.
        for pair in parts.windows(2) {
            prop_assert!(batch::count_transfers(&pair[0]) + pair[1][0].transfers().len() > transfers_max);
        }
    }

    #[test]
    fn as_many_chains_fit_as_possible_and_at_least_one(chains in chains(), transfers_max in 0..60_usize) {
        let count = batch::count_fitting(&chains, transfers_max);
        let size_of = |count: usize| batch::count_transfers(&chains[..count.min(chains.len())]);
        prop_assert!(count == 1 || size_of(count) <= transfers_max);
        prop_assert!(count >= chains.len() || size_of(count + 1) > transfers_max);
    }

    #[test]
    fn a_chain_is_sent_at_most_once_and_its_caller_gets_its_outcome(
        plans in caller_plans(),
        options in options(),
        transfers_max in 6..40_usize,
        takes_ms in vec(0..25_u64, 30),
        lost in vec(0..40_usize, 0..4),
        connect_ms in 0..15_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let world = Script { transfers_max, takes_ms, lost, connect_ms, panics_at: None }.start(options);
            let started = Instant::now();
            let mut callers = Vec::new();
            for (first, plan) in (0..).step_by(100).zip(&plans) {
                sleep_until(started + Duration::from_millis(plan.at_ms)).await;
                let caller = world.submit(first, &plan.lengths);
                let Some(cancelled_after_ms) = plan.cancelled_after_ms else {
                    callers.push((first, plan.lengths.len(), caller));
                    continue;
                };
                tokio::spawn(cancel_after(Duration::from_millis(cancelled_after_ms), caller));
            }
            // The last callers submit before the shutdown begins.
            pass(1).await;
            world.shutdown().await;
            let sent = world.sent();
            for (first, count, caller) in callers {
                prop_assert!(caller.is_answered());
                let replies = caller.answer().await;
                prop_assert_eq!(replies.len(), count);
                for (number, reply) in (first..).zip(replies) {
                    prop_assert!(agree(reply, number, &sent), "chain {} got {:?}: {:?}", number, reply, sent);
                }
            }
            let size = |sent: &Sent| sent.lengths.iter().sum::<usize>();
            for sent in &sent {
                prop_assert!(sent.lengths.len() == 1 || size(sent) <= options.batch_transfers_max);
            }
            let taken = sent.iter().filter(|sent| sent.response != Response::TooMuchData);
            let mut numbers: Vec<u64> = taken.flat_map(|sent| sent.numbers.clone()).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), count, "a chain was sent twice");
            prop_assert!(world.is_idle());
            Ok(())
        })?;
    }
}

async fn cancel_after(time: Duration, caller: Caller) {
    tokio::time::sleep(time).await;
    caller.cancel().await;
}
