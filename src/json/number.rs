//! Reads whole numbers in any spelling of JSON, without rounding: floating-point numbers would round above 2^53.

/// What a number of JSON is as a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// 0 to 2^64-1.
    Number(u64),
    /// Above 2^64-1.
    TooLarge,
    /// Whole and below 0.
    Negative,
    /// Not whole.
    Fraction,
}

/// Reads the text of a number of JSON, such as `1.5e1`.
pub(super) fn whole(text: &str) -> Whole {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{before}{after}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Whole::Number(0);
    }
    // The texts of a body are far shorter than 2^63 bytes. An exponent that is out of range decides by its sign.
    let exponent =
        exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let zeros_after = (digits.len() - significant.len()) as i64 - after.len() as i64;
    match exponent.saturating_add(zeros_after) {
        ..0 => Whole::Fraction,
        _ if is_negative => Whole::Negative,
        zeros => scaled(significant, zeros).map_or(Whole::TooLarge, Whole::Number),
    }
}

/// `digits` with `zeros` zeros behind them; `None` if that is above 2^64-1.
fn scaled(digits: &str, zeros: i64) -> Option<u64> {
    let zeros = u32::try_from(zeros).ok()?;
    digits.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(zeros)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_number_is_the_same_number() {
        for (text, expected) in [
            ("0", Whole::Number(0)),
            ("-0", Whole::Number(0)),
            ("-0.0e5", Whole::Number(0)),
            ("0e-99999999999999999999", Whole::Number(0)),
            ("5", Whole::Number(5)),
            ("5.0", Whole::Number(5)),
            ("1e3", Whole::Number(1_000)),
            ("1E+3", Whole::Number(1_000)),
            ("0.5e1", Whole::Number(5)),
            ("500e-2", Whole::Number(5)),
            ("1.50e1", Whole::Number(15)),
            ("9007199254740993.0", Whole::Number(9_007_199_254_740_993)),
            ("9.223372036854775807e18", Whole::Number(i64::MAX as u64)),
            ("18446744073709551615", Whole::Number(u64::MAX)),
            ("18446744073709551616", Whole::TooLarge),
            ("1e20", Whole::TooLarge),
            ("1e99999999999999999999", Whole::TooLarge),
            ("-1", Whole::Negative),
            ("-1e30", Whole::Negative),
            ("5.5", Whole::Fraction),
            ("-5.5", Whole::Fraction),
            ("5e-1", Whole::Fraction),
            ("5.0000000000000000000000001", Whole::Fraction),
            ("1e-99999999999999999999", Whole::Fraction),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }
}
