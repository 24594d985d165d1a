//! The fields of each kind, and how they are stored.

use super::*;

#[test]
fn a_kind_takes_its_own_fields_and_no_others() {
    let none = KindFields::default();
    let by_hand = KindFields { auto_replenish: Some(false), ..none };
    let (period, time_zone) = (Some(Period::Month), TimeZoneName::parse("Europe/Berlin").ok());
    let cases = [
        (KindName::Rolling, KindFields { window_seconds: 60, ..none }, None),
        (KindName::Concurrency, KindFields { timeout_seconds: 300, ..none }, None),
        (KindName::FixedWindow, KindFields { window_seconds: 86_400, align: 18_000, ..none }, None),
        (KindName::SlidingWindow, KindFields { window_seconds: 60, segments: 6, ..none }, None),
        (KindName::FixedWindow, KindFields { window_ms: 1, ..none }, None),
        (KindName::FixedWindow, KindFields { window_ms: 1_500, align: 1, ..none }, None),
        (KindName::SlidingWindow, KindFields { window_ms: 250, segments: 5, ..none }, None),
        (KindName::FixedWindow, KindFields { window_seconds: 60, ..by_hand }, None),
        (KindName::SlidingWindow, KindFields { window_ms: 10, segments: 2, ..by_hand }, None),
        (
            KindName::FixedWindow,
            KindFields { window_seconds: 1, window_ms: 1_000, ..none },
            Some("window_ms must be left out if window_seconds is given"),
        ),
        (
            KindName::FixedWindow,
            KindFields { window_ms: 31_622_400_001, ..none },
            Some("window_ms must be between 1 and 31622400000, not 31622400001"),
        ),
        (
            KindName::FixedWindow,
            KindFields { window_ms: 500, align: 1, ..none },
            Some("align must be between 0 and 0, not 1"),
        ),
        (
            KindName::FixedWindow,
            KindFields { window_seconds: 60, align: 1, ..by_hand },
            Some("align must be between 0 and 0, not 1"),
        ),
        (
            KindName::SlidingWindow,
            KindFields { window_ms: 5, segments: 6, ..none },
            Some("segments must be between 1 and 5, not 6"),
        ),
        (
            KindName::Rolling,
            KindFields { window_ms: 500, ..none },
            Some("window_ms must be left out for kind rolling"),
        ),
        (
            KindName::Rolling,
            KindFields { window_seconds: 60, timeout_seconds: 1, ..none },
            Some("timeout_seconds must be left out for kind rolling"),
        ),
        (
            KindName::Concurrency,
            KindFields { window_seconds: 1, timeout_seconds: 60, ..none },
            Some("window_seconds must be left out for kind concurrency"),
        ),
        (KindName::Rolling, none, Some("window_seconds must be between 1 and 31622400, not 0")),
        (
            KindName::Rolling,
            KindFields { window_seconds: 31_622_401, ..none },
            Some("window_seconds must be between 1 and 31622400, not 31622401"),
        ),
        (
            KindName::Concurrency,
            KindFields { timeout_seconds: u64::MAX, ..none },
            Some("timeout_seconds must be between 1 and 31622400, not 18446744073709551615"),
        ),
        (
            KindName::FixedWindow,
            KindFields { window_seconds: 60, align: 60, ..none },
            Some("align must be between 0 and 59, not 60"),
        ),
        (
            KindName::SlidingWindow,
            KindFields { window_seconds: 60, ..none },
            Some("segments must be between 1 and 60, not 0"),
        ),
        (
            KindName::FixedWindow,
            KindFields { window_seconds: 60, segments: 2, ..none },
            Some("segments must be left out for kind fixed_window"),
        ),
        (
            KindName::TokenBucket,
            KindFields { refill_interval_ms: 1, ..none },
            Some("refill_amount must be at least 1"),
        ),
        (
            KindName::TokenBucket,
            KindFields { refill_amount: 1, ..none },
            Some("refill_interval_ms must be between 1 and 31622400000, not 0"),
        ),
        (
            KindName::TokenBucket,
            KindFields { refill_amount: 1, refill_interval_ms: 2, refills_per_interval: 2_001, ..none },
            Some("refills_per_interval must be between 1 and 2000, not 2001"),
        ),
        (
            KindName::FixedWindow,
            KindFields { window_seconds: 60, refills_per_interval: 2, ..none },
            Some("refills_per_interval must be left out for kind fixed_window"),
        ),
        (
            KindName::Rolling,
            KindFields { window_seconds: 1, auto_replenish: Some(false), ..none },
            Some("auto_replenish must be left out for kind rolling"),
        ),
        (KindName::Calendar, KindFields { period, time_zone, starts_at: 15, ..none }, None),
        (KindName::Calendar, KindFields { time_zone, ..none }, Some("period is required for kind calendar")),
        (KindName::Calendar, KindFields { period, ..none }, Some("time_zone is required for kind calendar")),
        (
            KindName::Calendar,
            KindFields { period, time_zone, starts_at: 32, ..none },
            Some("starts_at must be between 1 and 31, not 32"),
        ),
        (
            KindName::Rolling,
            KindFields { window_seconds: 60, period, ..none },
            Some("period must be left out for kind rolling"),
        ),
        (
            KindName::FixedWindow,
            KindFields { window_seconds: 60, starts_at: 1, ..none },
            Some("starts_at must be left out for kind fixed_window"),
        ),
    ];
    for (name, fields, expected) in cases {
        let kind = Kind::from_fields(name, &fields);
        assert_eq!(kind.as_ref().err().map(ToString::to_string).as_deref(), expected, "{name:?} {fields:?}");
        if let Ok(kind) = kind {
            assert_eq!(kind.fields(), fields, "the fields build the kind again");
        }
    }
}

#[test]
fn a_bucket_is_refilled_by_time_unless_auto_replenish_is_false() {
    let fields = KindFields { refill_amount: 5, refill_interval_ms: 100, ..KindFields::default() };
    let with = |auto_replenish| KindFields { auto_replenish, ..fields };
    for (auto_replenish, kept) in [(None, true), (Some(true), true), (Some(false), false)] {
        let kind = Kind::from_fields(KindName::TokenBucket, &with(auto_replenish)).expect("valid");
        assert_eq!(kind.fields(), with(Some(kept)));
    }
}

#[test]
fn a_window_of_milliseconds_or_refilled_by_hand_is_stored() {
    let none = KindFields::default();
    let by_hand = KindFields { auto_replenish: Some(false), ..none };
    for (fields, kept) in [
        (KindFields { window_ms: 250, ..none }, KindFields { window_ms: 250, ..none }),
        (KindFields { window_ms: 2_000, ..none }, KindFields { window_seconds: 2, ..none }),
        (KindFields { window_seconds: 2, ..by_hand }, KindFields { window_seconds: 2, ..by_hand }),
    ] {
        for (name, segments) in [(KindName::FixedWindow, 0), (KindName::SlidingWindow, 3)] {
            let kind = Kind::from_fields(name, &KindFields { segments, ..fields }).expect("valid");
            assert_eq!(Kind::try_from(EncodedKind::from(kind)), Ok(kind));
            assert_eq!(kind.fields(), KindFields { segments, ..kept });
        }
    }
}

#[test]
fn the_refills_of_an_interval_are_stored() {
    for (refills_per_interval, kept) in [(0, 0), (1, 0), (2, 2), (333, 333)] {
        let bucket = KindFields { refill_amount: 5, refill_interval_ms: 1_000, ..KindFields::default() };
        let fields = KindFields { refills_per_interval, ..bucket };
        let kind = Kind::from_fields(KindName::TokenBucket, &fields).expect("valid");
        assert_eq!(Kind::try_from(EncodedKind::from(kind)), Ok(kind));
        assert_eq!(kind.fields().refills_per_interval, kept);
    }
}
