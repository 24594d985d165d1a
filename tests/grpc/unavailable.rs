//! Calls that get no answer in time.

use futures_util::FutureExt;
use tonic::Code;

use super::*;

#[tokio::test]
async fn a_call_that_the_gateway_gives_up_is_charged() {
    let service = Service::not_ready(Gate::open(), RULES).await;
    let answer = service.ask(&[descriptor("tenant", "acme")], 2).now_or_never();
    assert!(answer.is_none(), "it waits for the service");
    service.api.readiness.set_bootstrapped();
    while service.metrics("ratelimiterd_requests_in_flight") != ["ratelimiterd_requests_in_flight 0"] {
        tokio::task::yield_now().await;
    }
    let usage = service.replica.usage("tenant:acme:rpm").await;
    assert_eq!(usage, Usage { available: 1, reserved: 2, debt: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_is_unavailable() {
    let service = Service::not_ready(Gate::open(), RULES).await;
    let status = service.ask(&[descriptor("tenant", "acme")], 1).await.expect_err("no answer");
    let message = "the ledger did not answer in time; the outcome is unknown";
    assert_eq!((status.code(), status.message()), (Code::Unavailable, message));
    let answer = service.ask(&[descriptor("none", "x")], 1).await.expect("an answer");
    assert_eq!(answer.statuses.len(), 1, "no limit is asked");
}

#[tokio::test]
async fn what_is_left_is_read_only_if_the_rules_want_it() {
    for (report, is_told) in [("report = false", false), ("report = true", true), ("", true)] {
        let service = Service::with_rules(&format!("{report}\n{RULES}")).await;
        let answer = service.ask(&[descriptor("tenant", "acme")], 1).await.expect("an answer");
        assert_eq!(answer.statuses[0].current_limit.is_some(), is_told, "{report:?}");
    }
}
