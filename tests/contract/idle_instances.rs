//! Idle instances give their places back to their templates, and are made again at their next use.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::decide::definition_version::{self, ChainInputs};
use ledger_limiter::ledger::{ChainOutcome, Ledger, Refusal};
use ledger_limiter::limit::{Definition, LimitKey, Status};
use ledger_limiter::protocol::{CompleteOutcome, ReserveOutcome};
use ledger_limiter::registry::AdminError;

use crate::contract::crash::{at_every_call, name_of};
use crate::fixtures::*;

const SLOTS: &str = "{user}:slots";
const RPM: &str = "{user}:rpm";

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

/// A template of slots for at most so many users.
fn slots(users_max: u64) -> Definition {
    template(concurrency(SLOTS, 5, 600), users_max)
}

/// Reserves one slot and releases it.
async fn use_once<L: Ledger>(replica: &Replica<L>, name: &str) {
    let id = lease();
    let granted = replica.reserve(id, &[(name, 1)]).await;
    assert!(is_granted(&granted), "{name}: {granted:?}");
    replica.complete(id, &[(name, 0)]).await;
}

/// Retires the instances that were not used since the call before the last.
async fn let_idle<L: Ledger>(replica: &Replica<L>) {
    for _ in 0..2 {
        replica.registry().retire_idle_instances(Duration::ZERO).await.expect("the ledger answers");
    }
}

async fn status_of<L: Ledger>(replica: &Replica<L>, name: &str) -> Status {
    let history = replica.admin().history(&key(name)).await.expect("the ledger answers");
    history.last().expect("a version").state.status
}

fn places(available: u128, reserved: u128) -> Usage {
    Usage { available, reserved, debt: 0 }
}

pub async fn an_idle_instance_gives_its_place_to_another<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(slots(1)).await;
    use_once(&replica, "ann:slots").await;
    let too_many = ReserveOutcome::TooManyInstances { key: key("bob:slots") };
    assert_eq!(replica.take(&[("bob:slots", 1)]).await, too_many);
    replica.registry().retire_idle_instances(Duration::from_secs(600)).await.expect("the ledger answers");
    assert_eq!(replica.take(&[("bob:slots", 1)]).await, too_many, "it was used since the start");
    let_idle(&replica).await;
    assert_eq!(replica.usage(SLOTS).await, places(1, 0));
    assert_eq!(replica.registry().known_limits(), 1, "the template");
    assert!(is_granted(&replica.take(&[("bob:slots", 5)]).await));
    let too_many = ReserveOutcome::TooManyInstances { key: key("ann:slots") };
    assert_eq!(replica.take(&[("ann:slots", 1)]).await, too_many, "its place is taken");
    assert_eq!(replica.usage(SLOTS).await, places(0, 1));
}

pub async fn a_retired_instance_is_made_again_with_its_capacity<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(token_bucket(RPM, 3, 3, 4_000), 2)).await;
    replica.put(template(sliding_window("{user}:day", 4, 2, 2), 2)).await;
    replica.put(template(rolling("{user}:minute", 4, 1), 2)).await;
    let names = [("ann:rpm", 3, RPM), ("ann:day", 4, "{user}:day"), ("ann:minute", 4, "{user}:minute")];
    for (name, capacity, _) in names {
        assert!(is_granted(&replica.take(&[(name, capacity)]).await), "{name}");
    }
    backend.pass(Duration::from_secs(4)).await;
    let_idle(&replica).await;
    for (name, _, template) in names {
        assert_eq!(status_of(&replica, name).await, Status::Retired, "{name}");
        assert_eq!(replica.usage(template).await, places(2, 0), "{name}");
        let shown = replica.admin().get(&key(name)).await;
        assert!(matches!(shown, Err(AdminError::UnknownKey(_))), "a look makes no instance: {shown:?}");
        assert_eq!(replica.usage(template).await, places(2, 0), "{name}");
    }
    // Refills that were due meanwhile add nothing.
    backend.pass(Duration::from_secs(5)).await;
    for (name, capacity, template) in names {
        let too_much = ReserveOutcome::ExceedsCapacity { key: key(name) };
        assert_eq!(other.take(&[(name, capacity + 1)]).await, too_much);
        assert_eq!(status_of(&other, name).await, Status::Retired, "a denied reserve makes no instance");
        assert!(is_granted(&other.take(&[(name, capacity)]).await), "{name}");
        assert_eq!(no_room(&other.take(&[(name, 1)]).await), Some(name));
        assert_eq!(no_room(&replica.take(&[(name, 1)]).await), Some(name));
        assert_eq!(other.usage(template).await, places(1, 1), "{template}");
    }
}

pub async fn a_retired_instance_follows_its_template<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let definitions = [
        concurrency("{user}:one", 5, 600),
        rolling("{user}:one", 3, 600),
        token_bucket("{user}:one", 4, 1, 60_000),
        token_bucket("{user}:one", 6, 1, 60_000),
        concurrency("{user}:one", 2, 600),
    ];
    let name = LimitKey::parse_name("{user}:one").expect("a template");
    for definition in definitions {
        let (kind, capacity) = (definition.kind, definition.capacity.get());
        replica.admin().delete(&name).await.ok();
        replica.put(template(definition, 1)).await;
        let id = lease();
        assert!(is_granted(&replica.reserve(id, &[("ann:one", capacity)]).await), "{kind:?}");
        assert_eq!(replica.info("ann:one").await.state().definition.kind, kind);
        assert_eq!(replica.usage("{user}:one").await, places(0, 1), "{kind:?}");
        assert!(!is_granted(&replica.take(&[("ann:one", 1)]).await), "{kind:?}");
        replica.complete(id, &[("ann:one", 0)]).await;
        let_idle(&replica).await;
        assert_eq!(replica.usage("{user}:one").await, places(1, 0), "{kind:?}");
    }
}

pub async fn replicas_retire_an_instance_once<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(slots(7)).await;
    for user in ["ann:slots", "bob:slots", "eve:slots"] {
        use_once(&replica, user).await;
        use_once(&other, user).await;
    }
    let holder = lease();
    assert!(is_granted(&other.reserve(holder, &[("eve:slots", 1)]).await));
    backend.pass(Duration::from_secs(1)).await;
    tokio::join!(let_idle(&replica), let_idle(&other));
    assert_eq!(replica.usage(SLOTS).await, places(6, 1), "two places came back, each once");
    let_idle(&start(&backend).await).await;
    assert_eq!(replica.usage(SLOTS).await, places(6, 1));
    other.complete(holder, &[]).await;
    let_idle(&start(&backend).await).await;
    assert_eq!(replica.usage(SLOTS).await, places(7, 0), "a new replica finds what no replica remembers");
}

pub async fn an_instance_with_a_reservation_is_not_retired<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(slots(2)).await;
    replica.put(template(token_bucket(RPM, 2, 1, 60_000), 2)).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("ann:slots", 1), ("ann:rpm", 1)]).await));
    let_idle(&replica).await;
    assert_eq!(replica.usage(SLOTS).await, places(1, 1));
    assert_eq!(replica.usage(RPM).await, places(1, 1));
    assert_eq!(replica.usage("ann:slots").await, Usage { available: 4, reserved: 1, debt: 0 });
    replica.complete(id, &[("ann:rpm", 0)]).await;
    backend.pass(Duration::from_secs(1)).await;
    let_idle(&replica).await;
    assert_eq!(replica.usage(SLOTS).await, places(2, 0));
    assert_eq!(replica.usage(RPM).await, places(2, 0));
}

/// The outcome of the version that retires an instance, without a look at its account first.
async fn retire_blindly<L: Ledger>(replica: &Replica<L>, name: &str, template: &str) -> ChainOutcome {
    let template = replica.registry().limit(&LimitKey::parse_name(template).expect("a template"));
    let counted_at = template.expect("the template is known").account;
    let limit = replica.registry().limit(&key(name)).expect("the instance is known");
    let (fresh_ulid, now_ns) = (lease().as_u128(), replica.ledger.now_ns());
    let inputs = ChainInputs::of_first_version(fresh_ulid, now_ns);
    let chain = definition_version::retire(&limit, counted_at).chain(replica.ids, inputs);
    let chain = chain.expect("it can be encoded").expect("it opens nothing");
    replica.ledger.submit_one(chain).await.expect("the ledger answers")
}

pub async fn the_ledger_refuses_to_retire_what_is_taken_meanwhile<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let definitions = [
        concurrency(SLOTS, 2, 600),
        rolling(RPM, 2, 600),
        token_bucket("{user}:tokens", 2, 1, 60_000),
        fixed_window("{user}:day", 2, 86_400, 0),
    ];
    for definition in definitions {
        let of_all = definition.key.as_str().to_owned();
        let of_ann = of_all.replace("{user}", "ann");
        replica.put(template(definition, 2)).await;
        let id = lease();
        assert!(is_granted(&replica.reserve(id, &[(&of_ann, 1)]).await), "{of_ann}");
        let taken = retire_blindly(&replica, &of_ann, &of_all).await;
        let is_refused = matches!(taken, ChainOutcome::Refused { refusal: Refusal::ExceedsCredits, .. });
        assert!(is_refused, "{of_ann}: {taken:?}");
        replica.complete(id, &[(&of_ann, 0)]).await;
        let free = retire_blindly(&replica, &of_ann, &of_all).await;
        assert!(matches!(free, ChainOutcome::Created { .. }), "{of_ann}: {free:?}");
        assert_eq!(replica.usage(&of_all).await, places(2, 0), "{of_ann}");
    }
}

pub async fn a_bucket_that_owes_tokens_is_not_retired<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(token_bucket(RPM, 2, 1, 1_000), 2)).await;
    let ann = key("ann:rpm");
    let object = replica.limiter().object(&ann);
    for _ in 0..3 {
        assert!(object.reserve(amount(2), lease()).await.expect("an answer").ok);
    }
    backend.pass(Duration::from_secs(2)).await;
    let_idle(&replica).await;
    assert_eq!(replica.usage(RPM).await, places(1, 1), "the refills only repaid what it owed");
    backend.pass(Duration::from_secs(5)).await;
    let stale = start(&backend).await;
    assert!(stale.limiter().object(&ann).state().await.is_ok());
    let_idle(&replica).await;
    assert_eq!(replica.usage(RPM).await, places(2, 0));
    assert!(stale.limiter().object(&ann).reserve(amount(2), lease()).await.is_ok(), "denied once at most");
    assert!(stale.limiter().object(&ann).reserve(amount(2), lease()).await.expect("an answer").ok);
}

pub async fn a_late_complete_finds_a_retired_instance<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(rolling("{user}:minute", 4, 1), 2)).await;
    replica.put(template(token_bucket(RPM, 2, 2, 3_000), 2)).await;
    let id = lease();
    assert!(is_granted(&replica.reserve(id, &[("ann:minute", 2), ("ann:rpm", 2)]).await));
    backend.pass(Duration::from_secs(3)).await;
    let_idle(&replica).await;
    assert_eq!(replica.usage(RPM).await, places(2, 0));
    let outcome = replica.complete(id, &[("ann:minute", 3), ("ann:rpm", 5)]).await;
    assert!(matches!(outcome, CompleteOutcome::Settled { .. }), "{outcome:?}");
    for (name, available, debt) in [("ann:minute", 3, 1), ("ann:rpm", 1, 3)] {
        assert!(is_granted(&replica.take(&[(name, 1)]).await));
        assert_eq!(replica.usage(name).await, Usage { available, reserved: 1, debt }, "{name}");
    }
}

pub async fn a_replica_that_remembers_a_retired_instance_denies_once<B: Backend>(backend: B) {
    let (replica, stale) = (start(&backend).await, start(&backend).await);
    replica.put(slots(1)).await;
    use_once(&replica, "ann:slots").await;
    use_once(&stale, "ann:slots").await;
    let_idle(&replica).await;
    let denied = stale.take(&[("ann:slots", 1)]).await;
    assert_eq!(denied, denied_for_now(key("ann:slots")));
    assert!(is_granted(&stale.take(&[("ann:slots", 1)]).await));
    assert_eq!(stale.usage(SLOTS).await, places(0, 1));
}

pub async fn callers_of_a_retired_instance_make_it_once<B: Backend>(backend: B) {
    let replicas = [Arc::new(start(&backend).await), Arc::new(start(&backend).await)];
    replicas[0].put(template(rolling("{user}:daily", 100, 600), 3)).await;
    use_once(&replicas[0], "ann:daily").await;
    let_idle(&replicas[0]).await;
    assert_eq!(replicas[0].usage("{user}:daily").await, places(3, 0));
    let callers: tokio::task::JoinSet<bool> = (0..300)
        .map(|caller| {
            let replica = Arc::clone(&replicas[caller % 2]);
            async move { is_granted(&replica.take(&[("ann:daily", 1)]).await) }
        })
        .collect();
    let granted = callers.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 100);
    assert_eq!(replicas[0].usage("{user}:daily").await, places(2, 1));
}

pub async fn the_template_that_made_an_instance_gets_the_place_back<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let general = "{any}:{user}:slots";
    replica.put(template(concurrency(general, 5, 600), 2)).await;
    use_once(&replica, "team:ann:slots").await;
    replica.put(template(concurrency("team:{user}:slots", 3, 600), 2)).await;
    use_once(&replica, "team:ann:slots").await;
    assert_eq!(replica.usage(general).await, places(1, 1), "it follows another template now");
    let_idle(&replica).await;
    assert_eq!(replica.usage(general).await, places(2, 0));
    assert_eq!(replica.usage("team:{user}:slots").await, places(2, 0));
    use_once(&replica, "team:ann:slots").await;
    assert_eq!(replica.usage("team:{user}:slots").await, places(1, 1));
}

pub async fn instances_of_a_deleted_template_are_left<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    let name = LimitKey::parse_name(SLOTS).expect("a template");
    replica.put(slots(2)).await;
    use_once(&replica, "ann:slots").await;
    use_once(&replica, "bob:slots").await;
    replica.admin().delete(&name).await.expect("it is there");
    let_idle(&replica).await;
    assert_eq!(status_of(&replica, "ann:slots").await, Status::Active);
    replica.admin().delete(&key("bob:slots")).await.expect("an instance is deleted all the same");
    replica.put(slots(2)).await;
    backend.pass(Duration::from_secs(1)).await;
    let_idle(&start(&backend).await).await;
    assert_eq!(status_of(&replica, "ann:slots").await, Status::Retired);
    assert_eq!(replica.usage(SLOTS).await, places(1, 1), "a closed template took no place back");
}

pub async fn a_deleted_instance_gives_its_place_back<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(slots(1)).await;
    use_once(&replica, "ann:slots").await;
    let holder = lease();
    assert!(is_granted(&other.reserve(holder, &[("ann:slots", 1)]).await));
    replica.admin().delete(&key("ann:slots")).await.expect("it is there");
    assert_eq!(replica.usage(SLOTS).await, places(1, 0));
    let again = replica.admin().delete(&key("ann:slots")).await;
    assert!(matches!(again, Err(AdminError::Deleted(_))), "{again:?}");
    let shown = other.admin().get(&key("ann:slots")).await.expect_err("it is deleted");
    assert_eq!(
        shown.to_string(),
        "limit ann:slots was deleted; only a new definition of this key makes it again"
    );
    let unknown = ReserveOutcome::UnknownKey { key: key("ann:slots") };
    assert_eq!(other.take(&[("ann:slots", 1)]).await, unknown);
    other.complete(holder, &[]).await;
    let_idle(&other).await;
    assert_eq!(replica.usage(SLOTS).await, places(1, 0), "once");
    use_once(&replica, "bob:slots").await;
    let_idle(&replica).await;
    replica.admin().delete(&key("bob:slots")).await.expect("a retired instance is deleted");
    assert_eq!(replica.usage(SLOTS).await, places(1, 0), "its place was back before");
    let unknown = ReserveOutcome::UnknownKey { key: key("bob:slots") };
    assert_eq!(replica.take(&[("bob:slots", 1)]).await, unknown);
}

pub async fn an_operator_defines_a_retired_instance<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(slots(1)).await;
    use_once(&replica, "ann:slots").await;
    let_idle(&replica).await;
    replica.put(rolling("ann:slots", 7, 600)).await;
    assert!(is_granted(&replica.take(&[("ann:slots", 3)]).await));
    assert_eq!(replica.usage("ann:slots").await, Usage { available: 4, reserved: 3, debt: 0 });
    let_idle(&replica).await;
    assert_eq!(status_of(&replica, "ann:slots").await, Status::Active);
    replica.admin().delete(&key("ann:slots")).await.expect("it is there");
    assert_eq!(replica.usage(SLOTS).await, places(1, 0), "no template counted it");
}

pub async fn retiring_is_whole_after_a_crash<B: Backend>(backend: B) {
    let of_round = |round| format!("{}:{{name}}", name_of(round));
    let instance = |round| format!("{}:one", name_of(round));
    let free = async |replica: &Replica<B::Ledger>, round| replica.usage(&of_round(round)).await;
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(template(token_bucket(&of_round(round), 2, 2, 1_000), 2)).await;
            assert!(is_granted(&healthy.take(&[(&instance(round), 2)]).await));
            backend.pass(Duration::from_secs(1)).await;
        },
        async |dying, _| dying.registry().retire_idle_instances(Duration::ZERO).await.is_ok(),
        async |another, round| {
            let_idle(another).await;
            assert_eq!(free(another, round).await, places(2, 0), "one place came back");
            assert!(is_granted(&another.take(&[(&instance(round), 2)]).await));
            assert_eq!(free(another, round).await, places(1, 1));
        },
    )
    .await;
}

pub async fn making_a_retired_instance_is_whole_after_a_crash<B: Backend>(backend: B) {
    let leases: Vec<_> = (0..100).map(|_| lease()).collect();
    let of_round = |round| format!("{}:{{name}}", name_of(round));
    let instance = |round| format!("{}:one", name_of(round));
    at_every_call(
        &backend,
        async |healthy, round| {
            healthy.put(template(token_bucket(&of_round(round), 4, 4, 60_000), 1)).await;
            use_once(healthy, &instance(round)).await;
            let_idle(healthy).await;
            assert_eq!(healthy.usage(&of_round(round)).await, places(1, 0));
        },
        async |dying, round| {
            dying.limiter().reserve(&reserve(leases[round], &[(&instance(round), 3)])).await.is_ok()
        },
        async |another, round| {
            assert!(is_granted(&another.reserve(leases[round], &[(&instance(round), 3)]).await));
            assert_eq!(another.usage(&instance(round)).await, Usage { available: 1, reserved: 3, debt: 0 });
            assert_eq!(another.usage(&of_round(round)).await, places(0, 1), "counted once");
        },
    )
    .await;
}
