//! What holds whatever comes.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tokio::time::{Instant, sleep_until};

use super::super::{SubmitterOptions, batch};
use super::script::{Answer, Caller, Script, Sent, Told, chain, pass};
use crate::ledger::Chain;

/// Somebody who asks for chains of these lengths at some time, and may give up some time later.
#[derive(Debug, Clone)]
struct Visit {
    at_ms: u64,
    lengths: Vec<usize>,
    patience_ms: Option<u64>,
}

fn chains() -> impl Strategy<Value = Vec<Chain>> {
    let numbered = |lengths: Vec<usize>| (1..).zip(lengths).map(|(number, len)| chain(number, len)).collect();
    vec(1..40_usize, 0..30).prop_map(numbered)
}

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let visit = (0..60_u64, vec(1..9_usize, 0..6), option::weighted(0.3, 0..30_u64))
        .prop_map(|(at_ms, lengths, patience_ms)| Visit { at_ms, lengths, patience_ms });
    vec(visit, 1..25).prop_map(|mut visits| {
        visits.sort_by_key(|visit| visit.at_ms);
        visits
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

/// What the ledger's side of the story means for one chain.
fn told_of(number: u64, sent: &[Sent]) -> Option<Answer> {
    sent.iter().rfind(|sent| sent.numbers.contains(&number)).map(|sent| sent.answer)
}

fn agree(told: Told, number: u64, sent: &[Sent]) -> bool {
    match told_of(number, sent) {
        Some(Answer::Made) => told == Told::Created(number),
        Some(Answer::Lost) => told == Told::Unreachable,
        Some(Answer::TooMuch) => matches!(told, Told::TooLong { .. }),
        None => told == Told::Overloaded,
    }
}

proptest! {
    #[test]
    fn what_is_split_is_whole_when_joined_and_no_part_is_over_the_maximum(
        chains in chains(),
        transfers_max in 1..60_usize,
    ) {
        let parts = batch::split(chains.clone(), transfers_max);
        prop_assert_eq!(parts.concat(), chains);
        for part in &parts {
            prop_assert!(part.len() == 1 || batch::transfers(part) <= transfers_max, "{:?}", lengths(part));
        }
        // And no part could have taken the first of the next.
        for pair in parts.windows(2) {
            prop_assert!(batch::transfers(&pair[0]) + pair[1][0].transfers().len() > transfers_max);
        }
    }

    #[test]
    fn as_many_chains_as_possible_fit_and_always_one(chains in chains(), transfers_max in 0..60_usize) {
        let count = batch::fitting(&chains, transfers_max);
        let size_of = |count: usize| batch::transfers(&chains[..count.min(chains.len())]);
        prop_assert!(count == 1 || size_of(count) <= transfers_max);
        prop_assert!(count >= chains.len() || size_of(count + 1) > transfers_max);
    }

    #[test]
    fn whatever_comes_is_sent_once_and_told_its_own_outcome(
        visits in visits(),
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
            for (first, visit) in (0..).step_by(100).zip(&visits) {
                sleep_until(started + Duration::from_millis(visit.at_ms)).await;
                let caller = world.ask(first, &visit.lengths);
                let Some(patience_ms) = visit.patience_ms else {
                    callers.push((first, visit.lengths.len(), caller));
                    continue;
                };
                tokio::spawn(give_up_after(Duration::from_millis(patience_ms), caller));
            }
            // Let the last ones ask before it shuts.
            pass(1).await;
            world.shutdown().await;
            let sent = world.sent();
            for (first, count, caller) in callers {
                prop_assert!(caller.is_answered());
                let told = caller.answer().await;
                prop_assert_eq!(told.len(), count);
                for (number, told) in (first..).zip(told) {
                    prop_assert!(agree(told, number, &sent), "{} was told {:?}: {:?}", number, told, sent);
                }
            }
            let size = |sent: &Sent| sent.lengths.iter().sum::<usize>();
            for sent in &sent {
                prop_assert!(sent.lengths.len() == 1 || size(sent) <= options.batch_transfers_max);
            }
            let taken = sent.iter().filter(|sent| sent.answer != Answer::TooMuch);
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

async fn give_up_after(patience: Duration, caller: Caller) {
    tokio::time::sleep(patience).await;
    caller.give_up().await;
}
