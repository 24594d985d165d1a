//! The Gherkin features on a real TigerBeetle.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_hold_on_tigerbeetle() {
    crate::gherkin::features_hold(async || crate::support::TigerBeetleBackend::new().await).await;
}
