//! Reset and purge: a limit begins anew, and no unit is granted twice.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{ExpectedVersion, LimitKey, Status};
use ledger_limiter::protocol::{CompleteOutcome, ExtendOutcome, ReserveOutcome};
use ledger_limiter::registry::AdminError;

use crate::fixtures::*;

const UNUSED: Usage = Usage { available: 10, reserved: 0, debt: 0 };

async fn reset<L: Ledger>(replica: &Replica<L>, name: &str) -> Status {
    replica.admin().reset(&key(name)).await.expect("it is reset")
}

async fn history<L: Ledger>(replica: &Replica<L>, name: &str) -> Vec<(u64, Status)> {
    let history = replica.admin().history(&key(name)).await.expect("the ledger answers");
    history.iter().map(|version| (version.number, version.state.status)).collect()
}

pub async fn a_reset_sets_usage_and_debt_to_zero<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    for limit in of_each_kind(10) {
        let name = limit.key.as_str();
        replica.put(limit.clone()).await;
        another.registry().refresh().await.expect("the ledger answers");
        let before = lease();
        let command = reserve(before, &[(name, 14)]);
        replica.limiter().force(&command).await.expect("the ledger answers");
        assert_eq!(replica.usage(name).await, Usage { available: 0, reserved: 10, debt: 4 }, "{name}");
        for round in 0..2 {
            assert_eq!(reset(&replica, name).await, Status::Active);
            assert_eq!(replica.usage(name).await, UNUSED, "{name}");
            // A replica that has not read the reset finds the account closed, and says to try again at once.
            let told = another.take(&[(name, 10)]).await;
            assert_eq!(told, denied_for_now(key(name)), "{name}, round {round}");
            assert!(is_granted(&another.take(&[(name, 10)]).await), "{name}, round {round}");
            assert_eq!(no_room(&another.take(&[(name, 1)]).await), Some(name));
            assert_eq!(no_room(&replica.take(&[(name, 1)]).await), Some(name));
        }
        replica.complete(before, &[(name, 0)]).await;
        let used = Usage { available: 0, reserved: 10, debt: 0 };
        assert_eq!(replica.usage(name).await, used, "an earlier lease of {name} makes no room");
        assert_eq!(another.reserve(before, &[(name, 14)]).await, ReserveOutcome::LeaseSettled);
        let active = |number| (number, Status::Active);
        assert_eq!(history(&another, name).await, [1, 2, 3].map(active), "each reset is a version");
    }
}

pub async fn a_lease_that_was_extended_behind_a_reset_is_settled_on_both_accounts<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    // What is used of 4 on the old account and 3 on the new one -> what is reserved and owed on the new account then.
    let cases = [(0, 0, 0), (2, 0, 0), (4, 0, 0), (5, 1, 0), (7, 3, 0), (9, 5, 0), (16, 10, 2)];
    for (used, reserved, debt) in cases {
        let name = format!("tokens:{used}");
        replica.put(rolling(&name, 10, 3_600)).await;
        let lease = lease();
        replica.reserve(lease, &[(&name, 4)]).await;
        reset(&replica, &name).await;
        let extended = replica.limiter().extend(&extend(lease, extend_id(), &name, 3)).await;
        let extended = extended.expect("the ledger answers");
        assert!(matches!(extended, ExtendOutcome::Answered(ReserveOutcome::Granted { .. })), "{extended:?}");
        replica.complete(lease, &[(&name, used)]).await;
        assert_eq!(
            replica.usage(&name).await,
            Usage { available: 10 - reserved, reserved, debt },
            "{used} used"
        );
    }
}

pub async fn a_limit_that_is_reset_often_forgets_its_oldest_accounts<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 100).await;
    replica.put(rolling("tokens", 10, 3_600)).await;
    let (oldest, recent) = (lease(), lease());
    // The first account has an id of its own and is never forgotten.
    reset(&replica, "tokens").await;
    replica.reserve(oldest, &[("tokens", 4)]).await;
    for _ in 0..40 {
        reset(&replica, "tokens").await;
    }
    replica.reserve(recent, &[("tokens", 4)]).await;
    reset(&replica, "tokens").await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    let versions = another.admin().history(&key("tokens")).await.expect("the ledger answers");
    let newest = versions.last().expect("it is defined");
    assert_eq!(newest.state.accounts_since.len(), 32, "every version stores them");
    let actual = |lease, amount| complete(lease, &[("tokens", amount)]);
    let of_oldest = another.limiter().complete(&actual(oldest, 1)).await.expect("the ledger answers");
    assert_eq!(of_oldest, CompleteOutcome::NotInLease { index: 0 });
    let without_amounts =
        another.limiter().complete(&complete(oldest, &[])).await.expect("the ledger answers");
    assert!(matches!(without_amounts, CompleteOutcome::Settled { .. }), "{without_amounts:?}");
    another.complete(recent, &[("tokens", 1)]).await;
    assert_eq!(another.usage("tokens").await, UNUSED);
}

pub async fn a_bucket_is_refilled_as_ever_behind_a_reset<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(token_bucket("bucket", 2, 1, 1_000)).await;
    another.registry().refresh().await.expect("the ledger answers");
    another.take(&[("bucket", 2)]).await;
    backend.pass(Duration::from_millis(500)).await;
    reset(&replica, "bucket").await;
    assert!(is_granted(&replica.take(&[("bucket", 2)]).await));
    backend.pass(Duration::from_secs(1)).await;
    assert!(is_granted(&another.take(&[("bucket", 1)]).await), "one token has come");
    assert_eq!(no_room(&another.take(&[("bucket", 1)]).await), Some("bucket"));
}

pub async fn a_reset_applies_a_waiting_decrease<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(concurrency("slots", 10, 3_600)).await;
    let running = lease();
    replica.reserve(running, &[("slots", 8)]).await;
    assert_eq!(replica.put(concurrency("slots", 4, 3_600)).await, Status::Decreasing { to: capacity(4) });
    assert_eq!(reset(&replica, "slots").await, Status::Active);
    assert_eq!(replica.usage("slots").await, Usage { available: 4, reserved: 0, debt: 0 });
    replica.complete(running, &[]).await;
    assert_eq!(replica.usage("slots").await, Usage { available: 4, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("slots", 4)]).await));
}

pub async fn an_instance_is_reset_and_stays_one<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(rolling("user:{user}", 10, 3_600), 1)).await;
    another.registry().refresh().await.expect("the ledger answers");
    another.take(&[("user:ann", 10)]).await;
    reset(&replica, "user:ann").await;
    assert_eq!(no_room(&another.take(&[("user:ann", 10)]).await), Some("user:ann"), "its account is closed");
    assert!(is_granted(&another.take(&[("user:ann", 10)]).await));
    assert_eq!(replica.usage("user:{user}").await.reserved, 1);
    // It still follows its template.
    replica.put(template(rolling("user:{user}", 12, 3_600), 1)).await;
    another.registry().refresh().await.expect("the ledger answers");
    assert!(is_granted(&another.take(&[("user:ann", 2)]).await));
    let template = LimitKey::parse_name("user:{user}").expect("a name");
    assert!(matches!(replica.admin().reset(&template).await, Err(AdminError::IsTemplate(_))));
    let purge = replica.admin().purge(&template, ExpectedVersion::Any).await;
    assert!(matches!(purge, Err(AdminError::IsTemplate(_))), "it counts the instance");
}

pub async fn nothing_is_reset_that_is_not_there<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    assert!(matches!(replica.admin().reset(&key("nothing")).await, Err(AdminError::UnknownKey(_))));
    replica.put(rolling("gone", 10, 60)).await;
    replica.admin().delete(&key("gone")).await.expect("it is deleted");
    assert!(matches!(replica.admin().reset(&key("gone")).await, Err(AdminError::Deleted(_))));
}

pub async fn a_purged_limit_begins_anew<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    for limit in of_each_kind(10) {
        let name = limit.key.as_str();
        replica.put(limit.clone()).await;
        another.registry().refresh().await.expect("the ledger answers");
        let before = lease();
        let command = reserve(before, &[(name, 14)]);
        replica.limiter().force(&command).await.expect("the ledger answers");
        replica.admin().purge(&key(name), ExpectedVersion::Any).await.expect("it is purged");
        let unknown = Some(ReserveOutcome::UnknownKey { key: key(name) });
        assert_eq!(Some(another.take(&[(name, 1)]).await), unknown);
        assert!(matches!(another.admin().history(&key(name)).await, Err(AdminError::UnknownKey(_))));
        assert!(matches!(
            replica.admin().purge(&key(name), ExpectedVersion::Any).await,
            Err(AdminError::UnknownKey(_))
        ));
        assert!(matches!(replica.admin().delete(&key(name)).await, Err(AdminError::UnknownKey(_))));
        another.put(limit.clone()).await;
        assert_eq!(another.usage(name).await, UNUSED, "{name}");
        assert_eq!(history(&replica, name).await, [(3, Status::Active)], "{name}");
        assert!(is_granted(&replica.take(&[(name, 10)]).await), "{name}");
        replica.complete(before, &[(name, 0)]).await;
        assert_eq!(no_room(&replica.take(&[(name, 1)]).await), Some(name));
    }
}

pub async fn a_deleted_limit_can_be_purged_and_become_another_kind<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("limit", 10, 3_600)).await;
    replica.take(&[("limit", 6)]).await;
    replica.admin().delete(&key("limit")).await.expect("it is deleted");
    replica.admin().purge(&key("limit"), ExpectedVersion::Any).await.expect("it is purged");
    replica.put(concurrency("limit", 10, 60)).await;
    assert_eq!(replica.usage("limit").await, UNUSED);
    assert!(is_granted(&replica.take(&[("limit", 10)]).await));
}

pub async fn a_purged_instance_gives_its_place_back<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(rolling("user:{user}", 10, 3_600), 1)).await;
    replica.take(&[("user:ann", 10)]).await;
    replica.admin().purge(&key("user:ann"), ExpectedVersion::Any).await.expect("it is purged");
    assert_eq!(replica.usage("user:{user}").await, Usage { available: 1, reserved: 0, debt: 0 });
    assert!(is_granted(&replica.take(&[("user:bob", 10)]).await));
    let unknown = ReserveOutcome::UnknownKey { key: key("user:ann") };
    assert_eq!(replica.take(&[("user:ann", 1)]).await, unknown, "only a definition makes it again");
}
