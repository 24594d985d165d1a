//! The limiter in this process, with limits from a file and given in code.

use std::path::Path;

use ledger_limiter::client::{Acquired, Denial, InProcess, InProcessError, Limiter};
use ledger_limiter::registry::file::FileError;

use super::wants;
use crate::fixtures::{concurrency, key, rolling};

const TPM: &str = "global:llm:openai:gpt-4o:tpm";
const SLOTS: &str = "global:llm:openai:gpt-4o:concurrency";
const DAILY: &str = "tenant:acme:llm:daily_tokens";

#[tokio::test]
async fn the_example_limits_settle_below_their_estimate() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/limits.json");
    let limiter = Limiter::new(InProcess::from_file(&file).await.expect("the example is good"));
    let wants = wants(&[("global:llm:openai:gpt-4o:rpm", 1), (TPM, 1_200), (SLOTS, 1), (DAILY, 1_200)]);
    let lease = limiter.acquire(&wants).await.expect("there is room");
    assert_eq!(limiter.available(&key(SLOTS)).await.expect("an answer"), Some(9));
    lease.complete([(TPM, 870), (DAILY, 870)]).await.expect("it is settled");
    assert_eq!(limiter.available(&key(SLOTS)).await.expect("an answer"), Some(10));
    assert_eq!(limiter.available(&key(TPM)).await.expect("an answer"), Some(60_000 - 870));
    assert_eq!(limiter.available(&key(DAILY)).await.expect("an answer"), Some(1_000_000 - 870));
    assert_eq!(limiter.available(&key("nowhere")).await.expect("an answer"), None);
}

#[tokio::test]
async fn a_limits_file_must_be_there_and_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limits.json");
    let error = InProcess::from_file(&path).await.err().expect("it is not there");
    assert!(matches!(error, InProcessError::File(FileError::Io { .. })), "{error:?}");
    std::fs::write(&path, "[]").expect("a file");
    std::fs::write(folder.path().join("limits.json.tmp"), "another's").expect("a file");
    InProcess::from_file(&path).await.expect("an empty list is a good one");
    assert!(folder.path().join("limits.json.tmp").exists());
    std::fs::write(&path, "[{}]").expect("a file");
    let error = InProcess::from_file(&path).await.err().expect("it is damaged");
    assert!(matches!(error, InProcessError::File(FileError::Damaged { .. })), "{error:?}");
}

#[tokio::test]
async fn limits_given_in_code_can_be_changed() {
    let limits = vec![rolling("rpm", 2, 60), concurrency("slots", 1, 60)];
    let limiter = Limiter::new(InProcess::with_limits(limits).await.expect("they are good"));
    let both = wants(&[("rpm", 1), ("slots", 1)]);
    let lease = limiter.acquire(&both).await.expect("there is room");
    let Acquired::Denied(Denial::NoRoom { key, .. }) = limiter.try_acquire(&both).await.expect("an answer")
    else {
        panic!("the place is taken");
    };
    assert_eq!(key.as_str(), "slots");
    let admin = limiter.calls().transport().admin();
    admin.put(&concurrency("slots", 2, 60)).await.expect("the ledger answers");
    limiter.acquire(&both).await.expect("there is room now").cancel().await.expect("it is given back");
    lease.complete([("rpm", 1)]).await.expect("it is settled");
}
