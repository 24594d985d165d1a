//! Leases that a replica granted while the ledger did not answer: each becomes debt once, or is a lease of the ledger.

use ledger_limiter::limit::{Definition, EmergencyShare, LeaseId, OnUnavailable};
use ledger_limiter::limiter::{EmergencyCompletion, EmergencyDebt};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};

use crate::fixtures::*;

/// A definition of which a replica grants half without the ledger, for an hour.
fn half(definition: Definition) -> Definition {
    let share = EmergencyShare::new(0.5, 3_600).expect("valid");
    Definition { on_unavailable: OnUnavailable::Allow(share), ..definition }
}

/// A replica whose calls get no answer, with 100 tokens per hour and 10 slots.
async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(half(rolling("tokens", 100, 3_600))).await;
    replica.put(half(concurrency("slots", 10, 3_600))).await;
    replica.limiter().ledger_failed();
    replica
}

const WANTS: [(&str, u64); 2] = [("slots", 1), ("tokens", 10)];

impl<L: ledger_limiter::ledger::Ledger> Replica<L> {
    fn grant_in_emergency(&self, id: LeaseId, wants: &[(&str, u64)]) -> bool {
        let granted = self.limiter().grant_in_emergency(&reserve(id, wants));
        granted.is_some_and(|outcome| is_granted(&outcome))
    }

    fn complete_in_emergency(&self, id: LeaseId, used: &[(&str, u64)]) {
        let settled = EmergencyCompletion::Outcome(CompleteOutcome::Settled { overages: Vec::new() });
        assert_eq!(self.limiter().complete_in_emergency(&complete(id, used), |_| true), settled);
    }

    /// Records what is due, and asserts how many leases became debt here, and that none is left.
    async fn record(&self, debt: EmergencyDebt, recorded: u64) {
        self.limiter().record_emergency_debt(debt).await.expect("the ledger answers");
        let counts = self.limiter().emergency_counts();
        assert_eq!((counts.recorded(), counts.held()), (recorded, 0));
    }

    /// The usage of the tokens and of the slots.
    async fn usages(&self) -> [Usage; 2] {
        [self.usage("tokens").await, self.usage("slots").await]
    }
}

/// The usage of tokens and slots of which nothing is reserved.
fn owed(debt: u128) -> [Usage; 2] {
    [Usage { available: 100, reserved: 0, debt }, Usage { available: 10, reserved: 0, debt: 0 }]
}

pub async fn an_emergency_lease_becomes_debt<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    for (used, debt) in [(&[("tokens", 7), ("slots", 1)][..], 7), (&[("tokens", 25)], 32), (&[], 42)] {
        let id = lease();
        assert!(replica.grant_in_emergency(id, &WANTS));
        replica.complete_in_emergency(id, used);
        replica.limiter().record_emergency_debt(EmergencyDebt::Due).await.expect("the ledger answers");
        assert_eq!(replica.usages().await, owed(debt), "used {used:?}");
    }
    replica.record(EmergencyDebt::Due, 3).await;
}

pub async fn an_emergency_lease_without_a_complete_becomes_debt<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let id = lease();
    assert!(replica.grant_in_emergency(id, &WANTS));
    replica.limiter().record_emergency_debt(EmergencyDebt::Due).await.expect("the ledger answers");
    assert_eq!(replica.usages().await, owed(0), "it has an hour");
    replica.record(EmergencyDebt::All, 1).await;
    assert_eq!(replica.usages().await, owed(10));
    assert_eq!(replica.complete(id, &[("tokens", 3)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usages().await, owed(10));
}

pub async fn a_reserve_behind_its_emergency_debt_reserves_nothing<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    for used in [&[("tokens", 4)][..], &[("tokens", 0)]] {
        let id = lease();
        assert!(replica.grant_in_emergency(id, &WANTS));
        replica.complete_in_emergency(id, used);
        replica.limiter().record_emergency_debt(EmergencyDebt::Due).await.expect("the ledger answers");
        for replica in [&replica, &other] {
            assert_eq!(replica.reserve(id, &WANTS).await, ReserveOutcome::LeaseConflict);
            let batch = replica.limiter().reserve_batch(&[reserve(id, &WANTS)]).await;
            assert!(matches!(batch.as_slice(), [Ok(ReserveOutcome::LeaseConflict)]), "{batch:?}");
            assert_eq!(replica.complete(id, &[("tokens", 1)]).await, CompleteOutcome::NothingToDo);
        }
        assert_eq!(replica.usages().await, owed(4));
    }
}

pub async fn an_emergency_lease_that_the_ledger_granted_is_completed_as_recorded<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &WANTS).await), "its answer was lost");
    assert!(replica.grant_in_emergency(id, &WANTS));
    replica.complete_in_emergency(id, &[("tokens", 4)]);
    replica.record(EmergencyDebt::Due, 0).await;
    let tokens = Usage { available: 96, reserved: 4, debt: 0 };
    assert_eq!(replica.usages().await, [tokens, Usage { available: 10, reserved: 0, debt: 0 }]);
    assert_eq!(replica.reserve(id, &WANTS).await, ReserveOutcome::LeaseSettled);
}

pub async fn an_emergency_lease_that_the_ledger_granted_waits_for_its_complete<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &WANTS).await), "its answer was lost");
    assert!(replica.grant_in_emergency(id, &WANTS));
    replica.record(EmergencyDebt::All, 0).await;
    assert_eq!(replica.usage("tokens").await, Usage { available: 90, reserved: 10, debt: 0 });
    let settled = CompleteOutcome::Settled { overages: Vec::new() };
    assert_eq!(replica.complete(id, &[("tokens", 1)]).await, settled);
    assert_eq!(replica.usage("tokens").await, Usage { available: 99, reserved: 1, debt: 0 });
}

pub async fn an_emergency_lease_that_the_ledger_denied_becomes_debt_once<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    let [at_first, at_second] = [lease(), lease()];
    let (slots, tokens) = (lease(), lease());
    assert!(is_granted(&replica.reserve(slots, &[("slots", 10)]).await));
    assert_eq!(no_room(&replica.reserve(at_first, &WANTS).await), Some("slots"));
    replica.complete(slots, &[]).await;
    assert!(is_granted(&replica.reserve(tokens, &[("tokens", 100)]).await));
    assert_eq!(no_room(&replica.reserve(at_second, &WANTS).await), Some("tokens"));
    replica.complete(tokens, &[("tokens", 0)]).await;

    for (id, debt) in [(at_first, 10), (at_second, 20)] {
        for replica in [&replica, &other] {
            assert!(replica.grant_in_emergency(id, &WANTS));
            replica.limiter().record_emergency_debt(EmergencyDebt::All).await.expect("the ledger answers");
            assert_eq!(replica.usages().await, owed(debt));
        }
        assert!(!is_granted(&replica.reserve(id, &WANTS).await));
    }
    assert_eq!(other.usages().await, owed(20));
}

pub async fn replicas_record_an_emergency_lease_once<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    for (here, there, debt) in [
        (&[("tokens", 4)][..], &[("tokens", 4)][..], 4),
        (&[("tokens", 0)], &[("tokens", 5)], 4),
        (&[("tokens", 6)], &[("tokens", 0)], 10),
        (&[("tokens", 1)], &[], 11),
    ] {
        let id = lease();
        for (replica, used) in [(&replica, here), (&other, there)] {
            assert!(replica.grant_in_emergency(id, &[("tokens", 5)]));
            replica.complete_in_emergency(id, used);
        }
        replica.limiter().record_emergency_debt(EmergencyDebt::Due).await.expect("the ledger answers");
        other.limiter().record_emergency_debt(EmergencyDebt::Due).await.expect("the ledger answers");
        assert_eq!(replica.usages().await, owed(debt), "{here:?} and {there:?}");
    }
    let id = lease();
    assert!(
        replica.grant_in_emergency(id, &[("tokens", 5)]) && other.grant_in_emergency(id, &[("slots", 1)])
    );
    let (first, second) = tokio::join!(
        replica.limiter().record_emergency_debt(EmergencyDebt::All),
        other.limiter().record_emergency_debt(EmergencyDebt::All),
    );
    assert!(first.is_ok() && second.is_ok());
    let usages = replica.usages().await;
    assert!(usages == owed(11) || usages == owed(16), "one of two requirements: {usages:?}");
}

pub async fn a_lease_of_somebody_else_is_not_completed<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(half(rolling("own", 100, 3_600))).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &WANTS).await));
    assert!(replica.grant_in_emergency(id, &[("own", 1)]));
    replica.complete_in_emergency(id, &[]);
    replica.record(EmergencyDebt::Due, 0).await;
    assert_eq!(replica.usage("slots").await, Usage { available: 9, reserved: 1, debt: 0 });
    assert_eq!(replica.usage("own").await, Usage { available: 100, reserved: 0, debt: 0 });
}

pub async fn emergency_debt_is_recorded_on_changed_and_deleted_limits<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    other.put(half(token_bucket("bucket", 100, 1, 3_600_000))).await;
    replica.registry().refresh().await.expect("the ledger answers");
    let wants = [("bucket", 50), ("slots", 5), ("tokens", 50)];
    let (id, late) = (lease(), lease());
    assert!(replica.grant_in_emergency(id, &wants), "each half of the capacity");
    other.put(rolling("tokens", 40, 60)).await;
    for gone in ["bucket", "slots"] {
        other.admin().delete(&key(gone)).await.expect("it exists");
    }
    other.put(rolling("bucket", 100, 60)).await;
    assert!(!replica.grant_in_emergency(late, &[("tokens", 1)]));
    replica.record(EmergencyDebt::All, 1).await;
    assert_eq!(other.usage("tokens").await.debt, 50);
    assert_eq!(other.usage("bucket").await, Usage { available: 100, reserved: 0, debt: 50 });
    assert!(!is_granted(&other.reserve(id, &wants).await));
}

pub async fn only_known_instances_grant_in_an_emergency<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(half(rolling("user:{user}", 10, 3_600)), 5)).await;
    other.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&replica.take(&[("user:ann", 1)]).await));
    assert!(replica.grant_in_emergency(lease(), &[("user:ann", 5)]));
    assert!(!replica.grant_in_emergency(lease(), &[("user:ann", 1)]), "half of the instance's capacity");
    assert!(!replica.grant_in_emergency(lease(), &[("user:bob", 1)]), "only the ledger makes instances");
    assert!(!other.grant_in_emergency(lease(), &[("user:ann", 1)]), "another replica made it");
    replica.record(EmergencyDebt::All, 1).await;
    assert_eq!(replica.usage("user:ann").await, Usage { available: 9, reserved: 1, debt: 5 });
}

pub async fn an_emergency_lease_of_thirty_two_limits_becomes_debt<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let names: Vec<String> = (0..32).map(|number| format!("limit:{number}")).collect();
    for name in &names {
        replica.put(half(rolling(name, 10, 3_600))).await;
    }
    let wants: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 3)).collect();
    assert!(replica.grant_in_emergency(lease(), &wants));
    replica.record(EmergencyDebt::All, 1).await;
    for name in &names {
        assert_eq!(replica.usage(name).await, Usage { available: 10, reserved: 0, debt: 3 }, "{name}");
    }
}

pub async fn limits_without_permission_grant_nothing_in_an_emergency<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("strict", 100, 3_600)).await;
    for wants in [&[("strict", 1)][..], &[("strict", 1), ("tokens", 1)], &[("unknown", 1)]] {
        assert!(!replica.grant_in_emergency(lease(), wants), "{wants:?}");
    }
    assert!(replica.grant_in_emergency(lease(), &[("tokens", 50)]), "nothing of it was taken before");
    replica.put(rolling("tokens", 100, 3_600)).await;
    assert!(!replica.grant_in_emergency(lease(), &[("tokens", 1)]), "the definition changed");
}
