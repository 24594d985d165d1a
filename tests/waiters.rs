//! Waiting on paused time, over replicas far from their ledger: one outcome for each lease, order, cost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::ledger::{Chain, LedgerError};
use ledger_limiter::limit::LeaseId;
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::{Reserve, ReserveOutcome, Wait};
use ledger_limiter::testing::TokioClock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fixtures::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};
use crate::memory::RETENTION;

type Memory = MemoryLedger<TokioClock>;
type Slow = LedgerWrapper<Memory, RandomDelays>;

/// Delays each call before and after it takes effect, and counts transfers.
struct RandomDelays {
    delay_max_us: u64,
    transfers: AtomicUsize,
}

impl CallHook for RandomDelays {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let delay = || Duration::from_micros(rand::rng().random_range(0..=self.delay_max_us));
        tokio::time::sleep(delay()).await;
        let answer = call.await;
        tokio::time::sleep(delay()).await;
        answer
    }

    fn chain_sent(&self, chain: &Chain) {
        self.transfers.fetch_add(chain.transfers().len(), Ordering::SeqCst);
    }
}

async fn replicas(count: usize, delay_max_us: u64) -> Vec<Replica<Slow>> {
    let memory = Arc::new(MemoryLedger::new(TokioClock::new(), RETENTION));
    let start = |_| async {
        let hook = RandomDelays { delay_max_us, transfers: AtomicUsize::new(0) };
        let ledger = Arc::new(LedgerWrapper { inner: Arc::clone(&memory), hook });
        Replica::start_with(ledger, Ids::new(1), LimiterOptions::default()).await
    };
    join_all((0..count).map(start)).await
}

fn transfers(replica: &Replica<Slow>) -> usize {
    replica.ledger.hook.transfers.load(Ordering::SeqCst)
}

fn waits(lease: LeaseId, wants: &[(&str, u64)], max_ms: u64, priority: u64) -> Reserve {
    reserve(lease, wants).with_wait(Wait::new(max_ms, priority).expect("valid"))
}

/// A lease that is asked for again and again, here and there.
async fn ask_for_one_lease(replicas: &[Replica<Slow>], seed: u64) -> (LeaseId, Vec<ReserveOutcome>) {
    let mut random = StdRng::seed_from_u64(seed);
    let id = lease();
    let wants: Vec<(&str, u64)> = match random.random_range(0..4) {
        0 => vec![("a", 1)],
        1 => vec![("b", random.random_range(1..=3))],
        2 => vec![("a", 1), ("b", random.random_range(1..=3))],
        _ => vec![("a", 1), ("b", 1), ("c", 2)],
    };
    let calls: Vec<_> = (0..random.random_range(1..=4))
        .map(|_| {
            let max_ms = if random.random_bool(0.3) { 0 } else { random.random_range(1..=120) };
            let gives_up_ms = if random.random_bool(0.2) { random.random_range(0..=60) } else { 1_000_000 };
            let at = random.random_range(0..replicas.len());
            (at, random.random_range(0..=60_u64), max_ms, random.random_range(0..=9_u64), gives_up_ms)
        })
        .collect();
    let asked = calls.into_iter().map(|(at, begins_ms, max_ms, priority, gives_up_ms)| {
        let command = waits(id, &wants, max_ms, priority);
        async move {
            tokio::time::sleep(Duration::from_millis(begins_ms)).await;
            let limit = Duration::from_millis(gives_up_ms);
            let answer = tokio::time::timeout(limit, replicas[at].limiter().reserve(&command)).await;
            answer.ok().map(|answer| answer.expect("the ledger answers"))
        }
    });
    let mut answers: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    // Whatever was said before, this says it again.
    for replica in replicas {
        answers.push(replica.limiter().reserve(&reserve(id, &wants)).await.expect("the ledger answers"));
    }
    if answers.iter().any(is_granted) && random.random_bool(0.7) {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..=30))).await;
        replicas[random.random_range(0..replicas.len())].complete(id, &[]).await;
    }
    (id, answers)
}

#[tokio::test(start_paused = true)]
async fn a_lease_has_one_outcome_whatever_is_asked_where() {
    for round in 0..30_u64 {
        let replicas = replicas(2, 5_000).await;
        replicas[0].put(concurrency("a", 2, 60)).await;
        replicas[0].put(concurrency("b", 4, 60)).await;
        replicas[0].put(token_bucket("c", 4, 1, 10)).await;
        replicas[1].registry().refresh().await.expect("the ledger answers");
        let asked = join_all((0..40).map(|nth| ask_for_one_lease(&replicas, round * 1_000 + nth))).await;
        let (mut granted, mut denied) = (0, 0);
        for (id, answers) in asked {
            let grants: Vec<_> = answers.iter().filter(|answer| is_granted(answer)).collect();
            assert!(grants.is_empty() || grants.len() == answers.len(), "{id}: {answers:?}");
            assert!(grants.iter().all(|grant| *grant == grants[0]), "{id}: {answers:?}");
            let denials = answers.iter().filter(|answer| no_room(answer).is_some()).count();
            assert_eq!(denials + grants.len(), answers.len(), "{id}: {answers:?}");
            if grants.is_empty() { denied += 1 } else { granted += 1 }
        }
        assert!(granted > 0 && denied > 0, "{granted} granted, {denied} denied");
        for replica in &replicas {
            let waiting = replica.limiter().waiting_counts().callers();
            assert_eq!(waiting, 0, "everybody has an answer");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_cost_the_transfers_of_their_grants() {
    const WAITERS: u64 = 10_000;
    let replicas = replicas(1, 500).await;
    let replica = &replicas[0];
    replica.put(token_bucket("bucket", 500, 500, 1_000)).await;
    assert!(is_granted(&replica.take(&[("bucket", 500)]).await));
    let before = transfers(replica);
    let commands: Vec<_> = (0..WAITERS).map(|_| waits(lease(), &[("bucket", 1)], 60_000, 5)).collect();
    let waiting = join_all(commands.iter().map(|command| replica.limiter().reserve(command)));
    let granted = waiting.await.iter().filter(|answer| answer.as_ref().is_ok_and(is_granted)).count();
    assert_eq!(granted as u64, WAITERS);
    let cost = (transfers(replica) - before) as f64 / WAITERS as f64;
    assert!(cost <= 1.1, "{cost} transfers per grant");
}

#[tokio::test(start_paused = true)]
async fn waiters_cost_no_transfers_while_nothing_changes() {
    let replicas = replicas(1, 500).await;
    let replica = &replicas[0];
    replica.put(concurrency("slots", 1, 600)).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    let commands: Vec<_> = (0..100).map(|_| waits(lease(), &[("slots", 1)], 60_000, 5)).collect();
    let waiting = join_all(commands.iter().map(|command| replica.limiter().reserve(command)));
    let watched = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = transfers(replica);
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(transfers(replica), before);
    };
    let (answers, ()) = tokio::join!(waiting, watched);
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| no_room(answer).is_some())));
}

/// Grants by priority, of callers that ask again as soon as they are granted.
async fn served(priorities: &[u64], each: usize, aging: Duration) -> HashMap<u64, usize> {
    let memory = Arc::new(MemoryLedger::new(TokioClock::new(), RETENTION));
    let mut options = LimiterOptions::default();
    options.waiting.priority_aging = aging;
    let replica = Replica::start_with(memory, Ids::new(1), options).await;
    replica.put(token_bucket("bucket", 1, 1, 100)).await;
    let ends = tokio::time::Instant::now() + Duration::from_secs(300);
    let caller = |priority: u64| {
        let replica = &replica;
        async move {
            let mut grants = 0;
            while tokio::time::Instant::now() < ends {
                let command = waits(lease(), &[("bucket", 1)], 60_000, priority);
                let answer = replica.limiter().reserve(&command).await.expect("the ledger answers");
                grants += usize::from(is_granted(&answer));
            }
            (priority, grants)
        }
    };
    let callers = priorities.iter().flat_map(|priority| std::iter::repeat_n(*priority, each)).map(caller);
    let mut by_priority = HashMap::new();
    for (priority, grants) in join_all(callers).await {
        *by_priority.entry(priority).or_default() += grants;
    }
    by_priority
}

#[tokio::test(start_paused = true)]
async fn nobody_starves_behind_a_higher_priority() {
    let served = served(&[9, 1], 10, Duration::from_millis(1_000)).await;
    let total = served[&9] + served[&1];
    assert!(total >= 2_970, "all tokens are used: {served:?}");
    assert!(served[&1] * 100 >= total * 5, "{served:?}");
    assert!(served[&9] > served[&1], "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_priority_are_served_alike() {
    let served = served(&[5, 5], 10, Duration::from_millis(1_000)).await;
    assert!(served[&5] >= 2_970, "all tokens are used: {served:?}");
}

#[tokio::test(start_paused = true)]
async fn what_exceeds_the_bound_on_waiters_is_denied_at_once() {
    let memory = Arc::new(MemoryLedger::new(TokioClock::new(), RETENTION));
    let mut options = LimiterOptions::default();
    options.waiting.waiters_max = 100;
    let replica = Replica::start_with(memory, Ids::new(1), options).await;
    replica.put(concurrency("slots", 1, 600)).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    let commands: Vec<_> = (0..150).map(|_| waits(lease(), &[("slots", 1)], 10_000, 5)).collect();
    let asked = tokio::time::Instant::now();
    let answers = join_all(commands.iter().map(|command| async {
        let answer = replica.limiter().reserve(command).await.expect("the ledger answers");
        assert!(no_room(&answer).is_some());
        asked.elapsed() < Duration::from_secs(1)
    }));
    assert_eq!(answers.await.iter().filter(|at_once| **at_once).count(), 50);
}
