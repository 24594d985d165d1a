//! Look: whether a reserve would be granted, without a trace of the question.

use std::time::Duration;

use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::{LeaseId, Status};
use ledger_limiter::protocol::{CommandOutcome, ReserveBody, ReserveOutcome};

use crate::fixtures::*;

async fn look<L: Ledger>(replica: &Replica<L>, requirements: &[(&str, u64)]) -> Option<ReserveOutcome> {
    let looked = replica.limiter().look(&reserve(lease(), requirements)).await.expect("the ledger answers");
    match looked {
        CommandOutcome::Looked(denial) => Some(denial),
        CommandOutcome::LookedFree { .. } => None,
        CommandOutcome::Reserved(outcome) => panic!("a look reserves nothing: {outcome:?}"),
    }
}

/// Carries out a body of these requirements, in which an amount of 0 asks whether anything is free.
async fn send<L: Ledger>(
    replica: &Replica<L>,
    lease: LeaseId,
    requirements: &[(&str, u64)],
) -> CommandOutcome {
    let requirements: Vec<_> = requirements
        .iter()
        .map(|(key, amount)| format!(r#"{{"key": "{key}", "amount": {amount}}}"#))
        .collect();
    let text = format!(r#"{{"lease_id": "{lease}", "requirements": [{}]}}"#, requirements.join(","));
    let body: ReserveBody = serde_json::from_str(&text).expect("a body");
    replica.limiter().carry_out(&body.into_command().expect("a command")).await.expect("the ledger answers")
}

pub async fn a_look_says_what_a_reserve_would_and_takes_nothing<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tpm", 100, 60)).await;
    replica.put(concurrency("slots", 2, 60)).await;
    replica.put(token_bucket("bucket", 10, 1, 60_000)).await;
    replica.put(fixed_window("window", 10, 3_600, 0)).await;
    replica.put(sliding_window("sliding", 10, 3_600, 6)).await;
    let all = [("bucket", 10), ("sliding", 10), ("slots", 2), ("tpm", 100), ("window", 10)];
    for _ in 0..3 {
        assert_eq!(look(&replica, &all).await, None);
    }
    assert!(is_granted(&replica.take(&all).await), "the looks took nothing");
    for (key, _) in all {
        assert_eq!(no_room(&look(&replica, &[(key, 1)]).await.expect("full")), Some(key));
    }
    let unknown = look(&replica, &[("nothing", 1), ("tpm", 1)]).await;
    assert_eq!(unknown, Some(ReserveOutcome::UnknownKey { key: key("nothing") }));
    let too_much = look(&replica, &[("slots", 3)]).await;
    assert_eq!(too_much, Some(ReserveOutcome::ExceedsCapacity { key: key("slots") }));
}

pub async fn a_lease_id_that_was_looked_at_is_unused<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(concurrency("slots", 1, 60)).await;
    let (first, second) = (lease(), lease());
    replica.reserve(first, &[("slots", 1)]).await;
    let command = reserve(second, &[("slots", 1)]);
    let looked = replica.limiter().look(&command).await.expect("the ledger answers");
    assert!(matches!(looked, CommandOutcome::Looked(_)), "{looked:?}");
    replica.complete(first, &[]).await;
    assert!(is_granted(&replica.reserve(second, &[("slots", 1)]).await), "a look denied nothing for good");
}

pub async fn a_look_counts_refills_that_are_due<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(token_bucket("bucket", 2, 2, 1_000)).await;
    replica.take(&[("bucket", 2)]).await;
    assert!(look(&replica, &[("bucket", 1)]).await.is_some());
    backend.pass(Duration::from_secs(1)).await;
    assert_eq!(look(&replica, &[("bucket", 2)]).await, None);
}

pub async fn a_look_at_a_template_makes_no_instance<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(template(rolling("user:{user}", 5, 60), 1)).await;
    assert_eq!(look(&replica, &[("user:ann", 5)]).await, None);
    let too_much = look(&replica, &[("user:ann", 6)]).await;
    assert_eq!(too_much, Some(ReserveOutcome::ExceedsCapacity { key: key("user:ann") }));
    assert_eq!(replica.usage("user:{user}").await.reserved, 0);
    replica.take(&[("user:bob", 1)]).await;
    let full = look(&replica, &[("user:ann", 1)]).await;
    assert_eq!(full, Some(ReserveOutcome::TooManyInstances { key: key("user:ann") }));
}

pub async fn a_look_finds_a_limit_that_is_being_lowered<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    let another = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(concurrency("slots", 2, 60)).await;
    another.registry().refresh().await.expect("the ledger answers");
    replica.take(&[("slots", 2)]).await;
    assert_eq!(replica.put(concurrency("slots", 1, 60)).await, Status::Decreasing { to: capacity(1) });
    let closed = look(&another, &[("slots", 1)]).await;
    assert!(matches!(closed, Some(ReserveOutcome::Decreasing { .. })), "{closed:?}");
}

pub async fn an_amount_of_zero_asks_whether_anything_is_free<B: Backend>(backend: B) {
    let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
    replica.put(rolling("tpm", 10, 60)).await;
    replica.put(concurrency("slots", 2, 60)).await;
    assert_eq!(
        send(&replica, lease(), &[("tpm", 0)]).await,
        CommandOutcome::LookedFree { would_deny: Box::default() }
    );
    let mixed = lease();
    let granted = send(&replica, mixed, &[("tpm", 0), ("slots", 1)]).await;
    assert!(matches!(granted, CommandOutcome::Reserved(ReserveOutcome::Granted { .. })), "{granted:?}");
    assert_eq!(replica.usage("tpm").await.reserved, 0);
    replica.take(&[("tpm", 10)]).await;
    let CommandOutcome::Looked(denial) = send(&replica, lease(), &[("tpm", 0)]).await else {
        panic!("nothing is free")
    };
    assert_eq!(no_room(&denial), Some("tpm"));
    let CommandOutcome::Reserved(denial) = send(&replica, lease(), &[("tpm", 0), ("slots", 1)]).await else {
        panic!("a slot was asked for")
    };
    assert_eq!((no_room(&denial), replica.usage("slots").await.reserved), (Some("tpm"), 1));
    assert_eq!(send(&replica, mixed, &[("tpm", 0), ("slots", 1)]).await, granted, "repeated");
}
