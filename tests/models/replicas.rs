//! Several replicas over one ledger, some of them delayed: they send a planned chain later, after time has passed and other
//! replicas have acted.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::decide::clock_value::ClockValue;
use ledger_limiter::decide::refill::CatchUp;
use ledger_limiter::decide::{refill, reserve as reserving};
use ledger_limiter::ledger::memory::ManualClock;
use ledger_limiter::ledger::memory::MemoryLedger;
use ledger_limiter::ledger::{Chain, ChainOutcome, Ledger};
use ledger_limiter::limit::{Definition, KindFields, KindName};
use proptest::prelude::*;
use ulid::Ulid;

use super::{ExactBackend, NS_PER_MS, block_on};
use crate::fixtures::*;

const REPLICAS: usize = 3;

#[derive(Debug, Clone)]
enum Action {
    /// A replica reserves without delay.
    Take {
        replica: usize,
        amount: u64,
    },
    /// A replica plans a reservation, and is delayed.
    PlanToTake {
        replica: usize,
        amount: u64,
    },
    /// A replica plans a refill, and is delayed.
    PlanToRefill {
        replica: usize,
    },
    /// A delayed chain is sent.
    Send {
        nth: usize,
    },
    Pass {
        ms: u64,
    },
    /// Time passes to the next step of the schedule, or to a millisecond before or after it.
    PassToStep {
        off_ms: i64,
    },
}

/// A planned chain that was not sent yet. `amount` is granted if the ledger accepts it; a refill has the amount 0.
struct Delayed {
    chain: Chain,
    planned_ms: u64,
    amount: u64,
}

struct Granted {
    planned_ms: u64,
    at_ms: u64,
    amount: u64,
    /// Whether the reserve looked if the bucket is full, right before. A chain that was planned alone did not.
    is_paced: bool,
}

struct World {
    backend: ExactBackend,
    definition: Definition,
    replicas: Vec<Replica<MemoryLedger<Arc<ManualClock>>>>,
    since_ms: u64,
    delayed: Vec<Delayed>,
    granted: Vec<Granted>,
}

impl World {
    async fn new(definition: Definition) -> Self {
        let backend = ExactBackend::new();
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(Replica::start(backend.connect(), backend.ids(), 0).await);
        }
        replicas[0].put(definition.clone()).await;
        let since_ms = backend.now_ms();
        Self { backend, definition, replicas, since_ms, delayed: Vec::new(), granted: Vec::new() }
    }

    async fn act(&mut self, action: &Action) {
        let now_ms = self.backend.now_ms();
        match *action {
            Action::Take { replica, amount } => {
                if is_granted(&self.replicas[replica].take(&[("limit", amount)]).await) {
                    let (planned_ms, at_ms) = (now_ms, now_ms);
                    self.granted.push(Granted { planned_ms, at_ms, amount, is_paced: true });
                }
            }
            Action::PlanToTake { replica, amount } => {
                // A reserve refills first. This one does not look whether the bucket is full, as replicas of earlier versions.
                if let Some(due) = self.refill_due(replica).await {
                    self.replicas[replica].ledger.submit_one(due.chain).await.expect("an outcome");
                }
                let replica = &self.replicas[replica];
                let info = replica.info("limit").await;
                let command = reserve(lease(), &[("limit", amount)]);
                let now_ns = replica.ledger.now_ns();
                let chain = reserving::plan(replica.ids, &command, &[Some(info.limit())], now_ns);
                let chain = chain.expect("it has a requirement");
                self.delayed.push(Delayed { chain, planned_ms: now_ms, amount });
            }
            Action::PlanToRefill { replica } => self.plan_to_refill(replica).await,
            Action::Send { nth } if !self.delayed.is_empty() => {
                let sent = self.delayed.remove(nth % self.delayed.len());
                let outcome = self.replicas[0].ledger.submit_one(sent.chain).await.expect("an outcome");
                if let (ChainOutcome::Created { .. }, 1..) = (outcome, sent.amount) {
                    let (planned_ms, amount) = (sent.planned_ms, sent.amount);
                    self.granted.push(Granted { planned_ms, at_ms: now_ms, amount, is_paced: false });
                }
            }
            Action::Send { .. } => {}
            Action::Pass { ms } => self.backend.pass(Duration::from_millis(ms)).await,
            Action::PassToStep { off_ms } => {
                let since_step_ms = now_ms.saturating_sub(self.anchor_ms().max(self.phase_ms().await));
                let step_ms = now_ms + self.step_length_ms() - since_step_ms % self.step_length_ms();
                self.backend.pass_to(step_ms.saturating_add_signed(off_ms));
            }
        }
        self.backend.pass(Duration::from_micros(1)).await;
    }

    async fn plan_to_refill(&mut self, replica: usize) {
        let now_ns = self.replicas[replica].ledger.now_ns();
        if let Some(due) = self.refill_due(replica).await {
            self.delayed.push(Delayed { chain: due.chain, planned_ms: now_ns / NS_PER_MS, amount: 0 });
        }
    }

    async fn refill_due(&self, replica: usize) -> Option<CatchUp> {
        let replica = &self.replicas[replica];
        replica.registry().refresh().await.expect("the ledger answers");
        let limit = replica.registry().limit(&key("limit")).expect("the limit exists");
        let clock = self.clock().await;
        let (now_ns, fresh_ulid) = (replica.ledger.now_ns(), Ulid::generate().0);
        refill::catch_up(replica.ids, &limit, clock, now_ns, None, fresh_ulid)
    }

    async fn clock(&self) -> ClockValue {
        let replica = &self.replicas[0];
        let limit = replica.registry().limit(&key("limit")).expect("the limit exists");
        let clock = limit.schedule.as_ref().expect("the limit has a schedule").clock();
        let clock = replica.ledger.accounts(vec![clock]).await.expect("the ledger answers");
        ClockValue::of(&clock[0].expect("it has a clock")).expect("in range")
    }

    /// The moment from which the refills of a bucket count; 0 if they count from its definition.
    async fn phase_ms(&self) -> u64 {
        self.clock().await.phase
    }

    fn fields(&self) -> KindFields {
        self.definition.kind.fields()
    }

    fn is_bucket(&self) -> bool {
        self.definition.kind.name() == KindName::TokenBucket
    }

    fn step_length_ms(&self) -> u64 {
        if self.is_bucket() { self.fields().refill_interval_ms } else { self.fields().window_seconds * 1_000 }
    }

    fn anchor_ms(&self) -> u64 {
        if self.is_bucket() { self.since_ms } else { self.fields().align * 1_000 }
    }

    /// Checks that the granted amounts fit into the capacity and its refills.
    fn check(&self) {
        let capacity = self.definition.capacity.get();
        let sum = |granted: &dyn Fn(&Granted) -> bool| -> u64 {
            self.granted.iter().filter(|one| granted(one)).map(|one| one.amount).sum()
        };
        let steps_before = |at_ms: u64| (at_ms - self.anchor_ms()) / self.step_length_ms();
        let refills = |from_ms: u64, to_ms: u64| {
            (to_ms - from_ms) / self.step_length_ms() * self.fields().refill_amount
        };
        // A chain that is delayed over a step may count in the step in which it was planned.
        let in_time = |one: &Granted| steps_before(one.planned_ms) == steps_before(one.at_ms);
        // The interval of a full bucket begins with each reserve that takes from it.
        let all_are_paced = self.granted.iter().all(|one| one.is_paced);
        for first in &self.granted {
            if self.is_bucket() {
                for last in self.granted.iter().filter(|last| last.at_ms >= first.at_ms) {
                    let (from_ms, to_ms) = (first.at_ms, last.at_ms);
                    let in_range = sum(&|one| (from_ms..=to_ms).contains(&one.at_ms));
                    // A bucket that lacks a token may be a moment before a refill of several.
                    let had = capacity + refills(from_ms, to_ms) + self.fields().refill_amount - 1;
                    assert!(
                        !all_are_paced || in_range <= had,
                        "{in_range} of {had} from {from_ms} to {to_ms}"
                    );
                    let ever = sum(&|one| one.at_ms <= to_ms);
                    let had_ever = capacity + refills(self.since_ms, to_ms);
                    assert!(ever <= had_ever, "{ever} of {had_ever} until {to_ms}");
                }
            } else {
                let window = steps_before(first.at_ms);
                let in_window = sum(&|one| in_time(one) && steps_before(one.at_ms) == window);
                assert!(in_window <= capacity, "{in_window} of {capacity} in a window");
                let ever = sum(&|one| one.at_ms <= first.at_ms);
                let windows = window - steps_before(self.since_ms) + 1;
                assert!(ever <= capacity * windows, "{ever} of {capacity} in {windows} windows");
            }
        }
    }

    /// Checks that nothing is lost: after all chains were sent and enough time has passed, every replica finds the whole
    /// capacity available.
    async fn check_all_is_refilled(&mut self) {
        while !self.delayed.is_empty() {
            self.act(&Action::Send { nth: 0 }).await;
        }
        self.check();
        let capacity = self.definition.capacity.get();
        let steps = if self.is_bucket() { capacity.div_ceil(self.fields().refill_amount) } else { 2 };
        // The interval of a full bucket begins at the next whole millisecond.
        self.backend.pass(Duration::from_millis(steps * self.step_length_ms() + 1)).await;
        for replica in &self.replicas {
            assert_eq!(
                replica.usage("limit").await,
                Usage { available: capacity.into(), reserved: 0, debt: 0 }
            );
        }
    }
}

fn definitions() -> impl Strategy<Value = Definition> {
    prop_oneof![
        (1..30_u64, 1..10_u64, 1..400_u64).prop_map(|(capacity, refill, interval_ms)| token_bucket(
            "limit",
            capacity,
            refill,
            interval_ms
        )),
        (1..30_u64, 1..4_u64).prop_map(|(capacity, window)| fixed_window(
            "limit",
            capacity,
            window,
            window / 2
        )),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => (0..REPLICAS, 1..12_u64).prop_map(|(replica, amount)| Action::Take { replica, amount }),
        2 => (0..REPLICAS, 1..12_u64).prop_map(|(replica, amount)| Action::PlanToTake { replica, amount }),
        3 => (0..REPLICAS).prop_map(|replica| Action::PlanToRefill { replica }),
        4 => any::<usize>().prop_map(|nth| Action::Send { nth }),
        3 => (1..3_000_u64).prop_map(|ms| Action::Pass { ms }),
        4 => (-1..=1_i64).prop_map(|off_ms| Action::PassToStep { off_ms }),
    ];
    proptest::collection::vec(action, 60)
}

async fn run(definition: Definition, actions: &[Action]) {
    let mut world = World::new(definition).await;
    for action in actions {
        world.act(action).await;
    }
    world.check_all_is_refilled().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn delayed_replicas_never_exceed_a_limit(definition in definitions(), actions in actions()) {
        block_on(run(definition, &actions));
    }

    /// Each reserve looks whether the bucket is full, so no interval is shorter than it should be.
    #[test]
    fn replicas_with_delayed_refills_keep_every_interval(definition in definitions(), actions in actions()) {
        let is_paced = |action: &Action| !matches!(action, Action::PlanToTake { .. });
        block_on(run(definition, &actions.into_iter().filter(is_paced).collect::<Vec<_>>()));
    }
}
