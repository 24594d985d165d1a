//! Waiting on paused time while something fails or comes at a bad moment: a release during a look, a panic, an unexpected answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::ledger::{Chain, LedgerError};
use ledger_limiter::limit::LeaseId;
use ledger_limiter::limiter::{LimiterError, LimiterOptions, WaitingOptions};
use ledger_limiter::protocol::{ReserveOutcome, Wait};
use ledger_limiter::testing::TokioClock;
use tokio::task::JoinHandle;

use crate::fixtures::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};
use crate::memory::RETENTION;

type Memory = MemoryLedger<TokioClock>;
type Faulty = LedgerWrapper<Memory, Faults>;

const WAIT_MS: u64 = 10_000;

/// What goes wrong with the calls of one replica.
#[derive(Default)]
struct Faults {
    /// How long the answer to a call is under way, in milliseconds.
    answer_takes_ms: AtomicU64,
    /// The next call panics.
    panics: AtomicBool,
    /// The next chains that are sent get an answer that no run of the program leads to.
    answers_nonsense: AtomicBool,
    is_nonsense: AtomicBool,
}

impl CallHook for Faults {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "a panic that the test wants");
        if self.is_nonsense.swap(false, Ordering::SeqCst) {
            return Err(LedgerError::Unexpected("nonsense that the test wants".to_owned()));
        }
        let answer_takes = Duration::from_millis(self.answer_takes_ms.load(Ordering::SeqCst));
        let answer = call.await;
        tokio::time::sleep(answer_takes).await;
        answer
    }

    fn chain_sent(&self, _: &Chain) {
        if self.answers_nonsense.swap(false, Ordering::SeqCst) {
            self.is_nonsense.store(true, Ordering::SeqCst);
        }
    }
}

/// Two replicas with one slot, which the second one has lent to a lease.
struct World {
    replica: Replica<Faulty>,
    another: Replica<Faulty>,
    holder: LeaseId,
}

impl World {
    async fn new(poll_interval: Duration) -> Self {
        let memory = Arc::new(MemoryLedger::new(TokioClock::new(), RETENTION));
        let start = async || {
            let ledger = Arc::new(LedgerWrapper { inner: Arc::clone(&memory), hook: Faults::default() });
            let waiting = WaitingOptions { poll_interval, ..WaitingOptions::default() };
            let options = LimiterOptions { leases_max: 10, waiting, ..LimiterOptions::default() };
            Replica::start_with(ledger, Ids::new(1), options).await
        };
        let (replica, another) = (start().await, start().await);
        replica.put(concurrency("slots", 1, 600)).await;
        another.registry().refresh().await.expect("the ledger answers");
        let holder = lease();
        assert!(is_granted(&another.reserve(holder, &[("slots", 1)]).await));
        Self { replica, another, holder }
    }

    fn faults(&self) -> &Faults {
        &self.replica.ledger.hook
    }

    fn wait(&self) -> JoinHandle<Result<ReserveOutcome, LimiterError>> {
        let limiter = self.replica.limiter().clone();
        let command = reserve(lease(), &[("slots", 1)]).with_wait(Wait::new(WAIT_MS, 5).expect("valid"));
        tokio::spawn(async move { limiter.reserve(&command).await })
    }
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_during_a_look_is_not_missed() {
    // Nothing is found by polling.
    let world = World::new(Duration::from_secs(3_600)).await;
    world.faults().answer_takes_ms.store(100, Ordering::SeqCst);
    let waiting = world.wait();
    // Its attempt is refused after 100 ms. The look that follows has found no room, and its answer is under way.
    pass(150).await;
    world.faults().answer_takes_ms.store(0, Ordering::SeqCst);
    world.replica.complete(world.holder, &[]).await;
    let granted = waiting.await.expect("no panic").expect("the ledger answers");
    assert!(is_granted(&granted), "{granted:?}");
}

#[tokio::test(start_paused = true)]
async fn another_asker_follows_one_that_panicked() {
    let world = World::new(Duration::from_millis(100)).await;
    let waiting = world.wait();
    pass(50).await;
    world.faults().panics.store(true, Ordering::SeqCst);
    pass(300).await;
    assert!(!world.faults().panics.load(Ordering::SeqCst), "the asker has panicked");
    world.another.complete(world.holder, &[]).await;
    let granted = waiting.await.expect("no panic").expect("the ledger answers");
    assert!(is_granted(&granted), "{granted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_during_the_first_attempt_is_told() {
    let world = World::new(Duration::from_millis(100)).await;
    world.faults().panics.store(true, Ordering::SeqCst);
    let answer = tokio::time::timeout(Duration::from_secs(60), world.wait()).await;
    let answer = answer.expect("the caller is told").expect("it does not panic");
    assert!(matches!(answer, Err(LimiterError::Ledger(LedgerError::Unexpected(_)))), "{answer:?}");
    assert_eq!(world.replica.limiter().waiting_counts().callers(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_for_another_reason_than_silence_ends_the_wait() {
    let world = World::new(Duration::from_millis(100)).await;
    let waiting = world.wait();
    pass(50).await;
    world.faults().answers_nonsense.store(true, Ordering::SeqCst);
    world.another.complete(world.holder, &[]).await;
    let answer = waiting.await.expect("no panic");
    assert!(matches!(answer, Err(LimiterError::Ledger(LedgerError::Unexpected(_)))), "{answer:?}");
}
