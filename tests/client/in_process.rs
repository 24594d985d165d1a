//! The in-process client, with limits from a file and from code.

use std::path::Path;
use std::time::Duration;

use ledger_limiter::client::{
    Acquired, Denial, ErrorKind, InProcess, InProcessError, Limit, LimitKey, LimitStatus, Limiter, Usage,
};

use super::wants;
use crate::fixtures::{capacity, concurrency, key, rolling};

const TPM: &str = "global:llm:openai:gpt-4o:tpm";
const SLOTS: &str = "global:llm:openai:gpt-4o:concurrency";
const DAILY: &str = "tenant:acme:llm:daily_tokens";

#[tokio::test]
async fn a_complete_below_the_estimate_settles_the_example_limits() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/limits.json");
    let limiter = Limiter::new(InProcess::from_file(&file).await.expect("the example limits are valid"));
    let wants = wants(&[("global:llm:openai:gpt-4o:rpm", 1), (TPM, 1_200), (SLOTS, 1), (DAILY, 1_200)]);
    let lease = limiter.acquire(&wants).await.expect("there is room");
    assert_eq!(limiter.available(SLOTS).await.expect("an answer"), Some(9));
    lease.complete([(TPM, 870), (DAILY, 870)]).await.expect("it is settled");
    assert_eq!(limiter.available(SLOTS).await.expect("an answer"), Some(10));
    assert_eq!(limiter.available(TPM).await.expect("an answer"), Some(60_000 - 870));
    assert_eq!(limiter.available(DAILY).await.expect("an answer"), Some(1_000_000 - 870));
    assert_eq!(limiter.available("nowhere").await.expect("an answer"), None);
}

#[tokio::test]
async fn a_file_of_limits_must_exist_and_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limits.json");
    let error = InProcess::from_file(&path).await.err().expect("it does not exist");
    assert!(matches!(&error, InProcessError::ReadFile { path: at, .. } if *at == path), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::File);
    std::fs::write(&path, "[]").expect("a file");
    std::fs::write(folder.path().join("limits.json.tmp"), "of another program").expect("a file");
    InProcess::from_file(&path).await.expect("an empty list is valid");
    assert!(folder.path().join("limits.json.tmp").exists());
    std::fs::write(&path, "[{}]").expect("a file");
    let error = InProcess::from_file(&path).await.err().expect("it is malformed");
    assert!(matches!(&error, InProcessError::MalformedFile { path: at, .. } if *at == path), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn limits_from_code_can_be_changed() {
    let limits = [rolling("rpm", 2, 60), concurrency("slots", 1, 60)];
    let limiter = Limiter::new(InProcess::with_limits(limits).await.expect("the limits are valid"));
    let both = wants(&[("rpm", 1), ("slots", 1)]);
    let lease = limiter.acquire(&both).await.expect("there is room");
    let Acquired::Denied(Denial::NoRoom { key, .. }) = limiter.try_acquire(&both).await.expect("an answer")
    else {
        panic!("the slot is taken");
    };
    assert_eq!(key.as_str(), "slots");
    let limits = limiter.calls().transport();
    let status = limits.put_limit(&concurrency("slots", 2, 60)).await.expect("an answer");
    assert_eq!(status, LimitStatus::Active);
    limiter.acquire(&both).await.expect("there is room now").cancel().await.expect("it is released");
    lease.complete([("rpm", 1)]).await.expect("it is settled");
}

#[tokio::test]
async fn limits_can_be_listed_lowered_and_deleted() {
    let template = rolling("tenant:{tenant}:rpm", 5, 60);
    let limits = InProcess::with_limits([rolling("rpm", 2, 60), template.clone()]).await.expect("valid");
    let keys: Vec<_> =
        limits.limits().await.expect("an answer").into_iter().map(|limit| limit.definition.key).collect();
    assert_eq!(keys.iter().map(LimitKey::as_str).collect::<Vec<_>>(), ["rpm", "tenant:{tenant}:rpm"]);
    let shown = limits.limit("tenant:{tenant}:rpm").await.expect("an answer").expect("it is there");
    assert_eq!(shown.definition, template);

    let limiter = Limiter::new(std::sync::Arc::new(limits));
    let limits = limiter.calls().transport();
    let lease = limiter.acquire(&wants(&[("rpm", 2)])).await.expect("there is room");
    let lowered = LimitStatus::Decreasing { to: capacity(1) };
    assert_eq!(limits.put_limit(&rolling("rpm", 1, 60)).await.expect("an answer"), lowered);
    let shown = limits.limit("rpm").await.expect("an answer").expect("it is there");
    assert_eq!(shown.status, lowered);
    assert_eq!(shown.usage, Usage { available: 0, reserved: 2, debt: 0 });
    assert_eq!(shown.definition.capacity, capacity(2), "the capacity stays until the decrease is applied");
    lease.cancel().await.expect("it is released");

    limits.delete_limit(&key("rpm")).await.expect("it is deleted");
    assert_eq!(limits.limit("rpm").await.expect("an answer"), None);
    let error = limits.delete_limit("rpm").await.expect_err("it was deleted");
    assert!(error.is_unknown_key() && !error.is_unknown(), "{error:?}");
    assert!(limits.replenish("rpm").await.expect_err("it was deleted").is_unknown_key());
    let error = limits.delete_limit("no key").await.expect_err("the key is malformed");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    limits.delete_limit("tenant:{tenant}:rpm").await.expect("it is deleted");
    assert_eq!(limits.limits().await.expect("an answer"), []);
}

#[tokio::test]
async fn a_change_of_the_kind_is_a_conflict() {
    let limits = InProcess::with_limits([rolling("rpm", 2, 60)]).await.expect("the limit is valid");
    let error = limits.put_limit(&concurrency("rpm", 2, 60)).await.expect_err("another kind");
    assert_eq!(error.kind(), ErrorKind::KindChange);
    assert!(error.is_conflict() && !error.is_unknown(), "{error:?}");
    assert!(!limits.replenish("rpm").await.expect("an answer"), "it is not a bucket");
}

#[tokio::test]
async fn a_lease_tells_which_limits_in_shadow_mode_would_deny() {
    let trial = Limit::rolling("trial", 5).per(Duration::from_secs(60)).enforce(false);
    let trial = trial.define().expect("valid");
    assert!(!trial.enforce);
    let limiter = Limiter::new(InProcess::with_limits([trial]).await.expect("the limits are valid"));
    let lease = limiter.acquire(&wants(&[("trial", 5)])).await.expect("there is room");
    assert_eq!(lease.would_deny(), []);
    let lease = limiter.acquire(&wants(&[("trial", 5)])).await.expect("it does not enforce");
    assert_eq!(lease.would_deny(), [key("trial")]);
}
