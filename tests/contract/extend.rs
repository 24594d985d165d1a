use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::decide::ids::Ids;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::LeaseId;
use ledger_limiter::protocol::EXTENDS_MAX;
use ledger_limiter::protocol::Extend;
use ledger_limiter::protocol::{CompleteOutcome, ExtendOutcome, ReserveOutcome};

use crate::fixtures::*;

async fn ask<L: Ledger>(replica: &Replica<L>, command: &Extend) -> ExtendOutcome {
    replica.limiter().extend(command).await.expect("the ledger answers")
}

async fn more<L: Ledger>(replica: &Replica<L>, lease: LeaseId, name: &str, amount: u64) -> ReserveOutcome {
    attempt(replica, lease, extend_id(), name, amount).await
}

async fn attempt<L: Ledger>(
    replica: &Replica<L>,
    lease: LeaseId,
    attempt: ExtendId,
    name: &str,
    amount: u64,
) -> ReserveOutcome {
    answered(ask(replica, &extend(lease, attempt, name, amount)).await)
}

/// Names of so many attempts. Of 15 bits of each the ledger's ids are made: here none of them meet.
fn attempts(ids: Ids, lease: LeaseId, count: usize) -> Vec<ExtendId> {
    let mut seen = HashSet::new();
    let fresh_ulid = std::iter::repeat_with(extend_id);
    fresh_ulid.filter(|&attempt| seen.insert(ids.of_lease(lease).extension(attempt).0)).take(count).collect()
}

fn answered(outcome: ExtendOutcome) -> ReserveOutcome {
    outcome.answered().expect("granted or denied")
}

/// A replica that remembers leases, with the limits `tpm`, 1,000 a minute, `daily`, 10,000 an hour, and `slots`, 10.
async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    let replica = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    replica.put(rolling("tpm", 1_000, 60)).await;
    replica.put(rolling("daily", 10_000, 3_600)).await;
    replica.put(concurrency("slots", 10, 60)).await;
    replica
}

pub async fn what_is_granted_on_top_is_settled_with_the_rest<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    // Nothing, below what was granted at first, all of that, within the top-ups, all of it, and above.
    for actual in [0, 30, 100, 120, 180, 200] {
        let (lease, tokens) = (lease(), format!("tokens-{actual}"));
        let tokens = tokens.as_str();
        replica.put(rolling(tokens, 190, 60)).await;
        replica.reserve(lease, &[("daily", 7), ("slots", 1), (tokens, 100)]).await;
        for amount in [50, 30] {
            assert!(is_granted(&more(&replica, lease, tokens, amount).await));
        }
        assert!(is_granted(&more(&replica, lease, "slots", 2).await));
        assert_eq!(replica.usage(tokens).await, Usage { available: 10, reserved: 180, debt: 0 });
        assert_eq!(replica.usage("slots").await, Usage { available: 7, reserved: 3, debt: 0 }, "{actual}");
        let settled = replica.complete(lease, &[(tokens, actual), ("daily", 0)]).await;
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
        // Of 20 above, 10 had room, but it is reserved whole or not at all.
        let (reserved, debt) = if actual > 180 { (180, 20) } else { (u128::from(actual), 0) };
        assert_eq!(replica.usage(tokens).await, Usage { available: 190 - reserved, reserved, debt });
        assert_eq!(replica.usage("slots").await, Usage { available: 10, reserved: 0, debt: 0 }, "{actual}");
        assert_eq!(replica.usage("daily").await.reserved, 0, "{actual}");
    }
}

pub async fn what_is_not_told_keeps_its_top_ups<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("slots", 1), ("tpm", 100)]).await;
    assert!(is_granted(&more(&replica, lease, "tpm", 50).await));
    assert!(is_granted(&more(&replica, lease, "slots", 1).await));
    replica.complete(lease, &[]).await;
    assert_eq!(replica.usage("tpm").await, Usage { available: 850, reserved: 150, debt: 0 });
    assert_eq!(replica.usage("slots").await, Usage { available: 10, reserved: 0, debt: 0 });
}

pub async fn the_same_attempt_is_granted_once<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 7), ("tpm", 100)]).await;
    let command = extend(lease, extend_id(), "tpm", 50);
    let first = answered(ask(&replica, &command).await);
    assert!(is_granted(&first));
    assert_eq!(answered(ask(&replica, &command).await), first, "with the time of the first");
    assert_eq!(answered(ask(&another, &command).await), first);
    let at_once = join_all((0..8).map(|turn| ask(if turn % 2 == 0 { &replica } else { &another }, &command)));
    assert!(at_once.await.into_iter().all(|outcome| answered(outcome) == first));
    assert_eq!(replica.usage("tpm").await, Usage { available: 850, reserved: 150, debt: 0 });
    for other in [extend(lease, command.extend_id, "tpm", 51), extend(lease, command.extend_id, "daily", 50)]
    {
        assert_eq!(answered(ask(&another, &other).await), ReserveOutcome::LeaseConflict);
    }
    assert_eq!(replica.usage("tpm").await, Usage { available: 850, reserved: 150, debt: 0 });
    // The lease itself is still the one that was granted.
    assert!(is_granted(&another.reserve(lease, &[("daily", 7), ("tpm", 100)]).await));
    let other = another.reserve(lease, &[("daily", 7), ("tpm", 150)]).await;
    assert_eq!(other, ReserveOutcome::LeaseConflict);
}

pub async fn a_denied_attempt_stays_denied<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let (lease, in_the_way) = (lease(), lease());
    replica.reserve(lease, &[("tpm", 100)]).await;
    replica.reserve(in_the_way, &[("tpm", 850)]).await;
    let command = extend(lease, extend_id(), "tpm", 51);
    assert_eq!(no_room(&answered(ask(&replica, &command).await)), Some("tpm"));
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 50, reserved: 950, debt: 0 },
        "a denial leaves no trace"
    );
    replica.complete(in_the_way, &[("tpm", 0)]).await;
    assert_eq!(no_room(&answered(ask(&replica, &command).await)), Some("tpm"));
    assert!(is_granted(&more(&replica, lease, "tpm", 51).await));
    let too_much = more(&replica, lease, "tpm", 1_001).await;
    assert_eq!(too_much, ReserveOutcome::ExceedsCapacity { key: key("tpm") });
    replica.complete(lease, &[("tpm", 151)]).await;
    assert_eq!(
        replica.usage("tpm").await,
        Usage { available: 849, reserved: 151, debt: 0 },
        "denied attempts are nothing to settle"
    );
}

pub async fn only_a_running_lease_is_extended<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("short", 100, 1)).await;
    assert_eq!(more(&replica, lease(), "tpm", 1).await, ReserveOutcome::LeaseSettled, "it is not known");
    let lease = lease();
    replica.reserve(lease, &[("tpm", 100)]).await;
    let foreign = ask(&replica, &extend(lease, extend_id(), "daily", 1)).await;
    assert_eq!(foreign, ExtendOutcome::NotInLease);
    let command = extend(lease, extend_id(), "tpm", 1);
    assert!(is_granted(&answered(ask(&replica, &command).await)));
    replica.complete(lease, &[]).await;
    assert_eq!(answered(ask(&replica, &command).await), ReserveOutcome::LeaseSettled);
    assert_eq!(more(&replica, lease, "tpm", 1).await, ReserveOutcome::LeaseSettled, "it is completed");
    let expired = self::lease();
    replica.reserve(expired, &[("short", 1)]).await;
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(more(&replica, expired, "short", 1).await, ReserveOutcome::LeaseSettled, "it has expired");
    assert_eq!(replica.usage("short").await, Usage { available: 100, reserved: 0, debt: 0 });
}

pub async fn a_top_up_is_held_for_a_window_of_its_own<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(rolling("short", 100, 2)).await;
    let lease = lease();
    replica.reserve(lease, &[("short", 60), ("slots", 1)]).await;
    backend.pass(Duration::from_secs(2)).await;
    assert_eq!(replica.usage("short").await, Usage { available: 100, reserved: 0, debt: 0 });
    // Its first tokens are past their window, the call goes on.
    assert!(is_granted(&more(&replica, lease, "short", 70).await));
    assert_eq!(replica.usage("short").await, Usage { available: 30, reserved: 70, debt: 0 });
    assert!(is_granted(&replica.reserve(lease, &[("short", 60), ("slots", 1)]).await));
    replica.complete(lease, &[("short", 100)]).await;
    assert_eq!(
        replica.usage("short").await,
        Usage { available: 60, reserved: 40, debt: 0 },
        "what was used lately counts"
    );
    backend.pass(Duration::from_secs(3)).await;
    assert_eq!(replica.usage("short").await, Usage { available: 100, reserved: 0, debt: 0 });
}

pub async fn a_top_up_at_another_replica_is_settled_here<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    // With a place that heads the complete, and without.
    for wants in [&[("daily", 10), ("tpm", 100)][..], &[("daily", 10), ("slots", 1), ("tpm", 100)]] {
        let lease = lease();
        let before = replica.usage("tpm").await.reserved;
        replica.reserve(lease, wants).await;
        assert!(is_granted(&more(&another, lease, "tpm", 50).await));
        assert!(is_granted(&more(&another, lease, "daily", 5).await));
        // What this replica remembers of the lease is not all of it.
        let settled = replica.complete(lease, &[("tpm", 110), ("daily", 0)]).await;
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
        assert_eq!(replica.usage("tpm").await.reserved - before, 110);
        assert_eq!(replica.usage("daily").await.reserved, 0);
        assert_eq!(replica.usage("slots").await.reserved, 0);
        assert_eq!(another.complete(lease, &[("tpm", 0)]).await, CompleteOutcome::NothingToDo);
    }
}

pub async fn a_batch_settles_top_ups_at_another_replica<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let another = Replica::start(backend.connect(), backend.ids(), 1_000).await;
    let leases: Vec<LeaseId> = (0..4).map(|_| lease()).collect();
    for &lease in &leases {
        replica.reserve(lease, &[("daily", 100), ("slots", 1), ("tpm", 100)]).await;
    }
    // Two of the four: what they share a chain with must not hide their top-ups either.
    for &lease in &leases[1..3] {
        assert!(is_granted(&more(&another, lease, "tpm", 50).await));
        assert!(is_granted(&more(&another, lease, "slots", 1).await));
    }
    let completes: Vec<_> =
        leases.iter().map(|lease| complete(*lease, &[("daily", 10), ("tpm", 30)])).collect();
    for settled in replica.limiter().complete_batch(&completes).await {
        let settled = settled.expect("the ledger answers");
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
    }
    assert_eq!(replica.usage("tpm").await.reserved, 120);
    assert_eq!(replica.usage("daily").await.reserved, 40);
    assert_eq!(replica.usage("slots").await.reserved, 0);
}

pub async fn top_ups_and_a_complete_at_once_leave_nothing_behind<B: Backend>(backend: B) {
    let here = Arc::new(start(&backend).await);
    let there = Arc::new(Replica::start(backend.connect(), backend.ids(), 1_000).await);
    for round in 0..20 {
        let lease = lease();
        let wants: &[(&str, u64)] =
            if round % 2 == 0 { &[("daily", 100)] } else { &[("daily", 100), ("slots", 1)] };
        here.reserve(lease, wants).await;
        let extensions = (0..).zip(attempts(here.ids, lease, 6)).map(|(turn, name)| {
            let replica = Arc::clone(if turn % 2 == 0 { &here } else { &there });
            tokio::spawn(async move { attempt(&replica, lease, name, "daily", 10).await })
        });
        let extensions: Vec<_> = extensions.collect();
        let completing = Arc::clone(if round % 4 < 2 { &here } else { &there });
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        let settled = completing.complete(lease, &[("daily", 0)]).await;
        assert!(matches!(settled, CompleteOutcome::Settled { .. }), "{settled:?}");
        for outcome in join_all(extensions).await {
            let outcome = outcome.expect("no panic");
            assert!(is_granted(&outcome) || outcome == ReserveOutcome::LeaseSettled, "{outcome:?}");
        }
        assert_eq!(
            here.usage("daily").await.reserved,
            0,
            "round {round}: whatever came first, all of it is settled"
        );
        assert_eq!(here.usage("slots").await.reserved, 0, "round {round}");
    }
}

pub async fn a_limit_that_decreases_takes_no_top_ups<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 10), ("slots", 1), ("tpm", 900)]).await;
    assert!(is_granted(&more(&replica, lease, "tpm", 50).await));
    replica.put(rolling("tpm", 500, 60)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let denied = more(&replica, lease, "tpm", 1).await;
    assert!(matches!(&denied, ReserveOutcome::Decreasing { key, .. } if key.as_str() == "tpm"), "{denied:?}");
    // That the places are being lowered, of which it holds one, is nothing to its other limits.
    assert!(is_granted(&more(&replica, lease, "daily", 5).await));
    replica.complete(lease, &[("tpm", 100), ("daily", 15)]).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("tpm").await, Usage { available: 400, reserved: 100, debt: 0 });
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert_eq!(replica.usage("daily").await.reserved, 15);
}

pub async fn a_lease_can_be_extended_so_often<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 10), ("slots", 1)]).await;
    for name in attempts(replica.ids, lease, EXTENDS_MAX) {
        assert!(is_granted(&attempt(&replica, lease, name, "daily", 1).await));
    }
    let one_too_many = ask(&replica, &extend(lease, extend_id(), "daily", 1)).await;
    assert_eq!(one_too_many, ExtendOutcome::TooMany);
    replica.complete(lease, &[("daily", 12)]).await;
    assert_eq!(replica.usage("daily").await.reserved, 12);
    assert_eq!(replica.usage("slots").await.reserved, 0);
}

pub async fn attempts_whose_ids_meet_are_told_apart<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let lease = lease();
    replica.reserve(lease, &[("daily", 10)]).await;
    let mut by_id = HashMap::new();
    let [first, second] = std::iter::repeat_with(extend_id)
        .find_map(|attempt| {
            let met = by_id.insert(replica.ids.of_lease(lease).extension(attempt).0, attempt);
            met.map(|earlier| [earlier, attempt])
        })
        .expect("two of 32,769 meet");
    assert!(is_granted(&attempt(&replica, lease, first, "daily", 5).await));
    let unlucky = attempt(&replica, lease, second, "daily", 5).await;
    assert_eq!(unlucky, ReserveOutcome::NoRoom { key: key("daily"), retry_after_ms: 1 });
    assert!(is_granted(&attempt(&replica, lease, first, "daily", 5).await), "it is the same, not another");
    assert_eq!(replica.usage("daily").await.reserved, 15);
}
