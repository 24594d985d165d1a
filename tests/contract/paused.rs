//! A limit with a capacity of 0 is paused: it grants nothing, until its capacity is raised.

use ledger_limiter::limit::Status;
use ledger_limiter::protocol::ReserveOutcome;

use crate::fixtures::*;

pub async fn a_paused_limit_grants_nothing_until_it_is_raised<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    for (paused, raised) in of_each_kind(0).into_iter().zip(of_each_kind(2)) {
        let name = paused.key.to_string();
        assert_eq!(replica.put(paused).await, Status::Active);
        assert_eq!(replica.usage(&name).await, Usage { available: 0, reserved: 0, debt: 0 }, "{name}");
        let denied = ReserveOutcome::ExceedsCapacity { key: key(&name) };
        assert_eq!(replica.take(&[(&name, 1)]).await, denied);
        replica.put(raised).await;
        assert!(is_granted(&replica.take(&[(&name, 2)]).await), "{name}");
        assert_eq!(no_room(&replica.take(&[(&name, 1)]).await), Some(name.as_str()));
    }
}

pub async fn a_limit_in_use_is_paused_at_once<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    for (limit, paused) in of_each_kind(2).into_iter().zip(of_each_kind(0)) {
        let name = limit.key.to_string();
        replica.put(limit).await;
        let running = lease();
        replica.reserve(running, &[(&name, 1)]).await;
        let status = replica.put(paused).await;
        let is_bucket = ["bucket", "manual"].contains(&name.as_str());
        let expected = if is_bucket { Status::Active } else { Status::Decreasing { to: capacity(0) } };
        assert_eq!(status, expected, "{name}");
        assert!(!is_granted(&replica.take(&[(&name, 1)]).await), "{name}");
        replica.complete(running, &[(&name, 0)]).await;
        replica.admin().apply_decreases().await.expect("the ledger answers");
        let info = replica.info(&name).await;
        assert_eq!(
            (info.state().status, info.state().definition.capacity),
            (Status::Active, capacity(0)),
            "{name}"
        );
        assert_eq!(replica.usage(&name).await, Usage { available: 0, reserved: 0, debt: 0 }, "{name}");
    }
}

pub async fn a_paused_template_makes_paused_instances<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(rolling("user:{user}", 0, 60), 5)).await;
    let denied = ReserveOutcome::ExceedsCapacity { key: key("user:ann") };
    assert_eq!(replica.take(&[("user:ann", 1)]).await, denied);
    assert_eq!(replica.usage("user:{user}").await.reserved, 0, "and no instance is made for a denial");
    replica.put(template(rolling("user:{user}", 3, 60), 5)).await;
    assert!(is_granted(&replica.take(&[("user:ann", 3)]).await));
}
