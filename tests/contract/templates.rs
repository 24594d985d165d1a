//! Templates: how instances are created, changed, forgotten and deleted.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{LimitKey, Status};
use ledger_limiter::protocol::Reserve;
use ledger_limiter::protocol::ReserveOutcome;
use ledger_limiter::registry::AdminError;

use crate::fixtures::*;

const DAILY: &str = "tenant:{tenant}:daily";

async fn start<B: Backend>(backend: &B) -> Replica<B::Ledger> {
    Replica::start(backend.connect(), backend.ids(), 0).await
}

/// The number of instances that a template has created.
async fn instances_of<L: Ledger>(replica: &Replica<L>, template: &str) -> u128 {
    replica.usage(template).await.reserved
}

pub async fn the_first_reserve_creates_the_instance<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(rolling(DAILY, 10, 60), 0)).await;
    assert!(is_granted(&replica.take(&[("tenant:acme:daily", 4)]).await));
    assert!(is_granted(&replica.take(&[("tenant:other:daily", 10)]).await));
    assert_eq!(no_room(&replica.take(&[("tenant:acme:daily", 7)]).await), Some("tenant:acme:daily"));
    assert_eq!(replica.usage("tenant:acme:daily").await, Usage { available: 6, reserved: 4, debt: 0 });
    assert_eq!(instances_of(&replica, DAILY).await, 2);
    let unknown = ReserveOutcome::UnknownKey { key: key("tenant:acme:weekly") };
    assert_eq!(replica.take(&[("tenant:acme:weekly", 1)]).await, unknown);
    let too_much = ReserveOutcome::ExceedsCapacity { key: key("tenant:third:daily") };
    assert_eq!(replica.take(&[("tenant:third:daily", 11)]).await, too_much);
    let listed = replica.admin().list().await.expect("the ledger answers");
    let keys: Vec<&str> = listed.iter().map(|usage| usage.key().as_str()).collect();
    assert_eq!(keys, [DAILY], "the list has only what operators defined");
}

pub async fn the_most_specific_definition_applies<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(rolling("{scope}:{name}:daily", 1, 60), 0)).await;
    assert!(is_granted(&replica.take(&[("tenant:late:daily", 1)]).await));
    replica.put(template(rolling(DAILY, 2, 60), 0)).await;
    replica.put(rolling("tenant:acme:daily", 3, 60)).await;
    for (name, capacity) in [("user:ann:daily", 1), ("tenant:other:daily", 2), ("tenant:acme:daily", 3)] {
        assert!(is_granted(&replica.take(&[(name, capacity)]).await), "{name}");
        assert!(!is_granted(&replica.take(&[(name, 1)]).await), "{name}");
    }
    assert!(
        is_granted(&replica.take(&[("tenant:late:daily", 1)]).await),
        "also for an instance of the less specific template"
    );
    assert_eq!(replica.usage("tenant:late:daily").await, Usage { available: 0, reserved: 2, debt: 0 });
}

pub async fn a_placeholder_takes_an_escaped_segment_or_the_rest<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(rolling("ip:{rest*}", 1, 60), 0)).await;
    replica.put(template(rolling("ip:{version}:{rest*}", 2, 60), 0)).await;
    replica.put(template(rolling("ip:{version}:{address}", 3, 60), 0)).await;
    replica.put(rolling("ip:6:home", 4, 60)).await;
    for (name, capacity) in [
        ("ip:203.0.113.7", 1),
        ("ip:6:2001:db8::1", 2),
        ("ip:6:2001%3Adb8%3A%3A1", 3),
        ("ip:6:o%27brien@example.com", 3),
        ("ip:6:home", 4),
    ] {
        assert!(is_granted(&replica.take(&[(name, capacity)]).await), "{name}");
        assert_eq!(no_room(&replica.take(&[(name, 1)]).await), Some(name));
    }
    let unknown = ReserveOutcome::UnknownKey { key: key("ip") };
    assert_eq!(replica.take(&[("ip", 1)]).await, unknown, "the rest is not empty");
}

pub async fn concurrent_callers_at_two_replicas_share_one_instance<B: Backend>(backend: B) {
    let replicas = [Arc::new(start(&backend).await), Arc::new(start(&backend).await)];
    replicas[0].put(template(rolling(DAILY, 100, 600), 0)).await;
    let callers: tokio::task::JoinSet<bool> = (0..1_000)
        .map(|caller| {
            let replica = Arc::clone(&replicas[caller % 2]);
            async move { is_granted(&replica.take(&[("tenant:acme:daily", 1)]).await) }
        })
        .collect();
    let granted = callers.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 100);
    assert_eq!(replicas[0].usage("tenant:acme:daily").await, Usage { available: 0, reserved: 100, debt: 0 });
    assert_eq!(instances_of(&replicas[0], DAILY).await, 1);
}

pub async fn a_changed_template_changes_its_instances<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(rolling(DAILY, 1, 60), 0)).await;
    assert!(is_granted(&replica.take(&[("tenant:acme:daily", 1)]).await));
    assert!(!is_granted(&other.take(&[("tenant:acme:daily", 1)]).await));
    replica.put(template(rolling(DAILY, 5, 120), 0)).await;
    assert!(is_granted(&replica.take(&[("tenant:acme:daily", 3)]).await));
    other.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&other.take(&[("tenant:acme:daily", 1)]).await));
    assert_eq!(other.usage("tenant:acme:daily").await, Usage { available: 0, reserved: 5, debt: 0 });
    let key = key("tenant:acme:daily");
    let history = other.admin().history(&key).await.expect("the ledger answers");
    assert_eq!(history.len(), 2, "one replica changed the instance, once");
    replica.put(template(rolling(DAILY, 5, 120), 7)).await;
    assert_eq!(replica.usage("tenant:acme:daily").await, Usage { available: 0, reserved: 5, debt: 0 });
    let history = replica.admin().history(&key).await.expect("the ledger answers");
    assert_eq!(history.len(), 2, "a new maximum of instances changes no instance");
}

pub async fn a_decrease_of_a_template_waits_for_each_instance<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(concurrency("{user}:slots", 5, 60), 0)).await;
    let holder = lease();
    replica.reserve(holder, &[("ann:slots", 4)]).await;
    replica.take(&[("bob:slots", 1)]).await;
    replica.put(template(concurrency("{user}:slots", 2, 60), 0)).await;
    let closed = ReserveOutcome::Decreasing { key: key("ann:slots"), retry_after_ms: 10_000 };
    assert_eq!(replica.take(&[("ann:slots", 1)]).await, closed);
    assert!(
        is_granted(&replica.take(&[("bob:slots", 1)]).await),
        "the decrease of this instance fits at once"
    );
    replica.admin().apply_decreases().await.expect("the ledger answers");
    let too_much = ReserveOutcome::ExceedsCapacity { key: key("bob:slots") };
    assert_eq!(replica.take(&[("bob:slots", 3)]).await, too_much, "the replica knows the lower capacity");
    assert_eq!(replica.registry().decreasing(), [key("ann:slots")]);
    assert_eq!(replica.take(&[("ann:slots", 1)]).await, closed);
    replica.complete(holder, &[]).await;
    replica.admin().apply_decreases().await.expect("the ledger answers");
    assert_eq!(replica.usage("ann:slots").await, Usage { available: 2, reserved: 0, debt: 0 });
}

pub async fn a_lower_template_denies_nothing_that_fits<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    let bucket = |capacity| template(token_bucket("{user}:rpm", capacity, 1, 60_000), 0);
    replica.put(bucket(10)).await;
    for replica in [&replica, &other] {
        assert!(is_granted(&replica.take(&[("ann:rpm", 1)]).await));
    }
    replica.put(bucket(6)).await;
    assert!(is_granted(&replica.take(&[("ann:rpm", 1)]).await), "8 of 10 are available");
    assert_eq!(replica.usage("ann:rpm").await, Usage { available: 5, reserved: 1, debt: 0 });
    other.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&other.take(&[("ann:rpm", 3)]).await));
}

pub async fn a_template_of_another_kind_changes_its_limits<B: Backend>(backend: B) {
    let (replica, delayed) = (start(&backend).await, start(&backend).await);
    let name = LimitKey::parse_name(DAILY).expect("a template");
    let kinds = [
        concurrency(DAILY, 5, 600),
        token_bucket(DAILY, 5, 1, 60_000),
        rolling(DAILY, 5, 600),
        fixed_window(DAILY, 5, 86_400, 0),
        concurrency(DAILY, 5, 600),
    ];
    for (reserved, definition) in (0..).zip(kinds) {
        if reserved > 0 {
            replica.admin().delete(&name).await.expect("it is there");
        }
        let kind = definition.kind;
        replica.put(template(definition, 1)).await;
        assert!(is_granted(&replica.take(&[("tenant:acme:daily", 1)]).await), "{kind:?}");
        assert_eq!(replica.info("tenant:acme:daily").await.state().definition.kind, kind);
        assert_eq!(instances_of(&replica, DAILY).await, 1, "it is the same instance: {kind:?}");
        if reserved == 0 {
            assert!(is_granted(&delayed.take(&[("tenant:acme:daily", 1)]).await));
        }
    }
    assert!(!is_granted(&delayed.take(&[("tenant:acme:daily", 1)]).await), "it knows the first kind");
}

pub async fn an_instance_that_an_operator_changed_keeps_its_definition<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(token_bucket(DAILY, 10, 1, 60_000), 0)).await;
    for replica in [&replica, &other] {
        assert!(is_granted(&replica.take(&[("tenant:acme:daily", 2)]).await));
    }
    other.put(token_bucket("tenant:acme:daily", 20, 1, 60_000)).await;
    assert_eq!(other.usage("tenant:acme:daily").await, Usage { available: 16, reserved: 4, debt: 0 });
    replica.put(template(token_bucket(DAILY, 5, 1, 60_000), 0)).await;
    replica.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&replica.take(&[("tenant:acme:daily", 16)]).await));
    let cold = start(&backend).await;
    assert_eq!(cold.usage("tenant:acme:daily").await, Usage { available: 0, reserved: 20, debt: 0 });
    let id = lease();
    assert!(!is_granted(&cold.reserve(id, &[("tenant:acme:daily", 1)]).await));
    assert!(
        is_granted(&cold.take(&[("tenant:other:daily", 5)]).await),
        "other instances follow the template"
    );
    let listed = cold.admin().list().await.expect("the ledger answers");
    assert_eq!(listed.len(), 2, "the changed instance is listed, because an operator defined it");
}

pub async fn a_template_creates_at_most_its_maximum_of_instances<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(rolling(DAILY, 10, 60), 2)).await;
    for tenant in ["tenant:a:daily", "tenant:b:daily"] {
        assert!(is_granted(&replica.take(&[(tenant, 1)]).await));
    }
    let denied = lease();
    let too_many = ReserveOutcome::TooManyInstances { key: key("tenant:c:daily") };
    assert_eq!(replica.reserve(denied, &[("tenant:a:daily", 1), ("tenant:c:daily", 1)]).await, too_many);
    assert_eq!(
        replica.usage("tenant:a:daily").await,
        Usage { available: 9, reserved: 1, debt: 0 },
        "a denial leaves no trace"
    );
    let lower = replica.admin().put(&template(rolling(DAILY, 10, 60), 1)).await;
    assert!(matches!(lower, Err(AdminError::TooManyInstances(_))), "{lower:?}");
    replica.put(template(rolling(DAILY, 10, 60), 3)).await;
    assert!(is_granted(&replica.take(&[("tenant:c:daily", 1)]).await));
    assert!(!is_granted(&replica.reserve(denied, &[("tenant:a:daily", 1), ("tenant:c:daily", 1)]).await));
    assert_eq!(replica.usage(DAILY).await, Usage { available: 0, reserved: 3, debt: 0 });
}

pub async fn denied_keys_leave_no_accounts<B: Backend>(backend: B) {
    let replica = Arc::new(start(&backend).await);
    replica.put(template(rolling(DAILY, 10, 60), 5)).await;
    let callers: tokio::task::JoinSet<bool> = (0..200)
        .map(|caller| {
            let replica = Arc::clone(&replica);
            async move { is_granted(&replica.take(&[(&format!("tenant:{caller}:daily"), 1)]).await) }
        })
        .collect();
    let granted = callers.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 5, "exactly the maximum of instances");
    let late = key("tenant:late:daily");
    let outcome = replica.take(&[(late.as_str(), 1)]).await;
    assert_eq!(outcome, ReserveOutcome::TooManyInstances { key: late.clone() });
    let accounts = replica.ledger.accounts(vec![replica.ids.limit(&late)]).await.expect("the ledger answers");
    assert_eq!(accounts, [None]);
}

pub async fn a_denied_reserve_makes_no_limit<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(concurrency("slots", 1, 600)).await;
    replica.put(template(rolling(DAILY, 10, 60), 2)).await;
    let name = |tenant: u64| format!("tenant:{tenant}:daily");
    let holder = lease();
    assert!(is_granted(&replica.reserve(holder, &[("slots", 1)]).await));
    for tenant in 0..3 {
        let denied = replica.take(&[("slots", 1), (&name(tenant), 1)]).await;
        assert_eq!(no_room(&denied), Some("slots"));
        let too_much = ReserveOutcome::ExceedsCapacity { key: key(&name(tenant)) };
        assert_eq!(replica.take(&[(&name(tenant), 11)]).await, too_much);
        let unknown = ReserveOutcome::UnknownKey { key: key("nowhere") };
        assert_eq!(replica.take(&[("nowhere", 1), (&name(tenant), 1)]).await, unknown);
    }
    assert_eq!(instances_of(&replica, DAILY).await, 0);
    let accounts = (0..3).map(|tenant| replica.ids.limit(&key(&name(tenant)))).collect();
    let accounts = replica.ledger.accounts(accounts).await.expect("the ledger answers");
    assert_eq!(accounts, [None, None, None], "a flood of keys leaves nothing behind");
    replica.complete(holder, &[]).await;
    for tenant in 0..2 {
        assert!(
            is_granted(&replica.take(&[(&name(tenant), 1)]).await),
            "the keys that are denied count none"
        );
    }
    assert_eq!(instances_of(&replica, DAILY).await, 2);
}

pub async fn a_first_reserve_may_make_several_limits_or_none<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(rolling(DAILY, 10, 60), 0)).await;
    replica.put(template(token_bucket("{user}:rpm", 2, 1, 60_000), 1)).await;
    let id = lease();
    let wants = [("tenant:acme:daily", 4), ("ann:rpm", 1)];
    let granted = replica.reserve(id, &wants).await;
    assert!(is_granted(&granted));
    assert_eq!(replica.reserve(id, &wants).await, granted);
    assert_eq!(other.reserve(id, &wants).await, granted);
    assert_eq!(replica.usage("tenant:acme:daily").await, Usage { available: 6, reserved: 4, debt: 0 });
    assert_eq!(replica.usage("ann:rpm").await, Usage { available: 1, reserved: 1, debt: 0 });
    let too_many = ReserveOutcome::TooManyInstances { key: key("bob:rpm") };
    assert_eq!(replica.take(&[("tenant:other:daily", 1), ("bob:rpm", 1)]).await, too_many);
    assert_eq!(instances_of(&replica, DAILY).await, 1, "all of them or none");
    other.complete(id, &[("tenant:acme:daily", 1)]).await;
    assert_eq!(replica.usage("tenant:acme:daily").await, Usage { available: 9, reserved: 1, debt: 0 });
}

pub async fn a_forgotten_instance_is_read_again<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(fixed_window(DAILY, 10, 86_400, 0), 0)).await;
    let registry = replica.registry();
    replica.take(&[("tenant:acme:daily", 4)]).await;
    let idle = Duration::from_secs(600);
    registry.retire_idle_instances(idle).await.expect("the ledger answers");
    assert_eq!(registry.known_limits(), 2, "a limit that was used since the last call is kept");
    registry.retire_idle_instances(idle).await.expect("the ledger answers");
    assert_eq!(registry.known_limits(), 1);
    assert_eq!(no_room(&replica.take(&[("tenant:acme:daily", 7)]).await), Some("tenant:acme:daily"));
    assert_eq!(replica.usage("tenant:acme:daily").await, Usage { available: 6, reserved: 4, debt: 0 });
}

pub async fn a_deleted_template_denies_at_its_instances<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(rolling(DAILY, 10, 60), 0)).await;
    let id = lease();
    replica.reserve(id, &[("tenant:acme:daily", 4)]).await;
    let name = LimitKey::parse_name(DAILY).expect("a template");
    replica.admin().delete(&name).await.expect("the limit exists");
    for tenant in ["tenant:acme:daily", "tenant:new:daily"] {
        let unknown = ReserveOutcome::UnknownKey { key: key(tenant) };
        assert_eq!(replica.take(&[(tenant, 1)]).await, unknown);
    }
    replica.complete(id, &[("tenant:acme:daily", 1)]).await;
    replica.put(template(rolling(DAILY, 10, 60), 0)).await;
    assert!(
        is_granted(&replica.take(&[("tenant:acme:daily", 9)]).await),
        "the complete left 1 of 10 reserved"
    );
}

pub async fn a_deleted_instance_is_not_created_again<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(token_bucket(DAILY, 10, 1, 60_000), 0)).await;
    for replica in [&replica, &other] {
        assert!(is_granted(&replica.take(&[("tenant:acme:daily", 1)]).await));
    }
    replica.admin().delete(&key("tenant:acme:daily")).await.expect("the limit exists");
    let unknown = ReserveOutcome::UnknownKey { key: key("tenant:acme:daily") };
    assert_eq!(replica.take(&[("tenant:acme:daily", 1)]).await, unknown);
    assert_eq!(start(&backend).await.take(&[("tenant:acme:daily", 1)]).await, unknown);
    assert_eq!(
        other.take(&[("tenant:acme:daily", 1)]).await,
        unknown,
        "also at a replica that knew the instance"
    );
    replica.put(token_bucket("tenant:acme:daily", 10, 1, 60_000)).await;
    assert!(is_granted(&replica.take(&[("tenant:acme:daily", 8)]).await));
    assert_eq!(replica.usage("tenant:acme:daily").await, Usage { available: 0, reserved: 10, debt: 0 });
}

pub async fn a_lease_of_an_instance_settles_at_any_replica<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(sliding_window(DAILY, 10, 86_400, 24), 0)).await;
    let id = lease();
    let granted = replica.reserve(id, &[("tenant:acme:daily", 8)]).await;
    assert_eq!(other.reserve(id, &[("tenant:acme:daily", 8)]).await, granted);
    start(&backend).await.complete(id, &[("tenant:acme:daily", 3)]).await;
    assert_eq!(other.usage("tenant:acme:daily").await, Usage { available: 7, reserved: 3, debt: 0 });
    assert_eq!(other.reserve(id, &[("tenant:acme:daily", 8)]).await, ReserveOutcome::LeaseSettled);
}

pub async fn replicas_share_the_bucket_of_an_instance<B: Backend>(backend: B) {
    let (replica, other) = (start(&backend).await, start(&backend).await);
    replica.put(template(token_bucket("user:{user}:rpm", 2, 2, 1_000), 0)).await;
    assert!(is_granted(&replica.take(&[("user:ann:rpm", 1)]).await));
    assert!(is_granted(&other.take(&[("user:ann:rpm", 1)]).await));
    assert!(!is_granted(&replica.take(&[("user:ann:rpm", 1)]).await));
    backend.pass(Duration::from_secs(1)).await;
    assert!(is_granted(&other.take(&[("user:ann:rpm", 2)]).await));
    assert!(!is_granted(&replica.take(&[("user:ann:rpm", 1)]).await));
    replica.put(template(token_bucket("user:{user}:rpm", 2, 1, 60_000), 0)).await;
    assert_eq!(replica.info("user:ann:rpm").await.state().status, Status::Active);
    assert!(!is_granted(&replica.take(&[("user:ann:rpm", 2)]).await), "a new rate does not fill the bucket");
}

pub async fn a_reserve_batch_creates_its_instances<B: Backend>(backend: B) {
    let replica = start(&backend).await;
    replica.put(template(rolling(DAILY, 2, 60), 0)).await;
    let commands: Vec<Reserve> =
        (0..30).map(|n| reserve(lease(), &[(&format!("tenant:{}:daily", n % 10), 1)])).collect();
    let answers = replica.limiter().reserve_batch(&commands).await;
    let granted = answers.into_iter().filter(|it| it.as_ref().is_ok_and(is_granted)).count();
    assert_eq!(granted, 20, "2 of the 3 callers of each key");
    assert_eq!(instances_of(&replica, DAILY).await, 10);
}
