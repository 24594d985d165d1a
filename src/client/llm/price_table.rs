//! The prices of models, from a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::price::{Currency, PRICE_MAX, Price};
use crate::client::ErrorKind;

/// The prices of models by provider and model, in one currency.
///
/// The file is JSON. Prices are whole millionths of the currency per million tokens; `2500000` is 2.50 USD:
///
/// ```
/// use std::time::SystemTime;
///
/// use ledger_limiter::client::PriceTable;
///
/// let table = PriceTable::parse(
///     r#"{ "currency": "USD", "prices": [
///         { "provider": "openai", "model": "gpt-4o",
///           "micros_per_million_tokens": { "input": 2500000, "cached_input": 1250000, "output": 10000000 } },
///         { "provider": "openai", "model": "gpt-4o", "starts_on": "2027-01-01",
///           "micros_per_million_tokens": { "input": 2000000, "cached_input": 1000000, "output": 8000000 } }
///     ] }"#,
/// )?;
/// let price = table.price("openai", "gpt-4o", SystemTime::now())?;
/// assert!(table.price("openai", "gpt-5", SystemTime::now()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `cached_input` and `cache_write_input` are the price of `input` if left out, and `reasoning` is that of `output`. A price with
/// `starts_on` replaces the one before when that day begins in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceTable {
    currency: Currency,
    /// The prices of a model by the day on which they start.
    models: BTreeMap<(String, String), BTreeMap<Date, Price>>,
}

/// Why a price table cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceTableError {
    /// The file cannot be read.
    #[error("cannot read the price table {}", .path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no price table: a field is unknown, missing, given twice, or no whole number from 0.
    #[error("the price table is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The currency is not three letters.
    #[error("currency must be three upper-case letters such as \"USD\", not {found:?}")]
    Currency {
        /// What was found.
        found: String,
    },
    /// A name is empty.
    #[error("prices[{index}].{field} must not be empty")]
    EmptyName {
        /// The index of the price.
        index: usize,
        /// The name of the field.
        field: &'static str,
    },
    /// A price is too high.
    #[error("prices[{index}].micros_per_million_tokens.{field} must be at most {PRICE_MAX}, not {found}")]
    TooHigh {
        /// The index of the price.
        index: usize,
        /// The name of the field.
        field: &'static str,
        /// The price.
        found: u64,
    },
    /// A day is none.
    #[error("prices[{index}].starts_on must be a day such as \"2026-01-31\", not {found:?}")]
    Day {
        /// The index of the price.
        index: usize,
        /// What was found.
        found: String,
    },
    /// A model has two prices from the same day on.
    #[error(
        "prices[{index}] repeats the price of {provider} {model} with the same starts_on; keep one of them"
    )]
    Duplicate {
        /// The index of the second price.
        index: usize,
        /// The provider.
        provider: String,
        /// The model.
        model: String,
    },
}

impl PriceTableError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

/// The table has no price of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the price table has no price of provider {provider:?} and model {model:?} on {day}: add {{\"provider\": {provider:?}, \
     \"model\": {model:?}, \"micros_per_million_tokens\": {{\"input\": ..., \"output\": ...}}}} to its prices"
)]
pub struct NoPrice {
    provider: String,
    model: String,
    day: Date,
}

impl NoPrice {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableJson {
    currency: String,
    prices: Vec<PriceJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceJson {
    provider: String,
    model: String,
    starts_on: Option<String>,
    micros_per_million_tokens: RatesJson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RatesJson {
    input: u64,
    cached_input: Option<u64>,
    cache_write_input: Option<u64>,
    output: u64,
    reasoning: Option<u64>,
}

impl PriceTable {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`PriceTableError`] with the first fault.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PriceTableError> {
        let path = path.as_ref();
        let failed = |source| PriceTableError::File { path: path.to_owned(), source };
        Self::parse(&fs::read_to_string(path).map_err(failed)?)
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    ///
    /// [`PriceTableError`] with the first fault.
    pub fn parse(json: &str) -> Result<Self, PriceTableError> {
        let TableJson { currency, prices } = serde_json::from_str(json)?;
        let Some(currency) = Currency::parse(&currency) else {
            return Err(PriceTableError::Currency { found: currency });
        };
        let mut table = Self { currency, models: BTreeMap::new() };
        for (index, price) in prices.into_iter().enumerate() {
            table.add(index, price)?;
        }
        Ok(table)
    }

    /// The currency of all prices.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The price of a model at a time. Estimate and settle a call with one price, so that a new one between changes nothing.
    ///
    /// # Errors
    ///
    /// [`NoPrice`] if the table has none then. It says what to add.
    pub fn price(&self, provider: &str, model: &str, at: SystemTime) -> Result<Price, NoPrice> {
        let day = day_of(at);
        let prices = self.models.get(&(provider.to_owned(), model.to_owned()));
        let newest = prices.and_then(|prices| prices.range(..=day).next_back());
        let none = || NoPrice { provider: provider.to_owned(), model: model.to_owned(), day };
        newest.map(|(_, price)| *price).ok_or_else(none)
    }

    fn add(&mut self, index: usize, price: PriceJson) -> Result<(), PriceTableError> {
        let PriceJson { provider, model, starts_on, micros_per_million_tokens } = price;
        for (field, name) in [("provider", &provider), ("model", &model)] {
            if name.is_empty() {
                return Err(PriceTableError::EmptyName { index, field });
            }
        }
        let day = match starts_on {
            Some(text) => parse_day(&text).ok_or(PriceTableError::Day { index, found: text })?,
            None => Date::MIN,
        };
        let price = micros_per_million_tokens.into_price(index, self.currency)?;
        let prices = self.models.entry((provider.clone(), model.clone())).or_default();
        match prices.insert(day, price) {
            Some(_) => Err(PriceTableError::Duplicate { index, provider, model }),
            None => Ok(()),
        }
    }
}

impl RatesJson {
    fn into_price(self, index: usize, currency: Currency) -> Result<Price, PriceTableError> {
        let checked = |field, price| match price {
            0..=PRICE_MAX => Ok(price),
            found => Err(PriceTableError::TooHigh { index, field, found }),
        };
        Ok(Price {
            currency,
            input: checked("input", self.input)?,
            cached_input: checked("cached_input", self.cached_input.unwrap_or(self.input))?,
            cache_write_input: checked("cache_write_input", self.cache_write_input.unwrap_or(self.input))?,
            output: checked("output", self.output)?,
            reasoning: checked("reasoning", self.reasoning.unwrap_or(self.output))?,
        })
    }
}

/// A day as `YYYY-MM-DD`, and no other form that ISO 8601 knows.
fn parse_day(text: &str) -> Option<Date> {
    text.parse().ok().filter(|day: &Date| day.to_string() == text)
}

/// The day in UTC. A clock beyond the calendar counts as its last day.
fn day_of(at: SystemTime) -> Date {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::MAX);
    TimeZone::UTC.to_datetime(at).date()
}
