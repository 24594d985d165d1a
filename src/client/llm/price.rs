//! What the tokens of a model cost.

use std::fmt;

use super::usage::{TokenUsage, TokensMax, UsageError};
use crate::client::Amount;

/// A currency by its three letters, such as `USD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

/// What a model charges, in millionths of a currency per million tokens: 2.50 USD per million are 2,500,000.
///
/// So a token of this price costs 2.5 millionths, and a call costs the sum, rounded up to a whole millionth once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub(super) currency: Currency,
    pub(super) input: u64,
    pub(super) cached_input: u64,
    pub(super) cache_write_input: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
}

/// The highest price: a thousand of the currency for one token.
pub(super) const PRICE_MAX: u64 = 1_000_000_000_000_000;
const TOKENS_OF_PRICE: u128 = 1_000_000;

impl Currency {
    /// `None` unless there are three upper-case letters.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// As a segment of a key: `usd`.
    pub(super) fn segment(self) -> String {
        self.to_string().to_ascii_lowercase()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl Price {
    /// The currency.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// What a call with this usage costs, in millionths of the currency, rounded up.
    ///
    /// # Errors
    ///
    /// [`UsageError::TooLarge`] above 2^63-1.
    pub fn cost_micros(&self, usage: &TokenUsage) -> Result<u64, UsageError> {
        rounded_up([
            (usage.input, self.input),
            (usage.cached_input, self.cached_input),
            (usage.cache_write_input, self.cache_write_input),
            (usage.output, self.output),
            (usage.reasoning, self.reasoning),
        ])
    }

    /// What a call costs at most, whatever is cached and whatever is reasoning.
    pub(super) fn most_micros(&self, tokens: TokensMax) -> Result<u64, UsageError> {
        let input = self.input.max(self.cached_input).max(self.cache_write_input);
        let output = self.output.max(self.reasoning);
        rounded_up([(tokens.input, input), (tokens.output, output)])
    }
}

/// The sum of tokens times prices in whole millionths. A product is below 2^64 x 2^50, so the sum fits 128 bits.
fn rounded_up<const N: usize>(charges: [(u64, u64); N]) -> Result<u64, UsageError> {
    let sum: u128 = charges.into_iter().map(|(tokens, price)| u128::from(tokens) * u128::from(price)).sum();
    let micros = u64::try_from(sum.div_ceil(TOKENS_OF_PRICE)).ok();
    micros.filter(|micros| *micros <= Amount::MAX.get()).ok_or(UsageError::too_large("cost in millionths"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price() -> Price {
        Price {
            currency: Currency::parse("USD").expect("a currency"),
            input: 3_000_000,
            cached_input: 300_000,
            cache_write_input: 3_750_000,
            output: 15_000_000,
            reasoning: 15_000_000,
        }
    }

    #[test]
    fn a_cost_is_the_sum_rounded_up_once() {
        let none = TokenUsage::default();
        for (usage, micros) in [
            (none, 0),
            (TokenUsage { input: 1, ..none }, 3),
            // 0.3 and 3.75 are rounded up alone, and 4.05 is together.
            (TokenUsage { cached_input: 1, ..none }, 1),
            (TokenUsage { cache_write_input: 1, ..none }, 4),
            (TokenUsage { cached_input: 1, cache_write_input: 1, ..none }, 5),
            (TokenUsage { cached_input: 10, ..none }, 3),
            (TokenUsage { output: 2, reasoning: 3, ..none }, 75),
            (TokenUsage { input: 1_000_000, output: 1_000_000, ..none }, 18_000_000),
        ] {
            assert_eq!(price().cost_micros(&usage), Ok(micros), "{usage:?}");
        }
    }

    #[test]
    fn no_usage_within_the_estimate_costs_more_than_the_estimate() {
        let prices = [
            price(),
            Price { reasoning: 60_000_001, ..price() },
            Price { cached_input: 9_999_999, input: 1, ..price() },
        ];
        for price in prices {
            let most = price.most_micros(TokensMax { input: 7, output: 5 }).expect("it fits");
            for (cached_input, cache_write_input, reasoning) in (0..=7).flat_map(|cached| {
                (0..=7 - cached).flat_map(move |write| (0..=5).map(move |r| (cached, write, r)))
            }) {
                let input = 7 - cached_input - cache_write_input;
                let output = 5 - reasoning;
                let usage = TokenUsage { input, cached_input, cache_write_input, output, reasoning };
                assert!(price.cost_micros(&usage).expect("it fits") <= most, "{usage:?} {price:?}");
            }
        }
    }

    #[test]
    fn a_cost_above_the_largest_amount_is_an_error() {
        let dear = Price { input: PRICE_MAX, output: PRICE_MAX, ..price() };
        let most =
            TokenUsage { input: u64::MAX, output: u64::MAX, reasoning: u64::MAX, ..TokenUsage::default() };
        let error = dear.cost_micros(&most).expect_err("too large");
        assert_eq!(error.to_string(), "the cost in millionths must be at most 9223372036854775807");
        let one = Price { input: 1_000_000, ..price() };
        let usage = |input| TokenUsage { input, ..TokenUsage::default() };
        assert_eq!(one.cost_micros(&usage(Amount::MAX.get())), Ok(Amount::MAX.get()));
        assert!(one.cost_micros(&usage(Amount::MAX.get() + 1)).is_err());
    }

    #[test]
    fn a_currency_is_three_upper_case_letters() {
        for (text, is_valid) in
            [("USD", true), ("usd", false), ("US", false), ("USDT", false), ("U$D", false)]
        {
            assert_eq!(Currency::parse(text).is_some(), is_valid, "{text}");
        }
        assert_eq!(Currency::parse("EUR").expect("a currency").segment(), "eur");
    }
}
