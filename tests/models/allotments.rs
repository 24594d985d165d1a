//! Several replicas hand out allotments of the same limits. They lose answers, are paused, stop and crash. At no instant do
//! callers hold more than a capacity, and nothing stays reserved when all holds have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::ledger::{
    Account, AccountId, AccountQuery, Chain, ChainOutcome, LeaseQuery, Ledger, LedgerError, NewAccount,
    PendingDebit, PendingQuery, Recorded,
};
use ledger_limiter::limit::{AllotmentPeriod, Definition, LeaseId};
use ledger_limiter::protocol::{Reserve, ReserveOutcome};
use ledger_limiter::testing::TokioClock;

use crate::fixtures::*;
use crate::ledger_wrapper::{CallHook, LedgerWrapper};

const REPLICAS: usize = 3;
const SEEDS: u64 = 20;
const OPERATIONS: usize = 250;

type Memory = MemoryLedger<TokioClock>;

/// Numbers that a seed determines.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Loses every so manieth call before or after it took effect; none at 0.
#[derive(Default)]
struct Faults {
    one_in: AtomicU64,
    state: AtomicU64,
}

impl Faults {
    fn next(&self) -> u64 {
        let mut numbers = Numbers(self.state.load(Ordering::SeqCst) | 1);
        let next = numbers.below(1 << 32);
        self.state.store(numbers.0, Ordering::SeqCst);
        next
    }
}

impl CallHook for Faults {
    async fn around<T: Send>(
        &self,
        call: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let one_in = self.one_in.load(Ordering::SeqCst);
        let fate = if one_in == 0 { one_in + 2 } else { self.next() % one_in };
        // A call takes time, in which other calls are made.
        tokio::time::sleep(Duration::from_micros(self.next() % 3_000)).await;
        let answer = match fate {
            0 => return Err(LedgerError::ShutDown),
            1 => call.await.and(Err(LedgerError::ShutDown)),
            _ => call.await,
        };
        tokio::time::sleep(Duration::from_micros(self.next() % 3_000)).await;
        answer
    }
}

fn delegated(definition: Definition, period_ms: u64) -> Definition {
    definition.with_allotment(AllotmentPeriod::new(period_ms).expect("valid")).expect("valid")
}

struct Modelled {
    name: &'static str,
    capacity: u64,
    hold: Duration,
    are_slots: bool,
}

/// `hold` is the shortest that a definition of the run has.
const LIMITS: [Modelled; 3] = [
    Modelled { name: "plain", capacity: 60, hold: Duration::from_secs(2), are_slots: false },
    Modelled { name: "rpm", capacity: 80, hold: Duration::from_secs(2), are_slots: false },
    Modelled { name: "slots", capacity: 40, hold: Duration::from_secs(3), are_slots: true },
];

fn definitions(rpm_seconds: u64) -> [Definition; 3] {
    [
        rolling("plain", 60, 2),
        delegated(rolling("rpm", 80, rpm_seconds), 200),
        delegated(concurrency("slots", 40, 3), 300),
    ]
}

/// What a caller holds.
struct Held {
    replica: usize,
    command: Reserve,
    /// Of each of its requirements.
    units: Vec<u64>,
    reserved_at_unix_ms: u64,
}

struct World {
    memory: Arc<Memory>,
    replicas: Vec<Replica<LedgerWrapper<Memory, Faults>>>,
    numbers: Numbers,
    held: Vec<Held>,
    unknown: Vec<(usize, Reserve)>,
    /// The running leases, by replica.
    running: Vec<(usize, LeaseId)>,
    served: u64,
}

impl World {
    async fn new(seed: u64) -> Self {
        let memory = Arc::new(MemoryLedger::new(TokioClock::new(), Duration::from_secs(3_600)));
        let mut world = Self {
            memory,
            replicas: Vec::new(),
            numbers: Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            held: Vec::new(),
            unknown: Vec::new(),
            running: Vec::new(),
            served: 0,
        };
        for _ in 0..REPLICAS {
            let replica = world.start().await;
            world.replicas.push(replica);
        }
        for definition in definitions(2) {
            world.replicas[0].put(definition).await;
        }
        world.lose_one_in(40);
        world
    }

    async fn start(&mut self) -> Replica<LedgerWrapper<Memory, Faults>> {
        let state = AtomicU64::new(self.numbers.below(u64::MAX));
        let hook = Faults { one_in: AtomicU64::new(0), state };
        let ledger = Arc::new(LedgerWrapper { inner: Arc::clone(&self.memory), hook });
        Replica::start(ledger, Ids::new(1), 0).await
    }

    fn lose_one_in(&self, one_in: u64) {
        self.replicas.iter().for_each(|replica| replica.ledger.hook.one_in.store(one_in, Ordering::SeqCst));
    }

    fn now_ms(&self) -> u64 {
        self.memory.now_ns() / 1_000_000
    }

    /// What callers hold of a limit for certain.
    fn live(&self, limit: &Modelled) -> u64 {
        let now_ms = self.now_ms();
        let hold_ms = limit.hold.as_millis() as u64;
        let of_lease = |held: &Held| -> u64 {
            let is_live = now_ms < held.reserved_at_unix_ms + hold_ms;
            let units = held.command.requirements().iter().zip(&held.units);
            let of_limit = units.filter(|(requirement, _)| requirement.key.as_str() == limit.name);
            if is_live { of_limit.map(|(_, units)| units).sum() } else { 0 }
        };
        self.held.iter().map(of_lease).sum()
    }

    fn check(&self, seed: u64, step: usize) {
        for limit in &LIMITS {
            let live = self.live(limit);
            assert!(live <= limit.capacity, "seed {seed}, step {step}: {live} of {}", limit.name);
        }
    }

    async fn act(&mut self) {
        let replica = self.numbers.below(REPLICAS as u64) as usize;
        match self.numbers.below(100) {
            0..55 => {
                let names =
                    [&["rpm"][..], &["slots"], &["rpm", "slots"], &["plain", "rpm", "slots"], &["plain"]];
                let names = names[self.numbers.below(5) as usize];
                let units = 1 + self.numbers.below(3);
                let wants: Vec<(&str, u64)> = names.iter().map(|&name| (name, units)).collect();
                self.reserve(replica, reserve(lease(), &wants)).await;
            }
            55..60 if !self.unknown.is_empty() => {
                let nth = self.numbers.below(self.unknown.len() as u64) as usize;
                let (replica, command) = self.unknown.swap_remove(nth);
                self.reserve(replica, command).await;
            }
            60..80 if !self.running.is_empty() => self.complete().await,
            80..84 => self.replicas[replica].limiter().tend_allotments().await,
            84..86 if self.numbers.below(10) == 0 => {
                let started = self.start().await;
                started.ledger.hook.one_in.store(40, Ordering::SeqCst);
                self.served += self.replicas[replica].limiter().allotment_counts().served();
                self.replicas[replica] = started;
                self.unknown.retain(|(of, _)| *of != replica);
                self.running.retain(|(of, _)| *of != replica);
            }
            86..88 if self.numbers.below(10) == 0 => {
                let seconds = 2 + self.numbers.below(2);
                let [_, rpm, _] = definitions(seconds);
                // Its answer may be lost.
                let _changed = self.replicas[replica].admin().put(&rpm).await;
            }
            88..90 if self.numbers.below(20) == 0 => {
                // A replica is paused, and so is the upkeep of the others.
                tokio::time::sleep(Duration::from_millis(1_500 + self.numbers.below(3_000))).await;
            }
            90..92 if self.numbers.below(10) == 0 => {
                let _returned = self.replicas[replica].limiter().return_allotments().await;
            }
            _ => {
                tokio::time::sleep(Duration::from_millis(self.numbers.below(60))).await;
                for replica in &self.replicas {
                    replica.limiter().tend_allotments().await;
                }
            }
        }
    }

    async fn reserve(&mut self, replica: usize, command: Reserve) {
        match self.replicas[replica].limiter().reserve(&command).await {
            Ok(ReserveOutcome::Granted { reserved_at_unix_ms, .. }) => {
                let units = command.requirements().iter().map(|it| it.amount.get()).collect();
                self.running.push((replica, command.lease));
                self.held.push(Held { replica, command, units, reserved_at_unix_ms });
            }
            Ok(_) => {}
            Err(_) => self.unknown.push((replica, command)),
        }
    }

    async fn complete(&mut self) {
        let nth = self.numbers.below(self.running.len() as u64) as usize;
        let (replica, id) = self.running.swap_remove(nth);
        let actual = self.numbers.below(5);
        let Some(held) = self.held.iter_mut().find(|held| held.command.lease == id) else { return };
        assert_eq!(held.replica, replica);
        // The caller holds no more from the moment at which it sends the complete.
        let requirements = held.command.requirements().iter();
        let slots = LIMITS.map(|limit| (limit.name, limit.are_slots));
        for (requirement, units) in requirements.zip(&mut held.units) {
            let is_slot = slots.contains(&(requirement.key.as_str(), true));
            *units = if is_slot { 0 } else { actual.min(*units) };
        }
        let keys: Vec<_> = held.command.requirements().iter().map(|it| it.key.clone()).collect();
        let actuals: Vec<(&str, u64)> = keys.iter().map(|key| (key.as_str(), actual)).collect();
        if self.replicas[replica].limiter().complete(&complete(id, &actuals)).await.is_err() {
            self.running.push((replica, id));
        }
    }

    /// Everything that is reserved ends, and every limit has its capacity again.
    async fn settle(&mut self, seed: u64) {
        self.lose_one_in(0);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for replica in &self.replicas {
                replica.limiter().tend_allotments().await;
            }
        }
        self.replicas[0].admin().apply_decreases().await.expect("the ledger answers");
        for limit in &LIMITS {
            let usage = self.replicas[0].usage(limit.name).await;
            assert_eq!(
                (usage.available, usage.reserved),
                (limit.capacity.into(), 0),
                "seed {seed}: {}",
                limit.name
            );
        }
        for replica in &self.replicas {
            self.served += replica.limiter().allotment_counts().served();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn callers_never_hold_more_than_the_capacity() {
    let (mut served, mut peaks) = (0, [0; 3]);
    for seed in 1..=SEEDS {
        let mut world = World::new(seed).await;
        for step in 0..OPERATIONS {
            world.act().await;
            world.check(seed, step);
            for (peak, limit) in peaks.iter_mut().zip(&LIMITS) {
                *peak = world.live(limit).max(*peak);
            }
        }
        world.settle(seed).await;
        served += world.served;
    }
    assert!(served > 20 * SEEDS, "only {served} leases were served from allotments");
    for (peak, limit) in peaks.iter().zip(&LIMITS) {
        assert!(*peak * 10 >= limit.capacity * 9, "callers held {peak} of {} at most", limit.name);
    }
}

/// A ledger whose time, as this process knows it, stands still.
struct StaleTime {
    inner: Memory,
    now_ns: u64,
}

impl Ledger for StaleTime {
    async fn submit(&self, chains: Vec<Chain>) -> Vec<Result<ChainOutcome, LedgerError>> {
        self.inner.submit(chains).await
    }

    async fn create_accounts(&self, accounts: Vec<NewAccount>) -> Result<(), LedgerError> {
        self.inner.create_accounts(accounts).await
    }

    async fn accounts(&self, ids: Vec<AccountId>) -> Result<Vec<Option<Account>>, LedgerError> {
        self.inner.accounts(ids).await
    }

    async fn lease_transfers(&self, query: LeaseQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.inner.lease_transfers(query).await
    }

    async fn account_transfers(&self, query: AccountQuery) -> Result<Vec<Recorded>, LedgerError> {
        self.inner.account_transfers(query).await
    }

    async fn pending_debits(&self, query: PendingQuery) -> Result<Option<Vec<PendingDebit>>, LedgerError> {
        self.inner.pending_debits(query).await
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    async fn shutdown(&self) {}
}

#[tokio::test(start_paused = true)]
async fn a_paused_replica_serves_nothing_that_may_have_expired() {
    let inner = MemoryLedger::new(TokioClock::new(), Duration::from_secs(3_600));
    let now_ns = inner.now_ns();
    let ledger = Arc::new(StaleTime { inner, now_ns });
    let replica = Replica::start(ledger, Ids::new(1), 0).await;
    replica.put(delegated(concurrency("slots", 100, 60), 1_000)).await;
    let counts = replica.limiter().allotment_counts();
    while counts.served() == 0 {
        assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    }
    // It serves for two seconds, but for a margin.
    tokio::time::sleep(Duration::from_millis(1_940)).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    assert_eq!((counts.served(), counts.taken()), (2, 1));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    assert_eq!((counts.served(), counts.taken()), (3, 2), "its own clock stops the first allotment");
}
