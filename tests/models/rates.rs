//! A bucket whose rate was set gives a caller that takes every token at once as many as the rate says.

use std::time::Duration;

use ledger_limiter::limit::{BucketRate, RateChange};
use proptest::prelude::*;

use super::{ExactBackend, block_on, replica};
use crate::fixtures::*;

/// Takes all available tokens again and again. Returns their sum, without those taken first.
async fn taken(per_second: f64, burst: u64, pause: Duration, pauses: u32) -> u64 {
    let backend = ExactBackend::new();
    let replica = replica(&backend, []).await;
    let rate = BucketRate::per_second(per_second).expect("a rate");
    replica
        .admin()
        .set_rate(&key("rpm"), RateChange::both(rate, capacity(burst)))
        .await
        .expect("the ledger answers");
    let bucket = key("rpm");
    let bucket = replica.limiter().object(&bucket);
    let mut taken = 0;
    for nth in 0..=pauses {
        let available = bucket.available_permits().await.expect("the ledger answers");
        if available > 0 {
            assert!(bucket.try_reserve(amount(available), lease()).await.expect("the ledger answers"));
            taken += if nth == 0 { 0 } else { available };
        }
        backend.pass(pause).await;
    }
    taken
}

#[test]
fn a_set_rate_is_kept_by_a_small_burst() {
    block_on(async {
        let ms = Duration::from_millis(1);
        for (per_second, burst, pause, pauses, expected) in [
            (333.0, 10, ms, 3_000, 999),
            // A full bucket is refilled one interval after it is taken from, so this caller looks every millisecond.
            (3.0, 1, ms, 20_000, 60),
            (997.0, 5, ms, 2_000, 1_994),
            (1_000_000.0, 1, Duration::from_micros(1), 2_000, 2_000),
            (2_500.0, 4, Duration::from_micros(100), 2_000, 500),
            (1_000.0, 100_000, ms * 10, 200, 2_000),
        ] {
            let taken = taken(per_second, burst, pause, pauses).await;
            assert!(taken.abs_diff(expected) <= 1, "{taken} and not {expected} at {per_second}, {burst}");
        }
    });
}

#[test]
fn rates_in_turn_yield_what_each_of_them_should() {
    // The rates, the time for which each is in force, the number of changes, and the tokens expected at the end.
    for (rates, ms, turns, expected) in [
        (&[0.4, 0.5][..], 1_000, 8, 3),
        (&[0.25, 0.75], 1_000, 8, 4),
        (&[0.001, 0.3, 7.7], 100, 30, 8),
        (&[1_000_000.0, 0.5], 1, 10, 5_000),
        (&[333.0, 33.0, 3.0], 7, 900, 774),
    ] {
        block_on(async {
            let backend = ExactBackend::new();
            let replica = replica(&backend, []).await;
            let key = key("rpm");
            let set = async |nth: usize| {
                let rate = BucketRate::per_second(rates[nth % rates.len()]).expect("a rate");
                replica
                    .admin()
                    .set_rate(&key, RateChange::both(rate, capacity(100_000)))
                    .await
                    .expect("the ledger answers");
            };
            set(0).await;
            assert!(is_granted(&replica.take(&[("rpm", 100_000)]).await));
            for nth in 1..=turns {
                backend.pass(Duration::from_millis(ms)).await;
                set(nth).await;
            }
            assert_eq!(
                replica.usage("rpm").await,
                Usage { available: expected, reserved: 100_000 - expected, debt: 0 },
                "{rates:?}"
            );
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// From one in a year to a million in a second. The caller looks five times for each token or each refill of the burst. With a
    /// burst of 1 it would find the bucket full, and pause it until the look.
    #[test]
    fn a_set_rate_is_kept(exponent in -7.5..6.0_f64, burst in prop_oneof![2..20_u64, 2..100_000_u64]) {
        let per_second = 10_f64.powf(exponent);
        let at_a_look = 0.2_f64.max(per_second / 1_000.0).min(burst as f64 / 5.0);
        let (pause, looks) = (Duration::from_secs_f64(at_a_look / per_second), 1_000);
        let expected = pause.as_secs_f64() * f64::from(looks) * per_second;
        let taken = block_on(taken(per_second, burst, pause, looks)) as f64;
        // The tolerance: a thousandth, and the tokens that are not refilled yet at the end.
        let missing = 1.0 + per_second * 0.01;
        prop_assert!(taken <= expected * 1.001 + 1.0, "{taken} of {expected} at {per_second}, {burst}");
        prop_assert!(taken >= expected * 0.999 - missing.min(1.0 + burst as f64 / 100.0), "{taken} of {expected} at {per_second}, {burst}");
    }
}
