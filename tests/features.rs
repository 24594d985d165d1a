#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_feature_holds_on_the_memory_ledger() {
    crate::gherkin::features_hold(async || crate::memory::MemoryBackend::new()).await;
}
