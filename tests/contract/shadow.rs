//! Shadow mode: a limit that does not enforce grants everything and owes what finds no room; the limits beside it deny as ever.

use std::time::Duration;

use futures_util::future::join_all;
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{Definition, LeaseId, LimitKey, Status};
use ledger_limiter::limiter::LimiterOptions;
use ledger_limiter::protocol::{CommandOutcome, ReserveOutcome};

use crate::fixtures::*;

/// The same definition, in shadow mode.
fn shadow(definition: Definition) -> Definition {
    Definition { enforce: false, ..definition }
}

/// The limits that would deny, of a grant.
fn would_deny(outcome: &ReserveOutcome) -> Vec<&str> {
    let ReserveOutcome::Granted { would_deny, .. } = outcome else { panic!("not granted: {outcome:?}") };
    would_deny.iter().map(LimitKey::as_str).collect()
}

/// What is reserved of a limit, and its debt.
async fn taken<L: Ledger>(replica: &Replica<L>, key: &str) -> (u128, u128) {
    let Usage { reserved, debt, .. } = replica.usage(key).await;
    (reserved, debt)
}

pub async fn a_limit_in_shadow_mode_grants_everything_and_owes_the_excess<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    for definition in of_each_kind(10) {
        let name = definition.key.to_string();
        replica.put(shadow(definition)).await;
        another.registry().refresh().await.expect("the ledger answers");
        let fits = replica.take(&[(&name, 7)]).await;
        assert_eq!(would_deny(&fits), [""; 0], "{name}");
        let lease = lease();
        let exceeds = replica.reserve(lease, &[(&name, 7)]).await;
        assert_eq!(would_deny(&exceeds), [&name]);
        assert_eq!(taken(&replica, &name).await, (10, 4), "{name}");
        for replica in [&replica, &another] {
            assert_eq!(replica.reserve(lease, &[(&name, 7)]).await, exceeds, "{name}, repeated");
        }
        assert_eq!(would_deny(&another.take(&[(&name, 1_000)]).await), [&name], "above the capacity");
        assert_eq!(taken(&replica, &name).await, (10, 1_004), "{name}");
    }
}

pub async fn limits_beside_a_limit_in_shadow_mode_deny_all_or_nothing<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    // One stands before the limit in shadow mode in the chain, one behind it.
    replica.put(rolling("a", 10, 3_600)).await;
    replica.put(shadow(rolling("shadow", 10, 3_600))).await;
    replica.put(fixed_window("z", 10, 3_600, 0)).await;
    let wants = |a, shadow, z| [("a", a), ("shadow", shadow), ("z", z)];
    assert_eq!(would_deny(&replica.take(&wants(4, 15, 4)).await), ["shadow"]);
    assert_eq!(taken(&replica, "shadow").await, (10, 5));
    for (key, wants) in [("a", wants(7, 1, 1)), ("z", wants(1, 1, 7)), ("z", wants(1, 99, 7))] {
        let lease = lease();
        assert_eq!(no_room(&replica.reserve(lease, &wants).await), Some(key));
        assert_eq!(no_room(&replica.reserve(lease, &wants).await), Some(key), "repeated");
    }
    let above = replica.take(&wants(1, 1, 11)).await;
    assert_eq!(above, ReserveOutcome::ExceedsCapacity { key: key("z") });
    let unknown = replica.take(&[("nope", 1), ("shadow", 1)]).await;
    assert_eq!(unknown, ReserveOutcome::UnknownKey { key: key("nope") });
    for (key, expected) in [("a", (4, 0)), ("shadow", (10, 5)), ("z", (4, 0))] {
        assert_eq!(taken(&replica, key).await, expected, "{key}");
    }
    assert_eq!(would_deny(&replica.take(&wants(6, 1, 6)).await), ["shadow"], "their last units");
}

pub async fn a_lease_denied_beside_a_limit_in_shadow_mode_stays_denied<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(rolling("shadow", 10, 3_600))).await;
    replica.put(concurrency("slots", 1, 3_600)).await;
    another.registry().refresh().await.expect("the ledger answers");
    let holder = lease();
    replica.reserve(holder, &[("slots", 1), ("shadow", 10)]).await;
    let denied = lease();
    let wants = [("slots", 1), ("shadow", 5)];
    assert_eq!(no_room(&replica.reserve(denied, &wants).await), Some("slots"));
    replica.complete(holder, &[]).await;
    for replica in [&replica, &another] {
        assert_eq!(no_room(&replica.reserve(denied, &wants).await), Some("slots"), "there is a slot now");
    }
    assert_eq!(taken(&replica, "shadow").await, (10, 0));
    assert_eq!(would_deny(&replica.take(&wants).await), ["shadow"]);
}

pub async fn a_lease_denied_before_its_limit_in_shadow_mode_is_full_stays_denied<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(rolling("shadow", 10, 3_600))).await;
    replica.put(concurrency("slots", 1, 3_600)).await;
    let (holder, denied) = (lease(), lease());
    let wants = [("slots", 1), ("shadow", 5)];
    replica.reserve(holder, &[("slots", 1)]).await;
    assert_eq!(no_room(&replica.reserve(denied, &wants).await), Some("slots"), "the first attempt");
    replica.take(&[("shadow", 10)]).await;
    replica.complete(holder, &[]).await;
    assert_eq!(no_room(&replica.reserve(denied, &wants).await), Some("slots"), "the second attempt");
    assert_eq!((taken(&replica, "shadow").await, taken(&replica, "slots").await), ((10, 0), (0, 0)));
}

pub async fn a_repeated_reserve_in_shadow_mode_takes_once<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(rolling("shadow", 100, 3_600))).await;
    replica.put(shadow(rolling("template:{x}", 100, 3_600))).await;
    replica.put(rolling("tpm", 1_000, 3_600)).await;
    another.registry().refresh().await.expect("the ledger answers");
    for (wants, expected) in [
        (&[("shadow", 150)][..], ["shadow"]),
        (&[("template:a", 150), ("tpm", 1)], ["template:a"]),
        (&[("template:b", 150)], ["template:b"]),
    ] {
        let lease = lease();
        let reserve =
            |turn| if turn % 2 == 0 { replica.reserve(lease, wants) } else { another.reserve(lease, wants) };
        let answers = join_all((0..8).map(reserve)).await;
        assert_eq!(would_deny(&answers[0]), expected);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(taken(&replica, wants[0].0).await, (100, 50), "{wants:?}");
    }
    assert_eq!(taken(&replica, "tpm").await, (1, 0));
}

pub async fn concurrent_reserves_in_shadow_mode_owe_exactly_the_excess<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(rolling("shadow", 100, 3_600))).await;
    replica.put(rolling("tpm", 150, 3_600)).await;
    let reserves = (0..12).map(|_| replica.take(&[("shadow", 30), ("tpm", 30)]));
    let answers = join_all(reserves).await;
    assert_eq!(answers.iter().filter(|answer| is_granted(answer)).count(), 5, "as many as tpm has room for");
    let (reserved, debt) = taken(&replica, "shadow").await;
    assert_eq!(reserved + debt, 150, "{reserved} {debt}");
    assert_eq!(taken(&replica, "tpm").await, (150, 0));
}

pub async fn a_batch_decides_each_reserve_in_shadow_mode<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(rolling("shadow", 10, 3_600))).await;
    replica.put(rolling("tpm", 10, 3_600)).await;
    let wants = [&[("shadow", 8)][..], &[("shadow", 8), ("tpm", 8)], &[("shadow", 8), ("tpm", 8)]];
    let commands: Vec<_> = wants.iter().map(|wants| reserve(lease(), wants)).collect();
    let answers = replica.limiter().reserve_batch(&commands).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("the ledger answers")).collect();
    assert_eq!(would_deny(&answers[0]), [""; 0]);
    let granted = answers[1..].iter().filter(|answer| is_granted(answer)).count();
    assert_eq!((granted, taken(&replica, "tpm").await.0), (1, 8));
    assert_eq!(taken(&replica, "shadow").await, (10, 6));
}

pub async fn a_complete_settles_a_reserve_in_shadow_mode<B: Backend>(backend: B) {
    // With the lease in memory, and read back from the ledger.
    for leases_max in [100, 0] {
        let replica = Replica::start(backend.connect(), backend.ids(), leases_max).await;
        for (name, used, expected) in
            [("less", 30, (30, 50)), ("all", 150, (100, 50)), ("more", 180, (100, 80))]
        {
            let name = format!("{name}{leases_max}");
            replica.put(shadow(rolling(&name, 100, 3_600))).await;
            let lease = lease();
            replica.reserve(lease, &[(&name, 150)]).await;
            replica.complete(lease, &[(&name, used)]).await;
            assert_eq!(taken(&replica, &name).await, expected, "{name}");
            assert_eq!(replica.reserve(lease, &[(&name, 150)]).await, ReserveOutcome::LeaseSettled);
        }
    }
}

pub async fn switching_shadow_mode_is_a_version_and_keeps_leases<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tpm", 10, 3_600)).await;
    let (full, denied, in_shadow) = (lease(), lease(), lease());
    replica.reserve(full, &[("tpm", 10)]).await;
    assert_eq!(no_room(&replica.reserve(denied, &[("tpm", 3)]).await), Some("tpm"));
    replica.put(shadow(rolling("tpm", 10, 3_600))).await;
    let info = replica.info("tpm").await;
    assert_eq!((info.version(), info.state().definition.enforce), (2, false));
    let granted = replica.reserve(in_shadow, &[("tpm", 3)]).await;
    assert_eq!(would_deny(&granted), ["tpm"]);
    replica.put(rolling("tpm", 10, 3_600)).await;
    assert_eq!(replica.info("tpm").await.version(), 3);
    assert_eq!(replica.reserve(in_shadow, &[("tpm", 3)]).await, granted, "it stays granted");
    assert_eq!(no_room(&replica.take(&[("tpm", 3)]).await), Some("tpm"));
    assert_eq!(no_room(&replica.reserve(denied, &[("tpm", 3)]).await), Some("tpm"));
    replica.put(rolling("tpm", 10, 3_600)).await;
    assert_eq!(replica.info("tpm").await.version(), 3, "nothing changed");
    let cold = Replica::start(backend.connect(), backend.ids(), 0).await;
    assert!(cold.info("tpm").await.state().definition.enforce);
}

pub async fn a_template_in_shadow_mode_hands_it_on<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(shadow(token_bucket("user:{user}", 5, 1, 3_600_000)), 2)).await;
    replica.put(template(rolling("hard:{user}", 5, 3_600), 9)).await;
    assert_eq!(would_deny(&replica.take(&[("user:ann", 8)]).await), ["user:ann"]);
    assert_eq!(replica.usage("user:ann").await, Usage { available: 0, reserved: 5, debt: 3 });
    let beside = replica.take(&[("user:bob", 9), ("hard:bob", 6)]).await;
    assert_eq!(beside, ReserveOutcome::ExceedsCapacity { key: key("hard:bob") });
    assert_eq!(replica.usage("user:{user}").await.reserved, 1, "a denied reserve makes no instance");
    assert_eq!(would_deny(&replica.take(&[("user:bob", 9), ("hard:bob", 5)]).await), ["user:bob"]);
    let one_more = replica.take(&[("user:eve", 9)]).await;
    assert_eq!(one_more, ReserveOutcome::TooManyInstances { key: key("user:eve") });
    replica.put(template(token_bucket("user:{user}", 5, 1, 3_600_000), 2)).await;
    assert_eq!(
        no_room(&replica.take(&[("user:ann", 1)]).await),
        Some("user:ann"),
        "the template enforces now"
    );
}

pub async fn a_limit_in_shadow_mode_grants_while_it_is_lowered<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(concurrency("slots", 3, 2))).await;
    replica.put(rolling("tpm", 10, 3_600)).await;
    replica.take(&[("slots", 3)]).await;
    let to = Status::Decreasing { to: capacity(1) };
    assert_eq!(replica.put(shadow(concurrency("slots", 1, 2))).await, to);
    let reserves = (0..4).map(|_| replica.take(&[("slots", 1), ("tpm", 1)]));
    for granted in join_all(reserves).await {
        assert_eq!(would_deny(&granted), ["slots"]);
    }
    assert_eq!((taken(&replica, "slots").await, taken(&replica, "tpm").await), ((3, 4), (4, 0)));
    backend.pass(Duration::from_secs(2)).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("slots").await, Usage { available: 1, reserved: 0, debt: 4 });
    assert_eq!(would_deny(&replica.take(&[("slots", 1)]).await), [""; 0]);
}

pub async fn an_extend_in_shadow_mode_owes_what_finds_no_room<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    for (name, definition) in
        [("rolling", rolling("rolling", 10, 3_600)), ("window", fixed_window("window", 10, 3_600, 0))]
    {
        replica.put(shadow(definition)).await;
        another.registry().refresh().await.expect("the ledger answers");
        let lease = lease();
        replica.reserve(lease, &[(name, 8)]).await;
        let extend = async |replica: &Replica<B::Ledger>, id, amount| {
            let extended = replica.limiter().extend(&extend(lease, id, name, amount)).await;
            extended.expect("the ledger answers").answered().expect("granted or denied")
        };
        assert_eq!(would_deny(&extend(&replica, extend_id(), 1).await), [""; 0], "{name}");
        let id = extend_id();
        let owed = extend(&replica, id, 5).await;
        assert_eq!((would_deny(&owed), taken(&replica, name).await), (vec![name], (9, 5)));
        for replica in [&replica, &another] {
            assert_eq!(extend(replica, id, 5).await, owed, "{name}, repeated");
            assert_eq!(extend(replica, id, 4).await, ReserveOutcome::LeaseConflict, "{name}");
        }
        assert_eq!(taken(&replica, name).await, (9, 5), "{name}");
        replica.complete(lease, &[(name, 15)]).await;
        assert_eq!(taken(&replica, name).await, (10, 5), "{name}: one more than was taken");
    }
}

pub async fn a_look_tells_what_would_deny_in_shadow_mode<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(rolling("shadow", 10, 3_600))).await;
    replica.put(rolling("tpm", 10, 3_600)).await;
    let look = async |shadow, tpm| {
        let command = reserve(lease(), &[("shadow", shadow), ("tpm", tpm)]);
        match replica.limiter().look(&command).await.expect("the ledger answers") {
            CommandOutcome::LookedFree { would_deny } => would_deny.iter().map(ToString::to_string).collect(),
            CommandOutcome::Looked(denial) => vec![format!("denied: {denial:?}")],
            CommandOutcome::Reserved(outcome) => panic!("a look reserves nothing: {outcome:?}"),
        }
    };
    assert_eq!(look(10, 10).await, [""; 0]);
    assert_eq!(look(11, 10).await, ["shadow"]);
    assert!(look(11, 11).await[0].starts_with("denied"));
    assert_eq!(taken(&replica, "shadow").await, (0, 0));
}

pub async fn no_denial_cache_denies_for_a_limit_in_shadow_mode<B: Backend>(backend: B) {
    let deny_alone_max = Duration::from_secs(3_600);
    let options = LimiterOptions { leases_max: 100, deny_alone_max, ..LimiterOptions::default() };
    let replica = Replica::start_with(backend.connect(), backend.ids(), options).await;
    replica.put(shadow(rolling("shadow", 10, 3_600))).await;
    replica.put(concurrency("slots", 1, 3_600)).await;
    for _ in 0..4 {
        assert!(is_granted(&replica.take(&[("shadow", 10)]).await));
    }
    assert_eq!((replica.limiter().denied_alone(), taken(&replica, "shadow").await), (0, (10, 30)));
    let holder: LeaseId = lease();
    let both = [("shadow", 1), ("slots", 1)];
    assert!(is_granted(&replica.reserve(holder, &both).await));
    for _ in 0..4 {
        assert_eq!(no_room(&replica.take(&both).await), Some("slots"));
    }
    assert!(replica.limiter().denied_alone() >= 3, "the slot is known to be taken");
    assert_eq!(taken(&replica, "shadow").await, (10, 31), "a denied reserve owes nothing");
    replica.complete(holder, &[]).await;
    assert_eq!(would_deny(&replica.take(&both).await), ["shadow"]);
}

pub async fn a_lease_granted_in_shadow_mode_is_no_emergency_debt<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(shadow(rolling("a", 10, 3_600))).await;
    replica.put(shadow(rolling("b", 10, 3_600))).await;
    let lease = lease();
    let wants = [("a", 15), ("b", 5)];
    let command = reserve(lease, &wants);
    replica.limiter().ledger_failed();
    let granted = replica.limiter().grant_in_emergency(&command);
    assert!(
        granted.is_some_and(|outcome| is_granted(&outcome)),
        "an outage lets limits in shadow mode grant"
    );
    // The ledger grants it after all, in the second attempt.
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    assert_eq!(would_deny(&another.reserve(lease, &wants).await), ["a"]);
    let all = ledger_limiter::limiter::EmergencyDebt::All;
    replica.limiter().record_emergency_debt(all).await.expect("the ledger answers");
    assert_eq!((taken(&replica, "a").await, taken(&replica, "b").await), ((10, 5), (5, 0)));
}
