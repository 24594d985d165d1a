#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_hold_on_the_memory_ledger() {
    crate::gherkin::features_hold(async || crate::memory::MemoryBackend::new()).await;
}
