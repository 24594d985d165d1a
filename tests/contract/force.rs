//! Force: everything is taken, whatever is free, and the excess is debt, exactly once.

use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{LeaseId, Status};
use ledger_limiter::protocol::ReserveOutcome;

use crate::fixtures::*;

async fn force<L: Ledger>(
    replica: &Replica<L>,
    lease: LeaseId,
    requirements: &[(&str, u64)],
) -> ReserveOutcome {
    replica.limiter().force(&reserve(lease, requirements)).await.expect("the ledger answers")
}

pub async fn a_forced_reserve_takes_what_is_free_and_owes_the_rest<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tpm", 100, 60)).await;
    replica.put(concurrency("slots", 1, 60)).await;
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    replica.put(fixed_window("window", 10, 3_600, 0)).await;
    let wants = [("bucket", 4), ("slots", 1), ("tpm", 70), ("window", 7)];
    assert!(is_granted(&force(&replica, lease(), &wants).await));
    assert_eq!(replica.usage("tpm").await, Usage { available: 30, reserved: 70, debt: 0 });
    assert!(is_granted(&force(&replica, lease(), &wants).await));
    for (key, reserved, debt) in [("tpm", 100, 40), ("slots", 1, 1), ("bucket", 8, 0), ("window", 10, 4)] {
        let usage = replica.usage(key).await;
        assert_eq!((usage.reserved, usage.debt), (reserved, debt), "{key}");
    }
    assert!(is_granted(&force(&replica, lease(), &[("tpm", 1_000)]).await), "more than the capacity");
    assert_eq!(replica.usage("tpm").await, Usage { available: 0, reserved: 100, debt: 1_040 });
}

pub async fn a_repeated_forced_reserve_takes_once<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tpm", 100, 60)).await;
    another.registry().refresh().await.expect("the ledger answers");
    let lease = lease();
    let answers = join_all(
        (0..8).map(|turn| force(if turn % 2 == 0 { &replica } else { &another }, lease, &[("tpm", 150)])),
    );
    let answers = answers.await;
    assert!(is_granted(&answers[0]) && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let expected = Usage { available: 0, reserved: 100, debt: 50 };
    assert_eq!(replica.usage("tpm").await, expected);
    assert_eq!(another.reserve(lease, &[("tpm", 150)]).await, answers[0], "it is the lease's grant");
    assert_eq!(force(&another, lease, &[("tpm", 149)]).await, ReserveOutcome::LeaseConflict);
    replica.complete(lease, &[("tpm", 150)]).await;
    assert_eq!(force(&another, lease, &[("tpm", 150)]).await, ReserveOutcome::LeaseSettled);
    assert_eq!(replica.usage("tpm").await, expected);
}

pub async fn a_complete_settles_a_forced_reserve<B: Backend>(backend: B) {
    // With the lease in memory, and read back from the ledger.
    for leases_max in [100, 0] {
        let replica = Replica::start(backend.connect(), backend.ids(), leases_max).await;
        let limit = |name: &str| format!("{name}{leases_max}");
        for (name, actual, reserved, debt) in
            [("less", 30, 30, 50), ("between", 120, 100, 50), ("all", 150, 100, 50), ("more", 180, 100, 80)]
        {
            let name = limit(name);
            replica.put(rolling(&name, 100, 60)).await;
            let lease = lease();
            force(&replica, lease, &[(&name, 150)]).await;
            replica.complete(lease, &[(&name, actual)]).await;
            let usage = replica.usage(&name).await;
            assert_eq!((usage.reserved, usage.debt), (reserved, debt), "{name}");
        }
        let slots = limit("slots");
        replica.put(concurrency(&slots, 1, 60)).await;
        let (first, second) = (lease(), lease());
        force(&replica, first, &[(&slots, 1)]).await;
        force(&replica, second, &[(&slots, 1)]).await;
        replica.complete(second, &[]).await;
        assert_eq!(replica.usage(&slots).await.reserved, 1, "the first still has the slot");
        replica.complete(first, &[]).await;
        assert_eq!(replica.usage(&slots).await.reserved, 0);
    }
}

pub async fn concurrent_forced_reserves_owe_exactly_the_excess<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tpm", 100, 60)).await;
    let forced = (0..6).map(|_| force(&replica, lease(), &[("tpm", 30)]));
    assert!(join_all(forced).await.iter().all(is_granted));
    let Usage { available, reserved, debt } = replica.usage("tpm").await;
    assert_eq!((available + reserved, reserved + debt), (100, 180), "{available} {reserved} {debt}");
}

pub async fn a_forced_reserve_makes_the_instance_of_its_template<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(token_bucket("user:{user}", 5, 1, 60_000), 1)).await;
    assert!(is_granted(&force(&replica, lease(), &[("user:ann", 8)]).await));
    assert_eq!(replica.usage("user:ann").await, Usage { available: 0, reserved: 5, debt: 3 });
    let another = force(&replica, lease(), &[("user:bob", 1)]).await;
    assert_eq!(another, ReserveOutcome::TooManyInstances { key: key("user:bob") });
}

pub async fn a_first_forced_reserve_that_is_repeated_takes_once<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(rolling("user:{user}", 5, 60), 9)).await;
    another.registry().refresh().await.expect("the ledger answers");
    for user in ["user:ann", "user:bob", "user:eve"] {
        let (lease, wants) = (lease(), [(user, 8)]);
        let forced = (0..6).map(|turn| force(if turn % 2 == 0 { &replica } else { &another }, lease, &wants));
        let answers = join_all(forced).await;
        assert!(is_granted(&answers[0]) && answers.iter().all(|it| *it == answers[0]), "{answers:?}");
        assert_eq!(replica.usage(user).await, Usage { available: 0, reserved: 5, debt: 3 }, "{user}");
    }
}

pub async fn a_forced_reserve_finds_a_limit_that_was_reset<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tpm", 5, 60)).await;
    replica.put(template(rolling("user:{user}", 5, 60), 9)).await;
    another.registry().refresh().await.expect("the ledger answers");
    for name in ["tpm", "user:ann"] {
        another.take(&[(name, 5)]).await;
        replica.admin().reset(&key(name)).await.expect("it is reset");
        assert!(is_granted(&force(&another, lease(), &[(name, 4)]).await), "{name}");
        assert_eq!(replica.usage(name).await, Usage { available: 1, reserved: 4, debt: 0 }, "{name}");
    }
}

pub async fn a_forced_reserve_is_denied_where_nothing_can_be_taken<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(concurrency("slots", 2, 2)).await;
    let unknown = force(&replica, lease(), &[("nothing", 1), ("slots", 1)]).await;
    assert_eq!(unknown, ReserveOutcome::UnknownKey { key: key("nothing") });
    let running = lease();
    force(&replica, running, &[("slots", 2)]).await;
    assert_eq!(replica.put(concurrency("slots", 1, 2)).await, Status::Decreasing { to: capacity(1) });
    let closed = force(&replica, lease(), &[("slots", 1)]).await;
    assert!(matches!(closed, ReserveOutcome::Decreasing { .. }), "{closed:?}");
    assert!(is_granted(&force(&replica, running, &[("slots", 2)]).await), "it was granted before");
    backend.pass(Duration::from_secs(2)).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 0 });
}
