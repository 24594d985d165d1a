//! Calendar windows through the days on which clocks change, month lengths and leap years, on a clock that the test moves.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use ledger_limiter::limit::Period;

use super::{ExactBackend, block_on, replica};
use crate::fixtures::*;

/// The midnight that begins a date in Berlin, in milliseconds since the Unix epoch.
fn midnight_ms(date: Date) -> u64 {
    let berlin = TimeZone::get("Europe/Berlin").expect("a time zone");
    let moment = berlin.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).expect("a moment");
    u64::try_from(moment.as_millisecond()).expect("after 1970")
}

/// The date in Berlin at the present of a ledger.
fn today(backend: &ExactBackend) -> Date {
    let berlin = TimeZone::get("Europe/Berlin").expect("a time zone");
    let now =
        Timestamp::from_millisecond(i64::try_from(backend.now_ms()).expect("in range")).expect("a moment");
    berlin.to_datetime(now).date()
}

/// Two years of days: each grants its capacity once, to the millisecond of its boundary.
#[test]
fn every_day_in_berlin_is_refilled_at_its_midnight() {
    block_on(async {
        let backend = ExactBackend::new();
        let replica = replica(&backend, [calendar("day", 5, Period::Day, "Europe/Berlin", 0)]).await;
        // The limit was made in the middle of a day.
        backend.pass_to(midnight_ms(today(&backend).tomorrow().expect("in range")));
        let mut hours = std::collections::BTreeMap::new();
        for _ in 0..731 {
            assert!(is_granted(&replica.take(&[("day", 5)]).await), "{}", today(&backend));
            let tomorrow = today(&backend).tomorrow().expect("in range");
            let began_ms = backend.now_ms();
            backend.pass_to(midnight_ms(tomorrow) - 1);
            assert_eq!(no_room(&replica.take(&[("day", 1)]).await), Some("day"), "{tomorrow}");
            backend.pass_to(midnight_ms(tomorrow));
            *hours.entry((backend.now_ms() - began_ms).div_ceil(3_600_000)).or_insert(0) += 1;
        }
        assert_eq!((hours[&23], hours[&25]), (2, 2), "{hours:?}");
    });
}

/// Three years of billing months, which begin on the last day of months that are too short.
#[test]
fn billing_months_begin_on_the_last_day_of_short_months() {
    block_on(async {
        let backend = ExactBackend::new();
        let replica = replica(&backend, [calendar("spend", 5, Period::Month, "Europe/Berlin", 31)]).await;
        let first = today(&backend).first_of_month();
        for months in 0..36 {
            let month = first.checked_add(months.months()).expect("in range");
            let boundary_ms = midnight_ms(month.last_of_month());
            if boundary_ms <= backend.now_ms() {
                continue;
            }
            assert!(is_granted(&replica.take(&[("spend", 5)]).await), "{month}");
            backend.pass_to(boundary_ms - 1);
            assert_eq!(no_room(&replica.take(&[("spend", 1)]).await), Some("spend"), "{month}");
            let lease = lease();
            backend.pass_to(boundary_ms);
            assert!(is_granted(&replica.reserve(lease, &[("spend", 3)]).await), "{month}");
            replica.complete(lease, &[("spend", 0)]).await;
        }
    });
}
