//! The stories of leases and limits.

use ledger_limiter::audit::{lease_story, limit_story};

use super::scenario::{Made, everything};

fn sentences(story: &[(u64, String)]) -> Vec<&str> {
    story.iter().map(|(_, sentence)| sentence.as_str()).collect()
}

#[tokio::test]
async fn the_story_of_a_lease_tells_what_it_reserved_and_how_it_ended() {
    let Made { backend, settled, .. } = everything().await;
    let story = lease_story(&*backend.ledger, 1, settled.as_u128()).await.expect("the ledger answers");
    let told = sentences(&story);
    for expected in [
        "spends 6 of bucket",
        "takes 1 slots of slots for at most 60 s",
        "reserves 50 of tokens for 60 s",
        "extends the lease",
        "renews 1 slots",
        "leaves 30 of tokens reserved for 60 s more",
        "releases 3 of window",
    ] {
        assert!(told.contains(&expected), "{expected}: {told:#?}");
    }
    assert!(story.is_sorted_by_key(|(at_ns, _)| *at_ns));
}

#[tokio::test]
async fn the_story_of_a_limit_tells_its_versions_and_who_holds_it() {
    let Made { backend, open, .. } = everything().await;
    let story = limit_story(&*backend.ledger, 1, "tokens", u64::MAX - 1).await.expect("the ledger answers");
    assert_eq!(
        sentences(&story)[..3],
        [
            "version 1: rolling over 60 s, capacity 100",
            "version 2: rolling over 60 s, capacity 100",
            "capacity 100, 100 available, 0 reserved, 0 spent, 0 owed",
        ]
    );
    let granted_ns = lease_story(&*backend.ledger, 1, open.as_u128()).await.expect("the ledger answers")[0].0;
    let story = limit_story(&*backend.ledger, 1, "tokens", granted_ns).await.expect("the ledger answers");
    let told = sentences(&story);
    assert!(told.contains(&"capacity 100, 60 available, 40 reserved, 0 spent, 0 owed"), "{told:#?}");
    assert!(told.contains(&format!("lease {open} holds 40 for 60 s more").as_str()), "{told:#?}");
}

#[tokio::test]
async fn what_never_was_has_no_story() {
    let Made { backend, .. } = everything().await;
    assert!(lease_story(&*backend.ledger, 1, 77).await.expect("the ledger answers").is_empty());
    assert!(
        limit_story(&*backend.ledger, 1, "none", u64::MAX - 1).await.expect("the ledger answers").is_empty()
    );
}
