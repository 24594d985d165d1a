//! Tables of boundaries, and what holds for all of them.

use proptest::prelude::*;

use super::*;

fn window(period: Period, zone: &str, starts_at: u64) -> CalendarWindow {
    let time_zone = Some(TimeZoneName::parse(zone).expect("a zone"));
    let fields = KindFields { period: Some(period), time_zone, starts_at, ..KindFields::default() };
    CalendarWindow::from_fields(&fields).expect("valid")
}

fn ns(text: &str) -> u64 {
    let moment: Timestamp = text.parse().expect("a moment");
    u64::try_from(moment.as_nanosecond()).expect("after 1970")
}

/// The boundary after a moment, in UTC.
fn ends_after(window: CalendarWindow, moment: &str) -> String {
    let ms = i64::try_from(window.ends_after_ms(ns(moment))).expect("before 9999");
    Timestamp::from_millisecond(ms).expect("a moment").to_string()
}

#[test]
fn windows_end_at_the_boundaries_of_the_calendar() {
    use Period::{Day, Month, Quarter, Week, Year};
    for (period, zone, starts_at, moment, expected) in [
        // The window of a moment at a boundary is the one that begins.
        (Day, "UTC", 0, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        (Day, "UTC", 0, "2026-02-28T23:59:59.999999999Z", "2026-03-01T00:00:00Z"),
        (Day, "Asia/Kolkata", 0, "2026-03-01T18:29:59Z", "2026-03-01T18:30:00Z"),
        (Day, "Pacific/Auckland", 0, "2026-01-01T00:00:00Z", "2026-01-01T11:00:00Z"),
        (Day, "Europe/Berlin", 6, "2026-07-01T03:59:00Z", "2026-07-01T04:00:00Z"),
        (Day, "Europe/Berlin", 6, "2026-07-01T04:00:00Z", "2026-07-02T04:00:00Z"),
        // A day of 23 hours, and one of 25.
        (Day, "Europe/Berlin", 0, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        (Day, "Europe/Berlin", 0, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        // 02:00 does not exist, and then exists twice.
        (Day, "Europe/Berlin", 2, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        (Day, "Europe/Berlin", 2, "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"),
        (Day, "Europe/Berlin", 2, "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z"),
        (Day, "Europe/Berlin", 2, "2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"),
        // Midnight does not exist in Santiago on that day, and half an hour is changed on Lord Howe.
        (Day, "America/Santiago", 0, "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"),
        (Day, "Australia/Lord_Howe", 0, "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"),
        // Samoa had no 30 December 2011.
        (Day, "Pacific/Apia", 0, "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"),
        (Day, "Pacific/Apia", 0, "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
        (Week, "UTC", 0, "2026-11-28T12:00:00Z", "2026-11-30T00:00:00Z"),
        (Week, "UTC", 7, "2026-11-28T12:00:00Z", "2026-11-29T00:00:00Z"),
        (Week, "UTC", 7, "2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"),
        (Week, "America/New_York", 1, "2026-11-02T04:59:59Z", "2026-11-02T05:00:00Z"),
        (Month, "Europe/Berlin", 0, "2026-11-28T12:00:00Z", "2026-11-30T23:00:00Z"),
        (Month, "UTC", 0, "2028-02-10T00:00:00Z", "2028-03-01T00:00:00Z"),
        (Month, "UTC", 15, "2026-11-28T12:00:00Z", "2026-12-15T00:00:00Z"),
        (Month, "UTC", 15, "2026-12-31T12:00:00Z", "2027-01-15T00:00:00Z"),
        // A month that is too short ends at its last day, also in a leap year.
        (Month, "UTC", 31, "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
        (Month, "UTC", 31, "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        (Month, "UTC", 30, "2028-02-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        (Month, "UTC", 30, "2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z"),
        (Quarter, "UTC", 0, "2026-11-28T12:00:00Z", "2027-01-01T00:00:00Z"),
        (Quarter, "UTC", 3, "2026-11-28T12:00:00Z", "2026-12-01T00:00:00Z"),
        (Quarter, "Europe/Berlin", 0, "2026-02-01T00:00:00Z", "2026-03-31T22:00:00Z"),
        (Year, "UTC", 0, "2026-11-28T12:00:00Z", "2027-01-01T00:00:00Z"),
        (Year, "Asia/Tokyo", 4, "2026-11-28T12:00:00Z", "2027-03-31T15:00:00Z"),
        (Year, "UTC", 4, "2026-03-31T12:00:00Z", "2026-04-01T00:00:00Z"),
    ] {
        let found = ends_after(window(period, zone, starts_at), moment);
        assert_eq!(found, expected, "{period:?} in {zone} from {starts_at}, at {moment}");
    }
}

#[test]
fn the_calendar_ends() {
    assert_eq!(window(Period::Day, "UTC", 0).ends_after_ms(u64::MAX), 18_446_745_600_000, "in 2554");
    assert_eq!(window(Period::Year, "UTC", 0).number_of_boundary(u64::MAX), 0);
}

fn windows() -> impl Strategy<Value = CalendarWindow> {
    const ZONES: [&str; 6] = [
        "UTC",
        "Europe/Berlin",
        "Pacific/Auckland",
        "America/St_Johns",
        "Asia/Kathmandu",
        "America/Santiago",
    ];
    (0..5_usize, proptest::sample::select(&ZONES), 0..31_u64).prop_map(|(period, zone, starts_at)| {
        use Period::{Day, Month, Quarter, Week, Year};
        let period = [Day, Week, Month, Quarter, Year][period];
        let (_, _, max) = period.starts();
        window(period, zone, starts_at % (max + 1))
    })
}

proptest! {
    /// From 2000 to 2060.
    #[test]
    fn windows_follow_each_other_without_gaps(window in windows(), at_s in 946_684_800..2_840_140_800_u64) {
        let mut at_ms = at_s * 1_000;
        let mut number = None;
        for _ in 0..30 {
            let ends_ms = window.ends_after_ms(at_ms * NS_PER_MS);
            prop_assert!(at_ms < ends_ms);
            prop_assert!(ends_ms - at_ms <= window.longest_seconds() * 1_000 + 25 * 3_600_000);
            // Every moment of the window has the same end.
            let middle_ms = at_ms + (ends_ms - at_ms) / 2;
            prop_assert_eq!(window.ends_after_ms(middle_ms * NS_PER_MS), ends_ms);
            prop_assert_eq!(window.ends_after_ms(ends_ms * NS_PER_MS - 1), ends_ms);
            let next = window.number_of_boundary(ends_ms);
            if window.period() != Period::Day || window.starts_at() == 0 {
                prop_assert!(number.is_none_or(|before| before + 1 == next), "{number:?} {next}");
            }
            for hours in [-5, 5] {
                let elsewhere = ends_ms.saturating_add_signed(hours * 3_600_000);
                prop_assert_eq!(window.number_of_boundary(elsewhere), next, "{} hours apart", hours);
            }
            (at_ms, number) = (ends_ms, Some(next));
        }
    }
}

#[test]
fn a_window_is_stored_and_read_back() {
    for (period, starts_at) in [(Period::Day, 0), (Period::Day, 5), (Period::Month, 15), (Period::Year, 12)] {
        let window = window(period, "Europe/Berlin", starts_at);
        assert_eq!(window.fields().starts_at, starts_at);
        assert_eq!(CalendarWindow::decode(window.into()), Ok(window));
        assert_eq!(CalendarWindow::from_fields(&window.fields()), Ok(window));
    }
    let time_zone = "Europe/Atlantis".to_owned();
    let unknown = Encoded { period: EncodedPeriod::Day, time_zone, starts_at: 0 };
    let error = CalendarWindow::decode(unknown).expect_err("there is no such zone").to_string();
    assert!(error.starts_with("time_zone \"Europe/Atlantis\" is not known"), "{error}");
}
