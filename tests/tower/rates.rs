//! How many requests pass, and when.

use std::time::Duration;

use axum::http::StatusCode;
use ledger_limiter::client::Rate;
use ledger_limiter::client::tower::LayerError;
use tokio::time::{Instant, sleep_until};

use super::world::{limit_of, on_paused_time, per_ip, router, routes, status};

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// Sends requests at these milliseconds, and checks the status of each.
async fn check(rate: Rate, requests: &[(u64, StatusCode)]) {
    let router = router(on_paused_time(per_ip(rate), limit_of(rate)).await);
    let started = Instant::now();
    for (index, &(at_ms, expected)) in requests.iter().enumerate() {
        sleep_until(started + Duration::from_millis(at_ms)).await;
        assert_eq!(status(&router, 1).await, expected, "request {index} at {at_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_the_burst_is_refused_until_the_next_refill() {
    let rate = Rate::every(Duration::from_millis(90)).burst(2);
    check(rate, &[(0, OK), (0, OK), (0, TOO_MANY), (89, TOO_MANY), (90, OK), (90, TOO_MANY), (180, OK)])
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_request_between_two_refills_starts_the_interval() {
    let rate = Rate::every(Duration::from_millis(100)).burst(1);
    check(
        rate,
        &[(0, OK), (195, OK), (200, TOO_MANY), (294, TOO_MANY), (295, OK), (300, TOO_MANY), (395, OK)],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_presets_of_tower_governor_can_be_said() {
    // Its default: eight at once, and one more each half second.
    let mut requests = vec![(0, OK); 8];
    requests.extend([(0, TOO_MANY), (499, TOO_MANY), (500, OK), (500, TOO_MANY)]);
    check(Rate::every(Duration::from_millis(500)).burst(8), &requests).await;
    // Its `secure`: two at once, and one more every four seconds.
    let requests = [(0, OK), (0, OK), (0, TOO_MANY), (3_999, TOO_MANY), (4_000, OK), (4_000, TOO_MANY)];
    check(Rate::every(Duration::from_secs(4)).burst(2), &requests).await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_per_second_is_a_number_of_requests_and_no_interval() {
    // `per_second(2)` of tower_governor is one request in two seconds.
    check(Rate::per_second(2).burst(1), &[(0, OK), (499, TOO_MANY), (500, OK), (1_000, OK)]).await;
    check(Rate::every(Duration::from_secs(2)).burst(1), &[(0, OK), (1_999, TOO_MANY), (2_000, OK)]).await;
}

#[tokio::test(start_paused = true)]
async fn each_address_has_a_quota_of_its_own() {
    let rate = Rate::per_minute(1);
    let router = router(on_paused_time(per_ip(rate), limit_of(rate)).await);
    for (last, expected) in [(1, OK), (2, OK), (1, TOO_MANY), (2, TOO_MANY), (3, OK)] {
        assert_eq!(status(&router, last).await, expected, "peer {last}");
    }
}

#[tokio::test]
async fn a_rate_that_no_bucket_can_have_is_an_error_when_the_layer_is_built() {
    for rate in [Rate::every(Duration::ZERO), Rate::per_second(-1), Rate::per_second(1).burst(u64::MAX)] {
        let error = per_ip(rate).in_process().err();
        assert!(matches!(error, Some(LayerError::Limit(_))), "{rate:?}: {error:?}");
    }
}

#[tokio::test]
async fn routers_share_a_layer_and_not_its_rate() {
    let layer = per_ip(Rate::per_hour(1)).in_process().expect("valid");
    let (first, second) = (routes().layer(layer.clone()), routes().layer(layer));
    assert_eq!((status(&first, 1).await, status(&second, 1).await), (OK, TOO_MANY));
    let other = routes().layer(per_ip(Rate::per_hour(1)).in_process().expect("valid"));
    assert_eq!(status(&other, 1).await, OK, "a layer that is built again has limits of its own");
}
