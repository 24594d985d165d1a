//! Replicas that announce themselves in the ledger.

use std::time::Duration;

use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::Ledger;
use ledger_limiter::limit::ReplicaUrl;

use crate::fixtures::*;

/// The longest URL, which has the most parts.
fn longest() -> String {
    format!("https://{}:8080", "a".repeat(242))
}

async fn announced<B: Backend>(backend: &B, url: Option<&str>) -> Engine<B::Ledger> {
    let url = url.map(|url| url.parse::<ReplicaUrl>().expect("a URL"));
    let options =
        EngineOptions::default().with_ledger_number(backend.ids().ledger_number()).with_advertise_url(url);
    let engine = Engine::new(backend.connect(), options);
    engine.bootstrap(&[]).await.expect("the ledger answers");
    engine.replicas().announce().await.expect("the ledger answers");
    engine
}

async fn living<L: Ledger>(engine: &Engine<L>) -> Vec<String> {
    engine.replicas().refresh().await.expect("the ledger answers");
    engine.replicas().living().into_iter().map(|replica| replica.url.to_string()).collect()
}

pub async fn replicas_know_each_other_from_the_ledger<B: Backend>(backend: B) {
    let long = longest();
    let first = announced(&backend, Some("http://10.0.0.1:8080")).await;
    let second = announced(&backend, Some(&long)).await;
    let silent = announced(&backend, None).await;
    for engine in [&first, &second, &silent] {
        assert_eq!(living(engine).await, ["http://10.0.0.1:8080", long.as_str()]);
    }
    let found = silent.replicas().find_peer(&long).await.expect("the ledger answers");
    assert_eq!(found.map(|url| url.to_string()), Some(long.clone()));
    assert_eq!(
        second.replicas().find_peer(&long).await.expect("the ledger answers"),
        None,
        "it is no peer of itself"
    );
    first.replicas().announce().await.expect("the ledger answers");
    first.replicas().withdraw().await.expect("the ledger answers");
    first.replicas().withdraw().await.expect("there is nothing to withdraw");
    assert_eq!(living(&silent).await, [long.as_str()]);
}

pub async fn a_replica_counts_as_living_until_its_announcement_expires<B: Backend>(backend: B) {
    let (first, second) =
        (announced(&backend, Some("http://a")).await, announced(&backend, Some("http://b")).await);
    backend.pass(Duration::from_secs(9)).await;
    second.replicas().announce().await.expect("the ledger answers");
    assert_eq!(living(&second).await, ["http://a", "http://b"]);
    backend.pass(Duration::from_secs(7)).await;
    // A transfer tells a ledger's clock in this process the time.
    second.replicas().announce().await.expect("the ledger answers");
    assert_eq!(living(&second).await, ["http://b"]);
    first.replicas().withdraw().await.expect("a void of what has expired is refused, and that is no error");
    let restarted = announced(&backend, Some("http://b")).await;
    assert_eq!(living(&restarted).await, ["http://b"], "the same URL twice is one replica");
    assert_eq!(restarted.replicas().peers(), []);
}
