//! Limits that hand out allotments: a replica serves callers from a part of the capacity that it reserved.

use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::decide::ids::Purpose;
use ledger_limiter::ledger::{
    AccountId, Chain, ChainOutcome, Ledger, Movement, Refusal, Transfer, TransferCode, TransferId, UserData,
};
use ledger_limiter::limit::{AllotmentPeriod, Definition, LeaseId, RenewId, Status};
use ledger_limiter::protocol::{CompleteOutcome, ExtendOutcome, Renew, RenewOutcome, ReserveOutcome};

use crate::fixtures::*;

pub(super) const PERIOD: Duration = Duration::from_millis(200);
/// How long an allotment of this period serves at most.
const SERVES: Duration = Duration::from_secs(1);

pub(super) fn delegated(definition: Definition) -> Definition {
    let period = AllotmentPeriod::new(PERIOD.as_millis() as u64).expect("valid");
    definition.with_allotment(period).expect("a rolling or concurrency limit")
}

pub(super) async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

impl<L: Ledger> Replica<L> {
    /// Takes and completes single units, until one is served from an allotment.
    pub(super) async fn warm(&self, name: &str) {
        let served = self.served();
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        // The first calls over a real ledger may take longer than a period.
        while self.served() == served {
            assert!(std::time::Instant::now() < deadline, "the limit is busy");
            let id = lease();
            assert!(is_granted(&self.reserve(id, &[(name, 1)]).await));
            self.complete(id, &[(name, 0)]).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(super) fn served(&self) -> u64 {
        self.limiter().allotment_counts().served()
    }

    pub(super) async fn tend(&self) {
        self.limiter().tend_allotments().await;
    }

    /// Lets periods of the replica pass, with upkeep.
    pub(super) async fn pass_periods(&self, periods: u32) {
        for _ in 0..periods {
            tokio::time::sleep(PERIOD).await;
            self.tend().await;
        }
    }

    async fn allotted(&self, name: &str) -> u64 {
        self.limiter().allotted(self.info(name).await.limit().account)
    }

    pub(super) async fn extend(
        &self,
        id: LeaseId,
        extend_id: ExtendId,
        name: &str,
        units: u64,
    ) -> ReserveOutcome {
        let outcome = self.limiter().extend(&extend(id, extend_id, name, units)).await;
        match outcome.expect("the ledger answers") {
            ExtendOutcome::Answered(answer) => answer,
            refused @ (ExtendOutcome::NotInLease | ExtendOutcome::TooMany) => panic!("{refused:?}"),
        }
    }

    pub(super) async fn renew(&self, id: LeaseId, renew_id: RenewId) -> RenewOutcome {
        self.limiter().renew(&Renew { lease: id, renew_id }).await.expect("the ledger answers")
    }
}

pub(super) fn settled() -> CompleteOutcome {
    CompleteOutcome::Settled { overages: Vec::new() }
}

pub(super) fn held(available: u128, reserved: u128) -> Usage {
    Usage { available, reserved, debt: 0 }
}

/// The transfers of allotments, as a ledger takes them.
struct Allotting {
    chain: LeaseId,
    account: AccountId,
    ids: ledger_limiter::decide::ids::Ids,
}

impl Allotting {
    fn id(&self, leg: usize) -> TransferId {
        self.ids.of_lease(self.chain).transfer(Purpose::Allot, 0, leg)
    }

    fn transfer(&self, leg: usize, movement: Movement) -> Transfer {
        let user_data = UserData { wide: self.chain.as_u128(), ..UserData::default() };
        Transfer { id: self.id(leg), code: TransferCode::Allot, user_data, movement }
    }

    fn pend(&self, leg: usize, amount: u128, timeout_seconds: u32) -> Transfer {
        let (debit, credit) = (self.account, self.ids.operator());
        self.transfer(leg, Movement::Pend { debit, credit, amount, timeout_seconds })
    }

    fn void(&self, leg: usize, pending: TransferId) -> Transfer {
        self.transfer(leg, Movement::Void { pending })
    }
}

fn chain<const N: usize>(transfers: [Transfer; N]) -> Chain {
    Chain::new(transfers).expect("it has transfers")
}

pub async fn a_ledger_takes_an_allotment_once_and_replaces_several_by_one<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 10, 60)).await;
    let account = replica.info("rpm").await.limit().account;
    let allotting = |chain| Allotting { chain, account, ids: replica.ids };
    let (first, second, merged) = (allotting(lease()), allotting(lease()), allotting(lease()));
    let submit = |chain| replica.ledger.submit_one(chain);
    let take = chain([first.pend(0, 6, 60)]);
    let ChainOutcome::Created { timestamp_ns } = submit(take.clone()).await.expect("an outcome") else {
        panic!("there is room")
    };
    let again = submit(take).await.expect("an outcome");
    assert_eq!(again, ChainOutcome::Refused { index: 0, refusal: Refusal::Exists });
    let read = replica.ledger.lease_transfers(replica.ids.lease_query(first.chain)).await;
    let read = read.expect("the ledger answers");
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].timestamp_ns, read[0].transfer), (timestamp_ns, first.pend(0, 6, 60)));
    let refused = submit(chain([second.pend(0, 5, 60)])).await.expect("an outcome");
    assert_eq!(refused, ChainOutcome::Refused { index: 0, refusal: Refusal::ExceedsCredits });
    let second = allotting(lease());
    submit(chain([second.pend(0, 4, 60)])).await.expect("an outcome");
    assert_eq!(replica.usage("rpm").await, held(0, 10));
    // No unit is free between the voids and the new transfer.
    let step = chain([merged.void(0, first.id(0)), merged.void(1, second.id(0)), merged.pend(2, 10, 60)]);
    assert!(matches!(submit(step.clone()).await.expect("an outcome"), ChainOutcome::Created { .. }));
    assert_eq!(replica.usage("rpm").await, held(0, 10));
    let again = submit(step).await.expect("an outcome");
    assert_eq!(again, ChainOutcome::Refused { index: 0, refusal: Refusal::Exists });
    let late = allotting(lease());
    let voided = submit(chain([late.void(0, first.id(0)), late.pend(1, 6, 60)])).await.expect("an outcome");
    assert_eq!(voided, ChainOutcome::Refused { index: 0, refusal: Refusal::PendingAlreadyVoided });
}

pub async fn a_busy_limit_is_served_from_an_allotment<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 60))).await;
    replica.warm("rpm").await;
    let served = replica.served();
    for _ in 0..3 {
        assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    }
    assert_eq!(replica.served(), served + 3);
    let allotted = replica.allotted("rpm").await;
    let usage = replica.usage("rpm").await;
    assert_eq!(usage.available + usage.reserved, 1_000);
    assert!(usage.reserved >= u128::from(allotted) + 3, "what callers hold is reserved before: {usage:?}");
}

pub async fn what_no_caller_holds_is_returned_within_two_periods<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 3_600))).await;
    replica.put(delegated(concurrency("slots", 1_000, 3_600))).await;
    for name in ["rpm", "slots"] {
        replica.warm(name).await;
        for _ in 0..2 {
            assert!(is_granted(&replica.take(&[(name, 1)]).await));
        }
        replica.pass_periods(3).await;
        assert_eq!(replica.usage(name).await, held(998, 2), "{name}");
        assert_eq!(replica.allotted(name).await, 0, "{name}");
    }
}

pub async fn everything_is_available_when_all_holds_have_ended<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 100, 1))).await;
    replica.put(delegated(concurrency("slots", 100, 1))).await;
    for name in ["rpm", "slots"] {
        replica.warm(name).await;
        assert!(is_granted(&replica.take(&[(name, 3)]).await));
    }
    // A rolling unit is held a period longer at most; both end with the second in which they are due.
    for _ in 0..3 {
        backend.pass(Duration::from_secs(1)).await;
        replica.pass_periods(1).await;
    }
    for name in ["rpm", "slots"] {
        assert_eq!(replica.usage(name).await, held(100, 0), "{name}");
    }
}

pub async fn a_crashed_replica_leaves_nothing_reserved_for_long<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 100, 1))).await;
    replica.warm("rpm").await;
    let another = start(&backend).await;
    drop(replica);
    assert!(another.usage("rpm").await.reserved > 0);
    backend.pass(SERVES + Duration::from_secs(1)).await;
    assert_eq!(another.usage("rpm").await, held(100, 0));
}

pub async fn an_allotment_that_may_have_expired_serves_nobody<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(concurrency("slots", 100, 60))).await;
    replica.warm("slots").await;
    let counts = replica.limiter().allotment_counts();
    let (taken, served) = (counts.taken(), counts.served());
    // Without upkeep. Over the memory ledger only the ledger's time passes.
    backend.pass(SERVES).await;
    assert!(is_granted(&replica.take(&[("slots", 1)]).await));
    let of_first = counts.served() - served - (counts.taken() - taken);
    assert_eq!(of_first, 0, "the first allotment serves no more");
}

pub async fn a_slot_serves_the_next_caller_at_its_complete<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(concurrency("slots", 40, 60))).await;
    replica.warm("slots").await;
    let served = replica.served();
    for _ in 0..100 {
        let id = lease();
        assert!(is_granted(&replica.reserve(id, &[("slots", 1)]).await));
        assert_eq!(replica.complete(id, &[]).await, settled());
    }
    assert_eq!(replica.served(), served + 100);
}

pub async fn slots_are_held_over_many_periods<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(concurrency("slots", 40, 60))).await;
    replica.warm("slots").await;
    let mut running = Vec::new();
    for _ in 0..4 {
        let id = lease();
        assert!(is_granted(&replica.reserve(id, &[("slots", 2)]).await));
        running.push(id);
        tokio::time::sleep(PERIOD).await;
        replica.tend().await;
    }
    replica.pass_periods(2).await;
    assert_eq!(replica.usage("slots").await, held(32, 8));
    for id in running {
        assert_eq!(replica.complete(id, &[]).await, settled());
    }
    replica.pass_periods(2).await;
    assert_eq!(replica.usage("slots").await, held(40, 0));
}

pub async fn a_lease_in_allotments_is_granted_and_settled_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 60))).await;
    replica.warm("rpm").await;
    let (id, served) = (lease(), replica.served());
    let granted = replica.reserve(id, &[("rpm", 2)]).await;
    assert!(is_granted(&granted));
    assert_eq!(replica.reserve(id, &[("rpm", 2)]).await, granted);
    assert_eq!(replica.reserve(id, &[("rpm", 3)]).await, ReserveOutcome::LeaseConflict);
    assert_eq!(replica.reserve(id, &[("other", 2)]).await, ReserveOutcome::UnknownKey { key: key("other") });
    assert_eq!(replica.served(), served + 1);
    assert_eq!(replica.complete(id, &[("tpm", 2)]).await, CompleteOutcome::NotInLease { index: 0 });
    assert_eq!(replica.complete(id, &[("rpm", 1)]).await, settled());
    assert_eq!(replica.complete(id, &[("rpm", 0)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.reserve(id, &[("rpm", 2)]).await, ReserveOutcome::LeaseSettled);
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("rpm").await, held(999, 1));
}

pub async fn an_id_that_the_ledger_answered_is_not_served_again<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 100, 60))).await;
    let (granted, denied) = (lease(), lease());
    assert!(is_granted(&replica.reserve(granted, &[("rpm", 2)]).await));
    assert!(!is_granted(&replica.reserve(denied, &[("rpm", 99)]).await));
    let before = lease();
    tokio::time::sleep(Duration::from_millis(2)).await;
    replica.warm("rpm").await;
    let served = replica.served();
    assert!(is_granted(&replica.reserve(granted, &[("rpm", 2)]).await));
    assert_eq!(no_room(&replica.reserve(denied, &[("rpm", 99)]).await), Some("rpm"));
    assert_eq!(replica.served(), served, "the ledger answers again");
    let another = start(&backend).await;
    another.reserve(before, &[("rpm", 1)]).await;
    assert_eq!(another.served(), 0, "an id from before the start of a process may be known to the ledger");
}

pub async fn usage_above_the_reservation_is_counted<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("tpm", 100, 3_600))).await;
    replica.warm("tpm").await;
    let [small, large, huge] = [lease(), lease(), lease()];
    for id in [small, large, huge] {
        assert!(is_granted(&replica.reserve(id, &[("tpm", 1)]).await));
    }
    assert_eq!(replica.complete(small, &[("tpm", 2)]).await, settled());
    assert_eq!(replica.complete(large, &[("tpm", 50)]).await, settled());
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("tpm").await, held(47, 53));
    let CompleteOutcome::Settled { overages } = replica.complete(huge, &[("tpm", 150)]).await else {
        panic!("it settles")
    };
    assert_eq!(overages.len(), 1);
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 100, debt: 102 });
    assert_eq!(replica.complete(huge, &[("tpm", 150)]).await, CompleteOutcome::NothingToDo);
}

pub async fn a_lease_may_hold_allotments_and_other_limits<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 3_600))).await;
    replica.put(delegated(concurrency("slots", 1_000, 3_600))).await;
    replica.put(rolling("daily", 10, 3_600)).await;
    replica.warm("rpm").await;
    replica.warm("slots").await;
    let wants = [("daily", 6), ("rpm", 1), ("slots", 1)];
    let (first, second) = (lease(), lease());
    let granted = replica.reserve(first, &wants).await;
    assert!(is_granted(&granted));
    assert_eq!(replica.reserve(first, &wants).await, granted);
    assert_eq!(replica.reserve(first, &[("daily", 6), ("rpm", 1)]).await, ReserveOutcome::LeaseConflict);
    assert_eq!(no_room(&replica.reserve(second, &wants).await), Some("daily"));
    assert_eq!(no_room(&replica.reserve(second, &wants).await), Some("daily"), "it stays denied");
    let outside = replica.complete(first, &[("daily", 2), ("tpm", 1)]).await;
    assert_eq!(outside, CompleteOutcome::NotInLease { index: 1 });
    assert_eq!(replica.complete(first, &[("daily", 2), ("rpm", 1)]).await, settled());
    assert_eq!(replica.complete(first, &[("daily", 0)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("daily").await, held(8, 2));
    assert_eq!(no_room(&replica.reserve(second, &wants).await), Some("daily"), "it stays denied");
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("rpm").await, held(999, 1), "a denial hands back what it took");
    assert_eq!(replica.usage("slots").await, held(1_000, 0));
}

pub async fn a_batch_is_served_from_allotments_and_the_ledger<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 3_600))).await;
    replica.put(rolling("daily", 2, 3_600)).await;
    replica.warm("rpm").await;
    let commands = [
        reserve(lease(), &[("rpm", 1)]),
        reserve(lease(), &[("daily", 1)]),
        reserve(lease(), &[("daily", 1), ("rpm", 1)]),
        reserve(lease(), &[("daily", 1), ("rpm", 1)]),
    ];
    let answers = replica.limiter().reserve_batch(&commands).await;
    let granted: Vec<bool> =
        answers.iter().map(|answer| is_granted(answer.as_ref().expect("an answer"))).collect();
    assert_eq!(granted.iter().filter(|granted| **granted).count(), 3, "{answers:?}");
    assert_eq!(granted[..2], [true, true]);
    let completes: Vec<_> = commands.iter().map(|command| complete(command.lease, &[])).collect();
    for answer in replica.limiter().complete_batch(&completes).await {
        answer.expect("the ledger answers");
    }
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("rpm").await, held(998, 2));
}

pub async fn a_forced_reserve_asks_the_ledger<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 100, 3_600))).await;
    replica.warm("rpm").await;
    let (forced, served) = (lease(), lease());
    let force = async |id| {
        let outcome = replica.limiter().force(&reserve(id, &[("rpm", 1)])).await;
        assert!(is_granted(&outcome.expect("the ledger answers")));
    };
    force(forced).await;
    assert!(is_granted(&replica.reserve(forced, &[("rpm", 1)]).await));
    assert!(is_granted(&replica.reserve(served, &[("rpm", 1)]).await));
    force(served).await;
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("rpm").await, held(98, 2), "each is taken once");
}

pub async fn an_extend_takes_more_of_an_allotment<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("tpm", 1_000, 3_600))).await;
    replica.warm("tpm").await;
    let (id, extend_id) = (lease(), extend_id());
    assert!(is_granted(&replica.reserve(id, &[("tpm", 1)]).await));
    let granted = replica.extend(id, extend_id, "tpm", 2).await;
    assert!(is_granted(&granted), "{granted:?}");
    assert_eq!(replica.extend(id, extend_id, "tpm", 2).await, granted);
    assert_eq!(replica.extend(id, extend_id, "tpm", 3).await, ReserveOutcome::LeaseConflict);
    let outside = replica.limiter().extend(&extend(id, ExtendId::generate(), "rpm", 1)).await;
    assert_eq!(outside.expect("the ledger answers"), ExtendOutcome::NotInLease);
    assert!(is_granted(&replica.reserve(id, &[("tpm", 1)]).await), "the reserve is the same");
    assert_eq!(replica.complete(id, &[("tpm", 2)]).await, settled());
    assert_eq!(replica.extend(id, ExtendId::generate(), "tpm", 1).await, ReserveOutcome::LeaseSettled);
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("tpm").await, held(998, 2));
}

pub async fn a_renewed_slot_in_an_allotment_is_held_anew<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(concurrency("slots", 100, 2))).await;
    replica.warm("slots").await;
    let (id, another, renew_id) = (lease(), lease(), RenewId::generate());
    assert!(is_granted(&replica.reserve(id, &[("slots", 1)]).await));
    assert!(is_granted(&replica.reserve(another, &[("slots", 1)]).await));
    for renew_id in [renew_id, RenewId::generate(), RenewId::generate()] {
        backend.pass(Duration::from_millis(1_300)).await;
        replica.pass_periods(1).await;
        let renewed = replica.renew(id, renew_id).await;
        assert!(matches!(renewed, RenewOutcome::Answered(ReserveOutcome::Granted { .. })), "{renewed:?}");
        assert_eq!(replica.renew(id, renew_id).await, renewed);
    }
    replica.pass_periods(1).await;
    assert_eq!(replica.usage("slots").await.reserved, 1, "the other slot has timed out");
    let expired = replica.renew(another, RenewId::generate()).await;
    assert_eq!(expired, RenewOutcome::Answered(ReserveOutcome::LeaseExpired));
    assert_eq!(replica.complete(id, &[]).await, settled());
    replica.pass_periods(2).await;
    assert_eq!(replica.usage("slots").await, held(100, 0));
}

pub async fn a_slot_of_a_decreasing_limit_in_an_allotment_is_renewed<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(concurrency("slots", 100, 2))).await;
    replica.warm("slots").await;
    let (id, small) = (lease(), lease());
    assert!(is_granted(&replica.reserve(id, &[("slots", 60)]).await));
    assert!(is_granted(&replica.reserve(small, &[("slots", 1)]).await));
    assert_eq!(
        replica.put(delegated(concurrency("slots", 10, 2))).await,
        Status::Decreasing { to: capacity(10) }
    );
    replica.tend().await;
    let renewed = replica.renew(small, RenewId::generate()).await;
    assert!(matches!(renewed, RenewOutcome::Answered(ReserveOutcome::Granted { .. })), "{renewed:?}");
    replica.complete(id, &[]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    replica.pass_periods(2).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("slots").await, held(9, 1));
}

pub async fn a_decrease_gets_back_what_allotments_do_not_need<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let rolling = |capacity| delegated(rolling("rpm", capacity, 3_600));
    replica.put(rolling(100)).await;
    replica.warm("rpm").await;
    for _ in 0..2 {
        assert!(is_granted(&replica.take(&[("rpm", 1)]).await));
    }
    assert_eq!(replica.put(rolling(2)).await, Status::Decreasing { to: capacity(2) });
    let decreasing = replica.take(&[("rpm", 1)]).await;
    assert!(matches!(decreasing, ReserveOutcome::Decreasing { .. }), "{decreasing:?}");
    replica.pass_periods(1).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("rpm").await, held(0, 2));
    assert_eq!(replica.info("rpm").await.state().status, Status::Active);
}

pub async fn a_deleted_limit_serves_nobody<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 100, 3_600))).await;
    replica.warm("rpm").await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("rpm", 1)]).await));
    replica.admin().delete(&key("rpm")).await.expect("the limit exists");
    let denied = replica.take(&[("rpm", 1)]).await;
    assert_eq!(denied, ReserveOutcome::UnknownKey { key: key("rpm") });
    assert_eq!(replica.complete(id, &[("rpm", 0)]).await, settled());
    replica.pass_periods(2).await;
    replica.put(delegated(rolling("rpm", 100, 3_600))).await;
    assert_eq!(replica.usage("rpm").await, held(100, 0));
}

pub async fn a_new_version_is_not_served_from_an_old_allotment<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 1))).await;
    replica.warm("rpm").await;
    let served = replica.served();
    replica.put(delegated(rolling("rpm", 1_000, 3_600))).await;
    assert!(is_granted(&replica.take(&[("rpm", 5)]).await));
    replica.pass_periods(2).await;
    backend.pass(SERVES + Duration::from_secs(2)).await;
    assert_eq!(replica.usage("rpm").await.reserved, 5, "it is held for the new window");
    assert!(replica.served() <= served + 1);
}

pub async fn a_replica_that_stops_returns_what_no_caller_holds<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 100, 3_600))).await;
    replica.put(delegated(concurrency("slots", 100, 3_600))).await;
    for name in ["rpm", "slots"] {
        replica.warm(name).await;
        assert!(is_granted(&replica.take(&[(name, 1)]).await));
        assert!(replica.allotted(name).await > 0);
    }
    replica.limiter().return_allotments().await.expect("the ledger answers");
    for name in ["rpm", "slots"] {
        assert_eq!(replica.usage(name).await, held(99, 1), "{name}");
        assert!(is_granted(&replica.take(&[(name, 1)]).await), "the ledger answers");
    }
}

pub async fn another_replica_completes_a_lease_in_allotments_without_effect<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm", 1_000, 3_600))).await;
    replica.put(rolling("daily", 10, 3_600)).await;
    replica.warm("rpm").await;
    let (whole, part) = (lease(), lease());
    assert!(is_granted(&replica.reserve(whole, &[("rpm", 1)]).await));
    assert!(is_granted(&replica.reserve(part, &[("daily", 5), ("rpm", 1)]).await));
    let another = start(&backend).await;
    assert_eq!(another.complete(whole, &[("rpm", 0)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(another.complete(part, &[("daily", 2), ("rpm", 0)]).await, settled());
    assert_eq!(another.usage("daily").await, held(8, 2));
    replica.pass_periods(2).await;
    assert_eq!(replica.usage("rpm").await, held(998, 2), "it is held until it expires");
}

pub async fn replicas_together_grant_the_capacity_and_no_more<B: Backend>(backend: B) {
    let first = start(&backend).await;
    first.put(delegated(concurrency("slots", 50, 3_600))).await;
    let replicas = [first, start(&backend).await, start(&backend).await];
    let mut granted = 0;
    for _ in 0..12 {
        for replica in &replicas {
            let takes = join_all((0..5).map(|_| replica.take(&[("slots", 1)]))).await;
            granted += takes.iter().filter(|outcome| is_granted(outcome)).count();
            assert!(granted <= 50, "{granted}");
        }
        tokio::time::sleep(PERIOD / 4).await;
        join_all(replicas.iter().map(Replica::tend)).await;
    }
    assert_eq!(granted, 50);
    assert_eq!(replicas[0].usage("slots").await, held(0, 50));
}

pub async fn only_rolling_and_concurrency_limits_have_allotments<B: Backend>(_: B) {
    let period = AllotmentPeriod::new(1_000).expect("valid");
    for definition in of_each_kind(10) {
        let name = definition.key.as_str().to_owned();
        let is_possible = matches!(name.as_str(), "rolling" | "slots");
        assert_eq!(definition.with_allotment(period).is_ok(), is_possible, "{name}");
    }
}

pub async fn instances_of_a_template_have_allotments<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(delegated(rolling("rpm:{user}", 1_000, 3_600))).await;
    let first = lease();
    assert!(is_granted(&replica.reserve(first, &[("rpm:ann", 1)]).await));
    assert!(is_granted(&replica.reserve(first, &[("rpm:ann", 1)]).await));
    replica.warm("rpm:ann").await;
    assert!(is_granted(&replica.reserve(first, &[("rpm:ann", 1)]).await));
    replica.pass_periods(3).await;
    assert_eq!(replica.usage("rpm:ann").await, held(999, 1));
}
