//! Complete: releases, expiries, overage, debt, repetitions and batches.

use std::time::Duration;

use ledger_limiter::limit::{Definition, Overage};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome, UnreservedOverage};

use crate::fixtures::*;

const SETTLED: CompleteOutcome = CompleteOutcome::Settled { overages: Vec::new() };

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 1_000).await
}

pub async fn a_complete_settles_each_limit_by_its_kind<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let [rpm, tpm, slots, daily] = [
        "global:llm:openai:gpt-4o:rpm",
        "global:llm:openai:gpt-4o:tpm",
        "global:llm:openai:gpt-4o:concurrency",
        "tenant:acme:llm:daily_tokens",
    ];
    replica.put(rolling(rpm, 60, 60)).await;
    replica.put(rolling(tpm, 60_000, 60)).await;
    replica.put(concurrency(slots, 10, 300)).await;
    replica.put(rolling(daily, 1_000_000, 86_400)).await;
    let lease = lease();
    let wanted = [(rpm, 1), (tpm, 1_800), (slots, 1), (daily, 1_800)];
    assert!(is_granted(&replica.reserve(lease, &wanted).await));
    assert_eq!(replica.usage(tpm).await, Usage { available: 58_200, reserved: 1_800, debt: 0 });
    assert_eq!(replica.complete(lease, &[(tpm, 740), (daily, 740)]).await, SETTLED);
    assert_eq!(replica.usage(rpm).await, Usage { available: 59, reserved: 1, debt: 0 });
    assert_eq!(replica.usage(tpm).await, Usage { available: 59_260, reserved: 740, debt: 0 });
    assert_eq!(replica.usage(slots).await, Usage { available: 10, reserved: 0, debt: 0 });
    assert_eq!(replica.usage(daily).await, Usage { available: 999_260, reserved: 740, debt: 0 });
}

pub async fn a_complete_releases_slots_named_or_not<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("a", 5, 60)).await;
    replica.put(concurrency("b", 5, 60)).await;
    let lease = lease();
    replica.reserve(lease, &[("a", 2), ("b", 3)]).await;
    assert_eq!(replica.complete(lease, &[("b", 1)]).await, SETTLED);
    assert_eq!(replica.usage("a").await, Usage { available: 5, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("b").await, Usage { available: 5, reserved: 0, debt: 0 });
}

pub async fn a_smaller_actual_keeps_the_expiry_of_its_reservation<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 100, 3)).await;
    let lease = lease();
    replica.reserve(lease, &[("tpm", 80)]).await;
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(replica.complete(lease, &[("tpm", 30)]).await, SETTLED);
    assert_eq!(replica.usage("tpm").await, Usage { available: 70, reserved: 30, debt: 0 });
    backend.pass(Duration::from_millis(1_000)).await;
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 70, reserved: 30, debt: 0 },
        "the remainder does not expire early"
    );
    backend.pass(Duration::from_millis(2_000)).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 100, reserved: 0, debt: 0 });
}

pub async fn an_actual_of_zero_releases_the_reservation<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let lease = lease();
    replica.reserve(lease, &[("tpm", 80)]).await;
    assert_eq!(replica.complete(lease, &[("tpm", 0)]).await, SETTLED);
    assert_eq!(replica.usage("tpm").await, Usage { available: 100, reserved: 0, debt: 0 });
}

pub async fn overage_is_reserved_if_there_is_room<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 100, 2)).await;
    let lease = lease();
    replica.reserve(lease, &[("tpm", 60)]).await;
    assert_eq!(replica.complete(lease, &[("tpm", 100)]).await, SETTLED);
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 100, debt: 0 });
    backend.pass(Duration::from_secs(3)).await;
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 100, reserved: 0, debt: 0 },
        "the overage expires with the reservation"
    );
}

pub async fn overage_without_room_becomes_debt<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 100, 60)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let lease = lease();
    replica.reserve(lease, &[("slots", 1), ("tpm", 60)]).await;
    let overage = UnreservedOverage { key: key("tpm"), amount: 1, overage: Overage::Debt };
    let settled = CompleteOutcome::Settled { overages: vec![overage] };
    assert_eq!(replica.complete(lease, &[("tpm", 101)]).await, settled);
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 0, reserved: 100, debt: 1 },
        "what fits is reserved"
    );
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.complete(lease, &[("tpm", 101)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 0, reserved: 100, debt: 1 },
        "the debt is recorded once"
    );
}

pub async fn overage_without_room_is_only_counted_with_deny<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(Definition { overage: Overage::Deny, ..rolling("tpm", 100, 60) }).await;
    let lease = lease();
    replica.reserve(lease, &[("tpm", 60)]).await;
    let overage = UnreservedOverage { key: key("tpm"), amount: 1, overage: Overage::Deny };
    let settled = CompleteOutcome::Settled { overages: vec![overage] };
    assert_eq!(replica.complete(lease, &[("tpm", 101)]).await, settled);
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 100, debt: 0 });
    assert_eq!(replica.complete(lease, &[("tpm", 1)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 100, debt: 0 });
}

pub async fn only_the_first_complete_settles<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("a", 100, 60)).await;
    replica.put(rolling("b", 100, 60)).await;
    let lease = lease();
    replica.reserve(lease, &[("a", 50), ("b", 50)]).await;
    assert_eq!(replica.complete(lease, &[("a", 20)]).await, SETTLED);
    let other = start(&backend).await;
    for replica in [&replica, &other] {
        for again in [&[("a", 20)][..], &[("a", 1), ("b", 1)], &[("b", 90)], &[]] {
            assert_eq!(replica.complete(lease, again).await, CompleteOutcome::NothingToDo, "{again:?}");
        }
    }
    assert_eq!(replica.usage("a").await, Usage { available: 80, reserved: 20, debt: 0 });
    assert_eq!(replica.usage("b").await, Usage { available: 50, reserved: 50, debt: 0 });
}

pub async fn concurrent_completes_settle_once<B: Backend>(backend: B) {
    let replicas = [start(&backend).await, start(&backend).await];
    replicas[0].put(rolling("a", 100, 60)).await;
    replicas[0].put(rolling("b", 100, 60)).await;
    let lease = lease();
    replicas[0].reserve(lease, &[("a", 50), ("b", 50)]).await;
    let mut completes = tokio::task::JoinSet::new();
    for caller in 0..20 {
        let limiter = replicas[caller % 2].limiter().clone();
        let name = ["a", "b"][caller / 2 % 2];
        completes.spawn(async move { limiter.complete(&complete(lease, &[(name, 10)])).await });
    }
    let answers = completes.join_all().await;
    let settled =
        answers.iter().filter(|answer| matches!(answer, Ok(CompleteOutcome::Settled { .. }))).count();
    assert_eq!(settled, 1, "{answers:?}");
    let reserved_of_a = replicas[0].usage("a").await.reserved;
    let reserved_of_b = replicas[0].usage("b").await.reserved;
    assert_eq!(reserved_of_a + reserved_of_b, 60, "one of the two reservations shrank, once");
}

pub async fn completing_an_unknown_or_expired_lease_changes_nothing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 5, 1)).await;
    assert_eq!(replica.complete(lease(), &[("slots", 1)]).await, CompleteOutcome::NothingToDo);
    let lease = lease();
    replica.reserve(lease, &[("slots", 2)]).await;
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(replica.complete(lease, &[]).await, CompleteOutcome::NothingToDo);
    assert_eq!(replica.usage("slots").await, Usage { available: 5, reserved: 0, debt: 0 });
}

pub async fn a_complete_settles_the_rest_after_a_slot_expired<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 5, 1)).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let lease = lease();
    replica.reserve(lease, &[("slots", 2), ("tpm", 50)]).await;
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(replica.complete(lease, &[("tpm", 10)]).await, SETTLED);
    assert_eq!(replica.usage("slots").await, Usage { available: 5, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("tpm").await, Usage { available: 90, reserved: 10, debt: 0 });
    assert_eq!(replica.complete(lease, &[("tpm", 5)]).await, CompleteOutcome::NothingToDo);
}

pub async fn a_complete_with_a_key_outside_the_lease_is_refused<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("a", 100, 60)).await;
    replica.put(rolling("b", 100, 60)).await;
    let lease = lease();
    replica.reserve(lease, &[("a", 50)]).await;
    let refused = CompleteOutcome::NotInLease { index: 1 };
    assert_eq!(replica.complete(lease, &[("a", 1), ("b", 1)]).await, refused);
    assert_eq!(
        replica.usage("a").await,
        Usage { available: 50, reserved: 50, debt: 0 },
        "the refused complete settled nothing"
    );
    assert_eq!(replica.complete(lease, &[("a", 1)]).await, SETTLED);
}

pub async fn a_lease_without_slots_stays_settled_at_other_replicas<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("a", 100, 60)).await;
    let lease = lease();
    replica.reserve(lease, &[("a", 50)]).await;
    assert_eq!(replica.complete(lease, &[("a", 50)]).await, SETTLED);
    let other = start(&backend).await;
    assert_eq!(other.complete(lease, &[("a", 1)]).await, CompleteOutcome::NothingToDo);
    assert_eq!(other.usage("a").await, Usage { available: 50, reserved: 50, debt: 0 });
}

pub async fn a_lease_of_thirty_two_legs_settles<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let names: Vec<String> = (0..32).map(|n| format!("limit-{n}")).collect();
    for name in &names {
        replica.put(rolling(name, 100, 60)).await;
    }
    let lease = lease();
    let wanted: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    assert!(is_granted(&replica.reserve(lease, &wanted).await));
    let used: Vec<_> = names.iter().map(|name| (name.as_str(), 3)).collect();
    assert_eq!(replica.complete(lease, &used).await, SETTLED);
    for name in &names {
        assert_eq!(replica.usage(name).await, Usage { available: 97, reserved: 3, debt: 0 });
    }
}

pub async fn a_complete_batch_settles_each_lease_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("rpm", 100, 60)).await;
    replica.put(rolling("tpm", 10_000, 2)).await;
    replica.put(concurrency("slots", 100, 60)).await;
    let wanted = [("rpm", 1), ("tpm", 50), ("slots", 1)];
    let leases: Vec<_> = (0..60).map(|_| lease()).collect();
    for lease in &leases {
        assert!(is_granted(&replica.reserve(*lease, &wanted).await));
    }
    let settled_before = leases[7];
    assert_eq!(replica.complete(settled_before, &[("tpm", 50)]).await, SETTLED);
    let mut commands: Vec<_> = leases.iter().map(|lease| complete(*lease, &[("tpm", 20)])).collect();
    commands.push(complete(lease(), &[("tpm", 20)]));
    commands.push(complete(leases[3], &[("tpm", 1)]));
    commands.push(complete(leases[4], &[("slots", 1), ("unknown", 1)]));
    let outcomes = replica.limiter().complete_batch(&commands).await;
    let settled =
        outcomes.iter().filter(|outcome| matches!(outcome, Ok(outcome) if *outcome == SETTLED)).count();
    assert_eq!(settled, 59, "each of the 59 running leases settles once: {outcomes:?}");
    assert!(outcomes.iter().all(Result::is_ok));
    let Usage { available, reserved, debt } = replica.usage("tpm").await;
    assert_eq!(available + reserved, 10_000);
    assert_eq!(debt, 0);
    // Two completes name leases[3]; either may settle it.
    assert!([58 * 20 + 1 + 50, 59 * 20 + 50].contains(&reserved), "{reserved}");
    assert_eq!(replica.usage("slots").await, Usage { available: 100, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("rpm").await, Usage { available: 40, reserved: 60, debt: 0 });
    let again = replica.limiter().complete_batch(&commands).await;
    assert!(again.iter().all(|outcome| matches!(outcome, Ok(CompleteOutcome::NothingToDo))), "{again:?}");
    assert_eq!(replica.usage("tpm").await.reserved, reserved);
    let repeated = replica.reserve(leases[0], &wanted).await;
    assert_eq!(repeated, ReserveOutcome::LeaseSettled);
    backend.pass(Duration::from_millis(3_100)).await;
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 10_000, reserved: 0, debt: 0 },
        "the remainders expire with their windows"
    );
}

pub async fn a_complete_batch_settles_while_a_limit_is_decreasing<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("tpm", 1_000, 60)).await;
    let leases: Vec<_> = (0..4).map(|_| lease()).collect();
    for lease in &leases {
        assert!(is_granted(&replica.reserve(*lease, &[("tpm", 200)]).await));
    }
    replica.put(rolling("tpm", 500, 60)).await;
    let commands: Vec<_> = leases.iter().map(|lease| complete(*lease, &[("tpm", 20)])).collect();
    let outcomes = replica.limiter().complete_batch(&commands).await;
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Ok(outcome) if *outcome == SETTLED)),
        "{outcomes:?}"
    );
    assert_eq!(replica.usage("tpm").await, Usage { available: 920, reserved: 80, debt: 0 });
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("tpm").await, Usage { available: 420, reserved: 80, debt: 0 });
}
