//! Runs every example against a limiter in this process, and checks its output.
#![expect(clippy::duplicate_mod, reason = "every example includes the module `target`")]

use ledger_limiter::client::InProcess;

#[path = "../examples/basic.rs"]
mod basic;
#[path = "../examples/gateway/main.rs"]
mod gateway;
#[path = "../examples/graceful_degradation.rs"]
mod graceful_degradation;
#[path = "../examples/metrics.rs"]
mod metrics;
#[path = "../examples/money.rs"]
mod money;
#[path = "../examples/per_user.rs"]
mod per_user;
#[path = "../examples/target/mod.rs"]
mod target;
#[path = "../examples/tiers.rs"]
mod tiers;

async fn limiter() -> InProcess {
    target::in_process().await.expect("the example limits are valid")
}

/// The output by lines.
pub fn lines(out: Vec<u8>) -> Vec<String> {
    String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_basic_example_prints_the_answer_and_its_tokens() {
    let mut out = Vec::new();
    basic::run(limiter().await, &mut out).await.expect("it runs");
    assert_eq!(lines(out), ["Because air scatters blue light more than red. (17 tokens)"]);
}

#[tokio::test]
async fn the_money_example_reserves_the_most_and_settles_the_cost() {
    let mut out = Vec::new();
    money::run(limiter().await, &mut out).await.expect("it runs");
    // 2,100 bytes of prompt and 500 tokens of output; then 89 tokens of input, 512 cached ones and 40 of output.
    let expected = [
        "at most 0.01025 USD",
        "641 tokens for 0.001263 USD",
        "denied by tenant:acme:llm:cost:usd",
        "the price table has no price of provider \"openai\" and model \"gpt-unknown\" on 1970-01-01: add {\"provider\": \
         \"openai\", \"model\": \"gpt-unknown\", \"micros_per_million_tokens\": {\"input\": ..., \"output\": ...}} to \
         its prices",
    ];
    assert_eq!(lines(out), expected);
}

#[tokio::test]
async fn the_per_user_example_denies_only_the_tenant_without_budget() {
    let mut out = Vec::new();
    per_user::run(limiter().await, &mut out).await.expect("it runs");
    let expected = [
        "zorg 1: granted",
        "zorg 2: granted",
        "zorg 3: denied by tenant:zorg:llm:daily_tokens",
        "acme 1: granted",
        "acme 2: granted",
        "acme 3: granted",
    ];
    assert_eq!(lines(out), expected);
}

#[tokio::test]
async fn the_degradation_example_falls_back_to_the_smaller_model_and_then_to_the_cache() {
    let mut out = Vec::new();
    graceful_degradation::run(limiter().await, &mut out).await.expect("it runs");
    // The concurrency limits allow 10 calls of the better model and 50 of the smaller one.
    let expected = [
        "1: answered by gpt-4o",
        "11: answered by gpt-4o-mini",
        "60: answered by gpt-4o-mini",
        "61: answered by the cache, because no model has room",
        "65: answered by the cache, because no model has room",
    ];
    assert_eq!(lines(out), expected);
}

#[tokio::test]
async fn the_tiers_example_is_denied_by_the_limit_per_second_only() {
    let mut out = Vec::new();
    tiers::run(limiter().await, &mut out).await.expect("it runs");
    let lines = lines(out);
    // The limit is 3 per second: 6 in the 1.5 s of the run, and one more or fewer if the machine stalls.
    let granted = lines[0].strip_prefix("granted: ").expect("a count").parse::<u64>().expect("a number");
    assert!((3..=7).contains(&granted), "{lines:?}");
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with("denied by tenant:acme:per_second: "), "{lines:?}");
}

#[tokio::test]
async fn the_metrics_example_counts_every_job_and_completes_its_lease() {
    let mut out = Vec::new();
    metrics::run(limiter().await, &mut out).await.expect("it runs");
    let lines = lines(out);
    for model in ["gpt-4o", "gpt-4o-mini"] {
        for event in ["queued", "started", "ended", "completed"] {
            assert!(lines.contains(&format!("{model} {event}: 15")), "{lines:?}");
        }
    }
    // 15 jobs need one of the 10 slots of gpt-4o, so some of them were denied at least once.
    assert!(lines.iter().any(|line| line.starts_with("gpt-4o denied: ")), "{lines:?}");
    let statistics = [
        "global:llm:openai:gpt-4o:concurrency: 10 available, 0 reserved",
        "global:llm:openai:gpt-4o:tpm: 59820 available, 180 reserved",
    ];
    assert_eq!(lines[lines.len() - 2..], statistics);
}

#[tokio::test]
async fn the_gateway_example_charges_the_tokens_that_were_streamed() {
    let mut out = Vec::new();
    gateway::run(limiter().await, &mut out).await.expect("it runs");
    let lines = lines(out);
    // The prompt has 4 tokens and the answer 40.
    let whole =
        lines[0].strip_prefix("a whole answer: ").and_then(|line| line.strip_suffix(" chunks, 44 tokens"));
    assert!(whole.is_some_and(|chunks| chunks.parse::<u64>().is_ok_and(|chunks| chunks > 1)), "{lines:?}");
    // The gateway charges the tokens that it streamed until it noticed the disconnect, not the 2,000 of the estimate.
    let part = lines[1].strip_prefix("an answer cut off after 5 chunks: ").expect("a part of an answer");
    let tokens: u64 = part.strip_suffix(" tokens").expect("a count").parse().expect("a number");
    assert!((4 + 5..1_000).contains(&tokens), "{lines:?}");
    assert_eq!(lines[2], "an answer above the capacity: 400 Bad Request");
    assert!(lines[3].starts_with("429 Too Many Requests \"per-tenant\";r=0;t="), "{lines:?}");
}
